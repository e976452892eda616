//! All subscribers of a queue see its messages in the order of their positions, whichever door they came through.
//!
//! Method: several connections publish as fast as they can, HTTP clients put to the same queue, and everybody who could notice
//! writes down what came: subscribers, publishers with echo, and one HTTP client that gets what is in the store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use common::{Daemon, Wire, frame};
use serde_json::{Value, json};

const PUBLISHERS: usize = 4;
const PUTTERS: usize = 2;
const SUBSCRIBERS: usize = 8;
/// Frames that a publisher sends at a time.
const BATCH: usize = 20;
const BATCHES: usize = 6;
/// Puts of each HTTP client.
const PUTS: usize = 40;

const SENT: &str = "OK: Message sent";
const FULL: &str = "ERROR: HTTPMQ_FULL";

/// A message: who sent it, and its number there.
type Name = (usize, usize);

fn text(sender: usize, n: usize) -> String {
    json!({ "s": sender, "n": n }).to_string()
}

fn name(message: &Value) -> Name {
    let number = |key: &str| usize::try_from(message[key].as_u64().unwrap()).unwrap();
    (number("s"), number("n"))
}

/// Starts subscribers that write down what comes until the mark.
fn subscribers<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    daemon: &Daemon,
    queue: &'static str,
) -> Vec<ScopedJoinHandle<'scope, Vec<Name>>> {
    let subscribed = (0..SUBSCRIBERS).map(|_| {
        let mut wire = daemon.wire();
        wire.subscribe(queue);
        wire
    });
    let until_mark = |mut wire: Wire| {
        let messages = std::iter::from_fn(|| Some(wire.message(queue)));
        messages.take_while(|message| message.get("mark").is_none()).map(|message| name(&message)).collect()
    };
    subscribed.map(|wire| scope.spawn(move || until_mark(wire))).collect()
}

/// What one publisher saw.
struct Published {
    /// The numbers of its messages that were taken.
    sent: Vec<Name>,
    /// What came back to it by echo, messages of all senders.
    seen: Vec<Name>,
}

/// Publishes in batches, subscribed and with echo. The own message comes after its answer, and a refused one not at all.
fn publisher(mut wire: Wire, queue: &str, me: usize) -> Published {
    let id = wire.id.clone();
    let (mut asked, mut sent, mut seen) = (0, Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let frames: Vec<_> = (asked..asked + BATCH).map(|n| frame(queue, &text(me, n))).collect();
        wire.send(frames.concat());
        let until = asked + BATCH;
        while asked < until {
            let frame = wire.next();
            if frame.queue == id {
                match frame.response().as_str() {
                    SENT => sent.push((me, asked)),
                    answer => assert_eq!(answer, FULL),
                }
                asked += 1;
            } else {
                let name = name(&frame.message().0);
                assert!(name.0 != me || sent.contains(&name), "{name:?} came before its answer");
                seen.push(name);
            }
        }
    }
    Published { sent, seen }
}

/// Puts by HTTP; gives what was taken.
fn putter(daemon: &Daemon, queue: &str, me: usize) -> Vec<Name> {
    let mut client = daemon.connect();
    let put = |n: &usize| match client.ask(common::put_message(queue, &text(me, *n))).message().as_str() {
        "HTTPMQ_PUT_OK" => true,
        answer => {
            assert_eq!(answer, "HTTPMQ_FULL");
            false
        }
    };
    (0..PUTS).filter(put).map(|n| (me, n)).collect()
}

/// Takes messages until it is told that no more come.
fn consumer(daemon: &Daemon, queue: &str, done: &AtomicBool) -> Vec<Name> {
    let mut client = daemon.connect();
    let mut taken = Vec::new();
    loop {
        let was_done = done.load(Ordering::Acquire);
        match client.take(queue) {
            Some(message) => taken.push(name(&serde_json::from_str(&message).unwrap())),
            None if was_done => return taken,
            None => thread::yield_now(),
        }
    }
}

/// What was sent, what subscribers saw, what was in the store.
struct Outcome {
    /// By sender, in the order in which each sent them.
    sent: BTreeMap<usize, Vec<Name>>,
    /// The order that all subscribers saw.
    seen: Vec<Name>,
    /// The order in which the store had them; of a topic the end of it.
    stored: Vec<Name>,
}

/// What happens beside the publishing.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Puts,
    PutsAndGets,
    Resets,
}

