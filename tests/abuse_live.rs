//! Crowds at the doors of publish and subscribe, TCP and WebSocket, that want everything: memory, time, the disk.
//!
//! Goal and method are those of `tests/abuse.rs`. What one connection may take is in `tests/coremq_load.rs` and
//! `tests/websocket.rs`; here it is what all of them take together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // What was measured.

mod common;
#[path = "common/crowd.rs"]
mod crowd;
#[path = "common/websocket.rs"]
mod websocket;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, Wire, frame, wait_for};
use crowd::{Crowd, SetOnDrop, may_open, one_at_a_time};
use serde_json::{Value, json};
use websocket::{Socket, frame as websocket_frame};

const SENT: &str = "OK: Message sent";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const IDLE: usize = 10_000;
/// What an idle subscriber may take. A debug build's futures are larger.
const IDLE_BYTES: u64 = if cfg!(debug_assertions) { 28 * KIB } else { 20 * KIB };
const PACE: Duration = Duration::from_millis(10);
/// The first byte of the one frame of a text message, and of the first of many.
const TEXT: u8 = 0x81;
const TEXT_BEGUN: u8 = 0x01;
const CONTINUED: u8 = 0x00;
const PING: u8 = 0x89;
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: httpmq\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The id of no connection: what is published to it goes nowhere.
const NOBODY: &str = "123e4567-e89b-42d3-a456-426614174000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Tcp,
    WebSocket,
}

const DOORS: [Door; 2] = [Door::Tcp, Door::WebSocket];

impl Door {
    fn address(self, daemon: &Daemon) -> SocketAddr {
        match self {
            Door::Tcp => daemon.tcp_address(),
            Door::WebSocket => daemon.address(),
        }
    }

    /// Connections that were welcomed.
    fn crowd(self, daemon: &Daemon, count: usize) -> Crowd {
        let mut crowd = Crowd::connect(self.address(daemon), count);
        crowd.begin(if self == Door::WebSocket { HANDSHAKE } else { "" }, None);
        crowd.until_told("Welcome");
        crowd
    }

    fn command(self, json: &str) -> Vec<u8> {
        match self {
            Door::Tcp => frame("x", json),
            Door::WebSocket => websocket_frame(TEXT, json.as_bytes()),
        }
    }

    /// A message of so many bytes and a few.
    fn publish(self, queue: &str, bytes: usize) -> Vec<u8> {
        let text = "x".repeat(bytes);
        match self {
            Door::Tcp => frame(queue, &json!({ "a": text }).to_string()),
            Door::WebSocket => websocket_frame(TEXT, json!({ "queue": queue, "a": text }).to_string().as_bytes()),
        }
    }
}

fn start(setup: impl FnOnce(&mut common::Setup)) -> Daemon {
    Daemon::start_fast(|all| {
        all.set("LIMITS_MAX_CONNECTIONS", IDLE + 100).set("STORE_TAIL_CACHE_BYTES", "4 MiB");
        setup(all);
    })
}

