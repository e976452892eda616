//! WebSockets, through the real program: CoreMQ's protocol as text messages at `/ws`, beside the other two doors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;
#[path = "common/websocket.rs"]
mod websocket;

use std::net::SocketAddr;
use std::thread;

use common::{Client, CoreMq, Daemon, get, put_message, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use websocket::{Socket, frame, tcp};

const SENT: &str = "OK: Message sent";

fn start() -> Daemon {
    Daemon::start_fast(|_| {})
}

fn tcp_address(daemon: &Daemon) -> SocketAddr {
    let address = |line: &String| line.split_once("coremq listening on ")?.1.trim().parse().ok();
    wait_for("the TCP listener", || daemon.lines().iter().find_map(address))
}

/// A request for a WebSocket, with headers changed: one with the value `-` is left out.
fn handshake(changed: &[(&str, &str)]) -> String {
    let mut headers = vec![
        ("Host", "httpmq"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    headers.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
    headers.extend(changed.iter().filter(|(_, value)| *value != "-"));
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /ws HTTP/1.1\r\n{headers}\r\n")
}

// ===== the protocol =====

#[test]
fn everything_that_coremq_has_goes_over_a_websocket() {
    let daemon = start();
    let (mut a, mut b) = (Socket::connect(daemon.address()), Socket::connect(daemon.address()));
    a.subscribe(&["news"]);
    assert_eq!(b.ask(&json!({ "queue": "news", "n": 1.50, "é": "世" })), SENT);
    let got = a.next();
    assert_eq!((&got["queue"], &got["n"], &got["é"]), (&json!("news"), &json!(1.5), &json!("世")));
    assert_eq!(got["coremq_sender"], b.id.as_str());
    assert!(got["coremq_sent"].as_f64().unwrap() > 1.7e9, "{got}");

    // Its own message comes back only with echo, and behind the answer.
    assert_eq!(a.ask(&json!({ "queue": "news", "n": 2 })), SENT);
    assert_eq!(a.ask(&json!({ "coremq_options": { "echo": true } })), "OK: Options set");
    assert_eq!(a.ask(&json!({ "queue": "news", "coremq_string": "three" })), SENT);
    assert_eq!(a.next()["coremq_string"], "three");

    // To an id, and to its own.
    assert_eq!(b.ask(&json!({ "queue": a.id, "hello": true })), SENT);
    assert_eq!(a.next()["hello"], true);
    assert_eq!(b.ask(&json!({ "queue": b.id, "self": true })), SENT);
    assert_eq!(b.next()["self"], true);

    b.send(&json!({ "coremq_gethistory": ["news", "nobody"] }));
    let history = b.next();
    assert_eq!(history["response"], history["history"]);
    let history = history["history"]["news"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert!(history[0]["n"] == 1.5 && history[1]["n"] == 2 && history[2]["coremq_string"] == "three", "{history:?}");
    b.send(&json!({ "coremq_status": null }));
    assert_eq!(b.next()["connections"], 2);

    assert_eq!(a.ask(&json!({ "coremq_unsubscribe": "news" })), "OK: Unsubscribe successful");
    assert_eq!(b.ask(&json!({ "queue": "news", "n": 4 })), SENT);
    assert_eq!(a.ask(&json!({ "coremq_unsubscribe": [] })), "OK: Unsubscribe successful");
}

#[test]
fn what_is_wrong_is_said_and_the_connection_stays() {
    let daemon = start();
    let mut socket = Socket::connect(daemon.address());
    for (text, error) in [
        (r#"{"a":1}"#, "a message needs a queue"),
        (r#"{"queue":5}"#, "queue must be a string"),
        (r#"{"queue":"a b"}"#, "bad queue name: it has a space"),
        (r#"{"queue":"q""#, "message is not JSON"),
        ("[1]", "message must be a JSON object"),
        ("", "message is not JSON"),
        (r#"{"coremq_subscribe":5}"#, "coremq_subscribe takes a queue name"),
    ] {
        socket.send_text(text);
        let answer = socket.answer();
        assert!(answer.starts_with(&format!("ERROR: {error}")), "{text}: {answer}");
    }
    socket.inner.send(Message::binary(&br#"{"queue":"q"}"#[..])).unwrap();
    assert!(socket.answer().starts_with("ERROR: a binary message"));
    // A command needs no queue, and what stands there does not matter.
    assert_eq!(socket.ask(&json!({ "coremq_subscribe": "q", "queue": 5 })), "OK: Subscribe successful");
}

/// Three doors at once: all subscribers and the gets see the same order, which is that of the positions.
#[test]
fn there_is_one_order_whichever_door_a_message_came_by() {
    const EACH: usize = 200;
    let daemon = start();
    let (http, tcp) = (daemon.address(), tcp_address(&daemon));
    // A put makes it a work queue, so that nothing is thrown away.
    assert_eq!(daemon.connect().ask(put_message("q", "\"first\"")).code(), 1);
    let mut subscriber = Socket::connect(http);
    subscriber.subscribe(&["q"]);
    let mut frames = CoreMq::connect(tcp).unwrap();
    frames.subscribe(&["q"]).unwrap();

    let publishers = [
        thread::spawn(move || {
            let mut client = Client::connect(http);
            (0..EACH).for_each(|n| assert_eq!(client.ask(put_message("q", &format!(r#"{{"http":{n}}}"#))).code(), 1));
        }),
        thread::spawn(move || {
            let mut client = CoreMq::connect(tcp).unwrap();
            for n in 0..EACH {
                assert_eq!(client.send_message("q", &json!({ "tcp": n })).unwrap().1["response"], SENT);
            }
        }),
        thread::spawn(move || {
            let mut socket = Socket::connect(http);
            (0..EACH).for_each(|n| socket.send(&json!({ "queue": "q", "ws": n })));
            (0..EACH).for_each(|_| assert_eq!(socket.answer(), SENT));
        }),
    ];
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());

    let bare = |mut message: Value| {
        let object = message.as_object_mut().unwrap();
        object.retain(|key, _| !["coremq_sender", "coremq_sent", "queue"].contains(&key.as_str()));
        message
    };
    let mut client = Client::connect(http);
    assert_eq!(client.ask(get("/queue/?name=q")).json()["data"], "first");
    for n in 0..3 * EACH {
        let got = client.ask(get("/queue/?name=q")).json()["data"].clone();
        assert_eq!(bare(subscriber.next()), got, "message {n} over WebSocket");
        assert_eq!(bare(frames.answer().unwrap().1), got, "message {n} over TCP");
    }
    assert_eq!(client.ask(get("/queue/?name=q")).message(), "HTTPMQ_EMPTY");
}

// ===== the handshake =====

#[test]
fn only_pages_of_allowed_origins_get_in() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_ALLOWED_ORIGINS", "https://example.org,null");
    });
    let own = format!("http://{}", daemon.address());
    for origin in [None, Some(own.as_str()), Some("https://example.org"), Some("null")] {
        assert!(Socket::try_connect(daemon.address(), origin).is_ok(), "{origin:?}");
    }
    for origin in ["http://example.org", "https://example.org:444", "http://evil.net", "file://", ""] {
        let mut client = daemon.connect();
        let refused = client.ask(handshake(&[("Origin", origin)]));
        assert_eq!((refused.status, refused.code()), (403, 3), "{origin}");
        assert_eq!(refused.message(), "HTTPMQ_FORBIDDEN");
        // The connection is as good as before.
        assert_eq!(client.ask(get("/queue/?name=q")).status, 200);
    }
}

#[test]
fn what_is_no_handshake_is_answered_like_any_request() {
    let daemon = start();
    for (changed, status) in [
        (&[("Upgrade", "-")][..], 426),
        (&[("Upgrade", "h2c")], 426),
        (&[("Connection", "keep-alive")], 426),
        (&[("Sec-WebSocket-Version", "8")], 426),
        (&[("Sec-WebSocket-Key", "-")], 400),
        (&[("Sec-WebSocket-Key", "short")], 400),
        (&[("Content-Length", "5")], 400),
    ] {
        let refused = daemon.connect().ask(handshake(changed));
        assert_eq!((refused.status, refused.code()), (status, 3), "{changed:?}");
        if status == 426 {
            assert_eq!(refused.header("upgrade"), Some("websocket"));
            assert_eq!(refused.header("sec-websocket-version"), Some("13"));
        }
    }
    let wrong = daemon.connect().ask(common::request("POST", "/ws", ""));
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET")));
    let http1_0 = daemon.connect().ask(handshake(&[]).replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(http1_0.status, 426);
    assert_eq!(daemon.connect().ask(get("/ws/x")).status, 404);

    let off = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_ENABLED", "false");
    });
    assert_eq!(off.connect().ask(handshake(&[])).status, 404);
}

#[test]
fn a_handshake_may_come_byte_by_byte_and_frames_right_behind_it() {
    let daemon = start();
    let publish = frame(0x81, br#"{"queue":"q","a":1}"#);
    let bytes = [handshake(&[]).as_bytes(), &publish].concat();
    for size in [1, bytes.len()] {
        let mut client = daemon.connect();
        bytes.chunks(size).for_each(|piece| client.send(piece));
        let answer = client.read();
        assert_eq!(answer.status, 101);
        // RFC 6455, section 1.3.
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!((answer.header("content-length"), answer.header("sec-websocket-extensions")), (None, None));
    }
    let unread = || daemon.connect().ask(get("/status/?name=q")).json()["data"]["put_pos"].clone();
    wait_for("both messages", || (unread() == 2).then_some(()));
}

#[test]
fn a_huge_header_fed_byte_by_byte_is_refused_and_costs_nothing() {
    let daemon = start();
    let mut client = daemon.connect();
    let before = daemon.process().cpu_s();
    client.send(handshake(&[]).trim_end_matches("\r\n").to_owned() + "\r\nX: ");
    for _ in 0..40 << 10 {
        client.send_if_open(b"a");
    }
    let answer = client.try_read();
    // 431, or nothing where the reset for the bytes behind it came first.
    assert!(answer.as_ref().map_or(true, |answer| answer.as_ref().is_some_and(|a| a.status == 431)), "{answer:?}");
    assert!(daemon.process().cpu_s() - before < 3.0);
    Socket::connect(daemon.address());
}

// ===== frames =====

#[test]
fn a_message_may_come_in_fragments_with_pings_between() {
    let daemon = start();
    let mut socket = Socket::connect(daemon.address());
    socket.subscribe(&["q"]);
    socket.send(&json!({ "coremq_options": { "echo": true } }));
    socket.answer();
    let text = r#"{"queue":"q","a":"é世"}"#.as_bytes();
    let last = text.len() - 1;
    let mut bytes = frame(0x01, &text[..1]);
    for (n, byte) in text.iter().enumerate().skip(1) {
        // The parts end in the middle of characters too.
        bytes.extend(frame(if n == last { 0x80 } else { 0 }, &[*byte]));
        bytes.extend(frame(0x89, b"still there?"));
    }
    bytes.chunks(7).for_each(|piece| socket.send_raw(piece));
    let mut pongs = 0;
    let mut texts = Vec::new();
    while texts.len() < 2 || pongs < last {
        match socket.inner.read().unwrap() {
            Message::Pong(payload) => {
                assert_eq!(&payload[..], b"still there?");
                pongs += 1;
            }
            Message::Text(text) => texts.push(serde_json::from_str::<Value>(&text).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((&texts[0]["response"], &texts[1]["a"]), (&json!(SENT), &json!("é世")));
}

#[test]
fn a_message_of_the_greatest_size_fits_and_one_byte_more_does_not() {
    const MAX: usize = 1000;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", MAX);
    });
    let mut socket = Socket::connect(daemon.address());
    let message = |bytes: usize| format!(r#"{{"queue":"q","a":"{}"}}"#, "a".repeat(bytes - r#"{"a":""}"#.len()));
    socket.send_text(&message(MAX));
    assert_eq!(socket.answer(), SENT);
    socket.send_text(&message(MAX + 1));
    assert_eq!(socket.answer(), "ERROR: message over the limit of 1000 bytes");

    // The frame itself may have the queue's name more; then nothing is read of it, whether in one piece or in many.
    let long = message(MAX + 6 * 255 + 1024);
    socket.send_text(&long);
    let (code, texts) = socket.closed();
    assert_eq!(code, Some(CloseCode::Size));
    assert!(texts.concat().contains("over the limit of 1000 bytes"), "{texts:?}");
    let mut socket = Socket::connect(daemon.address());
    let (one, two) = long.as_bytes().split_at(long.len() / 2);
    socket.send_raw(&[frame(0x01, one), frame(0x80, two)].concat());
    assert_eq!(socket.closed().0, Some(CloseCode::Size));
    let status = daemon.connect().ask(get("/status/?name=q")).json();
    assert_eq!(status["data"]["put_pos"], 1);
}

// ===== the life of a connection =====

#[test]
fn a_close_is_answered_with_its_code() {
    let daemon = start();
    for (sent, expected) in [(&1000_u16.to_be_bytes()[..], Some(CloseCode::Normal)), (&[], None)] {
        let mut socket = Socket::connect(daemon.address());
        // What came before it is still done, and answered.
        let publish = frame(0x81, br#"{"queue":"q"}"#);
        socket.send_raw(&[publish, frame(0x88, sent)].concat());
        let (code, texts) = socket.closed();
        assert_eq!((code, texts.len()), (expected, 1), "{texts:?}");
        assert!(texts[0].contains(SENT), "{texts:?}");
    }
}

#[test]
fn a_socket_is_idle_for_longer_than_a_request_may_be() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_IDLE_TIMEOUT_S", 1).set("HTTP_HEADER_TIMEOUT_S", 1).set("HTTP_WRITE_TIMEOUT_S", 1);
    });
    let mut socket = Socket::connect(daemon.address());
    socket.subscribe(&["q"]);
    for _ in 0..2 {
        let mut idle = daemon.connect();
        assert_eq!(idle.ask(put_message("q", "1")).code(), 1);
        assert!(idle.is_closed());
    }
    assert_eq!((&socket.next()["coremq_data"], &socket.next()["coremq_data"]), (&json!(1), &json!(1)));
    assert_eq!(socket.ask(&json!({ "queue": "q", "a": 1 })), SENT);
}

#[test]
fn a_socket_keeps_its_place_among_the_connections() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_CONNECTIONS", 1);
    });
    let socket = Socket::connect(daemon.address());
    assert_eq!(daemon.connect().ask(get("/queue/?name=q")).status, 503);
    drop(socket);
    let served = || daemon.connect().ask(get("/queue/?name=q")).status == 200;
    wait_for("its place", || served().then_some(()));
}

#[test]
fn a_thousand_sockets_that_came_and_went_leave_nothing() {
    /// The log of commits gets its files when it needs them.
    const LOG_FILES: usize = 4;
    let daemon = start();
    let address = daemon.address();
    let crowd = || {
        let mut sockets: Vec<Socket> = (0..1000).map(|_| Socket::connect(address)).collect();
        sockets.iter_mut().for_each(|socket| socket.subscribe(&["q", "r"]));
        let mut client = daemon.connect();
        assert_eq!(client.ask(put_message("q", "1")).code(), 1);
        sockets.iter_mut().for_each(|socket| assert_eq!(socket.next()["coremq_data"], 1));
    };
    // The second listener is opened after the daemon says that it serves.
    tcp_address(&daemon);
    let files = daemon.process().open_files();
    let settled = || {
        let mut socket = Socket::connect(address);
        wait_for("all to be gone", || {
            socket.send(&json!({ "coremq_status": 1 }));
            (socket.next()["connections"] == 1).then_some(())
        });
        drop(socket);
        wait_for("all to be closed", || (daemon.process().open_files() <= files + LOG_FILES).then_some(()));
        daemon.process().rss_bytes()
    };
    crowd();
    let once = settled();
    crowd();
    crowd();
    let thrice = settled();
    assert!(thrice < once + (12 << 20), "{once} bytes, then {thrice}");
}

#[test]
fn a_subscriber_that_takes_nothing_is_dropped_and_the_others_get_all() {
    const MESSAGES: usize = 4000;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "256 KiB").set("PUBSUB_WRITE_TIMEOUT_S", 5);
    });
    let (mut stuck, mut good) = (Socket::connect(daemon.address()), Socket::connect(daemon.address()));
    stuck.subscribe(&["q"]);
    good.subscribe(&["q"]);
    let address = daemon.address();
    let publisher = thread::spawn(move || {
        let mut socket = Socket::connect(address);
        let padding = "a".repeat(4000);
        for n in 0..MESSAGES {
            assert_eq!(socket.ask(&json!({ "queue": "q", "n": n, "padding": padding })), SENT);
        }
    });
    (0..MESSAGES).for_each(|n| assert_eq!(good.next()["n"], n));
    publisher.join().unwrap();
    wait_for("the drop", || daemon.lines().iter().any(|line| line.contains(&stuck.id)).then_some(()));
    // The publisher's connection may take a moment to go.
    wait_for("the others to be gone", || {
        good.send(&json!({ "coremq_status": 1 }));
        (good.next()["connections"] == 1).then_some(())
    });
}

#[test]
fn a_stop_says_bye_to_open_sockets_and_does_not_wait_for_dead_ones() {
    let daemon = start();
    let mut sockets: Vec<Socket> = (0..20).map(|_| Socket::connect(daemon.address())).collect();
    // One that never answers, and one in the middle of a handshake.
    let _silent = Socket::connect(daemon.address());
    let mut half = tcp(daemon.address());
    std::io::Write::write_all(&mut half, b"GET /ws HTTP/1.1\r\nHost: ").unwrap();
    let readers: Vec<_> = sockets.drain(..).map(|mut socket| thread::spawn(move || socket.closed())).collect();
    let began = std::time::Instant::now();
    let ended = daemon.stop(Signal::TERM);
    assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
    assert!(began.elapsed() < std::time::Duration::from_secs(7), "{:?}", began.elapsed());
    for reader in readers {
        let (code, texts) = reader.join().unwrap();
        assert_eq!(code, Some(CloseCode::Away));
        assert!(texts.len() == 1 && texts[0].contains("BYE"), "{texts:?}");
    }
}
