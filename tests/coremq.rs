//! Publish/subscribe over TCP as its users see it: every command and its answer, who gets which message, and in which order.
//!
//! Most of it goes through a client that reads like the original Python one and takes the next frame for its answer, so that an
//! answer that comes after the broadcast, or a frame that is not pure ASCII, fails the test.
//!
//! That a message does not come is shown by one that comes in its place: a mark that was sent later on the same way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{CoreMq, Daemon};
use serde_json::{Value, json};

const SENT: &str = "OK: Message sent";

fn daemon() -> Daemon {
    Daemon::start_fast(|_| ())
}

fn connect(daemon: &Daemon) -> CoreMq {
    CoreMq::connect(daemon.tcp_address()).unwrap()
}

/// Publishes; the next frame must be the answer.
fn publish(client: &mut CoreMq, queue: &str, message: &Value) {
    let (to, answer) = client.send_message(queue, message).unwrap();
    assert_eq!((to.as_str(), answer), (client.connection_id.as_str(), json!({ "response": SENT })), "{message}");
}

/// The next frame, which must be this message.
fn expect(client: &mut CoreMq, queue: &str, message: &Value, sender: &str) {
    let (from, mut got) = client.answer().unwrap();
    let stamps = got.as_object_mut().unwrap();
    let (by, sent) = (stamps.remove("coremq_sender"), stamps.remove("coremq_sent"));
    assert_eq!((from.as_str(), &got, by), (queue, message, Some(json!(sender))));
    assert!(sent.is_some_and(|sent| sent.is_f64()), "{got}");
}

/// Sends a mark to this connection's own id and expects it as the next message: nothing else was waiting.
fn expect_nothing(client: &mut CoreMq) {
    let id = client.connection_id.clone();
    publish(client, &id, &json!({ "mark": 1 }));
    expect(client, &id, &json!({ "mark": 1 }), &id);
}

/// The same with a mark that somebody else sends.
fn expect_nothing_from(sender: &mut CoreMq, client: &mut CoreMq) {
    let id = client.connection_id.clone();
    publish(sender, &id, &json!({ "mark": 2 }));
    expect(client, &id, &json!({ "mark": 2 }), &sender.connection_id);
}

fn is_uuid4(id: &str) -> bool {
    let groups: Vec<_> = id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && groups[2].starts_with('4')
        && groups[3].starts_with(['8', '9', 'a', 'b'])
}

#[test]
fn the_welcome_names_the_connection() {
    let daemon = daemon();
    let clients: Vec<_> = (0..20).map(|_| connect(&daemon)).collect();
    let ids: BTreeSet<_> = clients.iter().map(|client| client.connection_id.as_str()).collect();
    assert!(ids.iter().all(|id| is_uuid4(id)), "{ids:?}");
    assert_eq!(ids.len(), clients.len(), "each its own");
    for client in &clients {
        assert_eq!(client.welcome, json!({ "response": "OK: Welcome from CoreMQ!" }));
    }
}

#[test]
fn subscribers_get_what_is_published_until_they_unsubscribe() {
    let daemon = daemon();
    let (mut a, mut b, mut sender) = (connect(&daemon), connect(&daemon), connect(&daemon));
    let subscribed = json!({ "response": "OK: Subscribe successful" });
    assert_eq!(
        a.command(&json!({ "coremq_subscribe": "one" })).unwrap(),
        (a.connection_id.clone(), subscribed.clone())
    );
    assert_eq!(b.subscribe(&["one", "two", "one"]).unwrap().1, subscribed);
    // Not a second time, neither by the same command again nor by another queue's.
    assert_eq!(b.subscribe(&["two"]).unwrap().1, subscribed);
    assert_eq!(b.subscribe(&[]).unwrap().1, subscribed);

    for message in [json!({}), json!({ "a": 1 }), json!({ "b": [null, { "c": "d" }], "e": 1.5 })] {
        publish(&mut sender, "one", &message);
        for client in [&mut a, &mut b] {
            expect(client, "one", &message, &sender.connection_id);
        }
    }
    publish(&mut sender, "two", &json!({ "a": 2 }));
    expect(&mut b, "two", &json!({ "a": 2 }), &sender.connection_id);
    publish(&mut sender, "three", &json!({ "a": 3 }));
    expect_nothing_from(&mut sender, &mut a);
    expect_nothing_from(&mut sender, &mut b);

    let unsubscribed = json!({ "response": "OK: Unsubscribe successful" });
    assert_eq!(a.unsubscribe(&["one", "other"]).unwrap(), (a.connection_id.clone(), unsubscribed.clone()));
    assert_eq!(b.command(&json!({ "coremq_unsubscribe": "one" })).unwrap().1, unsubscribed);
    publish(&mut sender, "one", &json!({ "a": 4 }));
    expect_nothing_from(&mut sender, &mut a);
    publish(&mut sender, "two", &json!({ "a": 5 }));
    expect(&mut b, "two", &json!({ "a": 5 }), &sender.connection_id);
    assert_eq!(a.subscribe(&["one"]).unwrap().1, subscribed);
    publish(&mut sender, "one", &json!({ "a": 6 }));
    expect(&mut a, "one", &json!({ "a": 6 }), &sender.connection_id);
}

