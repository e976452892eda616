//! The five operations as HTTP clients meet them: every answer byte for byte, on one connection to the real program.
//!
//! Each test is a list of requests and answers. What holds for all answers (type, length, never chunked) is checked for each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use common::{Client, Daemon, Response, get, put_message, request};

/// What is expected of an answer.
enum Expect {
    /// This status and exactly this body; no `Pos:`.
    Exactly(u16, &'static str),
    /// 200, this body, and this `Pos:`.
    At(u64, &'static str),
    /// This status, and the envelope with code 3, this message and some reason.
    Refused(u16, &'static str),
}

use Expect::{At, Exactly, Refused};

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
const RESET_OK: &str = r#"{"code":1,"message":"HTTPMQ_RESET_OK","data":{}}"#;
const FULL: &str = r#"{"code":2,"message":"HTTPMQ_FULL","data":{}}"#;
const EMPTY: &str = r#"{"code":2,"message":"HTTPMQ_EMPTY","data":{}}"#;
const FAILED: &str = r#"{"code":2,"message":"HTTPMQ_FAILED","data":{}}"#;
const NOT_EXISTS: &str = r#"{"code":2,"message":"HTTPMQ_NOT_EXISTS","data":{}}"#;
const PARAM_ERROR: &str = "HTTPMQ_PARAM_ERROR";

/// What every answer of this program is.
fn check_form(response: &Response, about: &str) {
    assert_eq!(response.header("Content-Type"), Some("application/json"), "{about}");
    assert_eq!(response.header("Content-Length"), Some(&*response.body.len().to_string()), "{about}");
    assert_eq!(response.header("Transfer-Encoding"), None, "{about}");
    assert_eq!(response.header("Connection"), None, "{about}: the connection stays open");
    let envelope = response.json();
    let keys: Vec<_> = envelope.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "data", "message"], "{about}: the keys of the envelope, sorted");
}

fn check(response: &Response, expect: &Expect, about: &str) {
    check_form(response, about);
    let pos = response.header("Pos");
    match *expect {
        Exactly(status, body) => assert_eq!((response.status, response.text(), pos), (status, body, None), "{about}"),
        At(position, body) => {
            assert_eq!((response.status, response.text(), pos), (200, body, Some(&*position.to_string())), "{about}");
        }
        Refused(status, message) => {
            assert_eq!((response.status, pos), (status, None), "{about}: {}", response.text());
            let start = format!(r#"{{"code":3,"message":"{message}","data":{{"reason":""#);
            assert!(response.text().starts_with(&start) && response.text().ends_with("\"}}"), "{about}: {response:?}");
        }
    }
}

/// Sends each request on the same connection and checks its answer.
fn run(client: &mut Client, steps: &[(Vec<u8>, Expect)]) {
    for (request, expect) in steps {
        let about = String::from_utf8_lossy(request).replace("\r\n", " ⏎ ");
        let response = client.ask(request);
        check(&response, expect, &about);
    }
}

fn put(body: impl AsRef<[u8]>) -> Vec<u8> {
    request("PUT", "/queue/", body)
}

fn daemon() -> Daemon {
    Daemon::start_fast(|setup| {
        setup.file("[queues.\"five\"]\nmax_len = 5\n[queues.\"one\"]\nmax_len = 1\n");
    })
}

#[test]
fn a_message_goes_in_and_comes_out() {
    let daemon = daemon();
    run(
        &mut daemon.connect(),
        &[
            (get("/queue/?name=q"), Exactly(200, EMPTY)),
            (get("/status/?name=q"), Exactly(200, NOT_EXISTS)),
            (get("/view/?name=q&position=0"), Exactly(200, NOT_EXISTS)),
            (get("/reset/?name=q"), Exactly(200, NOT_EXISTS)),
            (put_message("q", "1"), At(0, PUT_OK)),
            (put_message("q", "\"1\""), At(1, PUT_OK)),
            (get("/view/?name=q&position=1"), At(1, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":"1"}"#)),
            (get("/view/?name=q&position=2"), Exactly(200, FAILED)),
            (
                get("/status/?name=q"),
                Exactly(
                    200,
                    r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":{"name":"q","put_pos":2,"get_pos":null,"unread":2,"kind":"work","max_len":1000000,"sync":"never"}}"#,
                ),
            ),
            (get("/queue/?name=q"), At(0, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":1}"#)),
            (get("/queue/?name=q"), At(1, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":"1"}"#)),
            (get("/queue/?name=q"), Exactly(200, EMPTY)),
            (get("/view/?name=q&position=0"), Exactly(200, EMPTY)),
            (
                get("/status/?name=q"),
                Exactly(
                    200,
                    r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":{"name":"q","put_pos":2,"get_pos":2,"unread":0,"kind":"work","max_len":1000000,"sync":"never"}}"#,
                ),
            ),
            (get("/reset/?name=q"), Exactly(200, RESET_OK)),
            (
                get("/status/?name=q"),
                Exactly(
                    200,
                    r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":{"name":"q","put_pos":0,"get_pos":null,"unread":0,"kind":"work","max_len":1000000,"sync":"never"}}"#,
                ),
            ),
            (put_message("q", "{}"), At(0, PUT_OK)),
        ],
    );
}

#[test]
fn a_ring_of_five_goes_round_as_documented() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    let positions = |client: &mut Client| {
        let data = client.ask(get("/status/?name=five")).json()["data"].clone();
        (data["put_pos"].as_u64(), data["get_pos"].as_u64(), data["unread"].as_u64(), data["max_len"].as_u64())
    };
    for n in 0..5 {
        let response = client.ask(put_message("five", &n.to_string()));
        assert_eq!((response.text(), response.header("Pos")), (PUT_OK, Some(&*n.to_string())));
    }
    assert_eq!(positions(client), (Some(5), None, Some(5), Some(5)));
    run(client, &[(put_message("five", "9"), Exactly(200, FULL))]);
    for n in 0..3 {
        assert_eq!(client.ask(get("/queue/?name=five")).json()["data"], n);
    }
    assert_eq!(positions(client), (Some(5), Some(3), Some(2), Some(5)));
    run(client, &[(put_message("five", "5"), At(0, PUT_OK)), (put_message("five", "6"), At(1, PUT_OK))]);
    assert_eq!(positions(client), (Some(2), Some(3), Some(4), Some(5)));
    run(
        client,
        &[
            (get("/view/?name=five&position=3"), At(3, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":3}"#)),
            (get("/view/?name=five&position=4"), At(4, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":4}"#)),
            (get("/view/?name=five&position=0"), At(0, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":5}"#)),
            (get("/view/?name=five&position=1"), At(1, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":6}"#)),
            (get("/view/?name=five&position=2"), Exactly(200, FAILED)),
            (get("/view/?name=five&position=5"), Refused(200, PARAM_ERROR)),
        ],
    );
    for n in 3..7 {
        let response = client.ask(get("/queue/?name=five"));
        assert_eq!((response.json()["data"].as_u64(), response.header("Pos")), (Some(n), Some(&*(n % 5).to_string())));
    }
    run(client, &[(get("/queue/?name=five"), Exactly(200, EMPTY))]);
    assert_eq!(positions(client), (Some(2), Some(2), Some(0), Some(5)));
}

#[test]
fn a_status_says_who_serves_and_no_other_answer_does() {
    let daemon = Daemon::start(|setup| {
        setup.set("STORE_ENGINE", "fjall").set("STORE_SYNC", "interval");
    });
    let mut client = daemon.connect();
    let who = format!("httpmq/{} (engine fjall; sync interval)", env!("CARGO_PKG_VERSION"));
    for (sent, server) in [
        (get("/status/?name=none"), Some(&*who)),
        (put_message("q", "1"), None),
        (get("/status/?name=q"), Some(&*who)),
        (get("/queue/?name=q"), None),
    ] {
        assert_eq!(client.ask(&sent).header("Server"), server, "{}", String::from_utf8_lossy(&sent));
    }
}

#[test]
fn a_full_ring_takes_the_next_message_after_one_was_got() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for lap in 0..4 {
        assert_eq!(client.ask(put_message("one", &lap.to_string())).text(), PUT_OK, "lap {lap}");
        assert_eq!(client.ask(put_message("one", "9")).text(), FULL, "lap {lap}");
        assert_eq!(client.ask(get("/queue/?name=one")).json()["data"], lap);
    }
}

#[test]
fn a_message_keeps_its_value_and_its_exact_text() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for json in [
        "0",
        "\"\"",
        "false",
        "[]",
        "{}",
        "true",
        "-0",
        "1.50e+01",
        "1E400",
        "123456789012345678901234567890",
        "0.1000",
        "\"\\u00e9 \\/ \\n \\ud83d\\ude00\"",
        "\"é 世 😀\"",
        "\"\u{7f}\u{9b}\u{2028}\"",
        "{\"b\" : 1,\t\"a\":[ 1 , 2 ],\"b\":2}",
        "[\r\n  null\n]",
        "{\"data\":null,\"name\":\"x\"}",
    ] {
        // White space around a message is not part of it; inside it is.
        let about = json;
        assert_eq!(
            client.ask(put(format!("\t{{ \"data\" : {json} , \"name\":\"q\" }}\r\n"))).text(),
            PUT_OK,
            "{about}"
        );
        let expected = format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":{json}}}"#);
        let viewed = client.ask(get("/view/?name=q&position=0"));
        assert_eq!(viewed.text(), expected, "{about}");
        assert_eq!(client.ask(get("/queue/?name=q")).text(), expected, "{about}");
        assert_eq!(client.ask(get("/reset/?name=q")).text(), RESET_OK, "{about}");
    }
}

#[test]
fn a_put_needs_no_content_type_and_minds_none() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    let body = r#"{"name":"q","data":1}"#;
    for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=latin1", ""] {
        let head = format!("PUT /queue/ HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {}", body.len());
        assert_eq!(client.ask(format!("{head}\r\n\r\n{body}")).text(), PUT_OK, "{content_type:?}");
    }
}

#[test]
fn a_put_that_is_none_is_a_parameter_error() {
    let daemon = daemon();
    let nested = |depth: usize| format!(r#"{{"name":"deep","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    run(
        &mut daemon.connect(),
        &[
            (b"PUT /queue/ HTTP/1.1\r\n\r\n".to_vec(), Refused(200, PARAM_ERROR)),
            (put(""), Refused(200, PARAM_ERROR)),
            (put("{"), Refused(200, PARAM_ERROR)),
            (put("name=q&data=1"), Refused(200, PARAM_ERROR)),
            (put("{'name':'q','data':1}"), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q","data":1}{"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q","data":01}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q","data":NaN}"#), Refused(200, PARAM_ERROR)),
            (put(b"{\"name\":\"q\",\"data\":\"\xff\"}"), Refused(200, PARAM_ERROR)),
            (put(b"\xef\xbb\xbf{\"name\":\"q\",\"data\":1}"), Refused(200, PARAM_ERROR)),
            (put("{}"), Refused(200, PARAM_ERROR)),
            (put(r#"{"data":1}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"","data":1}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q"}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q","data":null}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"q","data":1,"data":null}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"a\nb","data":1}"#), Refused(200, PARAM_ERROR)),
            (put(r#"{"name":"\u001b[2J","data":1}"#), Refused(200, PARAM_ERROR)),
            (put(format!(r#"{{"name":"{}","data":1}}"#, "n".repeat(256))), Refused(200, PARAM_ERROR)),
            (put(nested(129)), Refused(200, PARAM_ERROR)),
            (put("[".repeat(1_000_000)), Refused(200, PARAM_ERROR)),
            (put(nested(128)), At(0, PUT_OK)),
            (put("[]"), Refused(400, PARAM_ERROR)),
            (put("5"), Refused(400, PARAM_ERROR)),
            (put("null"), Refused(400, PARAM_ERROR)),
            (put("\"name\""), Refused(400, PARAM_ERROR)),
            (put(r#"{"name":5,"data":1}"#), Refused(400, PARAM_ERROR)),
            (put(r#"{"name":null,"data":1}"#), Refused(400, PARAM_ERROR)),
            (put(r#"{"name":["q"],"data":1}"#), Refused(400, PARAM_ERROR)),
            (put(r#"{"name":{"q":1},"data":1}"#), Refused(400, PARAM_ERROR)),
            // None of them made a queue.
            (get("/status/?name=q"), Exactly(200, NOT_EXISTS)),
        ],
    );
}

#[test]
fn parameters_come_from_the_query_or_from_a_form() {
    let daemon = daemon();
    let form = |path: &str, body: &str| request("GET", path, body);
    let one = r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":1}"#;
    let two = r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":2}"#;
    let typed = b"GET /view/ HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\nname=a&position=0";
    run(
        &mut daemon.connect(),
        &[
            (put_message("a", "1"), At(0, PUT_OK)),
            (put_message("b", "2"), At(0, PUT_OK)),
            (form("/view/", "name=a&position=0"), At(0, one)),
            (typed.to_vec(), At(0, one)),
            (form("/view/?name=a", "position=0"), At(0, one)),
            (form("/view/?position=0", "name=a"), At(0, one)),
            (form("/view/?name=b", "name=a&position=0"), At(0, two)),
            (form("/view/?name=b&position=0", "name=a&position=7"), At(0, two)),
            (form("/status/", "name=none"), Exactly(200, NOT_EXISTS)),
            (form("/reset/", "name=none"), Exactly(200, NOT_EXISTS)),
            (form("/queue/", "name=a"), At(0, one)),
            (form("/queue/", "name=a"), Exactly(200, EMPTY)),
            // An empty parameter is one, and the query wins with it.
            (form("/queue/?name=", "name=b"), Refused(200, PARAM_ERROR)),
            (get("/queue/?name=x&name=b"), At(0, two)),
        ],
    );
}

#[test]
fn parameters_that_are_missing_or_wrong_are_named() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    run(client, &[(put_message("five", "1"), At(0, PUT_OK))]);
    for path in ["/queue/", "/status/", "/view/", "/reset/"] {
        for query in ["", "?", "?Name=five", "?name", "?position=0"] {
            let expected = if query == "?name" { 200 } else { 400 };
            run(client, &[(get(&format!("{path}{query}")), Refused(expected, PARAM_ERROR))]);
        }
        let long = format!("{path}?name={}&position=0", "n".repeat(256));
        run(client, &[(get(&long), Refused(200, PARAM_ERROR))]);
    }
    run(client, &[(get("/view/?name=five"), Refused(400, PARAM_ERROR))]);
    for position in ["", "x", "-1", "1.0", "0x0", "1e0", "5", "6", "99999999999999999999999", "%30%30%2E", "٣"] {
        run(client, &[(get(&format!("/view/?name=five&position={position}")), Refused(200, PARAM_ERROR))]);
    }
    run(client, &[(get("/view/?name=five&position=000"), At(0, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":1}"#))]);
}

#[test]
fn a_path_does_not_need_its_last_slash() {
    let daemon = daemon();
    let one = r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":1}"#;
    run(
        &mut daemon.connect(),
        &[
            (request("PUT", "/queue", r#"{"name":"q","data":1}"#), At(0, PUT_OK)),
            (request("PUT", "/queue?name=x", r#"{"name":"q","data":2}"#), At(1, PUT_OK)),
            (get("/view?name=q&position=0"), At(0, one)),
            (get("http://somewhere:1/queue?name=q"), At(0, one)),
            (get("/status?name=x"), Exactly(200, NOT_EXISTS)),
            (get("/reset?name=q"), Exactly(200, RESET_OK)),
        ],
    );
}

#[test]
fn names_are_any_text_without_controls() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    let longest = "世".repeat(85);
    for (name, in_query) in [
        ("é 世", "%C3%A9%20%E4%B8%96"),
        ("é 世", "%c3%a9+%e4%b8%96"),
        ("a+b&c=d%20", "a%2Bb%26c%3Dd%2520"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("\\\"", "%22"),
        ("\\u00e9", "%C3%A9"),
        ("name", "name"),
        (longest.as_str(), &"%E4%B8%96".repeat(85)),
    ] {
        run(client, &[(put_message(name, "1"), At(0, PUT_OK))]);
        let status = client.ask(get(&format!("/status/?name={in_query}")));
        let shown = status.json()["data"]["name"].as_str().unwrap().to_owned();
        let meant: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        assert_eq!(shown, meant);
        let form = request("GET", "/queue", format!("name={in_query}"));
        run(client, &[(form, At(0, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":1}"#))]);
        run(client, &[(get(&format!("/reset/?name={in_query}")), Exactly(200, RESET_OK))]);
    }
    // UTF-8 that nobody encoded, as curl sends it.
    run(client, &[(put_message("é世", "1"), At(0, PUT_OK))]);
    for raw in [get("/status/?name=é世"), request("GET", "/status/", "name=é世")] {
        assert_eq!(client.ask(raw).json()["data"]["name"], "é世");
    }
}

#[test]
fn percent_encoding_is_decoded_strictly_and_once() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for (wrong, status) in [
        ("%", 400),
        ("%4", 400),
        ("%zz", 400),
        ("%+1", 400),
        ("a%2", 400),
        ("%FF", 400),
        ("%C3", 400),
        ("%C0%80", 400),
        ("%ED%A0%80", 400),
        ("%00", 200),
        ("%0A", 200),
        ("%7F", 200),
        ("%C2%85", 200),
    ] {
        run(client, &[(get(&format!("/queue/?name={wrong}")), Refused(status, PARAM_ERROR))]);
        run(client, &[(request("GET", "/queue/", format!("name={wrong}")), Refused(status, PARAM_ERROR))]);
    }
    // Not decoded lossily into one name, not decoded twice.
    run(client, &[(put_message("%41", "1"), At(0, PUT_OK)), (get("/status/?name=A"), Exactly(200, NOT_EXISTS))]);
    assert_eq!(client.ask(get("/status/?name=%2541")).json()["data"]["name"], "%41");
}

#[test]
fn other_methods_and_paths_are_refused_and_the_connection_goes_on() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for method in ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "PUT", "GET"] {
        for (path, allow) in [("/queue/", "GET, PUT"), ("/status/", "GET"), ("/view", "GET"), ("/reset/?name=q", "GET")]
        {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let response = client.ask(format!("{method} {path} HTTP/1.1\r\n\r\n"));
            check(&response, &Refused(405, "HTTPMQ_METHOD_NOT_ALLOWED"), &format!("{method} {path}"));
            assert_eq!(response.header("Allow"), Some(allow), "{method} {path}");
        }
    }
    for path in [
        "//",
        "/page/",
        "/page/../",
        "/index.html",
        "/queues/",
        "/queue//",
        "//queue/",
        "/queue/q",
        "/QUEUE/",
        "/queue/../queue/",
        "/favicon.ico",
    ] {
        let response = client.ask(get(&format!("{path}?name=q")));
        check(&response, &Refused(404, "HTTPMQ_NOT_FOUND"), path);
        assert_eq!(response.header("Allow"), None);
    }
    let response = client.ask("OPTIONS * HTTP/1.1\r\n\r\n");
    check(&response, &Refused(404, "HTTPMQ_NOT_FOUND"), "OPTIONS *");
}

#[test]
fn head_is_refused_without_a_body() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    client.send("HEAD /queue/?name=q HTTP/1.1\r\n\r\n");
    let response = client.read_head();
    assert_eq!((response.status, response.header("Allow")), (405, Some("GET, PUT")));
    // Nothing of a body may follow: the next answer would be out of step.
    assert_eq!(client.ask(get("/queue/?name=q")).text(), EMPTY);
}

#[test]
fn a_get_makes_no_queue() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 1);
    });
    let client = &mut daemon.connect();
    for path in ["/queue/?name=a", "/status/?name=b", "/view/?name=c&position=0", "/reset/?name=d"] {
        client.ask(get(path));
    }
    run(client, &[(put_message("q", "1"), At(0, PUT_OK))]);
}
