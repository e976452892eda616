//! A WebSocket client, with what a test needs of the handshake and of single frames.
#![allow(dead_code)] // Every test file that includes this one uses its own part of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open connection.
pub(crate) struct Socket {
    pub(crate) inner: WebSocket<TcpStream>,
    /// The connection's id.
    pub(crate) id: String,
}

impl Socket {
    /// Connects and reads the welcome.
    pub(crate) fn connect(address: SocketAddr) -> Socket {
        Socket::try_connect(address, None).unwrap()
    }

    /// Connects as a page of this origin would.
    pub(crate) fn try_connect(address: SocketAddr, origin: Option<&str>) -> Result<Socket, Error> {
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        let stream = tcp(address);
        let handshake = tungstenite::client(request, stream);
        let (inner, _) = handshake.map_err(|error| match error {
            tungstenite::HandshakeError::Failure(error) => error,
            tungstenite::HandshakeError::Interrupted(_) => panic!("the handshake takes too long"),
        })?;
        let mut socket = Socket { inner, id: String::new() };
        let welcome = socket.next();
        assert_eq!(welcome["response"], "OK: Welcome from CoreMQ!");
        socket.id = welcome["queue"].as_str().unwrap().to_owned();
        Ok(socket)
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.inner.send(Message::text(text)).unwrap();
    }

    /// Sends bytes that need not be a frame.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.inner.get_mut().write_all(bytes).unwrap();
    }

    /// The next text message.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            match self.inner.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("expected a text message, got {other:?}"),
            }
        }
    }

    /// Sends; the next message must be the answer, whose text is returned.
    pub(crate) fn ask(&mut self, message: &Value) -> String {
        self.send(message);
        self.answer()
    }

    /// The next message, which must be an answer.
    pub(crate) fn answer(&mut self) -> String {
        let answer = self.next();
        assert_eq!(answer["queue"], self.id.as_str(), "{answer}");
        answer["response"].as_str().unwrap_or_else(|| panic!("no answer: {answer}")).to_owned()
    }

    pub(crate) fn subscribe(&mut self, queues: &[&str]) {
        assert_eq!(self.ask(&json!({ "coremq_subscribe": queues })), "OK: Subscribe successful");
    }

    /// Reads to the end; the code that the server closes with, and the texts in front of it.
    pub(crate) fn closed(&mut self) -> (Option<CloseCode>, Vec<String>) {
        let (mut code, mut texts) = (None, Vec::new());
        loop {
            match self.inner.read() {
                Ok(Message::Text(text)) => texts.push(text.to_string()),
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut rest = Vec::new();
        // Reset or closed, it must not stay open.
        let end = self.inner.get_mut().read_to_end(&mut rest);
        assert!(end.as_ref().is_ok_and(|length| *length == 0), "behind the close frame: {end:?} {rest:?}");
        (code, texts)
    }
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A frame as a client sends it, masked with zeros. `head` is the first byte: 0x80 for the last fragment, and the opcode.
pub(crate) fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(payload.len()) {
        Ok(length @ 0..=125) => vec![0x80 | length],
        _ => [&[0xff][..], &u64::try_from(payload.len()).unwrap().to_be_bytes()].concat(),
    };
    [&[head][..], &length, &[0; 4], payload].concat()
}
