//! The part of a CoreMQ client that may take its time: connect, subscribe, ask for the status. Blocking.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::frame;

/// No answer of a healthy daemon takes longer, even when it is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that has been welcomed.
pub(crate) struct Client {
    socket: TcpStream,
    id: String,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects and waits for the welcome, whose queue is the connection's id.
    ///
    /// # Errors
    /// No connection, or no welcome.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut client = Self { socket, id: String::new(), buffer: Vec::new() };
        let welcome = client.receive()?;
        let id = welcome.split_once(' ').filter(|(_, json)| json.contains("OK: Welcome")).map(|(id, _)| id.to_owned());
        client.id = id.ok_or_else(|| io::Error::other(format!("no welcome: {welcome}")))?;
        Ok(client)
    }

    /// Subscribes to `queue` and waits until that is so.
    ///
    /// # Errors
    /// The connection fails, or the server refuses.
    pub(crate) fn subscribe(&mut self, queue: &str) -> io::Result<()> {
        let answer = self.ask(&format!(r#"{{"coremq_subscribe":"{queue}"}}"#))?;
        if answer.contains("OK: Subscribe successful") { Ok(()) } else { Err(io::Error::other(answer)) }
    }

    /// How many connections the server has, this one included.
    ///
    /// # Errors
    /// The connection fails, or the answer does not say.
    pub(crate) fn connections(&mut self) -> io::Result<u64> {
        let answer = self.ask(r#"{"coremq_status":true}"#)?;
        let json = answer.split_once(' ').map_or("", |(_, json)| json);
        let status: serde_json::Value = serde_json::from_str(json).map_err(io::Error::other)?;
        let found = [&status, &status["response"]].into_iter().find_map(|object| object["connections"].as_u64());
        found.ok_or_else(|| io::Error::other(format!("no number of connections: {answer}")))
    }

    /// The socket, for an epoll loop. Nothing has been read that is not answered.
    ///
    /// # Errors
    /// There is something unread, which would be lost.
    pub(crate) fn into_socket(self) -> io::Result<mio::net::TcpStream> {
        if !self.buffer.is_empty() {
            let surplus = String::from_utf8_lossy(&self.buffer).into_owned();
            return Err(io::Error::other(format!("unasked for: {surplus}")));
        }
        self.socket.set_nonblocking(true)?;
        Ok(mio::net::TcpStream::from_std(self.socket))
    }

    fn ask(&mut self, json: &str) -> io::Result<String> {
        let frame = frame::encode(&self.id, json);
        self.socket.write_all(&frame)?;
        self.receive()
    }

    /// The payload of the next frame.
    fn receive(&mut self) -> io::Result<String> {
        loop {
            if let Some((payload, used)) = frame::first(&self.buffer).map_err(io::Error::other)? {
                let payload = String::from_utf8_lossy(payload).into_owned();
                self.buffer.drain(..used);
                return Ok(payload);
            }
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes)? {
                0 => return Err(io::Error::other("closed instead of a frame")),
                count => self.buffer.extend_from_slice(&bytes[..count]),
            }
        }
    }
}

/// Connections that are subscribed to `queue`.
///
/// # Errors
/// One cannot be had.
pub(crate) fn subscribers(addr: SocketAddr, queue: &str, count: usize) -> io::Result<Vec<mio::net::TcpStream>> {
    let one = |at| {
        let mut client = Client::connect(addr)?;
        client.subscribe(queue)?;
        client.into_socket().map_err(|error| io::Error::other(format!("subscriber {at}: {error}")))
    };
    (0..count).map(one).collect()
}
