//! Queues made, changed and deleted over `/v1` and by the commands, on the real daemon. Goal: what is answered is in force at once and
//! stays so, bad input is named, and those who put, get and subscribe meanwhile are told the truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::process::Command;

use common::{Client, Daemon, get, request};
use rustix::process::Signal;
use serde_json::{Value, json};

fn ask(client: &mut Client, method: &str, name: &str, body: &str) -> (u16, Value) {
    let response = client.ask(request(method, &format!("/v1/queues/{name}"), body));
    (response.status, response.json())
}

fn done(client: &mut Client, method: &str, name: &str, body: &str) -> Value {
    let (status, value) = ask(client, method, name, body);
    assert!(status == 200 || status == 201, "{method} {name} {body}: {status} {value}");
    value
}

fn settings(value: &Value) -> Value {
    json!([value["max_len"], value["history"], value["overflow"], value["own"]])
}

fn own(max_len: Value, history: Value, overflow: Value) -> Value {
    json!({ "max_len": max_len, "history": history, "overflow": overflow })
}

#[test]
fn a_queue_keeps_what_it_was_given_over_a_kill_and_over_a_change_of_the_file() {
    let daemon = Daemon::start(|setup| {
        setup.file("[queue_defaults]\nmax_len = 9\n[queues.\"q\"]\nhistory = 4\n");
    });
    let mut client = daemon.connect();
    let made = ask(&mut client, "PUT", "q", r#"{"max_len":2,"overflow":"drop_oldest"}"#);
    let q = own(json!(2), json!(null), json!("drop_oldest"));
    assert_eq!((made.0, settings(&made.1)), (201, json!([2, 4, "drop_oldest", q])));
    assert_eq!(ask(&mut client, "PUT", "t%2F1", r#"{"kind":"topic"}"#).1["kind"], "topic");
    for n in 0..4 {
        assert_eq!(client.put("q", &n.to_string()), n % 2);
    }
    let shown = done(&mut client, "GET", "q", "");
    assert_eq!(json!([shown["unread"], shown["dropped"], shown["get_pos"]]), json!([2, 2, 2]));
    let metrics = client.ask(get("/metrics"));
    assert!(metrics.text().contains("\nhttpmq_queue_dropped_total{queue=\"q\"} 2\n"), "{}", metrics.text());

    let daemon = daemon.kill().with(|setup| {
        setup.file(
            "[queue_defaults]\nmax_len = 5\noverflow = \"drop_oldest\"\n[queues.\"q\"]\nhistory = 1\nmax_len = 7\n",
        );
    });
    let daemon = daemon.start_again();
    let mut client = daemon.connect();
    assert_eq!(settings(&done(&mut client, "GET", "q", "")), json!([2, 1, "drop_oldest", q]));
    let topic = done(&mut client, "GET", "t%2F1", "");
    assert_eq!(json!([topic["kind"], topic["max_len"], topic["kept"]]), json!(["topic", 5, 0]));
    assert_eq!((client.take("q").as_deref(), client.take("q").as_deref()), (Some("2"), Some("3")));

    // Null gives back.
    let changed = done(&mut client, "PATCH", "q", r#"{"max_len":null,"history":0}"#);
    let q = own(json!(null), json!(0), json!("drop_oldest"));
    assert_eq!(settings(&changed), json!([7, 0, "drop_oldest", q]));
    let daemon = daemon.stop(Signal::TERM).start_again();
    assert_eq!(settings(&done(&mut daemon.connect(), "GET", "q", "")), json!([7, 0, "drop_oldest", q]));
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 2);
    });
    let mut client = daemon.connect();
    done(&mut client, "PUT", "a", r#"{"max_len":5}"#);
    for (method, body, status, code, words) in [
        ("PUT", "{", 400, "bad_request", "the body is no JSON"),
        ("PUT", r#"{"maxlen":5}"#, 400, "bad_request", r#"no field "maxlen"; there are kind, max_len"#),
        ("PUT", r#"{"kind":"queue"}"#, 400, "bad_request", "kind must be work or topic, not \"queue\""),
        ("PUT", r#"{"max_len":6}"#, 409, "queue_exists", r#"{"max_len":5,"history":null,"overflow":null}"#),
        ("PUT", r#"{"max_len":5,"kind":"topic"}"#, 409, "queue_exists", "there is a work queue of this name"),
        ("PATCH", "", 400, "bad_request", "nothing is to be set"),
        ("PATCH", r#"{"history":-1}"#, 400, "bad_request", "history must be a whole number from 0 to 10000"),
        ("PATCH", r#"{"kind":"topic"}"#, 400, "bad_request", "the kind of a queue cannot be set"),
    ] {
        let (found, problem) = ask(&mut client, method, "a", body);
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{method} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{method} {body}: {problem}");
    }
    assert_eq!(done(&mut client, "GET", "a", "")["own"], own(json!(5), json!(null), json!(null)));
    assert_eq!(ask(&mut client, "PATCH", "nobody", r#"{"max_len":1}"#).0, 404);
    assert_eq!(ask(&mut client, "PUT", &"n".repeat(256), "").0, 400);
    done(&mut client, "PUT", "b", "");
    let (status, problem) = ask(&mut client, "PUT", "c", "");
    assert_eq!((status, &problem["code"]), (409, &json!("too_many_queues")));
    done(&mut client, "DELETE", "b", "");
    done(&mut client, "PUT", "c", "");

    // A body that is not read to its end is not taken for a request.
    let head = "PUT /v1/queues/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    let response = client.ask(head);
    assert_eq!((response.status, &response.json()["code"]), (413, &json!("too_long")));
    assert!(client.is_closed());
}

#[test]
fn a_deleted_queue_is_gone_and_its_subscribers_get_what_a_new_one_brings() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    let (mut wire, mut other) = (daemon.wire(), daemon.wire());
    wire.subscribe("q");
    for n in 0..3 {
        client.put("q", &format!("{{\"n\":{n}}}"));
    }
    assert_eq!(done(&mut client, "DELETE", "q", ""), json!({ "unread": 3 }));
    assert_eq!(client.status("q"), None);
    assert_eq!((client.take("q"), ask(&mut client, "DELETE", "q", "").0), (None, 404));
    assert_eq!(client.ask(get("/v1/queues")).json()["queues"], json!([]));
    let stats = client.ask(get("/v1/stats")).json();
    assert_eq!(json!([stats["queues"], stats["puts"], stats["unread"]]), json!([0, 3, 0]), "counts do not fall");
    // A topic this time, then a work queue again; the subscription is to the name.
    other.publish("q", r#"{"n":3}"#);
    assert_eq!(done(&mut client, "GET", "q", "")["kind"], "topic");
    done(&mut client, "DELETE", "q", "");
    assert_eq!(client.put("q", r#"{"n":4}"#), 0);
    for n in 0..5 {
        assert_eq!(wire.message("q")["n"], n);
    }
    let daemon = daemon.kill().start_again();
    let mut client = daemon.connect();
    assert_eq!((client.take("q").as_deref(), client.take("q")), (Some(r#"{"n":4}"#), None));
}

#[test]
fn ordered_puts_go_on_over_a_deletion() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    let put = |number: u32| {
        let body = format!("{{\"name\":\"q\",\"data\":{number}}}");
        format!(
            "PUT /queue/ HTTP/1.1\r\nHost: x\r\nPut-Order: s/{number}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(client.ask(put(0)).header("Pos"), Some("0"));
    assert_eq!(client.ask(put(1)).header("Pos"), Some("1"));
    done(&mut client, "DELETE", "q", "");
    assert_eq!(client.ask(put(2)).header("Pos"), Some("0"));
    assert_eq!(client.ask(put(3)).header("Pos"), Some("1"));
    assert_eq!((client.take("q").as_deref(), client.take("q").as_deref()), (Some("2"), Some("3")));
}

#[test]
fn a_publisher_to_a_full_queue_makes_the_oldest_give_way() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    done(&mut client, "PUT", "q", r#"{"max_len":2,"overflow":"drop_oldest","history":0}"#);
    let (mut wire, mut other) = (daemon.wire(), daemon.wire());
    wire.subscribe("q");
    for n in 0..5 {
        assert_eq!(other.publish("q", &format!("{{\"n\":{n}}}")), "OK: Message sent");
        assert_eq!(wire.message("q")["n"], n, "subscribers get each");
    }
    assert_eq!((client.take("q").as_deref(), client.take("q").as_deref()), (Some("{\"n\":3}"), Some("{\"n\":4}")));
    assert_eq!(client.take("q"), None);
}

#[test]
fn the_commands_do_the_same_and_say_it_by_their_exit_code() {
    let daemon = Daemon::start_fast(|_| ());
    let server = format!("http://{}", daemon.address());
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
        let output = command.args(line.split(' ')).env_clear().env("HTTPMQ_URL", &server).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let quiet = |line: &str| assert_eq!(run(line), (0, String::new(), String::new()), "{line}");
    quiet("create jobs --max-len 2 --overflow=drop_oldest");
    quiet("create --overflow drop_oldest --max-len=2 jobs");
    let (code, _, stderr) = run("create jobs");
    assert!(code == 2 && stderr.contains("queue_exists"), "{code} {stderr}");
    quiet("create news --kind topic");
    quiet("put jobs a");
    quiet("put jobs b");
    quiet("put jobs c");
    assert_eq!(run("get jobs --all").1, "b\nc\n");
    quiet("set jobs --max-len default --overflow default --history 0");
    let (code, stdout, _) = run("set jobs --history 3 --json");
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, settings(&shown)), (0, json!([1_000_000, 3, "reject", own(json!(null), json!(3), json!(null))])));
    for (line, expected, words) in [
        ("set jobs", 1, "nothing is to be set"),
        ("set jobs --max-len many", 1, "many is not a whole number or default"),
        ("set jobs --overflow drop", 1, "drop is not reject or drop_oldest or default"),
        ("create jobs --kind queue", 1, "queue is not work or topic"),
        ("set jobs --max-len 0", 2, "max_len must be a whole number from 1"),
        ("set nobody --max-len 1", 3, "there is no queue of this name"),
        ("delete jobs", 1, "would delete the queue jobs at http://127.0.0.1"),
        ("delete nobody --yes", 3, "there is no queue of this name"),
    ] {
        let (code, stdout, stderr) = run(line);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{line}: {stderr}");
        assert!(stderr.contains(words), "{line}: {stderr}");
    }
    quiet("delete news --yes");
    assert_eq!(run("delete jobs --yes --json").1, "{\"unread\":0}\n");
    assert_eq!(daemon.connect().status("jobs"), None);
}