/// Lets everybody loose on a queue, and compares what they saw.
fn run(daemon: &Daemon, queue: &'static str, beside: Beside) -> Outcome {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let subscribers = subscribers(scope, daemon, queue);
        // All are subscribed before the first of them publishes.
        let wires: Vec<_> = (0..PUBLISHERS)
            .map(|_| {
                let mut wire = daemon.wire();
                wire.subscribe(queue);
                assert_eq!(wire.ask(r#"{"coremq_options":{"echo":true}}"#), "OK: Options set");
                wire
            })
            .collect();
        let publishers = wires.into_iter().enumerate();
        let publishers: Vec<_> = publishers.map(|(me, wire)| scope.spawn(move || publisher(wire, queue, me))).collect();
        let putters = if matches!(beside, Beside::Puts | Beside::PutsAndGets) { PUTTERS } else { 0 };
        let putters: Vec<_> = (0..putters)
            .map(|n| PUBLISHERS + n)
            .map(|me| scope.spawn(move || (me, putter(daemon, queue, me))))
            .collect();
        let consumer = (beside == Beside::PutsAndGets).then(|| scope.spawn(|| consumer(daemon, queue, &done)));
        if beside == Beside::Resets {
            let mut client = daemon.connect();
            while publishers.iter().any(|publisher| !publisher.is_finished()) {
                client.ask(common::get(&format!("/reset/?name={queue}")));
            }
        }
        let published: Vec<_> = publishers.into_iter().map(|thread| thread.join().unwrap()).collect();
        let mut sent: BTreeMap<_, _> = putters.into_iter().map(|thread| thread.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        let stored = match consumer {
            Some(thread) => thread.join().unwrap(),
            None if beside == Beside::Resets => Vec::new(),
            None => consumer_of_rest(daemon, queue),
        };
        assert_eq!(daemon.wire().publish(queue, r#"{"mark":1}"#), SENT);
        let mut orders: Vec<_> = subscribers.into_iter().map(|thread| thread.join().unwrap()).collect();
        let seen = orders.pop().unwrap();
        assert!(orders.iter().all(|order| *order == seen), "not all subscribers saw the same order");
        for (me, published) in published.into_iter().enumerate() {
            assert!(seen.starts_with(&published.seen), "a publisher with echo saw another order");
            sent.insert(me, published.sent);
        }
        Outcome { sent, seen, stored }
    })
}

fn consumer_of_rest(daemon: &Daemon, queue: &str) -> Vec<Name> {
    consumer(daemon, queue, &AtomicBool::new(true))
}

/// What was taken came once to each subscriber, and of each sender in its order; what was refused did not come.
fn check_complete(outcome: &Outcome) {
    for (sender, sent) in &outcome.sent {
        let seen: Vec<_> = outcome.seen.iter().filter(|name| name.0 == *sender).copied().collect();
        assert_eq!(seen, *sent, "of sender {sender}");
    }
    assert_eq!(outcome.seen.len(), outcome.sent.values().map(Vec::len).sum::<usize>());
}

const ALL_PUBLISHED: usize = PUBLISHERS * BATCHES * BATCH;

#[test]
fn of_a_work_queue_it_is_the_order_of_positions() {
    // Once with answers that wait for the disk, once with those that do not.
    for sync in ["always", "never"] {
        let daemon = Daemon::start(|setup| {
            setup.set("STORE_SYNC", sync);
        });
        let mut client = daemon.connect();
        client.put("q", r#""first""#);
        assert_eq!(client.take("q").unwrap(), r#""first""#);
        for beside in [Beside::Puts, Beside::PutsAndGets] {
            let outcome = run(&daemon, "q", beside);
            check_complete(&outcome);
            assert_eq!(outcome.seen.len(), ALL_PUBLISHED + PUTTERS * PUTS, "nothing was refused");
            assert_eq!(outcome.stored, outcome.seen, "sync {sync}");
            assert_eq!(client.take("q").unwrap(), r#"{"mark":1}"#);
        }
    }
}

#[test]
fn of_a_topic_it_is_the_order_of_its_history() {
    let daemon = Daemon::start_fast(|_| ());
    let outcome = run(&daemon, "q", Beside::Nothing);
    check_complete(&outcome);
    assert_eq!(outcome.seen.len(), ALL_PUBLISHED);
    assert_eq!(outcome.stored, outcome.seen[ALL_PUBLISHED - 10..]);
}

/// The queue begins as a topic, whose messages wait for nothing, and becomes a work queue, whose messages wait for the
/// store, in the midst of it.
#[test]
fn it_stays_when_a_topic_becomes_a_work_queue() {
    for sync in ["always", "never"] {
        let daemon = Daemon::start(|setup| {
            setup.set("STORE_SYNC", sync);
        });
        for queue in ["a", "b"] {
            assert_eq!(daemon.wire().publish(queue, &text(99, 0)), SENT);
            assert_eq!(daemon.connect().status(queue).unwrap()["kind"], "topic");
            let outcome = run(&daemon, queue, Beside::Puts);
            check_complete(&outcome);
            assert!(outcome.stored.len() >= PUTTERS * PUTS, "all that was put is there");
            let mut all = vec![(99, 0)];
            all.extend(&outcome.seen);
            assert!(all.ends_with(&outcome.stored), "sync {sync}");
        }
    }
}

/// Of a full queue the refused ones reach nobody, and the others all.
#[test]
fn a_full_queue_refuses_and_goes_on() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("QUEUE_DEFAULTS_MAX_LEN", 30);
    });
    let mut client = daemon.connect();
    client.put("q", "0");
    client.take("q");
    let outcome = run(&daemon, "q", Beside::PutsAndGets);
    check_complete(&outcome);
    assert_eq!(outcome.stored, outcome.seen);
}

/// A reset forgets what is stored. Subscribers have got it, or will.
#[test]
fn a_reset_stops_nobody() {
    let daemon = Daemon::start_fast(|_| ());
    for queue in ["topic", "work"] {
        if queue == "work" {
            daemon.connect().put(queue, "0");
        }
        let outcome = run(&daemon, queue, Beside::Resets);
        check_complete(&outcome);
        assert_eq!(outcome.seen.len(), ALL_PUBLISHED);
        let mut client = daemon.connect();
        client.ask(common::get(&format!("/reset/?name={queue}")));
        let status = client.status(queue).unwrap();
        assert_eq!((&status["put_pos"], &status["unread"], &status["kind"]), (&json!(0), &json!(0), &json!(queue)));
    }
}
