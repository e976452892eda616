//! Which messages of a queue are lost: a repair could not save them, and those around them keep their sequences.

use std::ops::Range;

/// Ranges of lost sequences, ascending, with something between them. Nearly always empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost(Vec<Range<u64>>);

impl Lost {
    /// The ranges, if they are as they should be: none empty, ascending, none next to another, all in `kept`.
    pub fn new(ranges: Vec<Range<u64>>, kept: Range<u64>) -> Option<Lost> {
        let inside = |range: &Range<u64>| kept.start <= range.start && range.start < range.end && range.end <= kept.end;
        let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        (apart && ranges.iter().all(inside)).then_some(Lost(ranges))
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Whether the message with this sequence is lost.
    pub fn contains(&self, sequence: u64) -> bool {
        self.0.iter().any(|range| range.contains(&sequence))
    }

    /// The first sequence from `sequence` on that is not lost.
    pub fn skip(&self, sequence: u64) -> u64 {
        self.0.iter().find(|range| range.contains(&sequence)).map_or(sequence, |range| range.end)
    }

    /// How many messages of `among` are lost.
    pub fn count(&self, among: Range<u64>) -> u64 {
        let within = |range: &Range<u64>| range.end.min(among.end).saturating_sub(range.start.max(among.start));
        self.0.iter().map(within).sum()
    }

    /// Forgets what is below the floor.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        if self.0.first().is_some_and(|range| range.start < floor) {
            self.0.retain(|range| range.end > floor);
            if let Some(range) = self.0.first_mut() {
                range.start = range.start.max(floor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)] // A failed test may panic; one range is meant.

    use super::*;

    #[test]
    fn ranges_that_overlap_touch_or_leave_what_is_kept_are_refused() {
        assert!(Lost::new(vec![2..3, 5..9], 2..9).is_some());
        for wrong in [vec![1..3], vec![3..3], vec![8..10], vec![2..4, 3..5], vec![2..4, 4..5], vec![5..6, 2..3]] {
            assert_eq!(Lost::new(wrong.clone(), 2..9), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_lost_is_skipped_and_counted() {
        let mut lost = Lost::new(vec![2..4, 6..9], 0..9).unwrap();
        assert_eq!([0, 2, 3, 4, 8].map(|sequence| lost.skip(sequence)), [0, 4, 4, 4, 9]);
        assert_eq!([lost.count(0..9), lost.count(3..7), lost.count(4..6)], [5, 2, 0]);
        lost.raise_floor(3);
        assert_eq!(lost.ranges(), [3..4, 6..9]);
        lost.raise_floor(6);
        assert_eq!(lost.ranges(), [6..9]);
    }
}
