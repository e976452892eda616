//! What one subscriber got of a numbered stream: what is lost, doubled or out of order. No sockets here.

use std::ops::{AddAssign, Range};

/// The numbers that came to one subscriber.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// One more than the greatest number that came.
    pub(crate) next: u64,
    /// All that came, doubles included.
    pub(crate) received: u64,
    /// Numbers below `next` that did not come, in order.
    missing: Vec<Range<u64>>,
    doubled: u64,
    reordered: u64,
}

/// What is wrong with what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, number: u64) {
        self.received += 1;
        if number == self.next {
            self.next += 1;
        } else {
            self.count_unexpected(number);
        }
    }

    /// The faults, when `total` messages should have come.
    pub(crate) fn faults(&self, total: u64) -> Faults {
        let gaps: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        let lost = gaps + total.saturating_sub(self.next);
        Faults { lost, doubled: self.doubled, reordered: self.reordered }
    }

    /// Out of line, so that the way of an expected message stays short.
    #[cold]
    fn count_unexpected(&mut self, number: u64) {
        if number > self.next {
            self.missing.push(self.next..number);
            self.next = number + 1;
            return;
        }
        let Some(at) = self.missing.iter().position(|range| range.contains(&number)) else {
            self.doubled += 1;
            return;
        };
        // It was not lost, it only came late.
        self.reordered += 1;
        let gap = self.missing[at].clone();
        let rest = [gap.start..number, number + 1..gap.end];
        self.missing.splice(at..=at, rest.into_iter().filter(|range| !range.is_empty()));
    }
}

impl Faults {
    /// An error that names them, if there are any.
    pub(crate) fn checked(self) -> Result<(), String> {
        if self == Self::default() {
            return Ok(());
        }
        let Self { lost, doubled, reordered } = self;
        Err(format!("{lost} deliveries lost, {doubled} doubled, {reordered} out of order"))
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}