#[test]
fn a_sender_gets_its_own_message_only_with_echo() {
    let daemon = daemon();
    let mut client = connect(&daemon);
    let mut other = connect(&daemon);
    let id = client.connection_id.clone();
    // The one is a topic, the other a work queue, whose messages wait for the store.
    daemon.connect().put("work", "0");
    client.subscribe(&["topic", "work"]).unwrap();
    other.subscribe(&["topic", "work"]).unwrap();
    let mut number = 0;
    let mut check = |client: &mut CoreMq, echo: bool| {
        for queue in ["topic", "work"] {
            number += 1;
            publish(client, queue, &json!({ "number": number }));
            expect(&mut other, queue, &json!({ "number": number }), &id);
            if echo {
                expect(client, queue, &json!({ "number": number }), &id);
            }
        }
        expect_nothing(client);
    };
    check(&mut client, false);
    for (options, echo) in [
        (json!({ "echo": true }), true),
        (json!({ "other": 1 }), true),
        (json!({}), true),
        (json!({ "echo": false }), false),
        (json!({ "echo": true, "other": null }), true),
        (json!({ "echo": null }), false),
        (json!({ "echo": "true" }), false),
    ] {
        let answer = client.set_options(&options).unwrap();
        assert_eq!(answer, (id.clone(), json!({ "response": "OK: Options set" })), "{options}");
        check(&mut client, echo);
    }
    client.set_options(&json!({ "echo": true })).unwrap();
    client.unsubscribe(&["topic", "work"]).unwrap();
    check(&mut client, false);
}

