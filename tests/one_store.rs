//! A queue is one ring, whichever door a message came in by or leaves by: what is put by HTTP is seen by subscribers, what is
//! published over TCP is got by HTTP, and both survive the same restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use common::{Client, Daemon, Setup, Wire, frame, get, put_message};
use rustix::process::Signal;
use serde_json::{Value, json};

const SENT: &str = "OK: Message sent";
const FULL: &str = "ERROR: HTTPMQ_FULL";

fn fast() -> Daemon {
    Daemon::start_fast(|_| ())
}

/// Publishes a number, which must work.
fn publish(wire: &mut Wire, queue: &str, n: u64) {
    assert_eq!(wire.publish(queue, &json!({ "n": n }).to_string()), SENT);
}

/// The kept messages of a queue, with stamps; empty when there is none.
fn history(daemon: &Daemon, queue: &str) -> Vec<Value> {
    let mut wire = daemon.wire();
    wire.command(&json!({ "coremq_gethistory": [queue] }).to_string());
    let answer = wire.next().value();
    assert_eq!(answer["response"], answer["history"]);
    answer["history"].get(queue).map_or_else(Vec::new, |messages| messages.as_array().unwrap().clone())
}

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["n"].as_u64().unwrap()).collect()
}

fn kind(daemon: &Daemon, queue: &str) -> String {
    daemon.connect().status(queue).unwrap()["kind"].as_str().unwrap().to_owned()
}

/// Everything unread, as numbers.
fn drain(client: &mut Client, queue: &str) -> Vec<u64> {
    let number = |text: String| serde_json::from_str::<Value>(&text).unwrap()["n"].as_u64().unwrap();
    std::iter::from_fn(|| client.take(queue).map(number)).collect()
}

