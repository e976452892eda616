//! One WebSocket connection, from the end of its handshake on.
//!
//! tungstenite reads and checks what comes (RFC 6455). What goes out is made by [`super::websocket_frame`] and waits in the outbox
//! like everything that is sent, tungstenite's own answers to pings included.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use super::{
    Door,
    command::{Command, CommandError},
    entry::Visitor,
    frame::MAX_NAME_BYTES,
    linger::linger,
    message::{self, Form},
    object::{Object, ObjectError},
    outbox::{End, Outbox},
    pulse::{Look, Pulse, Verdict},
    session::{Session, finish},
    websocket_frame,
    websocket_progress::Progress,
    writer::send,
};
use crate::{
    accept::stopped,
    broker::{Claim, Memory, UNCOUNTED_BYTES},
    metrics::Reason,
    store::Store,
};

/// What is read at a time: an idle connection keeps this much.
const READ_BYTES: usize = 4 << 10;
/// What a message needs beside itself: the queue's name, of which JSON can take six bytes for one (`\u0041`), and its key.
const ENVELOPE_BYTES: usize = 6 * MAX_NAME_BYTES + 1024;

/// Serves a connection with `peer` until it ends, or until `stop` is true; then says BYE and ends it. `buffered` is what was read
/// already.
pub async fn serve<S: Store>(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin + Send + 'static,
    buffered: Vec<u8>,
    door: Arc<Door<S>>,
    visitor: Visitor,
    mut stop: watch::Receiver<bool>,
) {
    let mut session = Session::new(door.clone(), Form::WebSocket, visitor);
    let expelled = session.expelled();
    let mut writer = tokio::spawn(send(write, session.outbox.clone(), door.write_timeout));
    let mut reader = Reader::new(read, buffered, session.outbox.clone(), &door, max_bytes(&session));
    let (ended, last) = tokio::select! {
        last = receive(&mut reader, &mut session, &door) => (None, last),
        end = &mut writer => (Some(end), Bytes::new()),
        () = stopped(&mut stop) => {
            (None, [session.bye().await, websocket_frame::close(Some(CloseCode::Away))].concat().into())
        }
        denial = expelled => {
            session.deny(&denial);
            (None, websocket_frame::close(Some(CloseCode::Policy)))
        }
    };
    if finish(session, ended, writer, last).await == End::Flush {
        linger(reader.read).await;
    }
}

/// Reads and does what is asked for, until the connection is to end; gives the frame to end it with.
async fn receive<S: Store, R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    session: &mut Session<S>,
    door: &Door<S>,
) -> Bytes {
    let mut pulse = Pulse::new(Instant::now(), door.write_timeout, door.frame_timeout);
    let mut ticks = interval_at(Instant::now() + pulse.period(), pulse.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !session.may_ask().await {
            return Bytes::new();
        }
        let message = tokio::select! {
            message = reader.next() => message,
            () = session.put_done(), if session.has_puts() => continue,
            now = ticks.tick() => match pulse.look(reader.look(now)) {
                Verdict::Fine => continue,
                Verdict::Ask => {
                    session.outbox.push([websocket_frame::ping()]);
                    continue;
                }
                Verdict::Slow => {
                    session.late(reader.claim.is_waiting(), "message");
                    return websocket_frame::close(Some(CloseCode::Policy));
                }
                Verdict::Gone => {
                    log::debug!("{} did not answer a ping", session.outbox.name);
                    session.outbox.end(End::Gone);
                    return Bytes::new();
                }
            },
        };
        match message {
            Ok(Message::Text(text)) => {
                if !request(session, &text, door).await {
                    return websocket_frame::close(Some(CloseCode::Policy));
                }
                reader.limit(max_bytes(session));
            }
            Ok(Message::Binary(_)) => session.error(Reason::Malformed, &"a binary message; only text is understood"),
            Ok(Message::Close(frame)) => return websocket_frame::close(frame.map(|frame| frame.code)),
            Ok(_) => {}
            Err(error) => return refuse(session, &error),
        }
        reader.give_back();
    }
}

/// The longest message with what is around it.
fn max_bytes<S: Store>(session: &Session<S>) -> usize {
    session.max_message_bytes() + ENVELOPE_BYTES
}

/// `false`: the connection is to end with it.
async fn request<S: Store>(session: &mut Session<S>, text: &str, door: &Door<S>) -> bool {
    let command = Object::parse(text.as_bytes(), door.max_message_bytes + ENVELOPE_BYTES)
        .map_err(CommandError::from)
        .and_then(Command::of);
    let queue = match &command {
        Ok(Command::Publish(object)) => message::queue(object).and_then(|queue| queue.ok_or(CommandError::NoQueue)),
        _ => Ok(String::new()),
    };
    match command.and_then(|command| Ok((queue?, command))) {
        Ok((queue, command)) => session.request(&queue, command).await,
        Err(error) => {
            session.error(Reason::Malformed, &error);
            true
        }
    }
}