/// Also when the client does not wait for the answers: each message of its own comes after the answer to it.
#[test]
fn the_answer_comes_before_the_own_message() {
    const COUNT: usize = 60;
    let daemon = daemon();
    daemon.connect().put("work", "0");
    for queue in ["topic", "work"] {
        let mut wire = daemon.wire();
        wire.subscribe(queue);
        assert_eq!(wire.ask(r#"{"coremq_options":{"echo":true}}"#), "OK: Options set");
        let frames: Vec<_> = (0..COUNT).map(|n| common::frame(queue, &json!({ "n": n }).to_string())).collect();
        wire.send(frames.concat());
        let (mut answers, mut messages) = (0, 0);
        while messages < COUNT {
            let frame = wire.next();
            if frame.queue == wire.id {
                assert_eq!(frame.response(), SENT);
                answers += 1;
            } else {
                assert_eq!((frame.queue.as_str(), frame.message().0), (queue, json!({ "n": messages })));
                messages += 1;
                assert!(messages <= answers, "{queue}: message {messages} came before its answer");
            }
        }
        assert_eq!(answers, COUNT);
    }
}

/// What a connection asks for later has no effect on what it asked for before, whether it waits for the answers or not.
#[test]
fn requests_take_effect_in_their_order() {
    let daemon = daemon();
    daemon.connect().put("work", "0");
    for queue in ["topic", "work"] {
        // Somebody else is subscribed all the time.
        let mut other = daemon.wire();
        other.subscribe(queue);
        for _ in 0..20 {
            let mut wire = daemon.wire();
            let id = wire.id.clone();
            let publish = |n: u32| (queue, json!({ "n": n }));
            let to_self = |json: Value| (id.as_str(), json);
            let requests = [
                to_self(json!({ "coremq_options": { "echo": true } })),
                publish(1),
                to_self(json!({ "coremq_subscribe": queue })),
                publish(2),
                to_self(json!({ "coremq_options": { "echo": false } })),
                publish(3),
                to_self(json!({ "coremq_options": { "echo": true } })),
                publish(4),
                to_self(json!({ "coremq_unsubscribe": queue })),
                publish(5),
                to_self(json!({ "mark": 1 })),
            ];
            let frames: Vec<_> = requests.iter().map(|(queue, json)| common::frame(queue, &json.to_string())).collect();
            wire.send(frames.concat());
            let (mut answers, mut messages) = (0, Vec::new());
            while answers < requests.len() || messages.last() != Some(&json!({ "mark": 1 })) {
                let frame = wire.next();
                match frame.value().get("response") {
                    Some(_) => answers += 1,
                    None => messages.push(frame.message().0),
                }
            }
            assert_eq!(messages, [json!({ "n": 2 }), json!({ "n": 4 }), json!({ "mark": 1 })], "{queue}");
        }
    }
}

/// Many clients take the next frame for the answer: a message of the queue must not be in front of the one to the subscribe,
/// nor behind the one to the unsubscribe.
#[test]
fn a_busy_queue_begins_and_ends_with_the_answer() {
    let daemon = daemon();
    daemon.connect().put("work", "0");
    for queue in ["topic", "work"] {
        let mut sender = daemon.wire();
        let mut answers = sender.reader();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let frames = common::frame(queue, "{}").repeat(20);
                while !done.load(Ordering::Relaxed) {
                    sender.send(&frames);
                    (0..20).for_each(|_| assert_eq!(answers.answer(), SENT));
                }
            });
            let _done = SetOnDrop(&done);
            let mut client = connect(&daemon);
            let id = client.connection_id.clone();
            for _ in 0..50 {
                assert_eq!(client.subscribe(&[queue]).unwrap().1, json!({ "response": "OK: Subscribe successful" }));
                expect_any(&mut client, queue);
                client.send(&id, &json!({ "coremq_unsubscribe": queue })).unwrap();
                while client.answer().unwrap().1.get("response").is_none() {}
                expect_nothing(&mut client);
            }
        });
    }
}

/// Tells a thread to end, also when the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The next frame, which must be a message of that queue.
fn expect_any(client: &mut CoreMq, queue: &str) {
    let (from, message) = client.answer().unwrap();
    assert!(from == queue && message.get("response").is_none(), "{from} {message}");
}

