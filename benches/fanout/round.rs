//! One round: subscribers wait, one publisher publishes for a time, and it ends when everybody has everything.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use mio::net::TcpStream;

use crate::{
    client::{self, Client},
    processors::{Shares, Used},
    publisher::{self, Pace},
    subscribers,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) queue: &'static str,
    pub(crate) subscribers: usize,
    /// Bytes of JSON in a message.
    pub(crate) size: usize,
    pub(crate) duration: Duration,
    pub(crate) pace: Pace,
    /// Whether to take the latency of every delivery, which costs the load generator time.
    pub(crate) latency: bool,
    /// What takes longer than this without any progress is given up.
    pub(crate) patience: Duration,
}

/// What publisher and subscribers know of each other while they run.
pub(crate) struct Shared {
    /// The moment that all times in messages count from.
    base: Instant,
    /// How many messages were published, once that is known.
    total: AtomicU64,
    slowest: AtomicU64,
}

/// Connections made for a round.
pub(crate) struct Ready {
    publisher: TcpStream,
    subscribers: Vec<TcpStream>,
}

/// What came of a round.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) publisher: publisher::Outcome,
    pub(crate) subscribers: subscribers::Outcome,
    /// Who used the processors meanwhile; nothing where that cannot be known.
    pub(crate) shares: Option<Shares>,
}

impl Plan {
    /// Connects the publisher and all subscribers.
    ///
    /// # Errors
    /// A connection fails or is refused.
    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<Ready> {
        let subscribers = client::subscribers(addr, self.queue, self.subscribers)?;
        Ok(Ready { publisher: Client::connect(addr)?.into_socket()?, subscribers })
    }

    /// Runs to the end. `server` is the process whose time is taken.
    ///
    /// # Errors
    /// Anything that makes the figures worthless: lost, doubled or reordered messages, a publish that is not answered OK.
    pub(crate) fn run(&self, ready: Ready, server: Option<u32>) -> Result<Outcome, String> {
        let shared = Shared::new();
        let used = Used::now(server);
        let (publisher, subscribers) = thread::scope(|scope| {
            let subscribers = scope.spawn(|| subscribers::run(ready.subscribers, self, &shared));
            let publisher = publisher::run(ready.publisher, self, &shared);
            // Without a total nobody waits for anything any more.
            shared.set_total(publisher.as_ref().map_or(0, |outcome| outcome.sent));
            (publisher, subscribers.join())
        });
        let subscribers =
            subscribers.map_err(|_| "the subscribers' thread panicked")?.map_err(|error| error.to_string())?;
        let shares = used.and_then(|used| used.shares(server));
        let outcome = Outcome { publisher: publisher?, subscribers, shares };
        outcome.check(self)?;
        Ok(outcome)
    }
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), total: AtomicU64::new(u64::MAX), slowest: AtomicU64::new(0) }
    }

    pub(crate) fn time_us(&self, now: Instant) -> u64 {
        (now - self.base).as_micros() as u64
    }

    pub(crate) fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total != u64::MAX)
    }

    pub(crate) fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn slowest(&self) -> u64 {
        self.slowest.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slowest(&self, number: u64) {
        self.slowest.store(number, Ordering::Relaxed);
    }
}

impl Outcome {
    /// From the first publish to the last delivery.
    pub(crate) fn elapsed(&self) -> Duration {
        self.subscribers.ended.saturating_duration_since(self.publisher.began)
    }

    pub(crate) fn deliveries_per_s(&self) -> f64 {
        self.subscribers.deliveries as f64 / self.elapsed().as_secs_f64()
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        let came = &self.subscribers;
        let said =
            || came.unexpected.as_ref().map_or_else(String::new, |said| format!("; a subscriber was told {said}"));
        came.faults.checked().map_err(|faults| {
            let sent = self.publisher.sent;
            let stalled = if came.stalled { format!(", nothing came for {:?}", plan.patience) } else { String::new() };
            format!("{faults}, of {sent} messages to {} subscribers{stalled}{}", plan.subscribers, said())
        })?;
        if came.unexpected.is_some() && came.dropped.is_empty() {
            return Err(format!("{} deliveries{}", came.deliveries, said()));
        }
        Ok(())
    }
}