fn status(wire: &mut Wire) -> Value {
    wire.command(r#"{"coremq_status":1}"#);
    wire.next().value()
}

#[test]
fn ten_thousand_idle_subscribers_take_little() {
    let _one = one_at_a_time();
    if !may_open(IDLE) {
        return;
    }
    for door in DOORS {
        let daemon = start(|_| ());
        let subscribed = |count| {
            let mut crowd = door.crowd(&daemon, count);
            crowd.begin(door.command(r#"{"coremq_subscribe":["topic"]}"#), None);
            crowd.until_told("Subscribe successful");
            crowd
        };
        drop(subscribed(100));
        let before = daemon.process().rss_bytes();
        let mut crowd = subscribed(IDLE);
        let each = (daemon.process().rss_bytes() - before) / IDLE as u64;
        println!("{door:?}: {IDLE} idle subscribers, {each} bytes each");
        assert!(each < IDLE_BYTES, "{door:?}: {each} bytes each");
        crowd.begin("", None);
        let began = Instant::now();
        assert_eq!(daemon.wire().publish("topic", r#"{"n":1}"#), SENT);
        crowd.until("served", PACE, |member| member.has_read(r#""n":1"#));
        println!("{door:?}: all have a message after {:?}", began.elapsed());
    }
}

/// Each sends half of a long message, and no more.
#[test]
fn half_messages_take_no_more_than_all_may_have() {
    const COUNT: usize = 200;
    let _one = one_at_a_time();
    for door in DOORS {
        let daemon = start(|setup| {
            setup.set("HTTP_BODY_TIMEOUT_S", 3).set("LIMITS_MAX_MESSAGE_BYTES", "2 MiB");
        });
        let mut crowd = door.crowd(&daemon, COUNT);
        let before = daemon.process().rss_bytes();
        let message = door.publish(NOBODY, (2 << 20) - 100);
        crowd.begin(&message[..message.len() / 2], None);
        let is_over = AtomicBool::new(false);
        let most = thread::scope(|scope| {
            let over = SetOnDrop(&is_over);
            // Who says little needs none of that memory.
            let honest = scope.spawn(|| {
                let (mut wire, mut most) = (daemon.wire(), 0);
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    assert_eq!(wire.publish("topic", "{}"), SENT);
                    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
                    most = most.max(daemon.process().rss_bytes());
                    thread::sleep(PACE);
                }
                most
            });
            crowd.until_told("ERROR: ");
            drop(over);
            honest.join().unwrap()
        });
        let told = |text: &str| crowd.members.iter().filter(|member| member.has_read(text)).count();
        let (slow, busy) = (told("did not come in time"), told("HTTPMQ_BUSY"));
        let grown = most - before;
        println!("{door:?}: {} KiB for {COUNT} halves of {MIB} bytes; {slow} too slow, {busy} busy", grown / KIB);
        assert!(slow >= 15 && slow + busy == COUNT, "{slow} and {busy}");
        assert!(grown < 32 * MIB + COUNT as u64 * 100 * KIB, "{grown} bytes");
        crowd.until_closed(PACE);
        let mut long = door.crowd(&daemon, 40);
        long.begin(door.publish(NOBODY, 1 << 20), None);
        long.until_told(SENT);
    }
}

/// What came in for a long message is not kept for the next one, which may never come.
#[test]
fn who_sent_something_long_once_takes_no_more_than_others() {
    const COUNT: usize = 600;
    const BYTES: usize = 512 << 10;
    let _one = one_at_a_time();
    if !may_open(COUNT) {
        return;
    }
    for door in DOORS {
        let daemon = start(|_| ());
        let mut crowd = door.crowd(&daemon, COUNT);
        let before = daemon.process().rss_bytes();
        crowd.begin(door.publish(NOBODY, BYTES), None);
        crowd.until_told(SENT);
        // Of 300 MiB that they sent, what those had at most that had their turn together: the allocator keeps it for the next ones.
        let grown = daemon.process().rss_bytes().saturating_sub(before);
        println!("{door:?}: {} KiB are left of {COUNT} messages of {} KiB", grown / KIB, BYTES >> 10);
        assert!(grown < 200 * MIB, "{grown} bytes");
        // Nothing is lost of what stands right behind something long.
        let mut few = door.crowd(&daemon, 20);
        few.begin([door.publish(NOBODY, BYTES), door.command(r#"{"coremq_status":1}"#)].concat().repeat(3), None);
        few.until("answered", PACE, |member| member.count(SENT) == 3 && member.count(r#""uptime_s""#) == 3);
    }
}

/// Pings between its fragments do not make a message younger.
#[test]
fn a_message_in_fragments_has_the_time_of_one_message() {
    let _one = one_at_a_time();
    let daemon = start(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", 1);
    });
    let mut socket = Socket::connect(daemon.address());
    socket.send_raw(&websocket_frame(TEXT_BEGUN, br#"{"queue":"#));
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_millis(2500) && daemon.process().established(daemon.address().port()) > 0 {
        let _ =
            socket.inner.get_mut().write_all(&[websocket_frame(PING, b"x"), websocket_frame(CONTINUED, b" ")].concat());
        pings += 1;
        thread::sleep(Duration::from_millis(50));
    }
    assert!((15..40).contains(&pings), "closed after {:?}", began.elapsed());
    let (_, texts) = socket.closed();
    assert!(texts.iter().any(|text| text.contains("did not come in time")), "{texts:?}");
}

/// One connection sends faster than the disk takes it.
#[test]
fn what_waits_for_the_disk_is_bounded_and_all_of_it_is_kept() {
    const COUNT: usize = 150;
    let _one = one_at_a_time();
    let daemon = Daemon::start(|setup| {
        setup.set("STORE_TAIL_CACHE_BYTES", "4 MiB");
    });
    daemon.connect().put("work", "0");
    let (mut wire, message) = (daemon.wire(), Door::Tcp.publish("work", 1_000_000));
    let mut sender = wire.reader();
    thread::scope(|scope| {
        scope.spawn(move || (0..COUNT).for_each(|_| sender.send(&message)));
        assert!((0..COUNT).all(|_| wire.answer() == SENT));
    });
    let peak = daemon.process().peak_rss_bytes();
    println!("{COUNT} messages of 1 MB in one go: {} MiB at most", peak / MIB);
    assert!(peak < 600 * MIB, "{peak} bytes");
    assert_eq!(daemon.connect().status("work").unwrap()["unread"], COUNT + 1);
}

/// A hundred who take nothing are dropped, and a thousand others go at once; who stays gets everything, and nobody waits for long.
#[test]
fn crowds_that_are_dropped_or_gone_at_once_stop_nobody() {
    // Each of them costs the system 3 MB of buffers before anything waits in the daemon.
    const STUCK: usize = 100;
    const GONE: usize = 1000;
    const MESSAGES: u64 = 80;
    let _one = one_at_a_time();
    if !may_open(STUCK + GONE) {
        return;
    }
    let daemon = start(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "1 MiB").set("PUBSUB_WRITE_TIMEOUT_S", 5);
    });
    let subscribe = Door::Tcp.command(r#"{"coremq_subscribe":["topic"]}"#);
    let stuck: Vec<_> = (0..STUCK)
        .map(|_| {
            let mut wire = Wire::connect_narrow(daemon.tcp_address());
            wire.read_welcome();
            wire.subscribe("topic");
            wire
        })
        .collect();
    let mut gone = Door::Tcp.crowd(&daemon, GONE);
    gone.begin(subscribe, None);
    gone.until_told("Subscribe successful");
    let mut gone = Some(gone);
    let (mut publisher, mut watcher) = (daemon.wire(), daemon.wire());
    let text = "x".repeat(64 << 10);
    let slowest = thread::scope(|scope| {
        let read = |mut wire: Wire| {
            wire.subscribe("topic");
            scope.spawn(move || (0..MESSAGES).all(|n| wire.message("topic")["n"] == n))
        };
        let readers: Vec<_> = (0..10).map(|_| read(daemon.wire())).collect();
        let mut slowest = Duration::ZERO;
        for n in 0..MESSAGES {
            if n == 3 {
                drop(gone.take());
            }
            let began = Instant::now();
            assert_eq!(publisher.publish("topic", &json!({ "n": n, "text": text }).to_string()), SENT);
            slowest = slowest.max(began.elapsed());
            thread::sleep(PACE);
        }
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()), "somebody missed something");
        slowest
    });
    wait_for("them to be dropped", || (status(&mut watcher)["dropped"] == STUCK).then_some(()));
    println!("the slowest publish took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    wait_for("all to be gone", || (status(&mut watcher)["connections"] == 2).then_some(()));
    drop(stuck);
}
