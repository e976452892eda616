//! What the commands send, print and return, against a server that answers as the test says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what goes wrong must end the test

mod fake_server;

use std::io::Write;
use std::net::TcpListener;

use fake_server::{Fake, Ran, Reply, Request, finish, ran, spawn};

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
const EMPTY: &str = r#"{"code":2,"message":"HTTPMQ_EMPTY","data":{}}"#;

/// A server whose queue holds these messages.
fn holding(messages: &'static [&'static str]) -> Fake {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Fake::start(move |_| {
        let position = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match messages.get(position) {
            Some(data) => Reply::Answer(
                200,
                Some(position as u64),
                format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":{data}}}"#),
            ),
            None => Reply::Answer(200, None, EMPTY.to_owned()),
        }
    })
}

fn quiet(code: i32, stdout: &str) -> Ran {
    Ran { code, stdout: stdout.to_owned(), stderr: String::new() }
}

fn only(fake: &Fake) -> Request {
    let [request] = fake.seen().try_into().expect("one request");
    request
}

#[test]
fn put_sends_a_json_string_and_is_silent() {
    let fake = Fake::saying(200, PUT_OK);
    assert_eq!(fake.run(&["put", "jobs \"é", "say \"hi\"\n"], b""), quiet(0, ""));
    let request = only(&fake);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/queue/"));
    assert_eq!(request.body, r#"{"name":"jobs \"é","data":"say \"hi\"\n"}"#);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("host").map(|host| format!("http://{host}")).as_deref(), Some(fake.url.as_str()));
    assert_eq!(request.header("put-order"), None);
}

#[test]
fn put_takes_json_as_it_stands() {
    let fake = Fake::saying(200, PUT_OK);
    assert_eq!(fake.run(&["put", "--json", "q", r#"{"b": 1.0, "a":1e400}"#], b""), quiet(0, ""));
    assert_eq!(only(&fake).body, r#"{"name":"q","data":{"b": 1.0, "a":1e400}}"#);
}

#[test]
fn put_does_not_send_what_is_no_json() {
    let fake = Fake::saying(200, PUT_OK);
    let said = fake.run(&["put", "--json", "q", "{a:1}"], b"");
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("the message is not JSON: key must be a string at line 1 column 2"), "{said:?}");
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn put_reads_all_of_stdin_and_takes_one_line_break_off() {
    for words in [&["put", "q"][..], &["put", "q", "-"]] {
        let fake = Fake::saying(200, PUT_OK);
        assert_eq!(fake.run(words, b"one\n\n two\n\n"), quiet(0, ""));
        assert_eq!(only(&fake).body, r#"{"name":"q","data":"one\n\n two\n"}"#);
    }
    let fake = Fake::saying(200, PUT_OK);
    let said = fake.run(&["put", "q"], b"\xff");
    assert!(said.code == 1 && said.stderr.contains("not UTF-8") && fake.seen().is_empty(), "{said:?}");
}

#[test]
fn every_refusal_has_its_exit_code_and_its_reason() {
    for (status, envelope, code, reason) in [
        (200, r#"{"code":2,"message":"HTTPMQ_FULL","data":{}}"#, 4, "the queue q is full"),
        (507, r#"{"code":2,"message":"HTTPMQ_STORAGE_FULL","data":{}}"#, 4, "the server's disk is full"),
        (400, r#"{"code":3,"message":"HTTPMQ_PARAM_ERROR","data":{"reason":"no such name"}}"#, 2, ": no such name"),
        (200, r#"{"code":3,"message":"HTTPMQ_PARAM_ERROR","data":{}}"#, 2, "HTTPMQ_PARAM_ERROR (code 3)"),
        (503, r#"{"code":3,"message":"X","data":{"reason":"10 are open"}}"#, 5, "no more connections now: 10 are open"),
        (404, "<html>nothing here</html>", 5, "is not httpmq: its answer (HTTP status 404"),
        (200, r#"{"result":"ok"}"#, 5, "is not httpmq"),
    ] {
        let fake = Fake::saying(status, envelope);
        let said = fake.run(&["put", "q", "x"], b"");
        assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{envelope} {said:?}");
        assert!(said.stderr.contains(reason), "{envelope} {said:?}");
    }
}

#[test]
fn a_connection_that_breaks_or_speaks_something_else_is_named() {
    for (cut, reason) in [(true, "broke before the answer came"), (false, "is not httpmq")] {
        let fake = Fake::start(move |_| if cut { Reply::Cut } else { Reply::Raw("220 mail.example ESMTP\r\n") });
        let said = fake.run(&["put", "q", "x"], b"");
        assert_eq!(said.code, 5);
        assert!(said.stderr.contains(reason) && said.stderr.contains(&fake.url), "{said:?}");
    }
}

#[test]
fn a_server_without_room_is_said_to_be_full_whether_it_waits_for_the_request_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new(); // to close one with the request unread would take the answer back
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            open.push(stream);
        }
    });
    let said = finish(spawn(&["put", "q", "x"], &url), b"");
    assert!(said.code == 5 && said.stderr.contains("takes no more connections now"), "{said:?}");
}

#[test]
fn without_a_server_the_address_and_the_way_out_are_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // free again at once
    let url = format!("http://127.0.0.1:{port}");
    for words in
        [&["put", "q", "x"][..], &["get", "q"], &["status", "q"], &["view", "q", "0"], &["reset", "q", "--yes"]]
    {
        let said = finish(spawn(words, &url), b"");
        assert_eq!((said.code, said.stdout.as_str()), (5, ""), "{words:?}");
        assert!(said.stderr.contains(&url) && said.stderr.contains("httpmq --data-dir"), "{said:?}");
    }
}

#[test]
fn the_address_on_the_command_line_wins_and_a_wrong_one_is_usage() {
    let fake = Fake::saying(200, PUT_OK);
    let said = finish(spawn(&["put", "q", "x", "--server", &fake.url], "http://127.0.0.1:1"), b"");
    assert_eq!((said, fake.seen().len()), (quiet(0, ""), 1));
    for url in ["ftp://localhost:8200", "http://localhost:8200/mq", "localhost"] {
        let said = finish(spawn(&["get", "q"], url), b"");
        assert!(said.code == 1 && said.stderr.contains(url), "{said:?}");
    }
}

#[test]
fn get_prints_strings_as_text_and_the_rest_as_json() {
    let messages = &[r#""a\n\u00e9""#, "\"1\"", "1.0", "{\"b\": [1,\n2]}"];
    let said = holding(messages).run(&["get", "q", "-n", "9"], b"");
    assert_eq!(said, quiet(0, "a\né\n1\n1.0\n{\"b\": [1, 2]}\n"));
    let said = holding(messages).run(&["get", "q", "-n", "3", "--json"], b"");
    assert_eq!(said, quiet(0, "\"a\\n\\u00e9\"\n\"1\"\n1.0\n"));
}

#[test]
fn get_takes_as_many_as_are_asked_for() {
    for (words, stdout, requests) in [
        (&["get", "é 世&x"][..], "1\n", 1),
        (&["get", "é 世&x", "-n", "2"], "1\n2\n", 2),
        (&["get", "é 世&x", "--all"], "1\n2\n3\n", 4),
    ] {
        let fake = holding(&["1", "2", "3"]);
        assert_eq!(fake.run(words, b""), quiet(0, stdout));
        let seen = fake.seen();
        assert_eq!((seen.len(), fake.connections(), fake.most_under_way()), (requests, 1, 1));
        for request in seen {
            assert_eq!(request.method, "GET");
            assert_eq!(request.target, "/queue/?name=%C3%A9%20%E4%B8%96%26x");
        }
    }
}

#[test]
fn get_of_nothing_is_quiet_and_exit_3() {
    for words in [&["get", "q"][..], &["get", "q", "--all"], &["get", "q", "-n", "2"]] {
        assert_eq!(holding(&[]).run(words, b""), quiet(3, ""));
    }
    let fake = holding(&["1"]);
    assert_eq!(fake.run(&["get", "q", "-n", "0"], b"").code, 1);
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn get_that_breaks_says_how_far_it_came() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let fake = Fake::start(move |_| {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if first { Reply::Answer(200, None, r#"{"code":1,"message":"M","data":"x"}"#.to_owned()) } else { Reply::Cut }
    });
    let said = fake.run(&["get", "q", "--all"], b"");
    assert_eq!((said.code, said.stdout.as_str()), (5, "x\n"));
    assert!(said.stderr.contains("1 message printed before; the next one may have been taken and lost"), "{said:?}");
}

#[test]
fn a_message_that_stdout_does_not_take_is_saved_on_stderr() {
    let fake = holding(&["\"precious\"", "2", "3"]);
    let mut child = fake.spawn(&["get", "q", "--all"]);
    drop(child.stdout.take());
    let said = ran(child.wait_with_output().unwrap());
    assert_eq!((said.code, fake.seen().len()), (0, 1));
    assert!(said.stderr.contains("one message was taken from q (position 0)"), "{said:?}");
    assert!(said.stderr.ends_with("\n\"precious\"\n"), "{said:?}");
}

#[test]
fn a_connection_that_the_server_closes_between_requests_is_opened_again() {
    let left = std::sync::atomic::AtomicUsize::new(3);
    let fake = Fake::start(move |_| {
        let envelope = match left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            0 => EMPTY.to_owned(),
            left => format!(r#"{{"code":1,"message":"M","data":{left}}}"#),
        };
        Reply::Last(200, envelope)
    });
    assert_eq!(fake.run(&["get", "q", "--all"], b""), quiet(0, "3\n2\n1\n"));
    assert_eq!(fake.connections(), 4);
}

#[test]
fn status_is_a_table_or_json() {
    let data = r#"{"name":"q","put_pos":12,"get_pos":null,"unread":12,"kind":"work"}"#;
    let fake = Fake::start(move |_| {
        Reply::Answer(200, None, format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":{data}}}"#))
    });
    let table = "name     q\nput_pos  12\nget_pos  -\nunread   12\nkind     work\n";
    assert_eq!(fake.run(&["status", "q"], b""), quiet(0, table));
    assert_eq!(fake.run(&["status", "q", "--json"], b""), quiet(0, &format!("{data}\n")));
    assert_eq!(fake.seen()[0].target, "/status/?name=q");
}

#[test]
fn view_shows_one_message() {
    let fake = holding(&["\"x\"", "\"x\""]);
    assert_eq!(fake.run(&["view", "q", "17"], b""), quiet(0, "x\n"));
    assert_eq!(fake.run(&["view", "q", "17", "--json"], b""), quiet(0, "\"x\"\n"));
    assert_eq!(fake.seen()[0].target, "/view/?name=q&position=17");
}

#[test]
fn what_is_not_there_is_exit_3_and_said() {
    for (message, reason) in [
        ("HTTPMQ_NOT_EXISTS", "there is no queue q"),
        ("HTTPMQ_FAILED", "no unread message of q is there"),
        ("HTTPMQ_EMPTY", "the queue q has no unread messages"),
    ] {
        for words in [&["status", "q"][..], &["view", "q", "0"], &["reset", "q", "--yes"]] {
            let envelope = format!(r#"{{"code":2,"message":"{message}","data":{{}}}}"#);
            let fake = Fake::start(move |_| Reply::Answer(200, None, envelope.clone()));
            let said = fake.run(words, b"");
            assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{said:?}");
            assert!(said.stderr.contains(reason), "{said:?}");
        }
    }
}

#[test]
fn reset_wants_a_yes() {
    let fake = Fake::saying(200, r#"{"code":1,"message":"HTTPMQ_RESET_OK","data":{}}"#);
    let said = fake.run(&["reset", "q"], b"");
    assert_eq!((said.code, said.stdout.as_str(), fake.seen().len()), (1, "", 0));
    assert!(said.stderr.contains("would forget all messages and positions of the queue q"), "{said:?}");
    assert_eq!(fake.run(&["reset", "q", "--yes"], b""), quiet(0, ""));
    assert_eq!(only(&fake).target, "/reset/?name=q");
    assert_eq!(fake.run(&["reset", "q", "--yes", "--json"], b""), quiet(0, "{}\n"));
}
