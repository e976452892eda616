//! The queues under load: their requests, and what is asked of them between the rounds.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    str::FromStr,
    time::Duration,
};

use crate::{
    answer::{self, Parsed},
    load::{Load, Until},
};

/// Connections that fill a queue: many, so that many messages share a sync.
const FILL_CONNECTIONS: usize = 256;
/// Large messages fill a queue on fewer: no more bytes than these are on their way at a time.
const FILL_BYTES: usize = 16 << 20;
/// No answer between rounds takes longer; a reset of a full queue may take its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Put,
    Get,
}

impl FromStr for Work {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "put" => Ok(Self::Put),
            "get" => Ok(Self::Get),
            _ => Err(format!("'{word}' is neither put nor get")),
        }
    }
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }

    /// The bytes of a request; a put carries a string of `size` bytes.
    pub(crate) fn request(self, addr: SocketAddr, name: &str, size: usize) -> Vec<u8> {
        match self {
            Self::Get => format!("GET /queue/?name={name} HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
            Self::Put => {
                let body = format!("{{\"name\":\"{name}\",\"data\":\"{}\"}}", "x".repeat(size));
                let length = body.len();
                format!("PUT /queue/ HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\n\r\n{body}")
            }
        }
        .into_bytes()
    }
}

/// The queues of a daemon that a load goes to: one, or many that it touches at random.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    addr: SocketAddr,
    /// Plain letters and digits: they stand in URLs as they are.
    names: Vec<String>,
    /// Bytes of the text in a message.
    size: usize,
}

impl Queues {
    /// The one queue with this name.
    pub(crate) fn one(addr: SocketAddr, name: &str, size: usize) -> Self {
        Self { addr, names: vec![name.to_owned()], size }
    }

    /// So many queues, whose names begin alike.
    pub(crate) fn many(addr: SocketAddr, name: &str, count: usize, size: usize) -> Self {
        Self { addr, names: (0..count).map(|number| format!("{name}{number}")).collect(), size }
    }

    /// One request for each queue.
    pub(crate) fn requests(&self, work: Work) -> Vec<Vec<u8>> {
        self.names.iter().map(|name| work.request(self.addr, name, self.size)).collect()
    }

    /// Forgets all messages.
    ///
    /// # Errors
    /// The daemon does not answer, or not with an envelope.
    pub(crate) fn reset(&self) -> Result<(), Box<dyn Error>> {
        self.names.iter().try_for_each(|name| self.ask("reset", name).map(drop))
    }

    /// How many messages wait in all; none in a queue that does not exist.
    ///
    /// # Errors
    /// The daemon does not answer, or not with an envelope.
    pub(crate) fn unread(&self) -> Result<u64, Box<dyn Error>> {
        self.names.iter().map(|name| self.unread_in(name)).sum()
    }

    /// Puts messages until `target` of them wait, or a queue is full.
    ///
    /// # Errors
    /// The daemon answers a put with an error.
    pub(crate) fn fill(&self, target: u64) -> Result<(), Box<dyn Error>> {
        let missing = target.saturating_sub(self.unread()?);
        if missing == 0 {
            return Ok(());
        }
        let load = Load {
            addr: self.addr,
            judge: &answer::verdict,
            connections: (FILL_BYTES / self.size.max(1)).clamp(1, FILL_CONNECTIONS),
            requests: &self.requests(Work::Put),
            per_s: None,
            until: Until::Requests(missing),
            answer_timeout: ANSWER_TIMEOUT,
        };
        load.run()?.checked().map_err(|e| format!("filling the queue: {e}"))?;
        Ok(())
    }

    fn unread_in(&self, name: &str) -> Result<u64, Box<dyn Error>> {
        let envelope = self.ask("status", name)?;
        match (envelope["code"].as_u64(), envelope["data"]["unread"].as_u64()) {
            (Some(1), Some(unread)) => Ok(unread),
            (Some(2), _) => Ok(0),
            _ => Err(format!("/status/ answered {envelope}").into()),
        }
    }

    /// One GET on a connection of its own; gives the envelope.
    fn ask(&self, verb: &str, name: &str) -> Result<serde_json::Value, Box<dyn Error>> {
        let addr = self.addr;
        let mut socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let head = format!("GET /{verb}/?name={name} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes)?;
        match answer::parse(&bytes) {
            Parsed::Whole(answer) if answer.status == 200 => Ok(serde_json::from_slice(answer.body)?),
            _ => Err(format!("/{verb}/ answered {}", String::from_utf8_lossy(&bytes)).into()),
        }
    }
}
