//! CoreMQ as hostile or clumsy clients send it: in pieces, in bulk, malformed, too long.
//!
//! Goal: the verdict does not depend on how the bytes are cut, a connection stays open exactly when the stream is still in step,
//! nothing that stands behind a lost step is ever taken for a frame, and a client can read why it was refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Daemon, Wire, frame};
use serde_json::{Value, json};

const SENT: &str = "OK: Message sent";
const MAX_MESSAGE_BYTES: usize = 1000;
/// The greatest LEN: a message with the longest name and the space between them.
const MAX_LEN: usize = MAX_MESSAGE_BYTES + 256;

/// What becomes of something wrong between two good frames.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// The error is answered, and the next frame is served.
    Open,
    /// The error is answered, and the connection is closed: what stands behind is not looked at.
    Closed,
}

use After::{Closed, Open};

/// Something wrong, what is in the answer to it, and what comes after.
type Case = (Vec<u8>, &'static str, After);

fn daemon() -> Daemon {
    Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", MAX_MESSAGE_BYTES);
    })
}

/// A frame with any bytes in it.
fn raw_frame(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("+{} ", content.len()).as_bytes(), content].concat()
}

fn lost_steps() -> Vec<Case> {
    let no_plus = ["{}", "\n", "\r\n", " ", "-5 q {}", "9 q {}", "\u{feff}+", "\0", "hello"];
    let http = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /queue/ HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n",
    ];
    let length =
        ["+ ", "++5 ", "+-5 ", "+0 ", "+05 q {}", "+5,0 ", "+5.0 ", "+0x5 ", "+5\t", "+5\n", "+1e2 ", "+\0", "+٥ "];
    let over = [
        format!("+{} ", MAX_LEN + 1),
        "+99999999 q ".into(),
        "+99999999999999999999999999999 ".into(),
        "+12560 ".into(),
    ];
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(no_plus.map(|bytes| (bytes.into(), "+LEN", Closed)));
    cases.push((b"\x16\x03\x01\x02\x00\x01".to_vec(), "+LEN", Closed));
    cases.push((b"\xff\xfe".to_vec(), "+LEN", Closed));
    cases.extend(http.map(|bytes| (bytes.into(), "HTTP", Closed)));
    cases.extend(length.map(|bytes| (bytes.into(), "length", Closed)));
    cases.extend(over.map(|bytes| (bytes.into(), "limit", Closed)));
    cases
}

