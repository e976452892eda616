//! A CoreMQ client that sends bytes as they stand, and is strict about what it reads: each frame that it takes is checked
//! against the rules of writing, whatever the test is about.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;

/// The shortest frame: the Python client's first read takes ten bytes, and may not get a part of the next frame.
const MIN_FRAME_BYTES: usize = 10;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// The queue of the first frame: the name of this connection.
    pub(crate) id: String,
    read: Vec<u8>,
    /// Where the first frame that was not taken yet begins in `read`.
    start: usize,
}

/// One frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) queue: String,
    /// The exact text.
    pub(crate) json: String,
}

/// A frame as any client writes it; LEN counts bytes.
pub(crate) fn frame(queue: &str, json: &str) -> Vec<u8> {
    format!("+{} {queue} {json}", queue.len() + 1 + json.len()).into_bytes()
}

impl Wire {
    /// Connects and reads the welcome.
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let mut wire = Wire::connect_deaf(address);
        wire.read_welcome();
        wire
    }

    /// Reads the first frame.
    pub(crate) fn read_welcome(&mut self) {
        let welcome = self.next();
        assert_eq!(welcome.response(), "OK: Welcome from CoreMQ!");
        self.id = welcome.queue;
    }

    /// Connects and reads nothing; the id stays empty.
    pub(crate) fn connect_deaf(address: SocketAddr) -> Wire {
        Wire::on(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    fn on(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { stream, id: String::new(), read: Vec::new(), start: 0 }
    }

    /// Connects with a receive buffer that is small, for a client that shall not take much before it takes nothing.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Wire {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        Wire::on(socket.into())
    }

    /// The same connection once more, to read from while this one sends.
    pub(crate) fn reader(&self) -> Wire {
        Wire {
            stream: self.stream.try_clone().unwrap(),
            id: self.id.clone(),
            read: self.read.clone(),
            start: self.start,
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends, and does not mind that the server may have closed already.
    pub(crate) fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a frame to the connection's own id, as it is the custom with commands.
    pub(crate) fn command(&mut self, json: &str) {
        let id = self.id.clone();
        self.send(frame(&id, json));
    }

    /// Sends a command and gives the text of its answer.
    pub(crate) fn ask(&mut self, json: &str) -> String {
        self.command(json);
        self.answer()
    }

    /// Publishes a message and gives the text of the answer.
    pub(crate) fn publish(&mut self, queue: &str, json: &str) -> String {
        self.send(frame(queue, json));
        self.answer()
    }

    /// Subscribes, which must work.
    pub(crate) fn subscribe(&mut self, queue: &str) {
        let answer = self.ask(&serde_json::json!({ "coremq_subscribe": queue }).to_string());
        assert_eq!(answer, "OK: Subscribe successful");
    }

    /// The next frame, which must be an answer to this connection; gives its text.
    pub(crate) fn answer(&mut self) -> String {
        let frame = self.next();
        assert_eq!(frame.queue, self.id, "an answer goes to the connection: {frame:?}");
        frame.response()
    }

    /// The next frame, which must be a message of that queue; gives its object without the stamps, which are checked.
    pub(crate) fn message(&mut self, queue: &str) -> Value {
        let frame = self.next();
        assert_eq!(frame.queue, queue, "{frame:?}");
        frame.message().0
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Frame {
        self.try_next().unwrap().expect("a frame, not the end of the connection")
    }

    /// The next frame; `None` when the server closed between two frames.
    pub(crate) fn try_next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, length)) = parse(&self.read[self.start..]) {
                self.start += length;
                return Ok(Some(frame));
            }
            self.read.drain(..self.start);
            self.start = 0;
            if !self.more()? {
                return if self.read.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next frame, or `None` when nothing comes in that time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Frame> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let next = self.try_next();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match next {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            next => Some(next.unwrap().expect("a frame, not the end of the connection")),
        }
    }

    /// Whether the server closes now without another frame.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.try_next() {
            Ok(None) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            other => panic!("expected the connection to be closed, got {other:?}"),
        }
    }

    /// No more will be sent; reading goes on.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 << 10];
        let length = super::read_some(&mut self.stream, &mut piece)?;
        self.read.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }
}

impl Frame {
    /// The object.
    pub(crate) fn value(&self) -> Value {
        let value: Value = serde_json::from_str(&self.json).unwrap();
        assert!(value.is_object(), "not an object: {value}");
        value
    }

    /// The text under `response`, which must be all there is.
    pub(crate) fn response(&self) -> String {
        let value = self.value();
        assert_eq!(value.as_object().unwrap().len(), 1, "{value}");
        value["response"].as_str().unwrap_or_else(|| panic!("no answer: {value}")).to_owned()
    }

    /// The object without its stamps, its sender, and when it was sent. Each stamp must be there once.
    pub(crate) fn message(&self) -> (Value, String, f64) {
        for key in ["\"coremq_sender\":", "\"coremq_sent\":"] {
            assert_eq!(self.json.matches(key).count(), 1, "{}", self.json);
        }
        let mut value = self.value();
        let object = value.as_object_mut().unwrap();
        let sender = object.remove("coremq_sender").unwrap().as_str().unwrap().to_owned();
        let sent = object.remove("coremq_sent").unwrap();
        assert!(sent.is_f64(), "the time is a float: {sent}");
        (value, sender, sent.as_f64().unwrap())
    }
}

/// The first frame and its length, when all of it is there.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let header_bytes = bytes.iter().position(|byte| *byte == b' ')? + 1;
    let header = std::str::from_utf8(&bytes[..header_bytes - 1]).unwrap();
    let digits = header.strip_prefix('+').unwrap_or_else(|| panic!("no frame begins with {header:?}"));
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'), "{header:?}");
    let length = header_bytes + digits.parse::<usize>().unwrap();
    assert!(length >= MIN_FRAME_BYTES, "a frame of {length} bytes");
    let content = std::str::from_utf8(bytes.get(header_bytes..length)?).unwrap();
    let (queue, json) = content.split_once(' ').unwrap_or_else(|| panic!("no space in {content:?}"));
    assert!(json.is_ascii(), "JSON beyond ASCII: {json:?}");
    Some((Frame { queue: queue.to_owned(), json: json.to_owned() }, length))
}