#[test]
fn what_is_put_by_http_goes_live() {
    let daemon = fast();
    let (mut a, mut b) = (daemon.wire(), daemon.wire());
    a.subscribe("q");
    b.subscribe("q");
    let mut client = daemon.connect();
    for (data, message) in [
        ("{}", json!({})),
        (r#"{"a":1}"#, json!({ "a": 1 })),
        (r#"{ "a" : [ 1.50 , "é" ] , "b" : null }"#, json!({ "a": [1.5, "é"], "b": null })),
        (r#""text""#, json!({ "coremq_string": "text" })),
        (r#""""#, json!({ "coremq_string": "" })),
        (r#""\u00e9\n世""#, json!({ "coremq_string": "é\n世" })),
        ("1", json!({ "coremq_data": 1 })),
        ("false", json!({ "coremq_data": false })),
        ("[1, {}]", json!({ "coremq_data": [1, {}] })),
        // Stamps are the server's to give; what else looks like the protocol's own is only a message.
        (r#"{"coremq_sender":"me","a":1,"coremq_sent":0}"#, json!({ "a": 1 })),
        (r#"{"coremq_s\u0065nder":"me"}"#, json!({})),
        (r#"{"coremq_subscribe":"other"}"#, json!({ "coremq_subscribe": "other" })),
        (r#"{"response":"BYE"}"#, json!({ "response": "BYE" })),
        (r#"{"queue":"q"}"#, json!({ "queue": "q" })),
    ] {
        client.put("q", data);
        for wire in [&mut a, &mut b] {
            let frame = wire.next();
            let (got, sender, _) = frame.message();
            assert_eq!((frame.queue.as_str(), &got, sender.as_str()), ("q", &message, "http"), "{data}");
        }
        // Numbers, spacing and the order of keys are the sender's.
        assert!(!data.contains("1.50") || history_text(&daemon, "q").contains(r#"[ 1.50 , "\u00e9" ]"#));
    }
    // What was got is not taken from subscribers, and what was refused is not sent to them.
    while client.take("q").is_some() {}
    client.ask(put_message("q", "null"));
    client.put("q", "2");
    assert_eq!(a.message("q"), json!({ "coremq_data": 2 }));
}

/// The exact text of a history's answer.
fn history_text(daemon: &Daemon, queue: &str) -> String {
    let mut wire = daemon.wire();
    wire.command(&json!({ "coremq_gethistory": queue }).to_string());
    wire.next().json
}

/// Every character becomes six bytes on the wire, the frame three times as long as the message; that is no reason to lose it.
#[test]
fn the_largest_message_goes_live() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "64 KiB");
    });
    let mut wire = daemon.wire();
    wire.subscribe("q");
    // As much as the envelope of a put leaves.
    let text = "é".repeat((1 << 19) - 30);
    for n in 0..3 {
        assert_eq!(daemon.connect().put("q", &json!(text).to_string()), n);
        assert!(wire.message("q") == json!({ "coremq_string": text }), "{n}");
    }
}

#[test]
fn what_is_published_by_tcp_is_got_by_http() {
    let daemon = fast();
    let (mut client, mut wire) = (daemon.connect(), daemon.wire());
    client.put("q", "0");
    let cases = [
        ("{}", "{}"),
        (r#"{ "a" : 1.50, "b":"\u00e9é" }"#, r#"{ "a" : 1.50, "b":"\u00e9é" }"#),
        (r#" {"a":1} "#, r#"{"a":1}"#),
        (r#"{"a":1,"coremq_sender":"me","coremq_sent":5}"#, r#"{"a":1}"#),
        (r#"{"coremq_sender":"me"}"#, "{}"),
        (r#"{"coremq_string":"text"}"#, r#""text""#),
        (r#"{ "coremq_string" : "" , "coremq_sent":1.5 }"#, r#""""#),
        (r#"{"coremq_data":[1, 2.0]}"#, "[1, 2.0]"),
        (r#"{"coremq_data":0}"#, "0"),
        (r#"{"coremq_string":"text","a":1}"#, r#"{"coremq_string":"text","a":1}"#),
        (r#"{"coremq_replicant":"x"}"#, r#"{"coremq_replicant":"x"}"#),
    ];
    for (number, (published, _)) in (1..).zip(cases) {
        assert_eq!(wire.publish("q", published), SENT);
        let status = client.status("q").unwrap();
        assert_eq!((&status["put_pos"], &status["unread"]), (&json!(number + 1), &json!(number + 1)), "{published}");
    }
    for (position, data) in (0..).zip(["0"].into_iter().chain(cases.map(|(_, data)| data))) {
        let expected = format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":{data}}}"#);
        assert_eq!(client.ask(get(&format!("/view/?name=q&position={position}"))).text(), expected);
        let response = client.ask(get("/queue/?name=q"));
        assert_eq!((response.text(), response.header("Pos")), (expected.as_str(), Some(&*position.to_string())));
    }
    assert_eq!(client.take("q"), None);
}

#[test]
fn a_queue_is_a_topic_until_the_first_put_or_get() {
    let daemon = fast();
    let (mut client, mut wire) = (daemon.connect(), daemon.wire());
    for turn in ["put", "get", "get of nothing"] {
        let queue = turn.replace(' ', "-");
        publish(&mut wire, &queue, 1);
        // All that only looks, and the reset, leave it what it is.
        client.ask(get(&format!("/view/?name={queue}&position=0")));
        history(&daemon, &queue);
        publish(&mut wire, &queue, 2);
        assert_eq!(kind(&daemon, &queue), "topic");
        if turn == "get of nothing" {
            client.ask(get(&format!("/reset/?name={queue}")));
            assert_eq!(kind(&daemon, &queue), "topic", "after a reset");
        }
        match turn {
            "put" => drop(client.put(&queue, "3")),
            "get" => assert_eq!(client.take(&queue).unwrap(), r#"{"n":1}"#, "the oldest that is kept"),
            _ => assert_eq!(client.take(&queue), None),
        }
        assert_eq!(kind(&daemon, &queue), "work", "{turn}");
        publish(&mut wire, &queue, 4);
        client.ask(get(&format!("/reset/?name={queue}")));
        publish(&mut wire, &queue, 5);
        assert_eq!(kind(&daemon, &queue), "work", "{turn}: for good");
    }
    client.put("http", "1");
    publish(&mut wire, "http", 2);
    assert_eq!(kind(&daemon, "http"), "work");
    // A get of a name that nobody published to yet leaves no mark on it.
    assert_eq!(client.take("later"), None);
    publish(&mut wire, "later", 1);
    assert_eq!(kind(&daemon, "later"), "topic");
}

/// A put that is refused is no put, and a get that is refused is no get.
#[test]
fn a_refused_request_turns_nothing() {
    let daemon = fast();
    let (mut client, mut wire) = (daemon.connect(), daemon.wire());
    publish(&mut wire, "q", 1);
    assert_eq!(client.ask(put_message("q", "null")).code(), 3);
    assert_eq!(client.ask(common::request("PUT", "/queue/", r#"{"name":"q"}"#)).code(), 3);
    assert_eq!(client.ask(get("/queue/")).code(), 3);
    assert_eq!(kind(&daemon, "q"), "topic");
}

#[test]
fn the_kind_survives_restarts_and_kills() {
    let mut daemon = Daemon::start(|setup| {
        setup.file("[queues.full]\nmax_len = 1\n");
    });
    let mut wire = daemon.wire();
    for queue in ["topic", "got", "got-nothing", "full", "put"] {
        publish(&mut wire, queue, 1);
    }
    let mut client = daemon.connect();
    assert_eq!(client.ask(get("/reset/?name=got-nothing")).code(), 1);
    assert_eq!(client.take("got-nothing"), None);
    client.take("got").unwrap();
    // A topic keeps more than a work queue may have, so this put is the one that turns it, and the one that is refused.
    publish(&mut wire, "full", 2);
    assert_eq!(client.ask(put_message("full", "3")).message(), "HTTPMQ_FULL");
    assert_eq!(kind(&daemon, "full"), "work");
    client.put("put", "2");
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        daemon = daemon.stop(signal).start_again();
        for queue in ["got", "put", "got-nothing", "full"] {
            assert_eq!(kind(&daemon, queue), "work", "{queue}, {signal:?}");
        }
        // The topic was staged before the put, so it was in its commit or in one before.
        assert_eq!(kind(&daemon, "topic"), "topic", "{signal:?}");
    }
}

#[test]
fn a_topic_is_never_full_and_keeps_its_last_messages() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("QUEUE_DEFAULTS_MAX_LEN", 5).set("QUEUE_DEFAULTS_HISTORY", 3);
        setup.file("[queues.\"none\"]\nhistory = 0\n[queues.\"long\"]\nhistory = 7\n");
    });
    let (mut client, mut wire) = (daemon.connect(), daemon.wire());
    for (queue, kept) in [("q", 3), ("none", 0), ("long", 7)] {
        for n in 0..23 {
            publish(&mut wire, queue, n);
        }
        assert_eq!(client.status(queue).unwrap()["unread"], kept, "{queue}");
        assert_eq!(numbers(&history(&daemon, queue)), (23 - kept..23).collect::<Vec<_>>(), "{queue}");
        assert_eq!(drain(&mut client, queue), (23 - kept..23).collect::<Vec<_>>(), "{queue}");
    }
}

#[test]
fn a_full_work_queue_refuses_what_is_published() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("QUEUE_DEFAULTS_MAX_LEN", 3);
    });
    let (mut client, mut wire, mut subscriber) = (daemon.connect(), daemon.wire(), daemon.wire());
    subscriber.subscribe("q");
    client.put("q", r#"{"n":0}"#);
    publish(&mut wire, "q", 1);
    publish(&mut wire, "q", 2);
    for _ in 0..3 {
        assert_eq!(wire.publish("q", r#"{"n":99}"#), FULL);
    }
    let status = client.status("q").unwrap();
    assert_eq!((&status["put_pos"], &status["unread"]), (&json!(3), &json!(3)));
    // The same in one go: what comes behind a refused message is looked at by itself.
    wire.send([frame("q", r#"{"n":99}"#), frame("other", r#"{"n":1}"#), frame("q", r#"{"n":99}"#)].concat());
    assert_eq!([wire.answer(), wire.answer(), wire.answer()], [FULL, SENT, FULL]);
    assert_eq!(client.take("q").unwrap(), r#"{"n":0}"#);
    publish(&mut wire, "q", 3);
    assert_eq!(wire.publish("q", r#"{"n":99}"#), FULL);
    let seen: Vec<_> = (0..4).map(|_| subscriber.message("q")["n"].clone()).collect();
    assert_eq!(seen, [0, 1, 2, 3], "who was refused is not heard");
    assert_eq!(numbers(&history(&daemon, "q")), [0, 1, 2, 3]);
    assert_eq!(drain(&mut client, "q"), [1, 2, 3]);
}

/// History does not depend on what was consumed, nor on how the server ended.
#[test]
fn the_history_of_a_work_queue_survives_restarts_and_kills() {
    let mut daemon = Daemon::start(|_| ());
    daemon.connect().put("q", r#"{"n":0}"#);
    let mut wire = daemon.wire();
    for n in 1..14 {
        publish(&mut wire, "q", n);
    }
    daemon.connect().put("q", r#"{"n":14}"#);
    let sent = history(&daemon, "q");
    assert_eq!(numbers(&sent), (5..15).collect::<Vec<_>>());
    assert_eq!((&sent[8]["coremq_sender"], &sent[9]["coremq_sender"]), (&json!(wire.id), &json!("http")));
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        daemon = daemon.stop(signal).start_again();
        assert_eq!(history(&daemon, "q"), sent, "{signal:?}: the same messages with the same stamps");
        let mut client = daemon.connect();
        for _ in 0..5 {
            client.take("q").unwrap();
        }
        assert_eq!(history(&daemon, "q"), sent, "{signal:?}: got or not");
    }
    assert_eq!(daemon.connect().take("q"), None);
    daemon = daemon.kill().start_again();
    assert_eq!(history(&daemon, "q"), sent);
    let mut wire = daemon.wire();
    publish(&mut wire, "q", 15);
    assert_eq!(numbers(&history(&daemon, "q")), (6..16).collect::<Vec<_>>());
}

/// A topic's messages are written behind: after an orderly stop all of them are there, after a kill at least those that were
/// sent before something else was answered that is on disk.
#[test]
fn the_history_of_a_topic_survives_too() {
    let mut daemon = Daemon::start(|_| ());
    let mut count = 0;
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
        let mut wire = daemon.wire();
        for _ in 0..12 {
            publish(&mut wire, "q", count);
            count += 1;
        }
        let sent = history(&daemon, "q");
        assert_eq!(numbers(&sent), (count - 10..count).collect::<Vec<_>>(), "at once");
        if signal == Signal::KILL {
            daemon.connect().put("other", "1");
        }
        daemon = daemon.stop(signal).start_again();
        assert_eq!(history(&daemon, "q"), sent, "{signal:?}");
        let status = daemon.connect().status("q").unwrap();
        assert_eq!(
            (&status["put_pos"], &status["unread"], &status["kind"]),
            (&json!(count), &json!(10), &json!("topic"))
        );
    }
}

/// An answer to a publish on a work queue is the same promise as one to a put.
#[test]
fn a_sent_message_survives_a_kill() {
    const COUNT: u64 = 400;
    let daemon = Daemon::start(|_| ());
    daemon.connect().put("q", "0");
    daemon.connect().take("q");
    let mut wire = daemon.wire();
    let frames: Vec<_> = (0..COUNT).map(|n| frame("q", &json!({ "n": n }).to_string())).collect();
    wire.send(frames.concat());
    let mut answered: u64 = 0;
    while answered < COUNT / 4 {
        assert_eq!(wire.answer(), SENT);
        answered += 1;
    }
    let ended = daemon.kill();
    // What was on its way is an answer as well.
    while let Ok(Some(frame)) = wire.try_next() {
        assert_eq!(frame.response(), SENT);
        answered += 1;
    }
    let found = drain(&mut ended.start_again().connect(), "q");
    assert!(found.len() as u64 >= answered, "{answered} were answered, {} are there", found.len());
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
}

#[test]
fn the_queue_of_a_connection_is_not_stored() {
    let mut daemon = Daemon::start(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 2);
    });
    let mut ids = Vec::new();
    let (mut a, mut b, gone) = (daemon.wire(), daemon.wire(), daemon.wire());
    ids.extend([a.id.clone(), b.id.clone(), gone.id.clone()]);
    drop(gone);
    let mut status = daemon.wire();
    common::wait_for("the connection to be gone", || {
        status.command(r#"{"coremq_status":1}"#);
        (status.next().value()["connections"] == 3).then_some(())
    });
    for id in &ids {
        publish(&mut a, id, 1);
        if *id == a.id {
            assert_eq!(a.message(id), json!({ "n": 1 }));
        }
    }
    assert_eq!(b.message(&ids[1]), json!({ "n": 1 }));
    // They do not count as queues either.
    publish(&mut a, "one", 1);
    publish(&mut a, "two", 1);
    for id in [&ids[0], &ids[2], &ids[1]] {
        publish(&mut b, id, 2);
    }
    assert_eq!(a.message(&ids[0]), json!({ "n": 2 }));
    assert_eq!(b.message(&ids[1]), json!({ "n": 2 }));
    for _ in 0..2 {
        for id in &ids {
            assert_eq!(daemon.connect().status(id), None, "{id}");
            assert_eq!(daemon.connect().take(id), None, "{id}");
            assert_eq!(history(&daemon, id), Vec::<Value>::new(), "{id}");
        }
        daemon = daemon.stop(Signal::TERM).start_again();
    }
    let mut wire = daemon.wire();
    wire.command(r#"{"coremq_status":1}"#);
    assert_eq!(wire.next().value()["queues"], 2);
}

#[test]
fn one_queue_too_many_is_refused_to_publishers_too() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 2);
    });
    let (mut wire, mut subscriber) = (daemon.wire(), daemon.wire());
    subscriber.subscribe("three");
    publish(&mut wire, "one", 1);
    daemon.connect().put("two", "1");
    let answer = wire.publish("three", r#"{"n":1}"#);
    assert!(answer.starts_with("ERROR: ") && answer.to_lowercase().contains("queues"), "{answer}");
    publish(&mut wire, "one", 2);
    assert_eq!(daemon.connect().status("three"), None);
    publish(&mut wire, &subscriber.id.clone(), 3);
    assert_eq!(subscriber.message(&subscriber.id.clone()), json!({ "n": 3 }), "and not what was refused");
}

/// Without room on the disk a work queue takes nothing more; what is live only goes on.
#[test]
fn a_full_disk_is_said_to_publishers() {
    let daemon = Daemon::start(|_| ());
    daemon.connect().put("q", r#"{"n":1}"#);
    let ended = daemon.stop(Signal::TERM);
    let mut setup = Setup::default();
    setup.set("STORE_DISK_RESERVE_BYTES", "1024 GiB");
    let daemon = Daemon::start_in(ended.dir, setup).unwrap();
    if daemon.connect().ask(put_message("q", "2")).status != 507 {
        eprintln!("skipped: this disk has more than a terabyte free");
        return;
    }
    let (mut wire, mut subscriber) = (daemon.wire(), daemon.wire());
    subscriber.subscribe("q");
    assert_eq!(wire.publish("q", r#"{"n":2}"#), "ERROR: HTTPMQ_STORAGE_FULL");
    publish(&mut wire, &subscriber.id.clone(), 3);
    assert_eq!(subscriber.message(&subscriber.id.clone()), json!({ "n": 3 }), "and not what was refused");
    assert_eq!(drain(&mut daemon.connect(), "q"), [1]);
}
