//! All subscribers of one process, from one thread: they count, and check what they count.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    frame::{self, Payload},
    incoming::{BUFFER_BYTES, Incoming, Left},
    round::{Plan, Shared},
    stop,
    tally::{Faults, Tally},
};

const TICK: Duration = Duration::from_millis(20);
/// After the last message that was expected: time for one that was not.
const GRACE: Duration = Duration::from_millis(100);
/// Latencies are kept in nanoseconds, up to this one, to three digits.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) deliveries: u64,
    /// When the last of them came.
    pub(crate) ended: Instant,
    /// Of all that stayed until the end, and of the others until they were dropped.
    pub(crate) faults: Faults,
    /// What each subscriber had got when the server closed its connection.
    pub(crate) dropped: Vec<u64>,
    /// From publish to delivery.
    pub(crate) latency_ns: Histogram<u64>,
    /// Nothing came any more although something was missing.
    pub(crate) stalled: bool,
    /// The first frame that was no message of the queue.
    pub(crate) unexpected: Option<String>,
}

/// Takes what comes until all that was published has come to all, or nothing comes any more.
///
/// # Errors
/// No epoll, Ctrl-C, or bytes that are no frames.
pub(crate) fn run(sockets: Vec<TcpStream>, plan: &Plan, shared: &Shared) -> io::Result<Outcome> {
    let mut run = Run::start(sockets, plan, shared)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut last_tick = Instant::now();
    while !run.at_end() {
        match run.poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            run.advance(event.token().0, event.is_read_closed(), &mut buffer)?;
        }
        if matches!(plan.pace, crate::publisher::Pace::Ahead(_)) {
            shared.set_slowest(run.slowest());
        }
        if last_tick.elapsed() >= TICK {
            last_tick = Instant::now();
            stop::check()?;
        }
    }
    Ok(run.finish())
}

struct Run<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    poll: Poll,
    subscribers: Vec<Subscriber>,
    last_delivery: Instant,
    /// When it was first seen that everything has been published.
    total_known: Option<Instant>,
    latency_ns: Histogram<u64>,
    unexpected: Option<String>,
}

struct Subscriber {
    incoming: Incoming,
    tally: Tally,
    dropped: bool,
}

impl<'a> Run<'a> {
    fn start(sockets: Vec<TcpStream>, plan: &'a Plan, shared: &'a Shared) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut subscribers = Vec::with_capacity(sockets.len());
        for (at, mut socket) in sockets.into_iter().enumerate() {
            poll.registry().register(&mut socket, Token(at), Interest::READABLE)?;
            subscribers.push(Subscriber { incoming: Incoming::new(socket), tally: Tally::default(), dropped: false });
        }
        let latency_ns = Histogram::new_with_max(LATENCY_MAX_NS, 3).map_err(io::Error::other)?;
        let (last_delivery, total_known, unexpected) = (Instant::now(), None, None);
        Ok(Self { plan, shared, poll, subscribers, last_delivery, total_known, latency_ns, unexpected })
    }

    fn advance(&mut self, at: usize, ending: bool, buffer: &mut [u8]) -> io::Result<()> {
        let Subscriber { incoming, tally, dropped } = &mut self.subscribers[at];
        if *dropped {
            return Ok(());
        }
        let (before, mut latest_us) = (tally.received, None);
        let (latency_ns, shared, plan) = (&mut self.latency_ns, self.shared, self.plan);
        let left = incoming.drain(buffer, ending, |payload| match frame::read(payload, plan.queue) {
            Payload::Message(message) => {
                tally.count(message.number);
                if plan.latency {
                    // One look at the clock for all that came together.
                    let now_us = *latest_us.get_or_insert_with(|| shared.time_us(Instant::now()));
                    latency_ns.saturating_record(now_us.saturating_sub(message.time_us) * 1000);
                }
            }
            Payload::Other(payload) if self.unexpected.is_none() => {
                self.unexpected = Some(String::from_utf8_lossy(payload).into_owned());
            }
            Payload::Other(_) => {}
        });
        let left = left.map_err(|error| io::Error::other(format!("subscriber {at}: {error}")))?;
        if tally.received > before {
            self.last_delivery = Instant::now();
        }
        *dropped = left == Left::Closed;
        Ok(())
    }

    /// How many messages have come to the slowest that is still there.
    fn slowest(&self) -> u64 {
        self.live().map(|subscriber| subscriber.tally.next).min().unwrap_or(u64::MAX)
    }

    fn at_end(&mut self) -> bool {
        let Some(total) = self.shared.total() else {
            return false;
        };
        let known = *self.total_known.get_or_insert_with(Instant::now);
        let quiet = self.last_delivery.max(known).elapsed();
        quiet > self.plan.patience || (quiet > GRACE && self.live().all(|subscriber| subscriber.tally.next >= total))
    }

    fn live(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.iter().filter(|subscriber| !subscriber.dropped)
    }

    fn finish(self) -> Outcome {
        let total = self.shared.total().unwrap_or(0);
        let mut faults = Faults::default();
        for Subscriber { tally, dropped, .. } in &self.subscribers {
            faults += tally.faults(if *dropped { tally.next } else { total });
        }
        let stalled = self.live().any(|subscriber| subscriber.tally.next < total);
        let dropped = self.subscribers.iter().filter(|one| one.dropped).map(|one| one.tally.received).collect();
        let deliveries = self.subscribers.iter().map(|subscriber| subscriber.tally.received).sum();
        let Self { last_delivery: ended, latency_ns, unexpected, .. } = self;
        Outcome { deliveries, ended, faults, dropped, latency_ns, stalled, unexpected }
    }
}
