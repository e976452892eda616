//! The TCP listener and its connections.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Door,
    command::Command,
    entry::Visitor,
    frame,
    linger::linger,
    message::Form,
    outbox::End,
    run::Run,
    session::{Session, finish},
    writer::send,
};
use crate::{
    accept::{Acceptor, stopped},
    broker::{Claim, Memory, UNCOUNTED_BYTES},
    guard::Client,
    metrics::Reason,
    store::Store,
    tls::{self, Speaks},
};

/// What is read at a time from a connection that says little, and from one that says much.
const MIN_READ_BYTES: usize = 2 << 10;
const MAX_READ_BYTES: usize = 64 << 10;
/// After this long without a word the system asks whether the other machine is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// What a connection over the limit is told. Its queue is no connection's id, for it gets none.
const TOO_MANY: &str = r#"{"response":"ERROR: there are too many connections"}"#;

/// Serves connections until `shutdown` completes; then says BYE to them, gives them the drain time to take what they were sent,
/// and returns.
pub async fn serve<S: Store>(listener: TcpListener, door: Arc<Door<S>>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let mut acceptor = Acceptor::new(listener);
    let mut connections = JoinSet::new();
    let stop = watch::Sender::new(false);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = acceptor.next() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        if connections.len() < door.max_connections {
            connections.spawn(serve_connection(stream, peer, door.clone(), stop.subscribe()));
        } else {
            door.counted.refused(Reason::TooMany);
            refuse(&stream, &door);
        }
    }
    drop(acceptor);
    stop.send_replace(true);
    let drained = timeout(door.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        log::warn!("{} subscribers did not take in time what they were sent", connections.len());
    }
}

fn refuse<S: Store>(stream: &TcpStream, door: &Door<S>) {
    log::debug!("refused a connection: there are as many as max_connections allows");
    if door.tls.is_some() {
        // To tell it would take a handshake, which is what there is no room for.
        return;
    }
    if let Some(frame) = frame::encode("httpmq", TOO_MANY) {
        // A client too slow for even that is not waited for.
        let _ = stream.try_write(&frame);
    }
}

async fn serve_connection<S: Store>(
    stream: TcpStream,
    peer: SocketAddr,
    door: Arc<Door<S>>,
    mut stop: watch::Receiver<bool>,
) {
    let _open = door.counted.open();
    keep_alive(&stream);
    let secured = tokio::select! {
        secured = tls::secure(door.tls.as_deref(), stream, peer, (Speaks::Frames, door.handshake_timeout), &door.counted) => secured,
        () = stopped(&mut stop) => return,
    };
    // Who speaks no TLS here expects no words.
    let Ok(stream) = secured else { return };
    let (read, write) = stream.into_split();
    // Nobody has shown anything yet, so this is a pass only where nobody needs one.
    let visitor = Visitor { peer, pass: door.guard.enter(None, Client::at(peer.ip())).ok() };
    let mut session = Session::new(door.clone(), Form::Frame, visitor);
    let expelled = session.expelled();
    let mut writer = tokio::spawn(send(write, session.outbox.clone(), door.write_timeout));
    let mut reader = Reader::new(read, &door);
    let (ended, last) = tokio::select! {
        () = receive(&mut reader, &mut session, &door) => (None, Bytes::new()),
        end = &mut writer => (Some(end), Bytes::new()),
        () = stopped(&mut stop) => (None, session.bye().await),
        denial = expelled => {
            session.deny(&denial);
            (None, Bytes::new())
        }
    };
    if finish(session, ended, writer, last).await == End::Flush {
        linger(reader.read).await;
    }
}

/// Has the system ask now and then whether the other machine is still there.
pub(super) fn keep_alive(stream: &TcpStream) {
    // A system without keep-alive probes notices a dead subscriber by its full buffer, which takes longer.
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
}

// ===== reading =====

