//! What one client of publish/subscribe may take from the others: memory, descriptors, time, messages.
//!
//! Goal: who takes too much is refused or dropped, and said to be; nobody else loses anything; memory stays bounded all the while.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::io::{ErrorKind, Write};
use std::thread;

use common::{Daemon, Wire, frame, wait_for};
use serde_json::{Value, json};

const SENT: &str = "OK: Message sent";
const SUBSCRIBED: &str = "OK: Subscribe successful";
const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

fn status(wire: &mut Wire) -> Value {
    wire.command(r#"{"coremq_status":1}"#);
    wire.next().value()
}

/// Waits until the daemon said that it dropped this connection.
fn wait_until_dropped(daemon: &Daemon, id: &str) {
    let is_said = |line: &String| line.contains("WARN") && line.contains("dropped") && line.contains(id);
    wait_for("the line that says who was dropped", || daemon.lines().iter().any(is_said).then_some(()));
}

/// Sends the same bytes again and again until the server closes, which it must do before they are too many. The server may stop
/// reading before that, but not for long.
fn send_until_closed(wire: &mut Wire, piece: &[u8], limit: usize) {
    let mut sent = 0;
    loop {
        match wire.stream.write_all(piece) {
            Ok(()) => sent += piece.len(),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
                return;
            }
        }
        assert!(sent < limit, "still open after {sent} bytes of requests");
    }
}

/// Connections that go in all the ways there are leave nothing behind.
#[test]
fn ten_thousand_connections_come_and_go() {
    const WAVES: usize = 20;
    const EACH: usize = 500;
    let daemon = Daemon::start_fast(|_| ());
    let mut watcher = daemon.wire();
    watcher.subscribe("topic");
    let mut after_first = None;
    for wave in 0..WAVES {
        let mut wires: Vec<_> = (0..EACH).map(|_| Wire::connect_deaf(daemon.tcp_address())).collect();
        for (n, wire) in wires.iter_mut().enumerate() {
            match n % 5 {
                // Unread bytes make a reset of the close.
                0 => {}
                1 => wire.read_welcome(),
                2 => wire
                    .send(frame("x", &json!({ "coremq_subscribe": ["topic", format!("q-{wave}-{n}")] }).to_string())),
                3 => {
                    wire.read_welcome();
                    wire.send(b"+1000 q {");
                }
                _ => {
                    wire.read_welcome();
                    wire.send(b"what is this");
                    assert!(wire.answer().starts_with("ERROR: "));
                    assert!(wire.is_closed());
                }
            }
        }
        assert!(status(&mut watcher)["connections"].as_u64().unwrap() > 1);
        drop(wires);
        wait_for("all of them to be gone", || (status(&mut watcher)["connections"] == 1).then_some(()));
        let process = daemon.process();
        let (files, _) = *after_first.get_or_insert((process.open_files(), process.rss_bytes()));
        wait_for("their descriptors to be closed", || (process.open_files() <= files).then_some(()));
    }
    let (_, first) = after_first.unwrap();
    let last = daemon.process().rss_bytes();
    assert!(last < first + 8 * MIB, "{first} bytes after the first {EACH} connections, {last} after all");
    assert_eq!(watcher.publish("topic", "{}"), SENT);
    assert_eq!(status(&mut watcher)["queues"], 1, "subscribing makes no queue");
}

#[test]
fn what_is_announced_takes_no_memory() {
    const COUNT: usize = 400;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", "32 MiB");
    });
    let process = daemon.process();
    let mut wires: Vec<_> = (0..COUNT).map(|_| daemon.wire()).collect();
    let (rss, reserved) = (process.rss_bytes(), process.virtual_bytes());
    for wire in &mut wires {
        wire.send(b"+67000000 q {");
    }
    // Then a little of it, so that the announcement was surely read.
    for wire in &mut wires {
        wire.send([b' '; KIB]);
    }
    assert_eq!(daemon.wire().publish("q", "{}"), SENT);
    let (rss, reserved) = (process.rss_bytes().saturating_sub(rss), process.virtual_bytes().saturating_sub(reserved));
    assert!(rss < 20 * (COUNT * KIB) as u64, "{rss} bytes for {COUNT} connections");
    assert!(reserved < 1024 * MIB, "{reserved} bytes reserved for {COUNT} connections");
}

