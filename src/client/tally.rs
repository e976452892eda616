//! Which lines of an import are stored, which are not and which are in doubt.

use std::collections::BTreeSet;

use super::counted;
use super::stop::Stop;

/// The books of an import. Lines are numbered from 0 in the order of the input; answers come in any order.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: u64,
    /// So many first lines are acknowledged, without a gap.
    first: u64,
    /// Acknowledged lines behind a line that has no good answer (yet).
    behind: BTreeSet<u64>,
    /// Lines that are certainly not stored.
    refused: u64,
    /// What went wrong with the lowest line of those that something went wrong with. Failures of later lines follow from
    /// it, as the server does not store a line behind one that it does not have.
    failure: Option<(u64, Stop)>,
}

impl Tally {
    /// The number of the next line, which is now under way.
    pub(super) fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    pub(super) fn acknowledge(&mut self, line: u64) {
        self.behind.insert(line);
        while self.behind.remove(&self.first) {
            self.first += 1;
        }
    }

    /// The line is certainly not stored.
    pub(super) fn refuse(&mut self, line: u64, why: Stop) {
        self.refused += 1;
        self.lose(line, why);
    }

    /// Nobody knows whether the line is stored.
    pub(super) fn lose(&mut self, line: u64, why: Stop) {
        if self.failure.as_ref().is_none_or(|(lowest, _)| line < *lowest) {
            self.failure = Some((line, why));
        }
    }

    /// The next line cannot even be sent.
    pub(super) fn end(&mut self, why: Stop) {
        self.lose(self.sent, why);
    }

    /// How many first lines are acknowledged, without a gap: an import can be resumed behind them.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many lines were sent and got no answer.
    pub(super) fn in_doubt(&self) -> u64 {
        self.sent - self.first - self.behind.len() as u64 - self.refused
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The sentence for the end of an import that failed.
    pub(super) fn summary(&self) -> String {
        let verb = if self.first == 1 { "is" } else { "are" };
        let mut text = format!("the first {} {verb} acknowledged, ", counted(self.first, "line"));
        text += &match self.in_doubt() {
            0 => "none is in doubt".to_owned(),
            in_doubt => format!("{in_doubt} more were sent and not answered: they may be stored or not"),
        };
        if !self.behind.is_empty() {
            text += &format!("; {} behind them are acknowledged too", self.behind.len());
        }
        text
    }

    /// What ended the import, if it did not end by itself.
    pub(super) fn into_failure(self) -> Option<(u64, Stop)> {
        self.failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stop::Exit;

    fn tally(sent: u64) -> Tally {
        let mut tally = Tally::default();
        assert_eq!((0..sent).map(|_| tally.send()).collect::<Vec<_>>(), (0..sent).collect::<Vec<_>>());
        tally
    }

    #[test]
    fn only_the_first_lines_without_a_gap_count() {
        let mut tally = tally(5);
        for (line, first) in [(1, 0), (3, 0), (0, 2), (2, 4)] {
            tally.acknowledge(line);
            assert_eq!(tally.first(), first, "after line {line}");
        }
        assert_eq!((tally.in_doubt(), tally.has_failed()), (1, false));
    }

    #[test]
    fn the_lowest_line_that_failed_is_the_cause() {
        let mut tally = tally(6);
        for line in [0, 1, 5] {
            tally.acknowledge(line);
        }
        tally.refuse(4, Stop::usage("4"));
        tally.refuse(2, Stop::new(Exit::Full, "2"));
        tally.lose(3, Stop::usage("3"));
        tally.end(Stop::usage("6"));
        assert_eq!((tally.first(), tally.in_doubt()), (2, 1));
        let said = "the first 2 lines are acknowledged, 1 more were sent and not answered: they may be stored or not; \
                    1 behind them are acknowledged too";
        assert_eq!(tally.summary(), said);
        assert_eq!(tally.into_failure().unwrap(), (2, Stop::new(Exit::Full, "2")));
    }

    #[test]
    fn the_input_may_fail_behind_the_last_line() {
        let mut tally = tally(1);
        tally.end(Stop::usage("not UTF-8"));
        tally.acknowledge(0);
        assert_eq!(tally.summary(), "the first 1 line is acknowledged, none is in doubt");
        assert_eq!(tally.into_failure().unwrap().0, 1);
    }
}
