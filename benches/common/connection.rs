//! One connection of the load generator: a request goes out, its answer comes in.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::Instant,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use crate::answer::{Judge, Verdict};

/// Room for an ordinary answer; it grows for a larger one.
const BUFFER_BYTES: usize = 8 * 1024;
/// No answer of a benchmark is larger; a Content-Length beyond it is a fault of the server.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) struct Connection {
    socket: TcpStream,
    /// When the request was due whose answer is awaited; `None`: nothing is under way.
    pub(crate) due: Option<Instant>,
    /// Which of the load's requests that is.
    pub(crate) request: usize,
    /// Bytes of the request that are written.
    written: usize,
    buffer: Vec<u8>,
    /// Bytes of the answer that are in `buffer`.
    filled: usize,
}

/// How far a connection came.
pub(crate) enum Progress {
    /// The answer is not complete.
    Waiting,
    Served,
    Refused(String),
    /// Nothing more can come of this connection.
    Failed(String),
}

impl Connection {
    /// Connects; the events of the socket have `token`.
    pub(crate) fn open(addr: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let socket = std::net::TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        // Both directions at once: edges come only when something changes, and a request is rarely too big for one write.
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, due: None, request: 0, written: 0, buffer: vec![0; BUFFER_BYTES], filled: 0 })
    }

    /// Starts the request with this number. What the socket does not take now goes out in [`Connection::advance`].
    pub(crate) fn send(&mut self, number: usize, request: &[u8], due: Instant) -> io::Result<()> {
        (self.request, self.due, self.written, self.filled) = (number, Some(due), 0, 0);
        self.write(request)
    }

    /// Writes what is left of the request and reads what there is of the answer.
    pub(crate) fn advance(&mut self, request: &[u8], judge: Judge<'_>) -> Progress {
        if let Err(error) = self.write(request) {
            return Progress::Failed(format!("write: {error}"));
        }
        loop {
            match self.socket.read(&mut self.buffer[self.filled..]) {
                Ok(0) if self.filled == 0 => return Progress::Failed("closed instead of an answer".into()),
                Ok(0) => return Progress::Failed("closed within an answer".into()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Waiting,
                Err(error) => return Progress::Failed(format!("read: {error}")),
            }
            if let Some(progress) = self.progress(judge) {
                return progress;
            }
            // A read that left room has emptied the socket: the next bytes come with an event of their own.
            if self.filled < self.buffer.len() {
                return Progress::Waiting;
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while self.written < request.len() {
            match self.socket.write(&request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn progress(&self, judge: Judge<'_>) -> Option<Progress> {
        match judge(&self.buffer[..self.filled]) {
            Some(Verdict::Served) => Some(Progress::Served),
            Some(Verdict::Refused(answer)) => Some(Progress::Refused(answer)),
            Some(Verdict::Wrong(why)) => Some(Progress::Failed(why)),
            None if self.filled > ANSWER_BYTES_MAX => Some(Progress::Failed("an answer without an end".into())),
            None => None,
        }
    }
}
