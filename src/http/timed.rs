//! A TCP stream that does not wait for ever.
//!
//! hyper has one timer for the head of a request and for the wait before it, and makes it anew for each request. Here the two
//! have their own length, what is written has one too, and all share one timer, which only ticks: it looks at the clock
//! and is not moved by requests.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// How many times the timer ticks within the shortest timeout: deadlines are kept to a tenth.
const TICKS: u32 = 10;

/// How long a client may take for what it owes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// The head of a request, from its first byte (of the first request: from the start of the connection).
    pub(super) header: Duration,
    /// The wait between two requests.
    pub(super) idle: Duration,
    /// To accept what is written.
    pub(super) write: Duration,
}

/// Counts the beginnings and ends of requests: while it is odd, one is being served and the client owes nothing (its body has a
/// timeout of its own).
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<AtomicU32>);

impl Served {
    /// A request begins or ends.
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream with deadlines. Past one, reads and writes fail with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(super) struct TimedStream {
    stream: TcpStream,
    timeouts: Timeouts,
    served: Served,
    /// What `served` was when `reading` was set.
    seen: u32,
    reading: Reading,
    /// Since when a write waits.
    write_since: Option<Instant>,
    tick: Pin<Box<Sleep>>,
}

/// What a read waits for, and since when.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Head(Instant),
    Idle(Instant),
    Nothing,
}

impl TimedStream {
    pub(super) fn new(stream: TcpStream, timeouts: Timeouts, served: Served) -> TimedStream {
        let now = Instant::now();
        let tick = Box::pin(tokio::time::sleep_until(now + timeouts.tick()));
        TimedStream { stream, timeouts, served, seen: 0, reading: Reading::Head(now), write_since: None, tick }
    }

    /// Notes that a read gave this many bytes; says until when the next ones must come.
    fn note_read(&mut self, bytes: usize) -> Option<Instant> {
        let served = self.served.count();
        self.reading = match self.reading {
            _ if served % 2 == 1 => Reading::Nothing,
            _ if served != self.seen && bytes == 0 => Reading::Idle(Instant::now()),
            Reading::Idle(_) | Reading::Nothing if bytes > 0 => Reading::Head(Instant::now()),
            _ if served != self.seen => Reading::Head(Instant::now()),
            same => same,
        };
        self.seen = served;
        match self.reading {
            Reading::Head(since) => Some(since + self.timeouts.header),
            Reading::Idle(since) => Some(since + self.timeouts.idle),
            Reading::Nothing => None,
        }
    }

    /// Notes what became of a write.
    fn note_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let since = *self.write_since.get_or_insert_with(Instant::now);
            self.check(cx, Some(since + self.timeouts.write))?;
        } else {
            self.write_since = None;
        }
        polled
    }

    /// Called when the stream has nothing for us. The timer wakes the task when it ticks.
    fn check(&mut self, cx: &mut Context<'_>, by: Option<Instant>) -> io::Result<()> {
        while self.tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if by.is_some_and(|by| now >= by) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.tick.as_mut().reset(now + self.timeouts.tick());
        }
        Ok(())
    }
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
        let by = self.note_read(buf.filled().len() - before);
        if polled.is_pending() {
            self.check(cx, by)?;
        }
        polled
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
