//! `httpmq put --lines`: what goes out, in which order, and what is said when it does not go well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what goes wrong must end the test

mod fake_server;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

use fake_server::{Fake, Ran, Reply, Request, ran};

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
const FULL: &str = r#"{"code":2,"message":"HTTPMQ_FULL","data":{}}"#;

fn ok() -> Reply {
    Reply::Answer(200, None, PUT_OK.to_owned())
}

/// Lines `1` to `count`.
fn lines(count: u64) -> Vec<u8> {
    (1..=count).map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

/// The bodies by their number in the stream; the test fails when there are two streams or a number comes twice.
fn in_order(seen: &[Request]) -> Vec<String> {
    let mut bodies = BTreeMap::new();
    let stream = seen[0].order().0;
    assert!(stream.len() == 16 && stream.bytes().all(|b| b.is_ascii_hexdigit()), "{stream}");
    for request in seen {
        let (its_stream, number) = request.order();
        assert_eq!(its_stream, stream);
        assert!(bodies.insert(number, request.body.clone()).is_none(), "{number} came twice");
    }
    assert!(bodies.keys().copied().eq(0..seen.len() as u64), "a number is missing");
    bodies.into_values().collect()
}

fn check(said: &Ran, code: i32, stored: u64, parts: &[&str]) {
    assert_eq!((said.code, said.stdout.as_str()), (code, format!("{stored}\n").as_str()), "{said:?}");
    for part in parts {
        assert!(said.stderr.contains(part), "{part} is not in {said:?}");
    }
}

#[test]
fn every_line_goes_out_once_under_its_number() {
    let fake = Fake::start(|_| ok());
    let said = fake.run(&["put", "q", "--lines", "--requests", "8"], &lines(1000));
    check(&said, 0, 1000, &["httpmq: 1000 lines stored in "]);
    let expected: Vec<String> = (1..=1000).map(|line| format!(r#"{{"name":"q","data":"{line}"}}"#)).collect();
    assert_eq!(in_order(&fake.seen()), expected);
    assert!(fake.connections() <= 8, "{}", fake.connections());
}

#[test]
fn as_many_requests_are_under_way_as_are_asked_for_and_no_more() {
    for requests in [1, 5] {
        // Nobody is answered before all of a round are there: with fewer under way this would never end.
        let round = Barrier::new(requests);
        let fake = Fake::start(move |_| {
            round.wait();
            ok()
        });
        let said = fake.run(&["put", "q", "--lines", "--requests", &requests.to_string()], &lines(100));
        check(&said, 0, 100, &[]);
        assert_eq!((fake.most_under_way(), fake.connections()), (requests, requests));
    }
}

#[test]
fn only_the_line_break_goes_and_the_last_line_needs_none() {
    let fake = Fake::start(|_| ok());
    check(&fake.run(&["put", "q", "--lines"], b"a\r\n\n \"b\""), 0, 3, &[]);
    let bodies = [r#"{"name":"q","data":"a\r"}"#, r#"{"name":"q","data":""}"#, r#"{"name":"q","data":" \"b\""}"#];
    assert_eq!(in_order(&fake.seen()), bodies);
}

#[test]
fn no_lines_are_no_failure() {
    let fake = Fake::start(|_| ok());
    check(&fake.run(&["put", "q", "--lines"], b""), 0, 0, &["0 lines stored"]);
    assert_eq!(fake.connections(), 0);
}

#[test]
fn a_line_that_is_not_utf_8_ends_it_behind_the_earlier_ones() {
    let fake = Fake::start(|_| ok());
    let said = fake.run(&["put", "q", "--lines"], b"1\n2\n\xff\n4\n");
    check(&said, 1, 2, &["line 3: the line is not UTF-8", "the first 2 lines are acknowledged, none is in doubt"]);
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn json_lines_go_as_they_stand_until_one_is_none() {
    let fake = Fake::start(|_| ok());
    let said = fake.run(&["put", "q", "--lines", "--json"], b"{\"a\": 1.0}\n[]\n\n4\n");
    check(&said, 1, 2, &["line 3: the message is not JSON"]);
    assert_eq!(in_order(&fake.seen()), [r#"{"name":"q","data":{"a": 1.0}}"#, r#"{"name":"q","data":[]}"#]);
}

#[test]
fn a_queue_that_is_full_ends_it_with_the_exact_line() {
    let fake = Fake::start(|request| match request.order().1 {
        0..6 => ok(),
        _ => Reply::Answer(200, None, FULL.to_owned()),
    });
    let said = fake.run(&["put", "q", "--lines", "--requests", "4"], &lines(1000));
    check(&said, 4, 6, &["line 7: the queue q is full", "the first 6 lines are acknowledged, none is in doubt"]);
    // Those under way beside line 7 may have gone out, and nothing after.
    assert!(fake.seen().len() <= 6 + 4, "{}", fake.seen().len());
}

#[test]
fn a_full_disk_and_a_refusal_have_their_exit_codes() {
    for (status, envelope, code, part) in [
        (507, r#"{"code":2,"message":"HTTPMQ_STORAGE_FULL","data":{}}"#, 4, "line 1: the server's disk is full"),
        (413, r#"{"code":3,"message":"HTTPMQ_PARAM_ERROR","data":{"reason":"too long"}}"#, 2, "(code 3): too long"),
        (503, r#"{"code":3,"message":"X","data":{"reason":"busy"}}"#, 5, "no more connections now: busy"),
        (200, "<html>", 5, "is not httpmq"),
    ] {
        let said = Fake::saying(status, envelope).run(&["put", "q", "--lines"], b"1\n");
        check(&said, code, 0, &[part]);
    }
}

#[test]
fn a_connection_that_breaks_leaves_lines_in_doubt_and_says_how_many() {
    // Lines 9 to 12 are all under way when the server goes.
    let all_there = Barrier::new(4);
    let fake = Fake::start(move |request| match request.order().1 {
        0..8 => ok(),
        _ => {
            all_there.wait();
            Reply::Cut
        }
    });
    let said = fake.run(&["put", "q", "--lines", "--requests", "4"], &lines(1000));
    check(&said, 5, 8, &["line 9: the connection to ", "the first 8 lines are acknowledged, 4 more were sent"]);
    assert_eq!(fake.seen().len(), 12);
}

#[test]
fn without_a_server_nothing_is_in_doubt() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // free again at once
    let child = fake_server::spawn(&["put", "q", "--lines"], &format!("http://127.0.0.1:{port}"));
    let said = fake_server::finish(child, &lines(100));
    check(&said, 5, 0, &["line 1: no connection to", "the first 0 lines are acknowledged, none is in doubt"]);
}

#[test]
fn ctrl_c_ends_it_and_says_how_far_it_came() {
    let (told, answered) = mpsc::channel();
    let fake = Fake::start(move |request| {
        told.send(request.order().1).unwrap();
        ok()
    });
    let mut child = fake.spawn(&["put", "q", "--lines"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n3").unwrap(); // the third line may go on
    let mut numbers = [answered.recv().unwrap(), answered.recv().unwrap()];
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let interrupted = Instant::now();
    let said = ran(child.wait_with_output().unwrap());
    assert!(interrupted.elapsed() < Duration::from_secs(5), "nothing was left to wait for");
    check(&said, 130, 2, &["line 3: interrupted", "the first 2 lines are acknowledged, none is in doubt"]);
    drop(stdin); // it was open all the while
}

#[test]
fn wrong_usage_sends_nothing() {
    let fake = Fake::start(|_| ok());
    for words in [
        &["put", "q", "data", "--lines"][..],
        &["put", "q", "--lines", "--requests", "0"],
        &["put", "q", "--lines", "--requests", "1001"],
    ] {
        let said = fake.run(words, b"1\n");
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
    }
    assert_eq!(fake.connections(), 0);
}
