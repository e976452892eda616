//! Tokens over TCP and WebSocket.

use std::time::Instant;

use serde_json::json;
use tungstenite::Error;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Response;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::common::{Daemon, Wire, frame, get};
use crate::tokens::{ADMIN, daemon, lines, secret, with_token};
use crate::websocket::{Socket, tcp};

const NO_TOKEN: &str = "ERROR: this server asks for a token, and none came";

fn auth(name: &str) -> String {
    json!({ "coremq_auth": secret(name) }).to_string()
}

fn wire(daemon: &Daemon, name: &str) -> Wire {
    let mut wire = daemon.wire();
    assert_eq!(wire.ask(&auth(name)), "OK: Authentication successful");
    wire
}

#[test]
fn over_tcp_nothing_is_done_before_the_token_is_shown() {
    let daemon = daemon(|_| ());
    let mut stranger = daemon.wire();
    assert_eq!(stranger.ask(r#"{"coremq_subscribe":"jobs"}"#), NO_TOKEN);
    assert_eq!(stranger.publish("jobs", "{}"), NO_TOKEN);
    assert_eq!(stranger.ask(r#"{"coremq_status":1}"#), NO_TOKEN);
    assert!(stranger.is_closed(), "after the third");
    let mut guesser = daemon.wire();
    assert_eq!(guesser.ask(&auth("nobody")), "ERROR: nobody has this token");
    assert_eq!(guesser.ask(&auth("worker")), "OK: Authentication successful");
    assert_eq!(guesser.publish("jobs", "{}"), "OK: Message sent");
    // All in one write: what stands behind the token is judged by it.
    let mut quick = daemon.wire();
    quick.send([frame("x", &auth("worker")), frame("jobs", r#"{"n":1}"#)].concat());
    assert_eq!(
        (quick.answer().as_str(), quick.answer().as_str()),
        ("OK: Authentication successful", "OK: Message sent")
    );
    let mut client = daemon.connect();
    let report = client.ask(with_token(get("/v1/queues/jobs"), "worker")).json();
    assert_eq!((&report["puts"], &report["subscribers"]), (&json!(2), &json!(0)));
}

#[test]
fn over_tcp_a_token_is_for_its_queues_and_rights() {
    let daemon = daemon(|_| ());
    let mut worker = wire(&daemon, "worker");
    worker.subscribe("mail.in");
    assert_eq!(
        worker.ask(r#"{"coremq_subscribe":["mail.out","secret"]}"#),
        r#"ERROR: the token worker lacks the right read for the queue "secret""#
    );
    assert_eq!(
        worker.ask(r#"{"coremq_gethistory":["secret"]}"#),
        r#"ERROR: the token worker lacks the right read for the queue "secret""#
    );
    assert_eq!(
        worker.publish("secret", "{}"),
        r#"ERROR: the token worker lacks the right write for the queue "secret""#
    );
    let mut scraper = wire(&daemon, "scraper");
    assert_eq!(scraper.publish("mail.in", "{}"), "ERROR: the token scraper lacks the right write");
    assert!(scraper.ask(r#"{"coremq_subscribe":"mail.in"}"#).starts_with("ERROR: the token scraper"));
    // A wrong one later changes nothing, and another right one does.
    assert_eq!(worker.ask(&auth("nobody")), "ERROR: nobody has this token");
    assert_eq!(worker.publish("jobs", "{}"), "OK: Message sent");
    // Whoever was told the id of a connection may answer it.
    let mut admin = wire(&daemon, "admin");
    let (worker_id, admin_id) = (worker.id.clone(), admin.id.clone());
    assert_eq!(worker.publish(&admin_id, r#"{"to":"admin"}"#), "OK: Message sent");
    assert_eq!(admin.message(&admin_id), json!({ "to": "admin" }));
    assert_eq!(admin.publish("mail.in", r#"{"n":1}"#), "OK: Message sent");
    assert_eq!(worker.message("mail.in"), json!({ "n": 1 }));
    worker.subscribe(&worker_id);
    assert!(worker.ask(&json!({ "coremq_subscribe": admin_id }).to_string()).starts_with("ERROR: the token worker"));
    assert_eq!(worker.ask(&auth("admin")), "OK: Authentication successful");
    worker.subscribe("secret");
}

#[test]
fn a_stranger_gets_neither_time_nor_memory() {
    let daemon = daemon(|setup| {
        setup.set("HTTP_HEADER_TIMEOUT_S", 1);
    });
    let mut silent = daemon.wire();
    let mut known = wire(&daemon, "worker");
    let mut silent_socket = Socket::connect(daemon.address());
    assert_eq!(silent.answer(), NO_TOKEN);
    assert!(silent.is_closed());
    let (code, texts) = silent_socket.closed();
    assert!(code == Some(CloseCode::Policy) && texts[0].contains(NO_TOKEN), "{code:?} {texts:?}");
    assert_eq!(known.publish("jobs", "{}"), "OK: Message sent", "who has shown a token stays");
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(5000));
    let mut greedy = daemon.wire();
    greedy.send_if_open(frame("jobs", &long));
    assert!(greedy.answer().starts_with("ERROR: "));
    assert!(greedy.is_closed());
    assert_eq!(known.publish("jobs", &long), "OK: Message sent");
    let mut greedy = Socket::connect(daemon.address());
    greedy.send(&json!({ "queue": "jobs", "a": "x".repeat(20_000) }));
    assert_eq!(greedy.closed().0, Some(CloseCode::Size));
}

/// Opens a WebSocket with these headers: the connection and the protocol that the server chose, or the status of its answer.
fn open(daemon: &Daemon, headers: &[(&'static str, String)]) -> Result<(Socket, Option<String>), u16> {
    let mut request = format!("ws://{}/ws", daemon.address()).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tungstenite::client(request, tcp(daemon.address())) {
        Ok((inner, response)) => {
            let mut socket = Socket { inner, id: String::new() };
            socket.id = socket.next()["queue"].as_str().unwrap().to_owned();
            Ok((socket, chosen(&response)))
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

fn chosen<T>(response: &Response<T>) -> Option<String> {
    response.headers().get("Sec-WebSocket-Protocol").map(|chosen| chosen.to_str().unwrap().to_owned())
}

#[test]
fn over_websocket_a_token_comes_as_a_subprotocol_a_header_or_the_first_message() {
    let daemon = daemon(|_| ());
    let protocols = |text: String| [("Sec-WebSocket-Protocol", text)];
    let (mut socket, chosen) = open(&daemon, &protocols(format!("httpmq, httpmq.token.{}", secret("worker")))).unwrap();
    assert_eq!(chosen.as_deref(), Some("httpmq"), "never the one with the secret");
    socket.subscribe(&["jobs"]);
    let refused = socket.ask(&json!({ "coremq_subscribe": ["secret"] }));
    assert_eq!(refused, r#"ERROR: the token worker lacks the right read for the queue "secret""#);
    let header = [("Authorization", format!("Bearer {}", secret("worker")))];
    let (mut socket, chosen) = open(&daemon, &header).unwrap();
    assert_eq!(chosen, None);
    assert_eq!(socket.ask(&json!({ "queue": "jobs", "a": 1 })), "OK: Message sent");
    let (mut socket, _) = open(&daemon, &protocols("httpmq".to_owned())).unwrap();
    assert_eq!(socket.ask(&json!({ "coremq_subscribe": ["jobs"] })), NO_TOKEN);
    assert_eq!(socket.ask(&json!({ "coremq_auth": secret("worker") })), "OK: Authentication successful");
    socket.subscribe(&["jobs"]);
    for (headers, status) in [
        (protocols(format!("httpmq, httpmq.token.{}", secret("nobody"))), 401),
        (protocols(format!("httpmq.token.{}", secret("worker"))), 400),
        ([("Authorization", "Bearer x".to_owned())], 401),
    ] {
        assert_eq!(open(&daemon, &headers).err(), Some(status), "{headers:?}");
    }
    let mut stranger = Socket::connect(daemon.address());
    for _ in 0..3 {
        stranger.send(&json!({ "coremq_status": 1 }));
    }
    let (code, texts) = stranger.closed();
    assert_eq!((code, texts.len()), (Some(CloseCode::Policy), 3), "{texts:?}");
}

#[test]
fn where_nobody_needs_a_token_one_may_be_shown() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory");
    });
    wire(&daemon, "nobody").subscribe("jobs");
    let (mut socket, chosen) =
        open(&daemon, &[("Sec-WebSocket-Protocol", "httpmq, httpmq.token.x".to_owned())]).unwrap();
    assert_eq!(chosen.as_deref(), Some("httpmq"));
    socket.subscribe(&["jobs"]);
}

#[test]
fn who_guesses_over_tcp_is_sent_away() {
    let daemon = daemon(|_| ());
    let mut wrong = 0;
    let last = loop {
        let mut wire = daemon.wire();
        let answer = wire.ask(&auth("nobody"));
        if answer != "ERROR: nobody has this token" {
            assert!(wire.is_closed());
            break answer;
        }
        wrong += 1;
    };
    assert_eq!(wrong, 10);
    assert!(last.starts_with("ERROR: too many wrong tokens came from this address; try again in "), "{last}");
}

#[test]
fn a_token_that_asks_too_often_is_read_more_slowly_and_loses_nothing() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").file(&format!("{}requests_per_s = 10\n", lines(ADMIN)));
    });
    let mut wire = wire(&daemon, "admin");
    let began = Instant::now();
    let frames: Vec<Vec<u8>> = (0..20).map(|n| frame("jobs", &format!("{{\"n\":{n}}}"))).collect();
    wire.send(frames.concat());
    (0..20).for_each(|_| assert_eq!(wire.answer(), "OK: Message sent"));
    let took = began.elapsed().as_secs_f64();
    assert!((0.95..5.0).contains(&took), "ten at once and ten more in a second: {took} s");
}
