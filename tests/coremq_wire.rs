//! CoreMQ as hostile or clumsy clients send it: in pieces, in bulk, too long, half. What is malformed is in `tests/bad_input.rs`.
//!
//! Goal: answers come in the order of the requests, nothing that stands behind a lost step is ever taken for a frame, and a client
//! can read why it was refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Daemon, Wire, frame};
use serde_json::{Value, json};

const SENT: &str = "OK: Message sent";
const MAX_MESSAGE_BYTES: usize = 1000;
/// The greatest LEN: a message with the longest name and the space between them.
const MAX_LEN: usize = MAX_MESSAGE_BYTES + 256;

fn daemon() -> Daemon {
    Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", MAX_MESSAGE_BYTES);
    })
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

/// Publishes that come together are taken together, and are answered and delivered as if each had come alone.
#[test]
fn publishes_in_a_row_are_each_their_own() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("QUEUE_DEFAULTS_MAX_LEN", 3).set("LIMITS_MAX_NAME_BYTES", 200);
    });
    daemon.connect().put("work", "0");
    let (mut wire, mut subscriber) = (daemon.wire(), daemon.wire());
    ["work", "topic"].into_iter().for_each(|queue| subscriber.subscribe(queue));
    let (own, other) = (wire.id.clone(), subscriber.id.clone());
    let row = |queue: &str, count: usize| -> Vec<u8> {
        (0..count).flat_map(|n| frame(queue, &json!({ "n": n }).to_string())).collect()
    };
    let broken = b"+9 work {x:}".to_vec();
    wire.send(
        [row("work", 2), row(&other, 2), broken, row("work", 3), row("topic", 300), row(&"n".repeat(201), 2)].concat(),
    );
    let full = "ERROR: HTTPMQ_FULL";
    for (count, expected) in
        [(4, SENT), (1, "ERROR: message is not JSON"), (3, full), (300, SENT), (2, "ERROR: bad queue name")]
    {
        for at in 0..count {
            let frame = wire.next();
            assert_eq!(frame.queue, own);
            assert!(frame.response().starts_with(expected), "{at} of {count}: {}", frame.response());
        }
    }
    let delivered: Vec<_> = (0..304).map(|_| subscriber.next()).collect();
    for (queue, count) in [("work", 2), (&*other, 2), ("topic", 300)] {
        let of_queue = delivered.iter().filter(|frame| frame.queue == queue);
        let messages: Vec<_> = of_queue.map(|frame| frame.message().0).collect();
        assert_eq!(messages, (0..count).map(|n| json!({ "n": n })).collect::<Vec<_>>(), "{queue}");
    }
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
