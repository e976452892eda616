//! What one connection still has to be sent: a queue bounded in bytes, which never makes anybody wait.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    gather::{Waiting, gather},
    message::Form,
};

/// How many pieces are handed to the kernel in one call, which takes no more.
const MAX_PIECES: usize = 1024;
/// How many bytes are handed to the kernel in one call. With a thousand connections, each has its turn several times a second.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// So much is sent without waiting for more.
const ENOUGH_BYTES: usize = 32 << 10;

/// A piece of no more bytes costs less to copy than to hand to the kernel by itself.
const SMALL_BYTES: usize = 256;

/// What an answer that is not known yet counts for: a little more than it will have.
const LATER_BYTES: usize = 128;

/// The outgoing queue of one connection. The hub and the connection itself put in; its writer takes out.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The connection's id.
    pub(super) id: Uuid,
    /// The id as it is written, which is also the name of the connection's own queue.
    pub(super) name: String,
    pub(super) form: Form,
    /// Whether the connection wants its own messages back.
    pub(super) echo: AtomicBool,
    limit_bytes: usize,
    state: Mutex<State>,
    /// Bytes in the queue, for those who only want to know.
    backlog: AtomicUsize,
    /// Bytes that the writer has taken since the beginning.
    taken: AtomicU64,
    /// For the writer: there is something to send, or the end.
    changed: Notify,
    /// For the reader: the writer has taken something, or there is the end.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// One or more whole frames each.
    pieces: VecDeque<Piece>,
    end: Option<End>,
}

#[derive(Debug)]
enum Piece {
    Ready(Bytes),
    /// So many answers that are not known yet; what comes behind them waits.
    Later(Arc<OnceLock<Bytes>>, usize),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// When everything in the queue is sent.
    Flush,
    /// At once: it did not take what it was sent.
    TooSlow,
    /// At once: it is gone.
    Gone,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next {
    Send(Vec<Bytes>),
    End(End),
}

/// The place in the queue of an answer that is given so many times. It must be given: what is behind it waits.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) outbox: Arc<Outbox>,
    answers: Arc<OnceLock<Bytes>>,
    count: usize,
}

