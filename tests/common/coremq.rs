//! A CoreMQ client that reads the way the original Python client does, to notice what that one would stumble over.
//!
//! It is not how a client should be written. It asks for ten bytes in its first read and has to find `+LEN ` in them, so
//! a header that is sent in pieces or a frame under ten bytes breaks it; it decodes every read as UTF-8 on its own and
//! compares LEN, which counts bytes, with the number of characters, so anything but ASCII breaks it; and it takes
//! whatever frame comes next as the answer to what it has sent. All of this is in use out there, and a server that
//! this client understands is understood by a better one as well.
//!
//! Three things differ, so that a test fails instead of hanging or going on: the end of the stream within a frame and a
//! time-out within a frame are errors (the original loops for ever and forgets the bytes), and it never reconnects.
#![allow(dead_code)] // Every test file that includes this one uses its own part of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take. The original gives up after one second, which a busy test machine can need.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A queue and the object that was sent to it.
pub(crate) type Message = (String, Value);

/// An open connection.
pub(crate) struct CoreMq {
    stream: TcpStream,
    /// The queue of the first frame: the name of this connection.
    pub(crate) connection_id: String,
    /// The object of the first frame.
    pub(crate) welcome: Value,
}

impl CoreMq {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        let mut client = Self { stream, connection_id: String::new(), welcome: Value::Null };
        (client.connection_id, client.welcome) = client.answer()?;
        Ok(client)
    }

    pub(crate) fn subscribe(&mut self, queues: &[&str]) -> io::Result<Message> {
        self.command(&json!({ "coremq_subscribe": queues }))
    }

    pub(crate) fn unsubscribe(&mut self, queues: &[&str]) -> io::Result<Message> {
        self.command(&json!({ "coremq_unsubscribe": queues }))
    }

    pub(crate) fn set_options(&mut self, options: &Value) -> io::Result<Message> {
        self.command(&json!({ "coremq_options": options }))
    }

    pub(crate) fn get_history(&mut self, queues: &[&str]) -> io::Result<Message> {
        self.command(&json!({ "coremq_gethistory": queues }))
    }

    /// Sends to the connection's own id, as the original does with all commands.
    pub(crate) fn command(&mut self, command: &Value) -> io::Result<Message> {
        let own_queue = self.connection_id.clone();
        self.send_message(&own_queue, command)
    }

    /// Sends, and returns the next frame that comes, whether it is the answer or not.
    pub(crate) fn send_message(&mut self, queue: &str, message: &Value) -> io::Result<Message> {
        self.send(queue, message)?;
        self.answer()
    }

    /// Sends without a look at what comes back.
    pub(crate) fn send(&mut self, queue: &str, message: &Value) -> io::Result<()> {
        let json = match message {
            Value::String(text) => escaped(&json!({ "coremq_string": text })),
            other => escaped(other),
        };
        // The name counts with its characters here, not with its bytes: that is the original's mistake.
        let len = json.len() + queue.chars().count() + 1;
        self.send_raw(format!("+{len} {queue} {json}").as_bytes())
    }

    /// Sends bytes that need not be a frame.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame, which must come.
    pub(crate) fn answer(&mut self) -> io::Result<Message> {
        self.get_message(ANSWER_TIMEOUT)?.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// The next frame, or `None` when nothing came in that time. `UnexpectedEof`: the server has closed.
    pub(crate) fn get_message(&mut self, timeout: Duration) -> io::Result<Option<Message>> {
        self.stream.set_read_timeout(Some(timeout))?;
        let start = match self.receive(10) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            start => start?,
        };
        let (expected, data) = split_header(&start)?;
        let mut data = data.to_owned();
        let mut characters = data.chars().count();
        while characters < expected {
            let part = self.receive(expected - characters)?;
            characters += part.chars().count();
            data.push_str(&part);
        }
        let (queue, json) = data.split_once(' ').ok_or_else(|| malformed("no space after the queue"))?;
        let message: Value = serde_json::from_str(json).map_err(|error| malformed(&error.to_string()))?;
        if message["response"] == "BYE" {
            self.stream.shutdown(Shutdown::Both)?;
        }
        Ok(Some((queue.to_owned(), message)))
    }

    /// One read, decoded on its own.
    fn receive(&mut self, max_bytes: usize) -> io::Result<String> {
        let mut bytes = vec![0; max_bytes];
        let count = self.stream.read(&mut bytes)?;
        bytes.truncate(count);
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(bytes).map_err(|_| malformed("a read that is not UTF-8 by itself"))
    }
}

fn split_header(start: &str) -> io::Result<(usize, &str)> {
    let after_mark = start.strip_prefix('+').ok_or_else(|| malformed("no + at the start"))?;
    let (len, data) = after_mark.split_once(' ').ok_or_else(|| malformed("no space in the first read"))?;
    Ok((len.parse().map_err(|_| malformed("no length after +"))?, data))
}

/// JSON as Python's `json.dumps` writes it: ASCII only.
fn escaped(message: &Value) -> String {
    let mut json = String::new();
    for unit in message.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => json.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(json, "\\u{unit:04x}")),
        }
    }
    json
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
