//! Frames of this server, read the way the original Python client reads, and that client's frames, decoded here.
//!
//! The server's side is a listener that plays back prepared bytes: this is about frames, not about the door.
#![allow(clippy::unwrap_used, clippy::panic)] // A test that fails by panic is what is wanted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coremq::CoreMq;
use httpmq::pubsub::command::{Command, CommandError};
use httpmq::pubsub::frame::{self, FrameError};
use httpmq::pubsub::message::{self, Stamp};
use httpmq::pubsub::object::ObjectError;
use httpmq::pubsub::response;
use serde_json::{Value, json};

#[path = "common/coremq.rs"]
mod coremq;

const ID: &str = "5e0ba9ae-0d2f-4c29-a1a4-2f6fd0b4a6a1";
const MAX_MESSAGE_BYTES: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(200);

fn frame(queue: &str, json: &str) -> Bytes {
    frame::encode(queue, json).unwrap()
}

fn pushed(queue: &str, body: &str) -> Bytes {
    frame(queue, &message::for_frame(body, Stamp { sender: "http", sent_ms: 1_700_000_000_500 }))
}

/// Accepts one client, sends it the welcome and then these bytes, each in one write, and returns what the client sent.
fn play(parts: Vec<Bytes>) -> (SocketAddr, JoinHandle<BytesMut>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        for part in [frame(ID, response::WELCOME)].into_iter().chain(parts) {
            stream.write_all(&part).unwrap();
        }
        let mut received = Vec::new();
        // A client that leaves bytes unread resets the connection; what it sent before is kept all the same.
        let _ = stream.read_to_end(&mut received);
        BytesMut::from(&received[..])
    });
    (address, server)
}

fn read_after_welcome(parts: Vec<Bytes>) -> io::Result<Option<(String, Value)>> {
    let (address, server) = play(parts);
    let mut client = CoreMq::connect(address)?;
    let message = client.get_message(SOON);
    drop(client);
    server.join().unwrap();
    message
}

#[test]
fn every_kind_of_message_is_understood_when_all_come_in_one_write() {
    let long = json!("é".repeat(300_000)).to_string();
    let bodies = [r#"{"a":"世😀"}"#, "{}", "1", r#""é""#, "[null]", &long, "false"];
    let all: Vec<u8> = bodies.iter().flat_map(|body| pushed("news", body)).collect();
    let (address, server) = play(vec![all.into(), frame("q", "{}"), frame(ID, response::BYE)]);
    let mut client = CoreMq::connect(address).unwrap();
    assert_eq!(client.connection_id, ID);
    assert_eq!(client.welcome["response"], "OK: Welcome from CoreMQ!");
    for body in bodies {
        let (queue, message) = client.answer().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let expected = match &body {
            Value::Object(_) => body["a"] == message["a"],
            Value::String(_) => body == message["coremq_string"],
            other => *other == message["coremq_data"],
        };
        assert!(queue == "news" && expected, "{body}");
        assert_eq!(message["coremq_sender"], "http");
        assert_eq!(message["coremq_sent"], 1_700_000_000.5);
    }
    assert_eq!(client.answer().unwrap(), ("q".to_owned(), json!({})));
    assert_eq!(client.answer().unwrap().1["response"], "BYE");
    server.join().unwrap();
}

/// What the rules of writing are good for: against each of them the client fails, or the test above would show nothing.
#[test]
fn frames_against_the_rules_are_not_understood() {
    let content = r#"q {"a":"é"}"#;
    let utf8 = format!("+{} {content}", content.len());
    let too_short = "+4 q {}+4 q {}";
    for bytes in [utf8.as_str(), too_short] {
        assert!(read_after_welcome(vec![Bytes::from(bytes.to_owned())]).is_err(), "{bytes}");
    }
}

#[test]
fn silence_is_no_error() {
    assert_eq!(read_after_welcome(vec![]).unwrap(), None);
}

#[test]
fn what_the_client_sends_is_decoded() {
    let (address, server) = play(vec![frame(ID, response::SUBSCRIBED), pushed("q", "1"), frame(ID, response::SENT)]);
    let mut client = CoreMq::connect(address).unwrap();
    assert_eq!(client.subscribe(&["q", "é"]).unwrap().1["response"], "OK: Subscribe successful");
    // The next frame counts as the answer, even if it is a message.
    assert_eq!(client.send_message("q", &json!("世😀")).unwrap().1["coremq_data"], 1);
    assert_eq!(client.answer().unwrap().1["response"], "OK: Message sent");
    drop(client);
    let mut received = server.join().unwrap();
    let mut next = || frame::decode(&mut received, MAX_MESSAGE_BYTES).unwrap().unwrap();
    let (subscribe, publish) = (next(), next());
    assert_eq!(subscribe.queue, ID);
    let command = Command::parse(&subscribe.json, MAX_MESSAGE_BYTES).unwrap();
    assert!(matches!(command, Command::Subscribe(names) if names == ["q", "é"]));
    assert_eq!(publish.queue, "q");
    let Command::Publish(object) = Command::parse(&publish.json, MAX_MESSAGE_BYTES).unwrap() else {
        panic!("not a message: {publish:?}");
    };
    assert_eq!(message::body(&object, message::Form::Frame), r#""\u4e16\ud83d\ude00""#);
    assert!(received.is_empty());
}

/// The Python client counts the characters of a queue name, the protocol counts bytes. Such a frame ends too early, which
/// must be noticed at once and not be mended by guesses.
#[test]
fn a_queue_beyond_ascii_from_this_client_is_an_error_and_then_out_of_step() {
    let (address, server) = play(vec![]);
    CoreMq::connect(address).unwrap().send("é", &json!({ "a": 1 })).unwrap();
    let mut received = server.join().unwrap();
    let cut = frame::decode(&mut received, MAX_MESSAGE_BYTES).unwrap().unwrap();
    let error = Command::parse(&cut.json, MAX_MESSAGE_BYTES).unwrap_err();
    assert!(matches!(error, CommandError::Object(ObjectError::NotJson(_))));
    let error = frame::decode(&mut received, MAX_MESSAGE_BYTES).unwrap_err();
    assert_eq!(error, FrameError::NoPlus { looks_like_http: false });
}