fn bad_contents() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |about: &'static str, contents: &[&[u8]]| {
        cases.extend(contents.iter().map(|content| (raw_frame(content), about, Open)));
    };
    let long = "n".repeat(256);
    add("no space", &[b"nospace", b"{}", b"+", long.as_bytes()]);
    add(
        "queue name",
        &[b" {}", b"  {}", b"a\tb {}", b"a\0 {}", b"a\x7f {}", "a\u{85} {}".as_bytes(), b"\xff {}", b"\xed\xa0\x80 {}"],
    );
    add("queue name", &[format!("{long} {{}}").as_bytes()]);
    add(
        "not JSON",
        &[
            b"q {",
            b"q }",
            b"q ",
            b"q  ",
            b"q {}{}",
            b"q {a:1}",
            b"q {'a':1}",
            b"q {\"a\":1,}",
            b"q {\"a\":+1}",
            b"q {} +4 q {}",
        ],
    );
    add(
        "not JSON",
        &[b"q {\"a\":\"\n\"}", b"q nul", b"q {\"a\":NaN}", b"q {\"a\":\"\\x\"}", "q {\"a\":\u{a0}1}".as_bytes()],
    );
    add("not UTF-8", &[b"q {\"a\":\"\xff\"}", b"q \xff", b"q {\"\xed\xa0\x80\":1}"]);
    add("must be a JSON object", &[b"q 1", b"q \"a\"", b"q []", b"q null", b"q [{}]", b"q true", b"q  [{\"a\":1}] "]);
    let deep = |depth: usize| format!(r#"q {{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    add("nested", &[deep(129).as_bytes(), deep(300).as_bytes()]);
    add("limit", &[format!(r#"q {{"a":"{}"}}"#, "a".repeat(MAX_MESSAGE_BYTES - 7)).as_bytes()]);
    for (command, about) in [
        (r#"{"coremq_subscribe":5}"#, "coremq_subscribe takes"),
        (r#"{"coremq_subscribe":null}"#, "coremq_subscribe takes"),
        (r#"{"coremq_subscribe":["a",["b"]]}"#, "coremq_subscribe takes"),
        (r#"{"coremq_subscribe":["a","b c"]}"#, "queue name"),
        (r#"{"coremq_subscribe":""}"#, "queue name"),
        (r#"{"coremq_unsubscribe":{"a":1}}"#, "coremq_unsubscribe takes"),
        (r#"{"coremq_gethistory":true}"#, "coremq_gethistory takes"),
        (r#"{"coremq_gethistory":["\u0000"]}"#, "queue name"),
        (r#"{"coremq_options":["echo"]}"#, "coremq_options takes"),
        (r#"{"coremq_options":true}"#, "coremq_options takes"),
    ] {
        cases.push((frame("x", command), about, Open));
    }
    cases
}

/// Two good frames with the case between them. Every answer to it and the end of the connection are read later.
fn script(case: &Case) -> Vec<u8> {
    [frame("q", r#"{"n":1}"#), case.0.clone(), frame("q", r#"{"n":2}"#)].concat()
}

/// Reads to the end, after the client has said that it is done, and checks the answers.
fn check(wire: &mut Wire, case: &Case, about: &dyn Fn() -> String) {
    let mut answers = Vec::new();
    loop {
        match wire.try_next() {
            Ok(Some(frame)) => answers.push(frame.response()),
            Ok(None) => break,
            // What was sent to a closed connection is answered by a reset, after what was said before.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && case.2 == Closed => break,
            Err(error) => panic!("{error} after {answers:?}: {}", about()),
        }
    }
    let expected = if case.2 == Open { 4 } else { 3 };
    assert_eq!(answers.len(), expected, "{answers:?}: {}", about());
    assert_eq!((answers[1].as_str(), answers.get(3).map_or(SENT, String::as_str)), (SENT, SENT), "{}", about());
    assert!(answers[2].starts_with("ERROR: ") && answers[2].contains(case.1), "{answers:?}: {}", about());
}

fn finish(wire: &Wire) {
    // It may be closed already.
    let _ = wire.stream.shutdown(std::net::Shutdown::Write);
}

/// How many messages of the case's script are published.
fn published(case: &Case) -> u64 {
    if case.2 == Open { 2 } else { 1 }
}

#[test]
fn each_mistake_is_told_and_closes_only_when_the_step_is_lost() {
    let daemon = daemon();
    let cases: Vec<_> = lost_steps().into_iter().chain(bad_contents()).collect();
    for case in &cases {
        let mut wire = Wire::connect_deaf(daemon.tcp_address());
        wire.send(script(case));
        finish(&wire);
        check(&mut wire, case, &|| format!("{:?}", String::from_utf8_lossy(&case.0)));
    }
    let published: u64 = cases.iter().map(published).sum();
    assert_eq!(
        daemon.connect().status("q").unwrap()["put_pos"],
        published,
        "what stands behind a lost step is no frame"
    );
    for queue in ["a", "x", "n"] {
        assert_eq!(daemon.connect().status(queue), None, "{queue}: a mistake makes no queue");
    }
}

/// All the cases again, cut in two at each byte.
#[test]
fn the_verdict_does_not_depend_on_the_cut() {
    let daemon = daemon();
    let mut expected = 0;
    let cases = lost_steps().into_iter().chain(bad_contents()).filter(|case| case.0.len() < 60);
    for case in cases.collect::<Vec<_>>() {
        let script = script(&case);
        let cuts = 1..script.len();
        let mut wires: Vec<_> = cuts.clone().map(|_| Wire::connect_deaf(daemon.tcp_address())).collect();
        for (wire, cut) in wires.iter_mut().zip(cuts.clone()) {
            wire.send(&script[..cut]);
        }
        // A connection made after that is served after that, nearly always.
        daemon.wire().ask(r#"{"coremq_options":{}}"#);
        for (wire, cut) in wires.iter_mut().zip(cuts.clone()) {
            wire.send_if_open(&script[cut..]);
            finish(wire);
        }
        for (wire, cut) in wires.iter_mut().zip(cuts) {
            let about = || {
                format!("{:?} + {:?}", String::from_utf8_lossy(&script[..cut]), String::from_utf8_lossy(&script[cut..]))
            };
            check(wire, &case, &about);
            expected += published(&case);
        }
    }
    assert_eq!(daemon.connect().status("q").unwrap()["put_pos"], expected);
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let daemon = daemon();
    let (mut wire, mut subscriber) = (daemon.wire(), daemon.wire());
    subscriber.subscribe("é");
    for byte in [frame("é", r#"{"a":"世"}"#), frame("é", "{}")].concat() {
        wire.send([byte]);
        // The pace of the client: what is sent at once arrives in one piece.
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!([wire.answer(), wire.answer()], [SENT, SENT]);
    assert_eq!(subscriber.message("é"), json!({ "a": "世" }));
    assert_eq!(subscriber.message("é"), json!({}));
}

/// Answers come in the order of the requests, also when some wait for the disk and others for nothing.
#[test]
fn fifty_frames_in_one_go_are_answered_in_order() {
    let daemon = Daemon::start(|_| ());
    daemon.connect().put("work", "0");
    let mut wire = daemon.wire();
    for _ in 0..5 {
        let kinds: [(&str, Value, &str); 10] = [
            ("work", json!({ "n": 1 }), SENT),
            ("x", json!({ "coremq_status": 1 }), "status"),
            ("work", json!({ "n": 2 }), SENT),
            ("topic", json!({ "n": 3 }), SENT),
            ("x", json!({ "coremq_subscribe": ["a", "b"] }), "OK: Subscribe successful"),
            ("x", json!({ "coremq_gethistory": ["topic", "work"] }), "history"),
            ("x", json!({ "coremq_unsubscribe": "a" }), "OK: Unsubscribe successful"),
            ("work", json!({ "coremq_string": "text" }), SENT),
            ("x", json!({ "coremq_options": {} }), "OK: Options set"),
            ("x", json!({ "coremq_options": 5 }), "ERROR: coremq_options takes an object"),
        ];
        let requests: Vec<_> = kinds.iter().cycle().take(50).collect();
        wire.send(requests.iter().map(|(queue, json, _)| frame(queue, &json.to_string())).collect::<Vec<_>>().concat());
        for (at, (_, json, expected)) in requests.iter().enumerate() {
            let frame = wire.next();
            assert_eq!(frame.queue, wire.id);
            let answer = frame.value();
            match *expected {
                "status" => assert!(answer.get("master").is_some(), "{at}: {answer}"),
                "history" => assert!(answer["history"].get("topic").is_some(), "{at}: {answer}"),
                text => assert_eq!(answer["response"], text, "{at}: {json}"),
            }
        }
    }
    assert_eq!(daemon.connect().status("work").unwrap()["put_pos"], 1 + 5 * 15);
}

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    let daemon = daemon();
    let mut wire = daemon.wire();
    let name = "n".repeat(255);
    let json = json!({ "a": "a".repeat(MAX_MESSAGE_BYTES - 8) }).to_string();
    assert_eq!((json.len(), frame(&name, &json).len()), (MAX_MESSAGE_BYTES, MAX_LEN + "+1256 ".len()));
    for queue in ["q", &name] {
        let mut subscriber = daemon.wire();
        subscriber.subscribe(queue);
        assert_eq!(wire.publish(queue, &json), SENT);
        assert_eq!(subscriber.message(queue).to_string(), json);
        // One byte more: as a message it is an error in a whole frame, as a frame it is out of step.
        assert!(wire.publish("q", &(json.clone() + " ")).contains("limit"));
    }
    wire.send(frame(&name, &(json + " ")));
    assert!(wire.answer().contains("limit"));
    assert!(wire.is_closed());
}

#[test]
fn the_limit_of_names_holds_here_too() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_NAME_BYTES", 10);
    });
    let (mut wire, mut subscriber) = (daemon.wire(), daemon.wire());
    let (fits, too_long) = ("n".repeat(10), "n".repeat(11));
    subscriber.subscribe(&fits);
    assert_eq!(wire.publish(&fits, r#"{"a":1}"#), SENT);
    assert_eq!(subscriber.message(&fits), json!({ "a": 1 }));
    assert!(wire.publish(&too_long, r#"{"a":2}"#).starts_with("ERROR: "));
    assert_eq!(daemon.connect().ask(common::put_message(&too_long, "1")).code(), 3, "as by HTTP");
    wire.command(r#"{"coremq_status":1}"#);
    assert_eq!(wire.next().value()["queues"], 1);
    // The ids of connections are the server's, and longer.
    let id = subscriber.id.clone();
    assert_eq!(wire.publish(&id, r#"{"a":3}"#), SENT);
    assert_eq!(subscriber.message(&id), json!({ "a": 3 }));
}

/// A refused body may be long, and hold what looks like frames. The reason can be read nevertheless.
#[test]
fn what_follows_a_lost_step_is_never_executed() {
    let daemon = daemon();
    let inner = frame("q", r#"{"n":1}"#).repeat(20_000);
    let post = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", inner.len());
    for start in [post.as_str(), "+99999999 q ", "\n"] {
        let mut wire = Wire::connect_deaf(daemon.tcp_address());
        wire.send_if_open([start.as_bytes(), &inner].concat());
        wire.read_welcome();
        assert!(wire.answer().starts_with("ERROR: "), "{start:?}");
        assert!(wire.is_closed());
    }
    assert_eq!(daemon.connect().status("q"), None);
}

#[test]
fn http_is_told_that_this_is_not_its_port() {
    let daemon = daemon();
    let mut client = Client::connect(daemon.tcp_address());
    client.send(common::get("/status/?name=q"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut client.stream, &mut text).unwrap();
    assert!(text.starts_with('+') && text.contains("ERROR: ") && text.contains("HTTP"), "{text}");
}

#[test]
fn who_is_done_sending_is_answered_and_then_closed() {
    let daemon = Daemon::start(|_| ());
    daemon.connect().put("work", "0");
    let mut wire = daemon.wire();
    wire.send([frame("work", r#"{"n":1}"#), frame("topic", r#"{"n":1}"#), frame("work", r#"{"n":2}"#)].concat());
    wire.half_close();
    assert_eq!([wire.answer(), wire.answer(), wire.answer()], [SENT; 3]);
    assert!(wire.is_closed());
    // In the midst of a frame: that one was never sent.
    for part in ["+", "+9 ", "+9 q {", "+9 q {\"n\":"] {
        let mut wire = daemon.wire();
        wire.send(frame("topic", r#"{"n":2}"#));
        wire.send(part);
        wire.half_close();
        assert_eq!(wire.answer(), SENT);
        assert!(wire.is_closed(), "{part}");
    }
    assert_eq!(daemon.connect().status("q"), None);
}

/// The end of the input must not be read again and again.
#[test]
fn half_closed_connections_cost_nothing() {
    let daemon = daemon();
    let mut wires: Vec<_> = (0..50).map(|_| Wire::connect_narrow(daemon.tcp_address())).collect();
    for wire in &mut wires {
        wire.send(b"+100 q {");
        wire.half_close();
    }
    for wire in &mut wires {
        wire.read_welcome();
        assert!(wire.is_closed());
    }
    let before = daemon.process().cpu_s();
    let began = Instant::now();
    thread::sleep(Duration::from_millis(500));
    let share = (daemon.process().cpu_s() - before) / began.elapsed().as_secs_f64();
    assert!(share < 0.1, "{share} of a processor");
}

#[test]
fn a_frame_must_come_in_time_and_a_silent_connection_need_not() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", 1);
    });
    let mut idle = daemon.wire();
    let mut starts: Vec<_> = ["+", "+9", "+9 q {"].map(|start| (start, daemon.wire())).into();
    let began = Instant::now();
    starts.iter_mut().for_each(|(start, wire)| wire.send(start.as_bytes()));
    let mut dribbler = daemon.wire();
    dribbler.send(b"+1000 q {");
    for (start, wire) in &mut starts {
        let answer = wire.answer();
        assert!(answer.starts_with("ERROR: ") && answer.contains("time"), "{answer}");
        assert!(wire.is_closed(), "{start}");
    }
    let took = began.elapsed();
    assert!((0.95..3.0).contains(&took.as_secs_f64()), "{took:?}");
    // One that sends a little now and then has no more time.
    dribbler.send_if_open(b" ");
    assert!(dribbler.answer().contains("time"));
    assert_eq!(idle.publish("q", "{}"), SENT);
}

/// Time is counted for each frame by itself: in a stream that is always in the midst of some frame, each comes in time.
#[test]
fn a_stream_that_never_pauses_between_frames_goes_on() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", 1);
    });
    let mut wire = daemon.wire();
    let frame = frame("q", r#"{"n":1}"#);
    let (head, tail) = frame.split_at(7);
    let began = Instant::now();
    wire.send(head);
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(2500) {
        wire.send([tail, head].concat());
        assert_eq!(wire.answer(), SENT);
        count += 1;
        thread::sleep(Duration::from_millis(20));
    }
    wire.send(tail);
    assert_eq!(wire.answer(), SENT);
    assert_eq!(daemon.connect().status("q").unwrap()["put_pos"], count + 1);
}