#[test]
fn history_is_the_last_ten_under_both_keys() {
    let daemon = daemon();
    let (mut client, mut sender) = (connect(&daemon), connect(&daemon));
    let before = now_s();
    for n in 0..13 {
        publish(&mut sender, "many", &json!({ "n": n }));
    }
    publish(&mut sender, "few", &json!("é"));
    daemon.connect().put("few", "[1,2.50]");
    let id = client.connection_id.clone();
    let history = |client: &mut CoreMq, queues: Value| {
        let (queue, answer) = client.command(&json!({ "coremq_gethistory": queues })).unwrap();
        assert_eq!(queue, id);
        assert_eq!(answer["response"], answer["history"]);
        assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
        answer["history"].clone()
    };
    let all = history(&mut client, json!(["few", "none", "many"]));
    let names: Vec<_> = all.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["few", "many"], "one without history is left out");
    let numbers: Vec<_> =
        all["many"].as_array().unwrap().iter().map(|message| message["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (3..13).collect::<Vec<_>>(), "oldest first");
    let mut last = before - 0.002;
    for message in all["many"].as_array().unwrap() {
        let sent = message["coremq_sent"].as_f64().unwrap();
        assert!(last <= sent && sent <= now_s() + 0.002, "{sent}");
        last = sent;
        assert_eq!(message["coremq_sender"], sender.connection_id.as_str());
        assert_eq!(message.as_object().unwrap().len(), 3, "{message}");
    }
    assert_eq!(
        (&all["few"][0]["coremq_string"], &all["few"][0]["coremq_sender"]),
        (&json!("é"), &json!(sender.connection_id))
    );
    assert_eq!((&all["few"][1]["coremq_data"], &all["few"][1]["coremq_sender"]), (&json!([1, 2.5]), &json!("http")));
    assert_eq!(all["few"].as_array().unwrap().len(), 2);

    assert_eq!(
        history(&mut client, json!("few"))["few"],
        all["few"],
        "asked for by name, and the same stamps as before"
    );
    assert_eq!(history(&mut client, json!(["none"])), json!({}));
    assert_eq!(history(&mut client, json!([])), json!({}));
    assert_eq!(daemon.connect().status("none"), None, "to ask for history makes no queue");
}

/// History shows a message that was just sent, and it is what a subscriber got, stamps included.
#[test]
fn history_is_what_subscribers_got() {
    let daemon = daemon();
    daemon.connect().put("work", "0");
    let mut subscriber = daemon.wire();
    let mut sender = daemon.wire();
    for queue in ["topic", "work"] {
        subscriber.subscribe(queue);
        for json in [r#"{"a":1.50,"b":"\u00e9 é"}"#, "{ }", r#"{"coremq_string":"x"}"#, r#"{ "a" : [ 1 , 2 ] }"#] {
            assert_eq!(sender.publish(queue, json), SENT);
            sender.command(&json!({ "coremq_gethistory": queue }).to_string());
            let history = sender.next().json;
            let live = subscriber.next().json;
            assert!(history.contains(&format!("{live}]")), "{live} is the last in {history}");
        }
    }
}

#[test]
fn status_has_the_shape_of_the_original_and_counts_connections() {
    let daemon = daemon();
    let mut client = connect(&daemon);
    let mut count = |expected: u64| {
        let (queue, status) = client.command(&json!({ "coremq_status": null })).unwrap();
        assert_eq!(queue, client.connection_id);
        assert!(status["master"].is_string(), "{status}");
        assert_eq!(status["replicants"], json!([]));
        status["connections"] == expected
    };
    assert!(count(1));
    let others: Vec<_> = (0..3).map(|_| connect(&daemon)).collect();
    assert!(count(4));
    drop(others);
    common::wait_for("the closed connections to be no longer counted", || count(1).then_some(()));
}

#[test]
fn a_connection_id_is_a_queue_from_point_to_point() {
    let daemon = daemon();
    let (mut a, mut b, mut c) = (connect(&daemon), connect(&daemon), connect(&daemon));
    let (a_id, b_id) = (a.connection_id.clone(), b.connection_id.clone());
    publish(&mut a, &b_id, &json!({ "to": "b" }));
    expect(&mut b, &b_id, &json!({ "to": "b" }), &a_id);
    publish(&mut b, &a_id, &json!("réponse"));
    expect(&mut a, &a_id, &json!({ "coremq_string": "réponse" }), &b_id);
    expect_nothing(&mut a);
    expect_nothing(&mut b);
    expect_nothing_from(&mut a, &mut c);
}

/// Who listens to somebody else's id may get the messages to it, but never the answers: they belong to who asked.
#[test]
fn answers_go_to_who_asked_and_to_nobody_else() {
    let daemon = daemon();
    let (mut spy, mut a) = (connect(&daemon), connect(&daemon));
    let a_id = a.connection_id.clone();
    spy.subscribe(&[a_id.as_str()]).unwrap();
    a.subscribe(&["q"]).unwrap();
    a.command(&json!({ "coremq_status": 1 })).unwrap();
    publish(&mut a, "q", &json!({ "a": 1 }));
    expect_nothing_from(&mut a, &mut spy);
    // A connection that unsubscribes from its own id is still answered.
    a.unsubscribe(&[a_id.as_str()]).unwrap();
    publish(&mut a, "q", &json!({ "a": 2 }));
}

/// Whatever the text: pure ASCII on the wire, LEN fits, and the value is the same. `CoreMq` cannot read anything else.
#[test]
fn messages_beyond_ascii_arrive_whole() {
    let daemon = daemon();
    let (mut client, mut sender) = (connect(&daemon), connect(&daemon));
    client.subscribe(&["q"]).unwrap();
    let texts = ["é", "世界", "😀", "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}", "\0\"\\\n\u{2028}", "ا"];
    for text in texts.iter().map(|text| (*text).to_owned()).chain([texts.concat().repeat(3000)]) {
        publish(&mut sender, "q", &json!(text));
        expect(&mut client, "q", &json!({ "coremq_string": text }), &sender.connection_id);
        let object = json!({ text.as_str(): [text, { "é": text }] });
        publish(&mut sender, "q", &object);
        expect(&mut client, "q", &object, &sender.connection_id);
    }
    // Unescaped, as other clients write it.
    let mut wire = daemon.wire();
    assert_eq!(wire.publish("q", r#"{"é":"世😀"}"#), SENT);
    expect(&mut client, "q", &json!({ "é": "世😀" }), &wire.id);
    daemon.connect().put("q", r#""世😀""#);
    expect(&mut client, "q", &json!({ "coremq_string": "世😀" }), "http");
}

#[test]
fn a_queue_name_is_utf8_and_its_length_counts_bytes() {
    let daemon = daemon();
    let (mut subscriber, mut sender) = (daemon.wire(), daemon.wire());
    let longest = "é".repeat(127) + "n";
    for name in ["é", "世界😀", "a/b?c=d&e", "+5", "{}", longest.as_str()] {
        subscriber.subscribe(name);
        assert_eq!(sender.publish(name, r#"{"a":1}"#), SENT);
        assert_eq!(subscriber.message(name), json!({ "a": 1 }));
        let json = json!({ "coremq_gethistory": [name] }).to_string();
        sender.command(&json);
        assert_eq!(sender.next().value()["history"][name].as_array().unwrap().len(), 1, "{name}");
    }
    assert_eq!(daemon.connect().take("%C3%A9").unwrap(), r#"{"a":1}"#);
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn stamps_are_the_servers_to_give() {
    let daemon = daemon();
    let (mut subscriber, mut sender) = (daemon.wire(), daemon.wire());
    subscriber.subscribe("q");
    for json in [
        r#"{"a":1}"#,
        r#"{"coremq_sender":"http","a":1}"#,
        r#"{"a":1,"coremq_sent":5,"coremq_sender":null}"#,
        r#"{"coremq_s\u0065nder":"somebody","a":1,"coremq_sent":"never","coremq_sender":"http"}"#,
    ] {
        let began = now_s();
        assert_eq!(sender.publish("q", json), SENT);
        let frame = subscriber.next();
        let (message, by, sent) = frame.message();
        assert_eq!((message, by.as_str()), (json!({ "a": 1 }), sender.id.as_str()), "{json}");
        // A stamp has milliseconds, cut off.
        assert!(began - 0.002 <= sent && sent <= now_s() + 0.002, "{sent} at {began}");
        let text = frame.json.split_once("\"coremq_sent\":").unwrap().1.trim_end_matches('}');
        let (seconds, fraction) = text.split_once('.').expect("a decimal point");
        assert!(
            seconds.len() == 10 && !fraction.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.'),
            "{text}"
        );
    }
}

#[test]
fn an_answered_subscribe_or_unsubscribe_holds_for_what_is_published_after_it() {
    let daemon = daemon();
    daemon.connect().put("work", "0");
    let (mut sender, mut client) = (daemon.wire(), daemon.wire());
    for queue in ["topic", "work"] {
        for n in 0..50 {
            client.subscribe(queue);
            assert_eq!(sender.publish(queue, &json!({ "n": n }).to_string()), SENT);
            assert_eq!(client.message(queue), json!({ "n": n }));
            let answer = client.ask(&json!({ "coremq_unsubscribe": [queue] }).to_string());
            assert_eq!(answer, "OK: Unsubscribe successful");
            assert_eq!(sender.publish(queue, &json!({ "lost": n }).to_string()), SENT);
        }
    }
}