#[test]
fn idle_connections_take_next_to_nothing() {
    const COUNT: usize = 800;
    let daemon = Daemon::start_fast(|_| ());
    let process = daemon.process();
    let before = {
        let _warm: Vec<_> = (0..20).map(|_| daemon.wire()).collect();
        process.rss_bytes()
    };
    let mut wires: Vec<_> = (0..COUNT).map(|_| daemon.wire()).collect();
    wires.iter_mut().for_each(|wire| wire.subscribe("q"));
    let each = process.rss_bytes().saturating_sub(before) / COUNT as u64;
    assert!(each < 20 << 10, "{each} bytes for each");
    let mut sender = daemon.wire();
    assert_eq!(sender.publish("q", r#"{"a":1}"#), SENT);
    wires.iter_mut().for_each(|wire| assert_eq!(wire.message("q"), json!({ "a": 1 })));
}

/// A client that asks and never reads the answers.
#[test]
fn who_does_not_read_its_answers_is_dropped() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "64 KiB").set("PUBSUB_WRITE_TIMEOUT_S", 1);
    });
    daemon.connect().put("work", "0");
    let before = daemon.process().rss_bytes();
    // Each kind of answer takes another way to the client.
    let requests = [
        frame("x", r#"{"coremq_status":1}"#),
        frame("topic", r#"{"n":1}"#),
        frame("work", r#"{"n":1}"#),
        frame("x", r#"{"coremq_options":5}"#),
        frame("x", r#"{"coremq_gethistory":["topic","work"]}"#),
    ];
    let ask = |request: &[u8]| {
        let mut wire = Wire::connect_narrow(daemon.tcp_address());
        wire.read_welcome();
        send_until_closed(&mut wire, &request.repeat(100), 64 << 20);
        wait_until_dropped(&daemon, &wire.id);
    };
    thread::scope(|scope| requests.iter().for_each(|request| drop(scope.spawn(|| ask(request)))));
    let grown = daemon.process().peak_rss_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    let mut wire = daemon.wire();
    assert_eq!(wire.publish("topic", "{}"), SENT);
    assert_eq!(status(&mut wire)["dropped"], 5);
}

/// One subscriber takes nothing. It is dropped, and those who do take what they are sent get everything.
#[test]
fn a_stuck_subscriber_is_dropped_and_the_others_lose_nothing() {
    const COUNT: u64 = 150;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "1 MiB");
    });
    daemon.connect().put("work", "0");
    for queue in ["topic", "work"] {
        let mut stuck = Wire::connect_narrow(daemon.tcp_address());
        stuck.read_welcome();
        stuck.subscribe(queue);
        let (mut put_by, others) = (daemon.wire(), (0..3).map(|_| daemon.wire()).collect::<Vec<_>>());
        let text = "x".repeat(64 * KIB);
        thread::scope(|scope| {
            let readers: Vec<_> = others
                .into_iter()
                .map(|mut wire| {
                    wire.subscribe(queue);
                    scope.spawn(move || (0..COUNT).all(|n| wire.message(queue)["n"] == n))
                })
                .collect();
            for n in 0..COUNT {
                assert_eq!(put_by.publish(queue, &json!({ "n": n, "text": text }).to_string()), SENT);
            }
            assert!(readers.into_iter().all(|reader| reader.join().unwrap()), "{queue}");
        });
        wait_until_dropped(&daemon, &stuck.id);
        // What it does read now is whole frames from the first on, and then the end.
        let mut next = 0;
        while let Ok(Some(frame)) = stuck.try_next() {
            assert_eq!(frame.message().0["n"], next);
            next += 1;
        }
        assert!(next < COUNT);
    }
    assert_eq!(status(&mut daemon.wire())["dropped"], 2);
}

/// A subscriber that is behind by less than its buffer, but takes nothing, is dropped as well.
#[test]
fn who_takes_nothing_for_long_is_dropped() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_WRITE_TIMEOUT_S", 1);
    });
    let mut stuck = Wire::connect_narrow(daemon.tcp_address());
    stuck.read_welcome();
    stuck.subscribe("q");
    let mut idle = daemon.wire();
    idle.subscribe("other");
    let mut sender = daemon.wire();
    let message = json!({ "text": "x".repeat(1000 * KIB) }).to_string();
    for _ in 0..6 {
        assert_eq!(sender.publish("q", &message), SENT);
    }
    wait_until_dropped(&daemon, &stuck.id);
    // Who was sent nothing took nothing, and stays.
    assert_eq!(sender.publish("other", "{}"), SENT);
    assert_eq!(idle.message("other"), json!({}));
}