struct Reader {
    read: tls::ReadHalf,
    buffer: BytesMut,
    /// How much to read at a time.
    want: usize,
    /// When the frame began that is not whole yet.
    began: Instant,
    max_message_bytes: usize,
    memory: Memory,
    /// The share of the frame that is not whole yet, when that is long.
    claim: Claim,
}

/// Reads and does what is asked for, until the client says no more or loses step.
async fn receive<S: Store>(reader: &mut Reader, session: &mut Session<S>, door: &Door<S>) {
    loop {
        let mut took_any = false;
        loop {
            if !session.may_ask().await {
                return;
            }
            match request(&mut reader.buffer, session, door).await {
                Step::Taken => {}
                Step::MoreWanted => break,
                Step::Over => return,
            }
            took_any = true;
            reader.give_back();
        }
        if took_any {
            // What is left is the start of another frame, which has time of its own.
            reader.began = Instant::now();
        }
        let give_up = (!reader.buffer.is_empty()).then_some(reader.began + door.frame_timeout);
        tokio::select! {
            more = reader.more() => match more {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            () = session.put_done(), if session.has_puts() => {}
            () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => {
                return session.late(reader.claim.is_waiting(), "frame");
            }
        }
    }
}

/// What became of a look at the buffer.
enum Step {
    /// Something was taken off it.
    Taken,
    /// What it holds is not whole.
    MoreWanted,
    /// The connection is to end.
    Over,
}

/// Does what the buffer begins with: a frame, or publishes that came together.
async fn request<S: Store>(buffer: &mut BytesMut, session: &mut Session<S>, door: &Door<S>) -> Step {
    let goes_on = if session.takes_runs()
        && let Some(run) = Run::take(buffer, door.max_message_bytes)
    {
        session.publish_run(run).await
    } else {
        match frame::decode(buffer, session.max_message_bytes()) {
            Ok(None) => return Step::MoreWanted,
            Ok(Some(frame)) => match Command::parse(&frame.json, door.max_message_bytes) {
                Ok(command) => session.request(&frame.queue, command).await,
                Err(error) => {
                    session.error(Reason::Malformed, &error);
                    true
                }
            },
            Err(error) => {
                session.error(Reason::Malformed, &error);
                error.in_step()
            }
        }
    };
    if goes_on { Step::Taken } else { Step::Over }
}

impl Reader {
    fn new<S: Store>(read: tls::ReadHalf, door: &Door<S>) -> Reader {
        Reader {
            read,
            buffer: BytesMut::new(),
            want: MIN_READ_BYTES,
            began: Instant::now(),
            max_message_bytes: door.max_message_bytes,
            memory: door.broker.memory().clone(),
            claim: Claim::default(),
        }
    }

    /// Reads some more, when there is memory for it. Cancel safe.
    async fn more(&mut self) -> io::Result<usize> {
        // Not before so much is there: who only says that much will come must not keep others waiting.
        if self.buffer.len() > UNCOUNTED_BYTES
            && !self.claim.is_held()
            && let Some(bytes) = frame::announced(&self.buffer, self.max_message_bytes)
        {
            poll_fn(|cx| self.claim.poll_take(&self.memory, bytes, cx)).await;
            self.buffer.reserve(bytes.saturating_sub(self.buffer.len()));
        }
        // A long frame has its room already.
        let least_bytes = if self.claim.is_held() { 1 } else { self.want / 2 };
        if self.buffer.capacity() - self.buffer.len() < least_bytes {
            self.buffer.reserve(self.want);
        }
        let was_empty = self.buffer.is_empty();
        let read = self.read.read_buf(&mut self.buffer).await?;
        if was_empty {
            self.began = Instant::now();
        }
        // A connection that fills what it is given gets more next time; an idle one holds next to nothing.
        self.want = if read >= self.want / 2 { (2 * self.want).min(MAX_READ_BYTES) } else { MIN_READ_BYTES };
        Ok(read)
    }

    /// Gives back what a long frame took, once it was done what it asked for.
    fn give_back(&mut self) {
        if self.claim.is_held() {
            // The buffer is as long as that frame was, and would stay so.
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.claim.give_back();
        }
    }
}
