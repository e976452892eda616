//! Which request is next, and when it is due.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Times that are nearer to each other are served together: to be woken for each takes more processor time than the request does.
const INTERVAL_MIN: Duration = Duration::from_micros(100);

/// The numbers below a limit at random, yet evenly: each once in a pass, and each pass in an order of its own.
#[derive(Debug)]
pub(crate) struct Turns {
    order: Vec<usize>,
    at: usize,
}

/// Fixed times, so many a second, and a timer that wakes a poll for them: the poll's own timeout counts whole milliseconds.
#[derive(Debug)]
pub(crate) struct Pace {
    per_s: f64,
    started: Instant,
    timer: OwnedFd,
}

impl Turns {
    /// `limit` is above 0.
    pub(crate) fn new(limit: usize) -> Self {
        Self { order: (0..limit).collect(), at: limit }
    }

    pub(crate) fn next(&mut self) -> usize {
        if self.at == self.order.len() {
            // Made anew, its hashes are other ones.
            let hashes = RandomState::new();
            self.order.sort_by_cached_key(|number| hashes.hash_one(number));
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }
}

impl Pace {
    /// The first time is now; events have `token`.
    ///
    /// # Errors
    /// The system gives no timer.
    pub(crate) fn start(per_s: f64, registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        let interval = Duration::from_secs_f64(1.0 / per_s).max(INTERVAL_MIN);
        let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
        let spec = Itimerspec { it_interval: interval, it_value: interval };
        let started = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Self { per_s, started, timer })
    }

    /// Must be called at each event: the timer goes off again only when it was read.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn wind_up(&self) -> io::Result<()> {
        let mut expirations = [0; size_of::<u64>()];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The time with this number, counted from 0.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.started + Duration::from_secs_f64(number as f64 / self.per_s)
    }
}