/// A publisher that is far faster than the network must not cost those who read as fast as they can.
#[test]
fn who_reads_loses_nothing_to_a_fast_publisher() {
    const COUNT: u64 = 2000;
    let daemon = Daemon::start_fast(|_| ());
    let mut readers: Vec<_> = (0..4).map(|_| daemon.wire()).collect();
    readers.iter_mut().for_each(|wire| wire.subscribe("q"));
    let text = "é".repeat(2 * KIB);
    thread::scope(|scope| {
        for mut wire in readers {
            scope.spawn(move || (0..COUNT).for_each(|n| assert_eq!(wire.message("q")["n"], n)));
        }
        let mut wire = daemon.wire();
        let mut answers = wire.reader();
        scope.spawn(move || (0..COUNT).for_each(|_| assert_eq!(answers.answer(), SENT)));
        for n in 0..COUNT {
            wire.send(frame("q", &json!({ "n": n, "text": text }).to_string()));
        }
    });
}

/// A client that sends far more requests than it waits for answers, but reads them, is no slow one.
#[test]
fn who_reads_its_answers_may_ask_as_fast_as_it_can() {
    const COUNT: usize = 60_000;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "64 KiB");
    });
    daemon.connect().put("work", "0");
    for (queue, count) in [("topic", COUNT), ("work", COUNT / 10)] {
        let mut wire = daemon.wire();
        let mut answers = wire.reader();
        thread::scope(|scope| {
            scope.spawn(move || (0..count).for_each(|_| assert_eq!(answers.answer(), SENT)));
            let frames = frame(queue, "{}").repeat(1000);
            (0..count / 1000).for_each(|_| wire.send(&frames));
        });
    }
    assert_eq!(status(&mut daemon.wire())["dropped"], 0);
}

#[test]
fn a_history_asked_for_many_times_over_is_bounded() {
    let daemon = Daemon::start_fast(|_| ());
    let mut wire = daemon.wire();
    let message = json!({ "text": "x".repeat(50 * KIB) }).to_string();
    for _ in 0..10 {
        assert_eq!(wire.publish("q", &message), SENT);
    }
    let before = daemon.process().rss_bytes();
    wire.command(&json!({ "coremq_gethistory": vec!["q"; 10_000] }).to_string());
    let answer = wire.next().value();
    let refused = answer["response"].as_str().is_some_and(|text| text.starts_with("ERROR: "));
    assert!(refused || answer["history"]["q"].as_array().unwrap().len() == 10);
    let grown = daemon.process().peak_rss_bytes().saturating_sub(before);
    assert!(grown < 48 * MIB, "{grown} bytes");
    wire.command(&json!({ "coremq_gethistory": ["q", "q"] }).to_string());
    assert_eq!(wire.next().value()["history"]["q"].as_array().unwrap().len(), 10);
}

