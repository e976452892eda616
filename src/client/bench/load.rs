//! When requests are sent, and when they end: shared by all connections of a run.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::client::ANSWER_TIMEOUT;

/// Whoever waits for a time looks this often whether the run has ended meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// How long to wait for the answers that are missing when Ctrl-C came.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Amount {
    /// For so long; `None`: as long as it takes.
    pub(super) duration: Option<Duration>,
    /// So many requests at most.
    pub(super) count: u64,
    /// Requests per second at fixed times; `None`: each when a connection is free.
    pub(super) rate: Option<f64>,
}

/// Why a run ended before all was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// The queue is full.
    Full,
    /// Ctrl-C.
    Interrupted,
}

/// One run, on its way.
#[derive(Debug)]
pub(super) struct Load {
    amount: Amount,
    /// Connections are made before.
    started: Cell<Instant>,
    sent: Cell<u64>,
    early: Cell<Option<(Instant, Early)>>,
}

impl Early {
    pub(super) fn name(self) -> &'static str {
        match self {
            Early::Full => "full",
            Early::Interrupted => "interrupted",
        }
    }
}

impl Load {
    pub(super) fn new(amount: Amount) -> Load {
        Load { amount, started: Cell::new(Instant::now()), sent: Cell::new(0), early: Cell::new(None) }
    }

    /// Now.
    pub(super) fn start(&self) {
        self.started.set(Instant::now());
    }

    pub(super) fn started(&self) -> Instant {
        self.started.get()
    }

    /// When the next request is due, which the caller has to send then, or at once when that is past. Its latency counts from this
    /// time. `None`: no more are to be sent. Whoever is free takes the earliest one that nobody has taken, however late it is.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let number = self.sent.get();
        let due = match self.amount.rate {
            Some(rate) => self.started.get() + Duration::from_secs_f64(number as f64 / rate),
            None => now,
        };
        let over = |at| self.end().is_some_and(|end| at >= end);
        if number >= self.amount.count || over(now) || over(due) {
            return None;
        }
        self.sent.set(number + 1);
        Some(due)
    }

    /// Ends the run now, unless it has ended.
    pub(super) fn end_early(&self, why: Early) {
        if self.early.get().is_none() {
            self.early.set(Some((Instant::now(), why)));
        }
    }

    pub(super) fn early(&self) -> Option<Early> {
        self.early.get().map(|(_, why)| why)
    }

    /// When the time that is measured ends, if that is known.
    pub(super) fn end(&self) -> Option<Instant> {
        let end = self.amount.duration.map(|duration| self.started.get() + duration);
        match (self.early.get(), end) {
            (Some((early, _)), Some(end)) => Some(early.min(end)),
            (Some((early, _)), None) => Some(early),
            (None, end) => end,
        }
    }

    /// The time that the rate is about, when `last` is when the last thing happened. The whole of it counts, also when the server
    /// was silent at its end.
    pub(super) fn elapsed(&self, last: Instant) -> Duration {
        let last = last.max(self.started.get());
        let end = match self.end() {
            Some(end) if self.sent.get() < self.amount.count => end.min(Instant::now()),
            Some(end) => last.min(end),
            None => last,
        };
        end.saturating_duration_since(self.started.get())
    }

    /// How long nothing may happen before it is certain that nothing will.
    pub(super) fn patience(&self) -> Duration {
        if self.early() == Some(Early::Interrupted) {
            return LAST_ANSWERS_TIMEOUT;
        }
        ANSWER_TIMEOUT + self.amount.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// How many requests should have been sent; `None` without a rate, or when it ended early.
    pub(super) fn planned(&self) -> Option<u64> {
        let rate = self.amount.rate.filter(|_| self.early.get().is_none())?;
        let in_time = self.amount.duration.map(|duration| (duration.as_secs_f64() * rate).ceil());
        Some(in_time.map_or(self.amount.count, |count| whole(count).min(self.amount.count)))
    }

    /// How far it is, from 0 to 1.
    pub(super) fn done(&self) -> f64 {
        let time = self.amount.duration.map(|all| self.started.get().elapsed().as_secs_f64() / all.as_secs_f64());
        time.unwrap_or_default().max(self.sent.get() as f64 / self.amount.count as f64).min(1.0)
    }
}

/// A number without what is behind its point.
#[allow(
    clippy::cast_possible_truncation,
    reason = "that is what it is for; too large and negative ones become the next that fits"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

/// A timer of the system. tokio's own counts milliseconds, which is more than many of the latencies that are measured.
#[derive(Debug)]
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    #[allow(
        deprecated,
        reason = "the new way is unsafe code, for types that may lie about their descriptor; OwnedFd does not"
    )]
    pub(super) fn new() -> io::Result<Alarm> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Alarm(AsyncFd::new(timer)?))
    }

    /// Waits until that time, but not for long; who asks looks at the clock himself. Cancel safe.
    pub(super) async fn wait(&self, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(LOOK);
            if left.is_zero() {
                return Ok(());
            }
            let (tv_sec, tv_nsec) = (0, left.subsec_nanos().into());
            let never_again = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = Itimerspec { it_interval: never_again, it_value: Timespec { tv_sec, tv_nsec } };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
            // What is left of an earlier, given up wait may wake this one: then the loop goes round once more.
            self.0.readable().await?.clear_ready();
            if left == LOOK {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_times_whoever_asks_and_however_late() {
        let load = Load::new(Amount { duration: Some(Duration::from_secs(1)), count: u64::MAX, rate: Some(10.0) });
        let late = load.started() + Duration::from_millis(950);
        for number in 0..10 {
            assert_eq!(load.next(late), Some(load.started() + Duration::from_millis(100 * number)));
        }
        assert!(load.next(late).is_none(), "the eleventh is due at the end");
        assert_eq!((load.sent(), load.planned()), (10, Some(10)));
    }

    #[test]
    fn a_count_and_an_early_end_stop_it() {
        let load = Load::new(Amount { duration: None, count: 2, rate: None });
        assert_eq!(load.next(load.started()), Some(load.started()));
        assert!(load.next(load.started()).is_some() && load.next(load.started()).is_none());
        assert_eq!((load.end(), load.planned()), (None, None));
        let load = Load::new(Amount { duration: None, count: 2, rate: None });
        load.end_early(Early::Full);
        load.end_early(Early::Interrupted);
        assert!(load.next(Instant::now()).is_none());
        assert_eq!(load.early(), Some(Early::Full));
    }

    #[tokio::test]
    async fn the_alarm_rings_after_its_time_and_within_a_moment_of_it() {
        let alarm = Alarm::new().unwrap();
        let began = Instant::now();
        // Given up: what is left of it must not disturb the next one.
        drop(tokio::time::timeout(Duration::ZERO, alarm.wait(began + Duration::from_micros(10))).await);
        alarm.wait(began + Duration::from_millis(3)).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(3));
    }
}
