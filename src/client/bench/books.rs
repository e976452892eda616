//! What came back in a run: how much, how fast, and what was wrong.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::load::Load;
use crate::client::counted;
use crate::client::stop::{Exit, Stop};

/// Latencies are kept in nanoseconds, up to this one, to three digits.
const MAX_LATENCY_NS: u64 = 120_000_000_000;
/// More kinds of errors than this are counted as one: no server says so many different things.
const MAX_KINDS: usize = 20;

/// The books of a run.
#[derive(Debug)]
pub(super) struct Books {
    /// The kinds of operations and how long each took.
    pub(super) latencies: Vec<(&'static str, Histogram<u64>)>,
    /// What was done within the time that is measured: this makes the rate.
    pub(super) counted: u64,
    /// All that was done, of each kind of operation.
    pub(super) done: Vec<u64>,
    /// When the last thing happened.
    pub(super) last: Instant,
    errors: BTreeMap<String, (u64, Exit)>,
}

/// Which of the numbered messages were seen.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<u64>);

impl Books {
    /// Empty books for these kinds of operations.
    pub(super) fn new(kinds: &[&'static str]) -> Result<Books, Stop> {
        let histogram = || Histogram::new_with_max(MAX_LATENCY_NS, 3).map_err(|e| Stop::usage(e.to_string()));
        let latencies: Result<_, Stop> = kinds.iter().map(|kind| Ok((*kind, histogram()?))).collect();
        let (done, last) = (vec![0; kinds.len()], Instant::now());
        Ok(Books { latencies: latencies?, counted: 0, done, last, errors: BTreeMap::new() })
    }

    /// An operation is done as it should be; what was sent near the end and answered behind it has its latency in the books,
    /// and is not in the rate.
    pub(super) fn done(&mut self, kind: usize, latency_ns: u64, now: Instant, load: &Load) {
        self.latencies[kind].1.saturating_record(latency_ns);
        self.done[kind] += 1;
        self.last = now;
        if load.end().is_none_or(|end| now <= end) {
            self.counted += 1;
        }
    }

    /// So many operations went wrong.
    pub(super) fn wrong(&mut self, count: u64, why: &str, exit: Exit) {
        if count > 0 {
            self.last = Instant::now();
            let why = if self.errors.len() < MAX_KINDS { why } else { "other errors" };
            let entry = self.errors.entry(why.to_owned()).or_insert((0, exit));
            entry.0 += count;
        }
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter().map(|(why, (count, _))| (why.as_str(), *count))
    }

    /// What the errors make of the run: a lost connection explains the rest.
    pub(super) fn failure(&self) -> Option<Stop> {
        let all: u64 = self.errors.values().map(|(count, _)| count).sum();
        let exits = [Exit::NoConnection, Exit::Full, Exit::Refused];
        let exit = exits.into_iter().find(|exit| self.errors.values().any(|(_, own)| own == exit))?;
        let kinds: Vec<String> = self.errors().map(|(why, count)| format!("{count} × {why}")).collect();
        Some(Stop::new(exit, format!("{}:\n{}", counted(all, "error"), kinds.join("\n"))))
    }
}

impl Seen {
    /// Notes a number; `false` when it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let Ok(at) = usize::try_from(number / 64) else { return false };
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let bit = 1 << (number % 64);
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_new
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut seen = Seen::default();
        for number in [0, 64, 63, 1000] {
            assert!(seen.insert(number) && !seen.insert(number), "{number}");
        }
        assert!(seen.insert(999) && seen.insert(1));
    }

    #[test]
    fn a_lost_connection_is_what_a_run_fails_by() {
        let mut books = Books::new(&["put"]).unwrap();
        assert_eq!(books.failure(), None);
        books.wrong(2, "wrong", Exit::Refused);
        books.wrong(0, "none", Exit::NoConnection);
        assert_eq!(books.failure().unwrap(), Stop::new(Exit::Refused, "2 errors:\n2 × wrong"));
        books.wrong(1, "gone", Exit::NoConnection);
        assert_eq!(books.failure().unwrap(), Stop::new(Exit::NoConnection, "3 errors:\n1 × gone\n2 × wrong"));
    }
}
