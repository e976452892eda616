//! What is counted of commits.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{histogram::Histogram, store::CommitReport};

/// From a commit that no disk was waited for to one that the watchdog soon ends.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Sums of seconds are kept to the nanosecond.
const NANOSECONDS: u32 = 1_000_000_000;
/// From one client alone to all connections at once.
const OPERATIONS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Counts of commits.
#[derive(Debug)]
pub(super) struct Tally {
    seconds: Histogram,
    operations: Histogram,
    errors: AtomicU64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            seconds: Histogram::new(SECONDS, NANOSECONDS),
            operations: Histogram::new(OPERATIONS, 1),
            errors: AtomicU64::new(0),
        }
    }

    pub(super) fn committed(&self, took: Duration, operations: u64) {
        self.seconds.observe(took.as_secs_f64());
        // The puts of one commit are far below what a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        self.operations.observe(operations as f64);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> CommitReport {
        CommitReport {
            seconds: self.seconds.buckets(),
            operations: self.operations.buckets(),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}