/// A message grows up to three times in ASCII, and a history has each twice. What is left of a long one are the newest messages.
#[test]
fn a_long_history_is_cut_to_its_newest_messages() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "64 KiB");
    });
    let mut wire = daemon.wire();
    for length in [100, 1000, 2000, 4000, 6000, 20_000] {
        let queue = format!("of-{length}");
        for n in 0..10 {
            let json = json!({ "n": n, "text": "é".repeat(length / 2) }).to_string();
            assert_eq!(wire.publish(&queue, &json), SENT);
        }
        wire.command(&json!({ "coremq_gethistory": queue }).to_string());
        let answer = wire.next().value();
        if length >= 6000 {
            assert!(answer["response"].as_str().unwrap().starts_with("ERROR: "), "not even one fits");
            continue;
        }
        let numbers: Vec<_> =
            answer["history"][&queue].as_array().unwrap().iter().map(|m| m["n"].as_u64().unwrap()).collect();
        let first = 10 - numbers.len() as u64;
        assert_eq!(numbers, (first..10).collect::<Vec<_>>());
        assert!((length == 100) == (first == 0) && first < 10, "{length}: {first}");
    }
    // Several queues at a time are not cut: one might be left out, as if it had no history.
    wire.command(r#"{"coremq_gethistory":["of-100","of-1000"]}"#);
    assert!(wire.next().value()["response"].as_str().unwrap().starts_with("ERROR: "));
    wire.command(r#"{"coremq_gethistory":["of-100","none"]}"#);
    assert_eq!(wire.next().value()["history"]["of-100"].as_array().unwrap().len(), 10);
}

#[test]
fn subscriptions_are_limited_and_counted_once() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 100);
    });
    let mut wire = daemon.wire();
    let names =
        |range: std::ops::Range<u32>| json!({ "coremq_subscribe": range.map(|n| n.to_string()).collect::<Vec<_>>() });
    assert_eq!(wire.ask(&json!({ "coremq_subscribe": vec!["0"; 1000] }).to_string()), SUBSCRIBED, "one queue");
    assert!(wire.ask(&names(0..101).to_string()).starts_with("ERROR: "));
    // What was refused did nothing, and took no room.
    let mut sender = daemon.wire();
    assert_eq!(sender.publish("50", r#"{"lost":1}"#), SENT);
    assert_eq!(wire.ask(&names(0..100).to_string()), SUBSCRIBED);
    assert!(wire.ask(&names(100..101).to_string()).starts_with("ERROR: "));
    assert_eq!(sender.publish("50", r#"{"a":1}"#), SENT);
    assert_eq!(wire.message("50"), json!({ "a": 1 }));
    // There is room again for as many as were given up.
    let answer = wire.ask(r#"{"coremq_unsubscribe":["50","51","52"]}"#);
    assert_eq!(answer, "OK: Unsubscribe successful");
    assert_eq!(wire.ask(&names(100..103).to_string()), SUBSCRIBED);
    assert!(wire.ask(&names(103..104).to_string()).starts_with("ERROR: "));
}

#[test]
fn options_that_mean_nothing_are_not_kept() {
    let daemon = Daemon::start_fast(|_| ());
    let mut wire = daemon.wire();
    let value = "x".repeat(1000 * KIB);
    let options = |n: u32| json!({ "coremq_options": { format!("option-{n}"): value } }).to_string();
    assert_eq!(wire.ask(&options(0)), "OK: Options set");
    let before = daemon.process().rss_bytes();
    for n in 1..50 {
        assert_eq!(wire.ask(&options(n)), "OK: Options set");
    }
    let grown = daemon.process().rss_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes");
}

#[test]
fn one_connection_too_many_is_told_so() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_CONNECTIONS", 3);
    });
    let mut wires: Vec<_> = (0..3).map(|_| daemon.wire()).collect();
    for _ in 0..5 {
        let mut refused = Wire::connect_deaf(daemon.tcp_address());
        let answer = refused.next().response();
        assert!(answer.starts_with("ERROR: ") && answer.contains("connections"), "{answer}");
        assert!(refused.is_closed());
    }
    wires.pop();
    let served = || {
        let mut wire = Wire::connect_deaf(daemon.tcp_address());
        let first = wire.next();
        wire.id.clone_from(&first.queue);
        (first.response() == "OK: Welcome from CoreMQ!").then_some(wire)
    };
    wires.push(wait_for("a place to be free", served));
    for wire in &mut wires {
        assert_eq!(wire.publish("q", "{}"), SENT);
    }
    assert_eq!(daemon.connect().status("q").unwrap()["put_pos"], 3);
}
