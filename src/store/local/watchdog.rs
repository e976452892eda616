//! Sees that commits get on. An engine that hangs must not look alive: whoever waits for it would wait for ever.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::shared::Shared;

/// How often the commit thread is looked at while it may take its time. So it is found out at most a tenth of that time late.
const LOOKS: u32 = 10;

/// Looks at the commit thread now and then, see [`Commits::get_on`].
pub struct Commits {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    /// What the last look saw, if the thread had something to do then.
    busy_at: Option<u64>,
}

/// What the commit thread shows of its work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Counts the beginnings and the ends of its turns: odd during one.
    steps: AtomicU64,
    ended: Mutex<bool>,
    changed: Condvar,
}

/// Whether the turns seen so far took too long. Pure: a look is a look, whatever a clock says.
///
/// Looks are counted and not time, because a process that was stopped, or whose machine slept, has seen time pass in which its
/// engine could not work either.
#[derive(Debug, Default)]
struct Patience {
    /// The turn that the last look found under way.
    step: u64,
    /// How many looks in a row have found it.
    looks: u32,
}

impl Commits {
    pub(super) fn new(shared: Arc<Shared>, progress: Arc<Progress>) -> Commits {
        Commits { shared, progress, busy_at: None }
    }

    /// Whether the commit thread has got on since the last look, or has nothing to do. It does not when one commit takes all that
    /// time, or when somebody has waited all that time for one that does not begin.
    pub fn get_on(&mut self) -> bool {
        let step = self.progress.steps.load(Ordering::Relaxed);
        let is_busy = step % 2 == 1 || self.shared.pending.is_urgent();
        let is_stuck = is_busy && self.busy_at == Some(step);
        self.busy_at = is_busy.then_some(step);
        !is_stuck
    }
}

impl Progress {
    /// A turn begins or ends.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The commit thread ends.
    pub(super) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until a turn has taken longer than `timeout`, or the commit thread ends; says whether it hangs.
    pub(super) fn hangs(&self, timeout: Duration) -> bool {
        let mut patience = Patience::default();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            if patience.is_over(self.steps.load(Ordering::Relaxed)) {
                return true;
            }
            let waited = self.changed.wait_timeout_while(ended, timeout / LOOKS, |ended| !*ended);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

impl Patience {
    /// Takes one look.
    fn is_over(&mut self, step: u64) -> bool {
        let is_under_way = step % 2 == 1;
        self.looks = if is_under_way && step == self.step { self.looks + 1 } else { u32::from(is_under_way) };
        self.step = step;
        self.looks > LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks it takes until the patience is over, of those that find these steps.
    fn over_after(steps: impl IntoIterator<Item = u64>) -> Option<usize> {
        let mut patience = Patience::default();
        steps.into_iter().position(|step| patience.is_over(step))
    }

    #[test]
    fn one_turn_seen_by_looks_that_span_the_timeout_is_over() {
        // Eleven looks have ten spaces between them.
        assert_eq!(over_after([1; 12]), Some(10));
        assert_eq!(over_after([0, 0, 2, 3].into_iter().chain([3; 12])), Some(13));
    }

    #[test]
    fn many_turns_or_none_are_never_over() {
        assert_eq!(over_after([8; 100]), None, "nothing is under way");
        assert_eq!(over_after((0..100).map(|turn| 2 * turn + 1)), None, "a turn is always under way, never the same");
        assert_eq!(over_after((0..100).map(|look| look / 10 * 2 + 1)), None, "each takes just less than the timeout");
    }
}
