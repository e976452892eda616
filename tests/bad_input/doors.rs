//! What stands around a case at each door, and the verdict that can be read there.

use std::io::Read;
use std::net::SocketAddr;

use serde_json::Value;

use crate::cases::{Case, websocket_frame};
use crate::common::{Client, Daemon, frame, put_message};

/// Where the bytes of a file go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// To the HTTP port, as they stand.
    Http,
    /// Behind the `?` of a GET.
    Query,
    /// As the form in the body of a GET.
    Form,
    /// As the body of a PUT.
    Body,
    /// To the CoreMQ port, as they stand.
    CoreMq,
    /// As QUEUE and JSON of a CoreMQ frame.
    Frame,
    /// To a WebSocket, behind its handshake.
    WebSocket,
}

/// What is sent over one connection.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// What is sent and answered before the rest.
    pub(crate) greeting: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    /// Where the case's own bytes begin and end.
    pub(crate) own: (usize, usize),
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: httpmq\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The code with which the probe closes a WebSocket; no case has it.
const PROBE_CODE: u16 = 4321;
const SENT: &str = "OK: Message sent";
const NO_FRAME: &str = "ERROR: a frame begins with +LEN, this does not";

impl Door {
    pub(crate) fn address(self, daemon: &Daemon) -> SocketAddr {
        match self {
            Door::CoreMq | Door::Frame => daemon.tcp_address(),
            _ => daemon.address(),
        }
    }

    /// The queue that the request behind a case puts to: its length says how often such a request was done.
    pub(crate) fn probe_queue(self) -> String {
        format!("probe-{self:?}")
    }

    pub(crate) fn script(self, case: &Case) -> Script {
        let own = &case.bytes;
        let (before, behind) = match self {
            Door::Http | Door::CoreMq | Door::WebSocket => (String::new(), ""),
            Door::Query => ("GET /view/?".to_owned(), " HTTP/1.1\r\nHost: httpmq\r\n\r\n"),
            Door::Form => (format!("GET /view/ HTTP/1.1\r\nHost: httpmq\r\nContent-Length: {}\r\n\r\n", own.len()), ""),
            Door::Body => {
                (format!("PUT /queue/ HTTP/1.1\r\nHost: httpmq\r\nContent-Length: {}\r\n\r\n", own.len()), "")
            }
            Door::Frame => (format!("+{} ", own.len()), ""),
        };
        let probe = if case.is_last { Vec::new() } else { self.probe() };
        let greeting = if self == Door::WebSocket { HANDSHAKE.into() } else { Vec::new() };
        Script {
            greeting,
            own: (before.len(), before.len() + own.len()),
            bytes: [before.as_bytes(), own, behind.as_bytes(), &probe].concat(),
        }
    }

