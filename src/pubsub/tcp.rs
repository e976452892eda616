//! The TCP listener and its connections.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Door,
    command::Command,
    frame,
    message::Form,
    outbox::{End, Next, Outbox},
    session::Session,
};
use crate::{accept::Acceptor, store::Store};

/// What is read at a time from a connection that says little, and from one that says much.
const MIN_READ_BYTES: usize = 2 << 10;
const MAX_READ_BYTES: usize = 64 << 10;
/// After this long without a word the system asks whether the other machine is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long what a client still sends is read and thrown away after the last word to it. To close at once would reset the
/// connection, and a reset can overtake that word.
const LINGER: Duration = Duration::from_secs(2);
/// A client that says nothing for this long has nothing on its way that could make a reset.
const QUIET: Duration = Duration::from_millis(100);
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
        let stream = tokio::select! {
            stream = acceptor.next() => stream,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        if connections.len() < door.max_connections {
            connections.spawn(serve_connection(stream, door.clone(), stop.subscribe()));
        } else {
            refuse(&stream);
        }
    }
    drop(acceptor);
    stop.send_replace(true);
    let drained = timeout(door.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        log::warn!("{} subscribers did not take in time what they were sent", connections.len());
    }
}

fn refuse(stream: &TcpStream) {
    log::debug!("refused a connection: there are as many as max_connections allows");
    if let Some(frame) = frame::encode("httpmq", TOO_MANY) {
        // A client too slow for even that is not waited for.
        let _ = stream.try_write(&frame);
    }
}

async fn serve_connection<S: Store>(stream: TcpStream, door: Arc<Door<S>>, mut stop: watch::Receiver<bool>) {
    keep_alive(&stream);
    let (read, write) = stream.into_split();
    let mut session = Session::new(door.clone(), Form::Frame);
    let writer = tokio::spawn(send(write, session.outbox.clone(), door.write_timeout));
    let mut reader = Reader { read, buffer: BytesMut::new(), want: MIN_READ_BYTES, began: Instant::now() };
    let end = converse(&mut reader, &mut session, &door, writer, &mut stop).await;
    if end == Some(End::TooSlow) {
        door.hub.note_dropped();
        log::warn!("dropped the subscriber {}: it did not take what it was sent", session.outbox.name);
    }
    drop(session);
    if end == Some(End::Flush) {
        // Without a bound of its own an endless sender would be listened to for ever.
        let _ = timeout(LINGER, reader.discard()).await;
    }
}

/// Does what the client asks for until one of the two sides ends it; says how the writer ended, if it did in good order.
async fn converse<S: Store>(
    reader: &mut Reader,
    session: &mut Session<S>,
    door: &Door<S>,
    mut writer: JoinHandle<End>,
    stop: &mut watch::Receiver<bool>,
) -> Option<End> {
    let stopping = tokio::select! {
        () = receive(reader, session, door) => false,
        _ = stop.wait_for(|stop| *stop) => true,
        end = &mut writer => return end.ok(),
    };
    while session.has_puts() {
        session.put_done().await;
    }
    if stopping {
        session.bye().await;
    }
    session.outbox.end(End::Flush);
    writer.await.ok()
}

/// Has the system ask now and then whether the other machine is still there.
pub(super) fn keep_alive(stream: &TcpStream) {
    // A system without keep-alive probes notices a dead subscriber by its full buffer, which takes longer.
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
}

// ===== reading =====

struct Reader {
    read: OwnedReadHalf,
    buffer: BytesMut,
    /// How much to read at a time.
    want: usize,
    /// When the frame began that is not whole yet.
    began: Instant,
}

/// Reads and does what is asked for, until the client says no more or loses step.
async fn receive<S: Store>(reader: &mut Reader, session: &mut Session<S>, door: &Door<S>) {
    loop {
        let mut took_any = false;
        loop {
            // Also what is in the buffer already is a lot to do: the writer has its turn in between.
            tokio::task::coop::consume_budget().await;
            if !session.may_ask().await {
                return;
            }
            let decoded = frame::decode(&mut reader.buffer, door.max_message_bytes);
            took_any |= !matches!(decoded, Ok(None));
            match decoded {
                Ok(None) => break,
                Ok(Some(frame)) => match Command::parse(&frame.json, door.max_message_bytes) {
                    Ok(command) => session.request(&frame.queue, command).await,
                    Err(error) => session.error(&error),
                },
                Err(error) => {
                    session.error(&error);
                    if !error.in_step() {
                        return;
                    }
                }
            }
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
                return session.error(&"the rest of a frame did not come in time");
            }
        }
    }
}

impl Reader {
    /// Reads some more. Cancel safe.
    async fn more(&mut self) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < self.want / 2 {
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

    /// Reads and throws away until the client is done, or silent.
    async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            match timeout(QUIET, self.more()).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return,
            }
        }
    }
}

// ===== writing =====

/// Sends what the outbox has until the connection ends; says how it ended.
async fn send(mut write: OwnedWriteHalf, outbox: Arc<Outbox>, patience: Duration) -> End {
    let end = loop {
        match outbox.next().await {
            Next::End(end) => break end,
            Next::Send(pieces) => {
                if let Err(end) = send_all(&mut write, pieces, &outbox, patience).await {
                    break end;
                }
            }
        }
    };
    outbox.end(if end == End::Flush { End::Gone } else { end });
    // A client that is gone does not hear it.
    let _ = write.shutdown().await;
    end
}

/// Hands pieces to the kernel, as many at a time as it takes.
async fn send_all(
    write: &mut OwnedWriteHalf,
    mut pieces: Vec<Bytes>,
    outbox: &Outbox,
    patience: Duration,
) -> Result<(), End> {
    let mut at = 0;
    while at < pieces.len() {
        let slices: Vec<IoSlice<'_>> = pieces[at..].iter().map(|piece| IoSlice::new(piece)).collect();
        let written = tokio::select! {
            written = timeout(patience, write.write_vectored(&slices)) => written,
            () = outbox.overflowed() => return Err(End::TooSlow),
        };
        let mut written = match written {
            Ok(Ok(written)) if written > 0 => written,
            Ok(_) => return Err(End::Gone),
            Err(_) => return Err(End::TooSlow),
        };
        while at < pieces.len() && written >= pieces[at].len() {
            written -= pieces[at].len();
            at += 1;
        }
        if written > 0 {
            pieces[at].advance(written);
        }
    }
    Ok(())
}
