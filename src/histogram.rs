//! A histogram that one thread fills and others read, without locks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values by their size. The unit is the user's; sums are kept in parts of it.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds of all buckets but the last, which has none; ascending.
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// In parts of a unit, so that it can be atomic.
    sum: AtomicU64,
    parts: f64,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// Upper bound, and how many values are below it and above the bound before it. The last bound is infinite.
    pub counts: Vec<(f64, u64)>,
    /// All values together.
    pub sum: f64,
}

impl Histogram {
    /// An empty one with these bounds, in ascending order. A value is kept in the sum to a `parts`-th of its unit.
    pub fn new(bounds: &'static [f64], parts: u32) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0), parts: f64::from(parts) }
    }

    /// Counts a value that is not negative.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        // A float becomes the nearest integer that there is.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        self.sum.fetch_add((value * self.parts) as u64, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn buckets(&self) -> Buckets {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = bounds.zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        // Exact up to 2^53 parts: 104 days of nanoseconds.
        #[allow(clippy::cast_precision_loss)]
        Buckets { counts, sum: self.sum.load(Ordering::Relaxed) as f64 / self.parts }
    }
}

impl Buckets {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::new(&[1.0, 2.5], 1_000);
        for value in [0.0, 1.0, 1.001, 2.5, 2.6, 1e9] {
            histogram.observe(value);
        }
        let Buckets { counts, sum } = histogram.buckets();
        assert_eq!(counts, [(1.0, 2), (2.5, 2), (f64::INFINITY, 2)]);
        assert!((sum - 1_000_000_007.101).abs() < 0.01, "{sum}");
        assert_eq!(histogram.buckets().count(), 6);
    }
}
