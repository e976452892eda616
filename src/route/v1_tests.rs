use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_name_bytes: 20, max_message_bytes: 1000 };

fn get(path: &str, query: &str) -> Result<Look, Refusal> {
    asked("GET", path, query)
}

fn asked(method: &str, path: &str, query: &str) -> Result<Look, Refusal> {
    request(method, path, query, LIMITS).map(|request| match request {
        Request::Look(look) => look,
        Request::Change(_) => panic!("{method} {path}"),
    })
}

fn select(query: &str) -> Result<Select, Refusal> {
    get("/v1/queues", query).map(|look| match look {
        Look::Queues(select) => select,
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_path_has_its_answer_and_no_other_is_known() {
    for (path, expected) in [
        ("/v1/stats", Look::Stats),
        ("/metrics", Look::Metrics),
        ("/healthz", Look::Health),
        ("/readyz", Look::Ready),
        ("/openapi.yaml", Look::OpenApi),
        ("/v1/queues/a", Look::Queue { queue: "a".into() }),
        ("/v1/queues/a%2Fb+c%20%C3%A9", Look::Queue { queue: "a/b+c é".into() }),
        ("/v1/queues/messages", Look::Queue { queue: "messages".into() }),
    ] {
        assert!(is_path(path));
        assert_eq!((get(path, ""), asked("HEAD", path, "")), (Ok(expected.clone()), Ok(expected)), "{path}");
        let methods = if path.contains("/queues/") { "GET, HEAD, PUT, PATCH, DELETE" } else { "GET, HEAD" };
        assert_eq!(asked("POST", path, ""), Err(Refusal::WrongMethod { allow: methods }), "{path}");
    }
    for path in ["/v1", "/v1/", "/v1/queues/", "/v1/queues//messages", "/v1/queues/a/", "/v1/queues/a/b", "/v1/queue"] {
        assert_eq!((is_path(path), get(path, "")), (true, Err(Refusal::UnknownPath)), "{path}");
    }
    assert!(!["/", "/queue/", "/v1x", "/metrics/", "/v2/queues"].into_iter().any(is_path));
}

#[test]
fn a_name_in_a_path_is_strict() {
    for name in ["%", "%zz", "%ff", "%C3"] {
        let refused = get(&format!("/v1/queues/{name}"), "");
        assert!(matches!(refused, Err(Refusal::BadRequest(_))), "{name}: {refused:?}");
    }
    for name in ["%00", "a%0a", &"n".repeat(21)] {
        let refused = get(&format!("/v1/queues/{name}/messages"), "");
        assert!(matches!(refused, Err(Refusal::Parameter(_))), "no queue can have it: {name}: {refused:?}");
    }
}

#[test]
fn queues_and_their_messages_are_changed_and_nothing_else() {
    let ask = |method, path| request(method, path, "", LIMITS);
    let queue = || "a b".to_owned();
    for (method, path, change) in [
        ("PUT", "/v1/queues/a%20b", Change::Create { queue: queue() }),
        ("PATCH", "/v1/queues/a%20b", Change::Set { queue: queue() }),
        ("DELETE", "/v1/queues/a%20b", Change::Delete { queue: queue() }),
        ("DELETE", "/v1/queues/a%20b/messages", Change::Purge { queue: queue() }),
    ] {
        assert_eq!(ask(method, path), Ok(Request::Change(change)), "{method} {path}");
        let some = request(method, path, "limit=5", LIMITS);
        assert!(matches!(some, Err(Refusal::BadRequest(_))), "all or nothing: {some:?}");
    }
    let wrong = Err(Refusal::WrongMethod { allow: "GET, HEAD, DELETE" });
    assert_eq!(ask("POST", "/v1/queues/a/messages"), wrong);
    assert_eq!(ask("DELETE", "/v1/queues"), Err(Refusal::WrongMethod { allow: "GET, HEAD" }));
    assert!(matches!(ask("PUT", "/v1/queues/a%0a"), Err(Refusal::BadRequest(_))), "no such queue can be made");
    assert!(matches!(ask("DELETE", "/v1/queues/a%0a"), Err(Refusal::Parameter(_))), "none can be there");
}

#[test]
fn a_list_is_bounded_and_says_its_order() {
    let all = Select { text: String::new(), after: None, sort: Sort::Name, limit: 100, ages: true };
    assert_eq!(select(""), Ok(all.clone()));
    assert_eq!(
        select("limit=7&after=a%26+b&name=%C3%A9"),
        Ok(Select { limit: 7, after: Some("a& b".into()), text: "é".into(), ..all.clone() })
    );
    assert_eq!(select("sort=unread"), Ok(Select { sort: Sort::Unread, ..all }));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=%2B5",
        "limit=",
        "limit=1&limit=2",
        "limit=99999999999999999999",
        "sort=age",
        "limt=5",
        "from=1",
        "name=%",
    ] {
        assert!(matches!(select(query), Err(Refusal::BadRequest(_))), "{query}: {:?}", select(query));
    }
}

#[test]
fn a_window_begins_where_it_is_told() {
    let window = |query| get("/v1/queues/q/messages", query);
    let expected = |from, limit| {
        Ok(Look::Messages { queue: "q".into(), window: Window { from, limit, max_bytes: MAX_PEEK_BYTES } })
    };
    assert_eq!(window(""), expected(None, 100));
    assert_eq!(window("from=0&limit=1000"), expected(Some(0), 1000));
    assert_eq!(window("from=18446744073709551615"), expected(Some(u64::MAX), 100));
    for query in ["from=-1", "from=x", "from=", "from=18446744073709551616", "after=1", "limit=1e2"] {
        assert!(matches!(window(query), Err(Refusal::BadRequest(_))), "{query}");
    }
    assert!(matches!(get("/v1/stats", "x=1"), Err(Refusal::BadRequest(_))));
}

proptest! {
    #[test]
    fn any_name_survives_a_path(name in "[^\\p{Cc}]{1,6}") {
        let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
        prop_assume!(name.len() <= LIMITS.max_name_bytes);
        prop_assert_eq!(get(&format!("/v1/queues/{encoded}"), ""), Ok(Look::Queue { queue: name }));
    }

    #[test]
    fn no_text_makes_it_panic(path in "/v1/queues/[a%0-9/ms]{0,30}", query in "[limtfrone=&%+0-9]{0,30}") {
        let _ = get(&path, &query);
    }
}
