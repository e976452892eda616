//! A stream that does not wait for ever.
//!
//! hyper has one timer for the head of a request and for the wait before it, and makes it anew for each request. Here the two
//! have their own length, what is written has one too, and all share one timer, which only ticks: it looks at the clock
//! and is not moved by requests. What a read waits for has its time from the first tick that finds it waiting, so that a request
//! costs no look at the clock.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::answer::unparsed;
use crate::tls::Stream;

/// How many times the timer ticks within the shortest timeout: deadlines are kept to two ticks, one at each end.
const TICKS: u32 = 10;
/// How long a client that was refused may go on sending before it reads the answer. Closed at once, the system would reset
/// the connection, and the client could lose an answer that it had not read yet.
const LINGER: Duration = Duration::from_secs(5);
/// An answer up to this length is written in one piece: head and body apart take the system 0.2 µs longer than the copy.
const ONE_PIECE_BYTES: usize = 512;
/// What such a client may send at most in that time.
const LINGER_BYTES: usize = 8 << 20;

/// How long a client may take for what it owes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// The head of a request, from its first byte (of the first request: from the start of the connection).
    pub(super) header: Duration,
    /// The wait between two requests.
    pub(super) idle: Duration,
    /// To accept a whole answer.
    pub(super) write: Duration,
}

/// What the service lets the stream know.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Counts the beginnings and ends of requests: while it is odd, one is being served and the client owes nothing (its body
    /// has a timeout of its own).
    steps: AtomicU32,
    left_body: AtomicBool,
}

impl Served {
    /// A request begins or ends.
    pub(super) fn step(&self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered before its body was read to the end, and the connection ends with that answer.
    pub(super) fn leave_body(&self) {
        self.0.left_body.store(true, Ordering::Relaxed);
    }

    fn count(&self) -> u32 {
        self.0.steps.load(Ordering::Relaxed)
    }
}

/// A stream with deadlines. Past one, reads and writes fail with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(super) struct TimedStream {
    stream: Stream,
    timeouts: Timeouts,
    served: Served,
    /// What `served` was when `reading` was set.
    seen: u32,
    reading: Reading,
    /// Since when it waits for that; `None` until a tick finds it waiting.
    read_since: Option<Instant>,
    /// What `served` was when everything that was to be written was written.
    written: u32,
    /// What is sent instead of hyper's own words, and is not sent yet.
    instead: Bytes,
    /// Since when an answer waits to be accepted.
    write_since: Option<Instant>,
    /// How much the client has sent since we said that we close; `None` before that.
    lingered: Option<usize>,
    tick: Pin<Box<Sleep>>,
}

/// What a read waits for.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Head,
    Idle,
    /// The client's end of a connection that we closed.
    Lingering,
    Nothing,
}

impl TimedStream {
    pub(super) fn new(stream: Stream, timeouts: Timeouts, served: Served) -> TimedStream {
        let now = Instant::now();
        let tick = Box::pin(tokio::time::sleep_until(now + timeouts.tick()));
        TimedStream {
            stream,
            timeouts,
            served,
            seen: 0,
            reading: Reading::Head,
            read_since: Some(now),
            written: 0,
            instead: Bytes::new(),
            write_since: None,
            lingered: None,
            tick,
        }
    }

    /// The stream itself, without deadlines.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Notes that a read gave this many bytes.
    fn note_read(&mut self, bytes: usize) {
        let served = self.served.count();
        let begun = match self.reading {
            _ if served % 2 == 1 => Reading::Nothing,
            _ if served != self.seen && bytes == 0 => Reading::Idle,
            Reading::Idle | Reading::Nothing if bytes > 0 => Reading::Head,
            _ if served != self.seen => Reading::Head,
            _ => return,
        };
        (self.seen, self.reading, self.read_since) = (served, begun, None);
    }