/// Says what is wrong with what came; gives the frame to end the connection with.
fn refuse<S: Store>(session: &Session<S>, error: &Error) -> Bytes {
    let code = match error {
        Error::Capacity(_) => {
            session.error(Reason::TooLong, &ObjectError::OverLimit { limit_bytes: session.max_message_bytes() });
            CloseCode::Size
        }
        Error::Utf8(_) => {
            session.error(Reason::Malformed, &ObjectError::NotUtf8);
            CloseCode::Invalid
        }
        Error::Protocol(error) if *error != ProtocolError::ResetWithoutClosingHandshake => {
            session.error(Reason::Malformed, error);
            CloseCode::Protocol
        }
        // The client is gone.
        _ => return Bytes::new(),
    };
    websocket_frame::close(Some(code))
}

// ===== reading =====

struct Reader<R> {
    read: R,
    context: WebSocketContext,
    outbox: Arc<Outbox>,
    read_bytes: u64,
    progress: Progress,
    /// When the message began that is not whole yet.
    began: Option<Instant>,
    max_bytes: usize,
    memory: Memory,
    /// The share of the message that is not whole yet, when that is long.
    claim: Claim,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new<S: Store>(read: R, buffered: Vec<u8>, outbox: Arc<Outbox>, door: &Door<S>, max_bytes: usize) -> Reader<R> {
        let mut progress = Progress::default();
        progress.note(&buffered);
        Reader {
            read,
            context: context(buffered, max_bytes),
            outbox,
            read_bytes: 0,
            progress,
            began: None,
            max_bytes,
            memory: door.broker.memory().clone(),
            claim: Claim::default(),
        }
    }

    /// Changes how long a message may be.
    fn limit(&mut self, max_bytes: usize) {
        if self.max_bytes != max_bytes {
            self.max_bytes = max_bytes;
            self.context.set_config(|config| {
                config.max_message_size = Some(max_bytes);
                config.max_frame_size = Some(max_bytes);
            });
        }
    }

    /// The next message, pings and pongs included. Cancel safe.
    async fn next(&mut self) -> Result<Message, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        let Reader { read, context, outbox, read_bytes, progress, max_bytes, memory, claim, .. } = self;
        let max_bytes = *max_bytes;
        let outcome = context.read(&mut Pipe { read, outbox, read_bytes, progress, max_bytes, memory, claim, cx });
        if self.progress.is_whole() || matches!(outcome, Ok(Message::Text(_) | Message::Binary(_))) {
            self.began = None;
        }
        match outcome {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                if !self.progress.is_whole() {
                    self.began.get_or_insert_with(Instant::now);
                }
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        }
    }

    /// Gives back what a long message took, once it was done what it asked for.
    fn give_back(&mut self) {
        // Before its end nothing was read that is behind it, so there is nothing in the old context but a buffer of its length.
        if self.claim.is_held() && self.progress.is_whole() {
            self.context = context(Vec::new(), self.max_bytes);
            self.claim.give_back();
        }
    }

    fn look(&self, now: Instant) -> Look {
        Look { now, read_bytes: self.read_bytes, began: self.began, backlog_bytes: self.outbox.backlog() }
    }
}

fn context(buffered: Vec<u8>, max_bytes: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(max_bytes))
        .max_frame_size(Some(max_bytes));
    WebSocketContext::from_partially_read(buffered, Role::Server, Some(config))
}

/// What tungstenite reads from and writes to. Its writes are whole frames: with this configuration it buffers nothing.
struct Pipe<'a, 'cx, R> {
    read: &'a mut R,
    outbox: &'a Outbox,
    read_bytes: &'a mut u64,
    progress: &'a mut Progress,
    max_bytes: usize,
    memory: &'a Memory,
    claim: &'a mut Claim,
    cx: &'a mut Context<'cx>,
}

impl<R: AsyncRead + Unpin> Read for Pipe<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.poll_read(buf) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl<R: AsyncRead + Unpin> Pipe<'_, '_, R> {
    fn poll_read(&mut self, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // Not before so much is there: who only says that much will come must not keep others waiting.
        if self.progress.arrived_bytes() > UNCOUNTED_BYTES && !self.claim.is_held() {
            let bytes = self.progress.announced_bytes().unwrap_or(self.max_bytes);
            ready!(self.claim.poll_take(self.memory, bytes, self.cx));
        }
        // Nothing of what is behind a long frame, so that its buffer can go.
        let most_bytes = if self.claim.is_held() { self.progress.wanted_bytes().min(buf.len()) } else { buf.len() };
        let mut buf = ReadBuf::new(&mut buf[..most_bytes]);
        ready!(Pin::new(&mut *self.read).poll_read(self.cx, &mut buf))?;
        *self.read_bytes += buf.filled().len() as u64;
        self.progress.note(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<R> Write for Pipe<'_, '_, R> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.outbox.push([Bytes::copy_from_slice(frame)]);
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
