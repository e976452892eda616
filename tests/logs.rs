//! What the daemon logs. Goal: an operator who asks for it sees who does what, never what is in the messages, and no flood of equal
//! lines buries the others.
//!
//! Method: the real program; its standard error, line by line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;
#[path = "common/websocket.rs"]
mod websocket;

use common::{Daemon, Wire, get, put_message, request, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use websocket::Socket;

const SECRET: &str = "do-not-log-me";

/// The first line with all of these in it.
fn line(daemon: &Daemon, parts: &[&str]) -> String {
    let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
    wait_for(&format!("a line with {parts:?}"), || daemon.lines().into_iter().find(is_it))
}

#[test]
fn requests_are_logged_when_they_are_asked_for_and_never_their_messages() {
    let daemon = Daemon::start_fast(|setup| {
        // Whatever the level: it is a switch of its own.
        setup.set("LOG_REQUESTS", "true").set("LOG_FORMAT", "json").set("LOG_LEVEL", "error");
    });
    let mut client = daemon.connect();
    let peer = client.stream.local_addr().unwrap().to_string();
    client.put("jobs", &format!("\"{SECRET}\""));
    client.ask(get(&format!("/queue/?name=by-query&opt=put&data={SECRET}")));
    client.ask(request("GET", "/v1/queues/jobs?x=do-not-log-me", ""));
    client.ask(request("DELETE", "/nowhere", ""));
    assert_eq!(client.take("jobs").unwrap(), format!("\"{SECRET}\""));

    let parsed = |parts: &[&str]| serde_json::from_str::<Value>(&line(&daemon, parts)).unwrap();
    let put = parsed(&["\"PUT\"", "/queue/"]);
    let body_bytes = format!(r#"{{"name":"jobs","data":"{SECRET}"}}"#).len();
    let fields = json!({
        "level": "INFO", "target": "httpmq::requests", "message": "request", "method": "PUT", "path": "/queue/",
        "queue": "jobs", "status": 200, "bytes_in": body_bytes, "peer": peer,
    });
    for (key, value) in fields.as_object().unwrap() {
        assert_eq!(&put[key], value, "{key}: {put}");
    }
    assert!(put["us"].is_u64() && put["bytes_out"].as_u64() > Some(0), "{put}");
    assert_eq!(parsed(&["\"DELETE\""])["status"], 404);
    assert_eq!(parsed(&["/v1/queues/jobs\""])["status"], 400, "it takes no such query");
    assert_eq!(parsed(&["\"GET\"", "/queue/", "\"jobs\""])["bytes_in"], 0);
    let ended = daemon.stop(Signal::TERM);
    assert!(!ended.said(SECRET), "{:?}", ended.lines);
}

#[test]
fn live_connections_are_logged_with_what_they_did() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LOG_REQUESTS", "true");
    });
    let mut wire = daemon.wire();
    wire.subscribe("news");
    wire.publish("news", &format!(r#"{{"a":"{SECRET}"}}"#));
    let id = wire.id.clone();
    line(&daemon, &["connected", &format!("connection={id}"), "form=tcp", "peer=127.0.0.1:"]);
    drop(wire);
    let bye = line(&daemon, &["disconnected", &format!("connection={id}")]);
    assert!(bye.contains("requests=2 published=1 subscriptions=1 bytes_out="), "{bye}");
    let socket = Socket::connect(daemon.address());
    let id = socket.id.clone();
    drop(socket);
    line(&daemon, &["disconnected", &id, "form=websocket", "requests=0"]);
    line(&daemon, &["request", "path=/ws", "status=101"]);
    assert!(!daemon.stop(Signal::TERM).said(SECRET));
}

#[test]
fn nobody_who_did_not_ask_gets_requests() {
    let daemon = Daemon::start_fast(|_| {});
    daemon.connect().ask(put_message("q", "1"));
    daemon.wire().subscribe("q");
    let ended = daemon.stop(Signal::TERM);
    assert!(!ended.said("/queue/") && !ended.said("connected"), "{:?}", ended.lines);
}

#[test]
fn many_equal_events_are_a_handful_of_lines() {
    const COUNT: usize = 40;
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_SUBSCRIBER_BUFFER_BYTES", "16 KiB");
    });
    let mut publisher = daemon.wire();
    let mut stuck: Vec<_> = (0..COUNT).map(|_| Wire::connect_narrow(daemon.tcp_address())).collect();
    for wire in &mut stuck {
        wire.read_welcome();
        wire.subscribe("news");
    }
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(256 << 10));
    wait_for("all of them to be dropped", || {
        publisher.publish("news", &text);
        publisher.command(r#"{"coremq_status":1}"#);
        (publisher.next().value()["dropped"] == COUNT).then_some(())
    });
    let ended = daemon.stop(Signal::TERM);
    let dropped = ended.lines.iter().filter(|line| line.contains("dropped the subscriber")).collect::<Vec<_>>();
    assert!(dropped.len() <= 7, "{dropped:?}");
    let counted: usize = dropped
        .iter()
        .map(|line| match line.split_once("… ") {
            Some((_, rest)) => rest.split(' ').next().unwrap().parse().unwrap(),
            None => 1,
        })
        .sum();
    assert_eq!(counted, COUNT, "none is missing in the sum: {dropped:?}");
    assert!(ended.said("SIGTERM") && ended.said("stopped"), "{:?}", ended.lines);
}