impl Outbox {
    pub(super) fn new(id: Uuid, form: Form, limit_bytes: usize) -> Outbox {
        Outbox {
            id,
            name: id.to_string(),
            form,
            echo: AtomicBool::new(false),
            limit_bytes,
            state: Mutex::default(),
            backlog: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            changed: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Puts pieces in, unless that is too much for the connection, which then ends.
    pub(super) fn push(&self, pieces: impl IntoIterator<Item = Bytes>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let mut added = 0;
        for piece in pieces {
            added += piece.len();
            state.pieces.push_back(Piece::Ready(piece));
        }
        // A queue that was empty takes anything: one message may be larger than the limit.
        let before = self.backlog.fetch_add(added, Ordering::Relaxed);
        if before > 0 && before + added > self.limit_bytes {
            self.end_with(state, End::TooSlow);
            return;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Keeps a place for an answer that will be known later, and given so many times.
    pub(super) fn keep_place(self: &Arc<Self>, count: usize) -> Place {
        let answers = Arc::new(OnceLock::new());
        let mut state = self.lock();
        if state.end.is_none() {
            state.pieces.push_back(Piece::Later(answers.clone(), count));
            self.backlog.fetch_add(count * LATER_BYTES, Ordering::Relaxed);
        }
        drop(state);
        Place { outbox: self.clone(), answers, count }
    }

    /// Ends the connection. The first end counts, except that nobody waits for a flush that cannot be.
    pub(super) fn end(&self, end: End) {
        self.end_with(self.lock(), end);
    }

    /// Ends the connection when everything in the queue is sent, and behind it this last piece, which may be empty. What comes later
    /// is not sent.
    pub(super) fn finish(&self, last: Bytes) {
        let mut state = self.lock();
        if state.end.is_none() && !last.is_empty() {
            self.backlog.fetch_add(last.len(), Ordering::Relaxed);
            state.pieces.push_back(Piece::Ready(last));
        }
        self.end_with(state, End::Flush);
    }

    /// Waits for something to send. For the one writer only. Cancel safe.
    pub(super) async fn next(&self) -> Next {
        loop {
            gather(ENOUGH_BYTES, || Waiting { pieces: self.lock().pieces.len(), bytes: self.backlog() }).await;
            if let Some(next) = self.take() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    /// Waits until the connection ends because it did not take what it was sent. For the one writer only. Cancel safe: what else is
    /// told meanwhile is still there for [`Outbox::next`], which looks before it waits.
    pub(super) async fn overflowed(&self) {
        while self.lock().end != Some(End::TooSlow) {
            self.changed.notified().await;
        }
    }

    /// Whether the connection ends, in whatever way.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Whether the connection may ask for more: it has taken at least half of what it can have waiting.
    pub(super) fn has_room(&self) -> bool {
        self.backlog() <= self.limit_bytes / 2
    }

    /// Waits until [`Outbox::has_room`] or [`Outbox::has_ended`] may have another answer. For the one reader only. Cancel safe.
    pub(super) async fn drained(&self) {
        self.drained.notified().await;
    }

    pub(super) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < MAX_PIECES && bytes < MAX_BATCH_BYTES {
            let (piece, counted) = match state.pieces.front() {
                Some(Piece::Ready(piece)) => (piece.clone(), piece.len()),
                Some(Piece::Later(answers, count)) => match answers.get() {
                    Some(answers) => (answers.clone(), count * LATER_BYTES),
                    None => break,
                },
                None => break,
            };
            state.pieces.pop_front();
            bytes += counted;
            batch.push(piece);
        }
        if !batch.is_empty() {
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
            self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
            drop(state);
            self.drained.notify_one();
            return Some(Next::Send(joined(batch)));
        }
        match state.end {
            Some(End::Flush) if !state.pieces.is_empty() => None,
            end => end.map(Next::End),
        }
    }

    fn end_with(&self, mut state: MutexGuard<'_, State>, end: End) {
        if matches!(state.end, None | Some(End::Flush)) {
            state.end = Some(end);
        }
        if end != End::Flush {
            state.pieces.clear();
            self.backlog.store(0, Ordering::Relaxed);
        }
        drop(state);
        self.changed.notify_one();
        self.drained.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn fill(self, answer: &Bytes) {
        // The one who has the place is the only one who fills it.
        let _ = self.answers.set(repeated(answer, self.count));
        self.outbox.changed.notify_one();
    }
}

/// An answer so many times.
pub(super) fn repeated(answer: &Bytes, count: usize) -> Bytes {
    if count == 1 { answer.clone() } else { answer.repeat(count).into() }
}

/// Copies small pieces that are neighbours together.
fn joined(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let (mut joined, mut small) = (Vec::new(), BytesMut::new());
    for piece in pieces {
        if piece.len() <= SMALL_BYTES {
            small.extend_from_slice(&piece);
            continue;
        }
        if !small.is_empty() {
            joined.push(small.split().freeze());
        }
        joined.push(piece);
    }
    if !small.is_empty() {
        joined.push(small.freeze());
    }
    joined
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // A test that fails by panic is what is wanted.
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_pieces_go_together_and_all_keep_their_order() {
        let outbox = Arc::new(Outbox::new(Uuid::new_v4(), Form::Frame, 1 << 20));
        let large = Bytes::from(vec![b'l'; SMALL_BYTES + 1]);
        let small = |text: &'static str| Bytes::from_static(text.as_bytes());
        outbox.push([small("a"), small("b"), large.clone(), small("c")]);
        let place = outbox.keep_place(2);
        outbox.push([small("e")]);
        let Next::Send(pieces) = outbox.next().await else { panic!("it does not end") };
        assert_eq!(pieces, [small("ab"), large, small("c")]);
        place.fill(&small("d"));
        let Next::Send(pieces) = outbox.next().await else { panic!("it does not end") };
        assert_eq!(pieces, [small("dde")]);
        assert_eq!(outbox.backlog(), 0);
    }
}
