use proptest::prelude::*;

use super::*;
use crate::message::MAX_DEPTH;

const LIMITS: Limits = Limits { max_name_bytes: 255, max_message_bytes: 1000 };

fn put(body: &str) -> Result<Operation<'_>, Refusal> {
    operation(Target::Put, "", body.as_bytes(), LIMITS)
}

/// The queue that a GET names, or what is answered: "200" or "400".
fn named(query: &str, body: &str) -> String {
    match operation(Target::Get, query, body.as_bytes(), LIMITS) {
        Ok(Operation::Get { queue }) => format!("queue {queue}"),
        Ok(other) => panic!("{other:?}"),
        Err(Refusal::Parameter(_)) => "200".into(),
        Err(Refusal::BadRequest(_)) => "400".into(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_path_with_or_without_its_last_slash_is_the_same() {
    for (path, get) in
        [("/queue", Target::Get), ("/status", Target::Status), ("/view", Target::View), ("/reset", Target::Reset)]
    {
        assert_eq!((target("GET", path), target("GET", &format!("{path}/"))), (Ok(get), Ok(get)));
    }
    assert_eq!((target("PUT", "/queue/"), target("PUT", "/queue")), (Ok(Target::Put), Ok(Target::Put)));
    assert_eq!(target("PUT", "/view/"), Err(Refusal::WrongMethod { allow: "GET" }));
    assert_eq!(target("POST", "/queue/"), Err(Refusal::WrongMethod { allow: "GET, PUT" }));
    for path in ["/", "", "/queue//", "/queues", "//queue/", "*", "/QUEUE/"] {
        assert_eq!(target("GET", path), Err(Refusal::UnknownPath), "{path:?}");
    }
}

#[test]
fn the_message_keeps_its_exact_text() {
    for data in ["1", "\"1\"", "0", "\"\"", "false", "[]", "{ \"b\" : 1.50e+01,\"a\":\"\\u00e9 é\" }", "\"null\""] {
        let body = format!("{{\"name\": \"q\", \"data\":  {data} }}");
        assert_eq!(put(&body), Ok(Operation::Put { queue: "q".into(), data }), "{data}");
    }
    assert_eq!(
        put(r#"{"data":1,"x":[{}],"name":"\u00e9 世","data":2}"#),
        Ok(Operation::Put { queue: "é 世".into(), data: "2" })
    );
}

#[test]
fn a_put_that_the_original_answers_as_json_is_a_200() {
    for body in [
        "",
        "{",
        "name=q",
        "[1,",
        "{\"name\":\"q\",\"data\":1} x",
        "{}",
        "{\"name\":\"q\"}",
        "{\"data\":1}",
        "{\"name\":\"\",\"data\":1}",
        "{\"name\":\"q\",\"data\":null}",
        "{\"name\":\"q\",\"data\": null }",
        "{\"name\":\"a\\u0000b\",\"data\":1}",
    ] {
        assert!(matches!(put(body), Err(Refusal::Parameter(_))), "{body}: {:?}", put(body));
    }
}

#[test]
fn a_put_on_which_the_original_fails_is_a_400() {
    for body in [
        "[]",
        "1",
        "\"text\"",
        "null",
        "{\"name\":5,\"data\":1}",
        "{\"name\":null,\"data\":1}",
        "{\"name\":[],\"data\":1}",
    ] {
        assert!(matches!(put(body), Err(Refusal::BadRequest(_))), "{body}: {:?}", put(body));
    }
}

#[test]
fn a_body_that_is_not_utf8_is_no_json() {
    let body = b"{\"name\":\"q\",\"data\":\"\xff\"}";
    assert!(matches!(operation(Target::Put, "", body, LIMITS), Err(Refusal::Parameter(_))));
}

#[test]
fn lengths_and_depths_end_at_their_limits() {
    let body =
        |name: usize, data: usize| format!("{{\"name\":\"{}\",\"data\":\"{}\"}}", "n".repeat(name), "d".repeat(data));
    assert!(put(&body(255, 998)).is_ok());
    assert!(matches!(put(&body(256, 1)), Err(Refusal::Parameter(_))));
    assert!(matches!(put(&body(1, 999)), Err(Refusal::TooLong(_))));
    let nested = |depth: usize| format!("{{\"name\":\"q\",\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(put(&nested(MAX_DEPTH)).is_ok());
    assert!(matches!(put(&nested(MAX_DEPTH + 1)), Err(Refusal::Parameter(_))));
    let brackets_in_text = format!("{{\"name\":\"q\",\"data\":\"\\\"{}\"}}", "[".repeat(300));
    assert!(put(&brackets_in_text).is_ok());
}

#[test]
fn parameters_come_from_the_query_or_a_form() {
    assert_eq!(named("name=q", ""), "queue q");
    assert_eq!(named("", "name=q"), "queue q");
    assert_eq!(named("name=query", "name=form"), "queue query");
    assert_eq!(named("x=1&name=a&name=b&", ""), "queue b");
    assert_eq!(named("name=a+b%2Bc%20%C3%A9", ""), "queue a b+c é");
    assert_eq!(named("n%61me=q", ""), "queue q");
    assert_eq!(named("name=a=b", ""), "queue a=b");
}

#[test]
fn what_is_missing_or_malformed_is_not_guessed() {
    assert_eq!((named("", ""), named("nam=q", ""), named("Name=q", "")), ("400".into(), "400".into(), "400".into()));
    assert_eq!((named("name=", ""), named("name", "")), ("200".into(), "200".into()));
    for query in ["name=%", "name=%1", "name=%zz", "name=%ff", "name=%C3", "name=%+1"] {
        assert_eq!(named(query, ""), "400", "{query}");
    }
    assert_eq!((named("name=%00", ""), named(&format!("name={}", "n".repeat(256)), "")), ("200".into(), "200".into()));
}

#[test]
fn a_position_is_a_whole_number() {
    let view = |query| operation(Target::View, query, b"", LIMITS);
    assert_eq!(view("name=q&position=17"), Ok(Operation::View { queue: "q".into(), position: 17 }));
    for position in ["", "-1", "1.0", "x", "0x1", " 1", "99999999999999999999"] {
        let query = format!("name=q&position={position}").replace(' ', "+");
        assert!(matches!(operation(Target::View, &query, b"", LIMITS), Err(Refusal::Parameter(_))), "{position:?}");
    }
    assert!(matches!(view("name=q"), Err(Refusal::BadRequest(_))));
}

proptest! {
    #[test]
    fn any_name_survives_percent_encoding(name in "[^\\p{Cc}]{1,60}") {
        let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
        let query = format!("name={encoded}");
        prop_assert_eq!(named(&query, ""), format!("queue {name}"));
    }

    #[test]
    fn any_json_survives_a_put(text in ".{0,60}", number in any::<f64>()) {
        let data = serde_json::json!({ "text": text, "number": number, "list": [null, true, text] }).to_string();
        let body = format!("{{\"name\":\"q\",\"data\":{data}}}");
        prop_assert_eq!(put(&body), Ok(Operation::Put { queue: "q".into(), data: &data }));
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), query in "[name=posit%&+0-9\\x00-\\x7f]{0,60}") {
        for target in [Target::Put, Target::Get, Target::Status, Target::View, Target::Reset] {
            let _ = operation(target, &query, &body, LIMITS);
        }
    }
}