    /// A request that leaves a trace, one whose answer nothing else gets, and something that ends the connection.
    fn probe(self) -> Vec<u8> {
        let queue = self.probe_queue();
        match self {
            Door::CoreMq | Door::Frame => {
                [frame(&queue, r#"{"n":1}"#), frame(&queue, r#"{"coremq_status":1}"#), b"?".to_vec()].concat()
            }
            Door::WebSocket => {
                let publish = websocket_frame(0x81, format!(r#"{{"queue":"{queue}","n":1}}"#).as_bytes());
                [publish, websocket_frame(0x88, &PROBE_CODE.to_be_bytes())].concat()
            }
            _ => {
                let status = format!("GET /status/?name={queue} HTTP/1.1\r\nConnection: close\r\n\r\n");
                [put_message(&queue, "1"), status.into()].concat()
            }
        }
    }

    /// Reads to the end: what was answered, and whether the probe was.
    pub(crate) fn verdict(self, mut client: Client, case: &Case) -> Vec<String> {
        let (answers, probe) = match self {
            Door::CoreMq | Door::Frame => {
                (coremq_answers(&mut client), vec![SENT.to_owned(), "status".to_owned(), NO_FRAME.to_owned()])
            }
            Door::WebSocket => (websocket_answers(&mut client), vec![SENT.to_owned(), format!("close {PROBE_CODE}")]),
            _ => {
                let status = format!("200 1 HTTPMQ_SUCCEED {}", self.probe_queue());
                (http_answers(&mut client, case), vec!["200 1 HTTPMQ_PUT_OK".to_owned(), status])
            }
        };
        match answers.strip_suffix(&probe[..]) {
            Some(own) => [own, &["open".to_owned()]].concat(),
            None => [&answers[..], &["closed".to_owned()]].concat(),
        }
    }
}

fn http_answers(client: &mut Client, case: &Case) -> Vec<String> {
    let mut answers = Vec::new();
    loop {
        let is_head = answers.is_empty() && case.bytes.starts_with(b"HEAD ");
        let read = if is_head { Ok(Some(client.read_head())) } else { client.try_read() };
        let response = match read {
            Ok(Some(response)) => response,
            Ok(None) => return answers,
            // A reset is an end too.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answers,
            Err(error) => return [answers, vec![error.to_string()]].concat(),
        };
        let mut line = response.status.to_string();
        if let Ok(envelope) = serde_json::from_slice::<Value>(&response.body) {
            let data = &envelope["data"];
            let detail = ["reason", "name"].iter().find_map(|key| data[*key].as_str()).unwrap_or_default();
            line += &format!(" {} {} {detail}", envelope["code"], envelope["message"].as_str().unwrap_or("?"));
        }
        match response.status {
            // No answer yet; whether it comes depends on what has come already.
            100 => {}
            // What follows is no HTTP.
            101 => return [answers, vec![line]].concat(),
            _ => answers.push(line.trim_end().to_owned()),
        }
    }
}

fn coremq_answers(client: &mut Client) -> Vec<String> {
    let read = read_to_end(client);
    let mut rest = std::str::from_utf8(&read).unwrap();
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.strip_prefix('+').unwrap().split_once(' ').unwrap();
        let content = &behind[..length.parse().unwrap()];
        rest = &behind[content.len()..];
        answers.push(coremq_answer(content.split_once(' ').unwrap().1));
    }
    welcomed(answers)
}

fn websocket_answers(client: &mut Client) -> Vec<String> {
    let read = read_to_end(client);
    let head_bytes = 4 + read.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut rest = &read[head_bytes..];
    let mut answers = Vec::new();
    while let [first, length, behind @ ..] = rest {
        let (length, behind) = match *length {
            127 => panic!("an answer of {behind:?}"),
            126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
            short => (usize::from(short), behind),
        };
        let (payload, behind) = behind.split_at(length);
        rest = behind;
        answers.push(match (first, payload) {
            (0x81, _) => coremq_answer(std::str::from_utf8(payload).unwrap()),
            (0x8a, _) => format!("pong {}", payload.escape_ascii()),
            (0x88, []) => "close".to_owned(),
            (0x88, [high, low, reason @ ..]) => {
                format!("close {} {}", u16::from_be_bytes([*high, *low]), reason.escape_ascii()).trim_end().to_owned()
            }
            _ => format!("{first:x} {}", payload.escape_ascii()),
        });
    }
    welcomed(answers)
}

fn welcomed(mut answers: Vec<String>) -> Vec<String> {
    assert!(answers.first().is_some_and(|first| first == "OK: Welcome from CoreMQ!"), "{answers:?}");
    answers.remove(0);
    answers
}

/// The text of an answer; of others what they are.
fn coremq_answer(json: &str) -> String {
    let object: Value = serde_json::from_str(json).unwrap();
    match &object["response"] {
        Value::String(text) => text.clone(),
        _ if object.get("master").is_some() => "status".to_owned(),
        history => format!("history {history}"),
    }
}

fn read_to_end(client: &mut Client) -> Vec<u8> {
    let mut read = Vec::new();
    match client.stream.read_to_end(&mut read) {
        // What was sent to a closed connection is answered by a reset, behind what was said before.
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error} behind {read:?}"),
        _ => read,
    }
}
