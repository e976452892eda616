//! The asking side of CoreMQ: one TCP connection to a server.

mod address;
mod error;
pub(crate) mod incoming;
pub mod request;

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::{
    address::{AddressError, Server},
    error::ClientError,
    incoming::{Answer, History, Incoming, Message},
};
use super::{frame, tcp};
use crate::access::Secret;
use crate::tls::{ReadHalf, Stream, WriteHalf};

/// How long to wait for a connection, and then for the welcome: ten times a slow way around the globe, and short enough to wait
/// for at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// The half that speaks. What is pushed goes out with [`Sender::flush`] or [`Sender::write`].
#[derive(Debug)]
pub struct Sender {
    server: String,
    write: WriteHalf,
    out: BytesMut,
    /// Something is written that TLS may hold back.
    unflushed: bool,
}

/// The half that listens.
#[derive(Debug)]
pub struct Receiver {
    server: String,
    /// The connection's own queue; empty before the welcome.
    id: String,
    read: ReadHalf,
    buffer: BytesMut,
}

/// Connects, waits for the welcome, and shows the token when there is one.
///
/// # Errors
/// Any [`ClientError`].
pub async fn connect(server: &Server) -> Result<(Sender, Receiver), ClientError> {
    let shown = server.to_string();
    let none = |reason| ClientError::NoConnection { server: shown.clone(), reason };
    let silent = || none(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
    let connecting = async {
        let connected = TcpStream::connect((server.host.as_str(), server.port)).await;
        let stream = connected.map_err(|error| none(error.to_string()))?;
        tcp::keep_alive(&stream);
        // What is written goes out as it is: a message is not held back for a next one.
        stream.set_nodelay(true).map_err(|error| none(error.to_string()))?;
        match &server.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => {
                let unsafe_for = |reason| ClientError::NotSafe { server: shown.clone(), reason };
                tls.connect(&server.host, stream).await.map_err(unsafe_for)
            }
        }
    };
    let stream = timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| silent())??;
    let (read, write) = stream.into_split();
    let mut sender = Sender { server: shown.clone(), write, out: BytesMut::new(), unflushed: false };
    let mut receiver = Receiver { server: shown.clone(), id: String::new(), read, buffer: BytesMut::new() };
    timeout(CONNECT_TIMEOUT, receiver.welcome()).await.map_err(|_| silent())??;
    if let Some(secret) = &server.secret {
        timeout(CONNECT_TIMEOUT, show(secret, &mut sender, &mut receiver)).await.map_err(|_| silent())??;
    }
    Ok((sender, receiver))
}

async fn show(secret: &Secret, sender: &mut Sender, receiver: &mut Receiver) -> Result<(), ClientError> {
    // A token is far below the length that a frame has no number for.
    let _ = sender.push(receiver.id(), &request::auth(secret));
    sender.flush().await?;
    match receiver.answer().await? {
        Answer::Refused(reason) => Err(ClientError::Denied { server: receiver.server.clone(), reason }),
        _ => Ok(()),
    }
}

impl Sender {
    /// Adds a frame; `false` when it would be longer than the protocol has a number for. `queue` must keep the rules of
    /// [`frame::check_name`].
    #[must_use]
    pub fn push(&mut self, queue: &str, json: &str) -> bool {
        let frame = frame::encode(queue, json);
        frame.iter().for_each(|frame| self.out.extend_from_slice(frame));
        frame.is_some()
    }

    /// Adds a frame that is encoded already.
    pub(crate) fn push_encoded(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// How many bytes wait to be written; with TLS at least one as long as some may be held back.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.out.len().max(usize::from(self.unflushed))
    }

    /// Writes some of what waits. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Broken`]. Why the server closed may still be there to be read.
    pub async fn write(&mut self) -> Result<(), ClientError> {
        let written = match self.out.is_empty() {
            // A flush that was given up is done here.
            true => self.write.flush().await.map(|()| self.unflushed = false),
            false => self.write.write_buf(&mut self.out).await.map(|_| self.unflushed = self.write.needs_flush()),
        };
        match written {
            Ok(()) => Ok(()),
            Err(error) => {
                self.unflushed = false;
                self.out.clear();
                Err(ClientError::Broken { server: self.server.clone(), reason: error.to_string() })
            }
        }
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// As [`Sender::write`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while self.waiting_bytes() > 0 {
            self.write().await?;
        }
        Ok(())
    }
}

impl Receiver {
    /// The connection's id, to which commands are sent by custom.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What came in already.
    ///
    /// # Errors
    /// [`ClientError::NotCoremq`].
    pub fn ready(&mut self) -> Result<Option<Incoming>, ClientError> {
        // As long as a frame can be: what the server takes at most, only the server knows.
        let frame = frame::decode(&mut self.buffer, frame::MAX_LEN).map_err(|error| self.foreign(error.to_string()))?;
        let Some(frame) = frame else { return Ok(None) };
        let incoming = Incoming::read(&frame, &self.id).map_err(|error| self.foreign(error.to_string()))?;
        Ok(Some(incoming))
    }

    /// Gives all frames that came in already to `take`, each as queue and JSON where they lie in the buffer: for those who get too
    /// much to read every one into values.
    ///
    /// # Errors
    /// [`ClientError::NotCoremq`].
    pub(crate) fn ready_raw(&mut self, mut take: impl FnMut(&[u8], &[u8])) -> Result<(), ClientError> {
        let mut at = 0;
        let foreign = |error: frame::FrameError| self.foreign(error.to_string());
        while let Some(frame::First { queue, json, used }) =
            frame::first(&self.buffer[at..], frame::MAX_LEN).map_err(foreign)?
        {
            take(queue, json);
            at += used;
        }
        self.buffer.advance(at);
        Ok(())
    }

    /// Waits for more bytes. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Broken`].
    pub async fn more(&mut self) -> Result<(), ClientError> {
        self.buffer.reserve(READ_BYTES);
        let reason = match self.read.read_buf(&mut self.buffer).await {
            Ok(0) => "the server closed it".to_owned(),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "the server closed it".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(ClientError::Broken { server: self.server.clone(), reason })
    }

    /// Waits for what comes next. Cancel safe.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        loop {
            if let Some(incoming) = self.ready()? {
                return Ok(incoming);
            }
            self.more().await?;
        }
    }

    /// Waits for the next answer. Messages that come before it are passed over.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn answer(&mut self) -> Result<Answer, ClientError> {
        loop {
            if let Incoming::Answer(answer) = self.next().await? {
                return Ok(answer);
            }
        }
    }

    async fn welcome(&mut self) -> Result<(), ClientError> {
        let frame = loop {
            let decoded = frame::decode(&mut self.buffer, frame::MAX_LEN);
            match decoded.map_err(|error| self.foreign(error.to_string()))? {
                Some(frame) => break frame,
                None => self.more().await?,
            }
        };
        match Incoming::read(&frame, &frame.queue) {
            Ok(Incoming::Answer(Answer::Done)) => {
                self.id = frame.queue;
                Ok(())
            }
            Ok(Incoming::Answer(Answer::Refused(reason))) => {
                Err(ClientError::Busy { server: self.server.clone(), reason })
            }
            _ => Err(self.foreign("its first frame is no welcome".to_owned())),
        }
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::NotCoremq { server: self.server.clone(), reason }
    }
}
