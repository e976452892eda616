//! What went through a queue: plain numbers under its lock, so that counting costs the put path nothing.

use std::time::{Duration, Instant};

use crate::store::Traffic;

/// How often a mark is set. A rate is over one to two of these: short enough to show what happens now, long enough not to flicker.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(5);
/// A rate over less time than this would show a single message as a flood.
const SHORTEST: Duration = Duration::from_secs(1);

/// Counts since the store was opened, and two marks that rates are taken from.
#[derive(Debug)]
pub(super) struct Counted {
    puts: u64,
    gets: u64,
    put_bytes: u64,
    got_bytes: u64,
    dropped: u64,
    older: Mark,
    newer: Mark,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    puts: u64,
    gets: u64,
}

impl Counted {
    pub(super) fn new(now: Instant) -> Counted {
        let start = Mark { at: now, puts: 0, gets: 0 };
        Counted { puts: 0, gets: 0, put_bytes: 0, got_bytes: 0, dropped: 0, older: start, newer: start }
    }

    pub(super) fn put(&mut self, bytes: usize) {
        self.puts += 1;
        self.put_bytes += bytes as u64;
    }

    pub(super) fn got(&mut self, bytes: usize) {
        self.gets += 1;
        self.got_bytes += bytes as u64;
    }

    pub(super) fn dropped(&mut self, messages: u64) {
        self.dropped += messages;
    }

    /// Sets the next mark; to be called every [`MARK_EVERY`].
    pub(super) fn mark(&mut self, now: Instant) {
        self.older = self.newer;
        self.newer = Mark { at: now, puts: self.puts, gets: self.gets };
    }

    pub(super) fn traffic(&self, now: Instant) -> Traffic {
        let time = now.saturating_duration_since(self.older.at).max(SHORTEST);
        // A count within seconds is far below what a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let per_s = |count: u64| count as f64 / time.as_secs_f64();
        Traffic {
            puts: self.puts,
            gets: self.gets,
            put_bytes: self.put_bytes,
            got_bytes: self.got_bytes,
            dropped: self.dropped,
            puts_per_s: per_s(self.puts - self.older.puts),
            gets_per_s: per_s(self.gets - self.older.gets),
        }
    }
}

impl Traffic {
    /// Adds what went through another queue.
    pub(super) fn add(&mut self, other: &Traffic) {
        self.puts += other.puts;
        self.gets += other.gets;
        self.put_bytes += other.put_bytes;
        self.got_bytes += other.got_bytes;
        self.dropped += other.dropped;
        self.puts_per_s += other.puts_per_s;
        self.gets_per_s += other.gets_per_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // These divisions are exact.
    fn a_rate_is_over_the_last_marks() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut counted = Counted::new(start);
        (0..10).for_each(|_| counted.put(3));
        counted.got(3);
        assert_eq!(counted.traffic(start).puts_per_s, 10.0, "over a second at least");
        assert_eq!(counted.traffic(after(4)).puts_per_s, 2.5);
        counted.mark(after(5));
        (0..20).for_each(|_| counted.put(1));
        assert_eq!(counted.traffic(after(10)).puts_per_s, 3.0, "since the start");
        counted.mark(after(10));
        counted.dropped(7);
        let Traffic { puts, gets, put_bytes, got_bytes, dropped, puts_per_s, gets_per_s } = counted.traffic(after(15));
        assert_eq!((puts, gets, put_bytes, got_bytes, dropped), (30, 1, 50, 3, 7));
        assert_eq!((puts_per_s, gets_per_s), (2.0, 0.0), "since the mark at 5 s");
        counted.mark(after(15));
        assert_eq!(counted.traffic(after(16)).puts_per_s, 0.0);
    }
}