    /// Notes what became of a write.
    fn note_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.write_since.get_or_insert_with(Instant::now);
            self.check(cx)?;
        }
        polled
    }

    /// Whether these bytes are what hyper says by itself, to what it cannot read as a request: then something is sent instead that says
    /// why. There is no other place for it, since hyper asks nobody.
    fn take_over(&mut self, words: &[u8]) -> bool {
        let served = self.served.count();
        // No request is being served, and all that was answered before is written.
        let is_answered = served.is_multiple_of(2) && served == self.written;
        if is_answered && let Some(answer) = unparsed(words) {
            self.instead = answer;
        }
        !self.instead.is_empty()
    }

    /// Called when the stream has nothing for us. The timer wakes the task when it ticks, for reading and writing alike.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.read_since.get_or_insert(now);
            if [self.read_by(), self.write_by()].iter().flatten().any(|by| now >= *by) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.tick.as_mut().reset(now + self.timeouts.tick());
        }
        Ok(())
    }

    fn read_by(&self) -> Option<Instant> {
        let may_take = match self.reading {
            // What the last read waited for has come; there was no read since.
            _ if self.served.count() != self.seen => return None,
            Reading::Head => self.timeouts.header,
            Reading::Idle => self.timeouts.idle,
            Reading::Lingering => LINGER,
            Reading::Nothing => return None,
        };
        self.read_since.map(|since| since + may_take)
    }

    fn write_by(&self) -> Option<Instant> {
        self.write_since.map(|since| since + self.timeouts.write)
    }

    /// After our side is closed: takes what the client still sends, for a while, so that it comes to read the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>, mut sent: usize) -> Poll<io::Result<()>> {
        let mut scratch = [std::mem::MaybeUninit::uninit(); 8 << 10];
        while sent < LINGER_BYTES {
            let mut buf = ReadBuf::uninit(&mut scratch);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
            sent += buf.filled().len();
            self.lingered = Some(sent);
            match polled {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                // A client that sent nothing that we did not read has nothing to lose.
                Poll::Pending if sent > 0 || self.served.0.left_body.load(Ordering::Relaxed) => {
                    return self.check(cx).map_or(Poll::Ready(Ok(())), |()| Poll::Pending);
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Copies what is to be written into one piece, if it is short and in several.
fn one_piece<'a>(bufs: &[IoSlice<'_>], piece: &'a mut [u8; ONE_PIECE_BYTES]) -> Option<&'a [u8]> {
    let length: usize = bufs.iter().map(|buf| buf.len()).sum();
    if bufs.len() < 2 || length > ONE_PIECE_BYTES {
        return None;
    }
    let mut end = 0;
    for buf in bufs {
        piece[end..end + buf.len()].copy_from_slice(buf);
        end += buf.len();
    }
    Some(&piece[..end])
}

impl Timeouts {
    fn tick(&self) -> Duration {
        (self.header.min(self.idle).min(self.write) / TICKS).max(Duration::from_millis(10))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note_read(buf.filled().len() - before);
        if polled.is_pending() {
            self.check(cx)?;
        }
        polled
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.take_over(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.first().is_some_and(|first| self.take_over(first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let polled = match one_piece(bufs, &mut [0; ONE_PIECE_BYTES]) {
            Some(piece) => Pin::new(&mut self.stream).poll_write(cx, piece),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.note_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only called when everything is written, and done when TLS holds nothing back: until then the time for the answer runs.
        while !self.instead.is_empty() {
            let TimedStream { stream, instead, .. } = &mut *self;
            let polled = Pin::new(stream).poll_write(cx, instead);
            match ready!(self.note_write(cx, polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.instead.advance(written),
            }
        }
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.written = self.served.count();
            self.write_since = None;
        }
        self.note_write(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = match self.lingered {
            Some(sent) => sent,
            None => {
                // TLS has a last word to send, which has its time like any answer.
                let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
                ready!(self.note_write(cx, polled))?;
                (self.seen, self.reading) = (self.served.count(), Reading::Lingering);
                self.read_since = Some(Instant::now());
                0
            }
        };
        self.poll_linger(cx, sent)
    }
}
