//! When to take the next commit, while others are on their way.
//!
//! Under load, those who were just answered ask again at once. A commit taken the moment that the last one is done would miss them:
//! there would be two groups in turn, each with its own syncs and its own round of waking threads up, and on a busy machine that
//! is what a put costs most. So the commit thread waits until those who answer have run out of work; what was going to come by
//! itself has come then. With nobody else about there is nothing to wait for.
//!
//! A commit that waits for no disk is done in the lull itself, by who has run out of work.

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What is done in a lull.
type Work = dyn Fn() + Send + Sync;

/// What a commit is put off by at most: where those who answer never run out of work, it must go on all the same. About what a
/// commit takes, so that no answer takes much longer for it.
const PATIENCE: Duration = Duration::from_millis(1);

/// A moment in which those who answer have run out of work.
#[derive(Default)]
pub struct Lull {
    /// Gone when there is nobody any more for whom to do it.
    work: OnceLock<Weak<Work>>,
    /// The commit thread waits for the next one.
    awaited: AtomicBool,
    begun: Mutex<bool>,
    changed: Condvar,
}

impl Lull {
    /// To be called by a thread that answers, whenever it has nothing more to do. It is cheap when nobody waits.
    pub fn begin(&self) {
        if self.awaited.load(Ordering::Relaxed) && self.awaited.swap(false, Ordering::AcqRel) {
            *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_one();
        }
        if let Some(work) = self.work.get().and_then(Weak::upgrade) {
            work();
        }
    }

    /// From now on this is done in every lull. The first one that was given stays.
    pub(super) fn fill(&self, work: &Arc<Work>) {
        self.work.get_or_init(|| Arc::downgrade(work));
    }

    /// From now on a lull is one that [`Lull::wait`] waits for. To be called before there is something to answer.
    pub(super) fn expect(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.awaited.store(true, Ordering::Release);
    }

    /// Waits for the lull, but not for long.
    pub(super) fn wait(&self) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(begun, PATIENCE, |begun| !*begun));
        self.awaited.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Lull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lull").field("awaited", &self.awaited).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_lull_that_began_before_it_was_waited_for_is_not_missed() {
        let lull = Lull::default();
        // Whoever asks the time may be kept from it for a while; not a hundred times.
        let quick = (0..100).any(|_| {
            lull.expect();
            lull.begin();
            let began = Instant::now();
            lull.wait();
            began.elapsed() < PATIENCE
        });
        assert!(quick);
    }

    #[test]
    fn a_lull_before_the_answers_does_not_count_and_the_wait_ends_all_the_same() {
        let lull = Lull::default();
        lull.begin();
        lull.expect();
        let began = Instant::now();
        lull.wait();
        assert!(began.elapsed() >= PATIENCE);
    }
}
