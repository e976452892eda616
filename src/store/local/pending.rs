//! What waits for the next commit, and when that is.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    group::Group,
    queue::{Inner, Queue},
};
use crate::store::StoreError;

/// How long changes that nobody waits for may wait for company: a topic's history is written behind.
const WRITE_BEHIND: Duration = Duration::from_millis(50);
/// How much may be on its way to the disk; who comes with more waits for it. Far more than a commit has when many clients each wait
/// for their own message, and so little that a slow disk does not fill the memory.
const STAGED_BYTES: usize = 32 << 20;
/// What a message takes beside its body: who waits for it, and its place in the block.
const MESSAGE_BYTES: usize = 512;

/// About what a queue is in a commit, beside its messages: its state, and the removal of a block.
const QUEUE_BYTES: usize = 4096;

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// How long the commit thread leaves a commit to those who answer.
    patience: Duration,
    state: Mutex<PendingState>,
    changed: Condvar,
    /// What is staged, or in a commit that is not done.
    staged_bytes: AtomicUsize,
    /// Told when that became less.
    taken: Notify,
}

#[derive(Debug, Default)]
struct PendingState {
    queues: Vec<Arc<Queue>>,
    group: Arc<Group>,
    closing: bool,
    failed: Option<String>,
    /// The commit thread sleeps and wants to be woken.
    idle: bool,
    /// Since when somebody waits for the next commit.
    urgent_since: Option<Instant>,
    /// The commit thread is to take the next commit at once.
    is_due: bool,
    /// When the last commits shall be durable.
    sync_at: Option<Instant>,
    /// There is garbage to remove.
    has_garbage: bool,
    /// When the first of the changes was staged that nobody waits for.
    waiting_since: Option<Instant>,
}

/// What the commit thread does next.
pub(super) enum Turn {
    Commit(Vec<Arc<Queue>>, Arc<Group>),
    Sync,
    Close,
    /// A write has failed.
    End,
}

impl Pending {
    /// With a patience of zero the commit thread leaves nothing to others.
    pub(super) fn new(patience: Duration) -> Pending {
        Pending { patience, ..Pending::default() }
    }

    /// Makes a locked queue part of the next commit; gives what to wait for. `urgent`: somebody will.
    pub(super) fn stage(&self, queue: &Arc<Queue>, inner: &mut Inner, urgent: bool) -> Result<Arc<Group>, StoreError> {
        if let Some(group) = &inner.group
            && inner.urgent >= urgent
        {
            return Ok(group.clone());
        }
        let mut state = self.lock();
        if let Some(reason) = &state.failed {
            return Err(StoreError::Failed(reason.clone()));
        }
        if inner.group.is_none() {
            state.queues.push(queue.clone());
        }
        inner.urgent |= urgent;
        if urgent {
            state.urgent_since.get_or_insert_with(Instant::now);
        } else {
            state.waiting_since.get_or_insert_with(Instant::now);
        }
        if std::mem::take(&mut state.idle) {
            self.changed.notify_one();
        }
        Ok(inner.group.get_or_insert_with(|| state.group.clone()).clone())
    }

    /// Counts a message that was staged for this commit.
    pub(super) fn count(&self, group: &Group, body_bytes: usize) {
        let bytes = MESSAGE_BYTES + body_bytes;
        group.bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self.staged_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < STAGED_BYTES && before + bytes >= STAGED_BYTES {
            // Others wait now for what is written behind.
            self.hurry();
        }
    }

    /// Has the commit thread take the next commit at once.
    pub(super) fn hurry(&self) {
        let mut state = self.lock();
        state.is_due = true;
        state.idle = false;
        self.changed.notify_one();
    }

    /// Notes that a commit is done.
    pub(super) fn done(&self, group: &Group) {
        self.staged_bytes.fetch_sub(group.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.taken.notify_waiters();
    }

    /// Waits until what is on its way to the disk is less than it may be.
    pub(super) async fn room(&self) {
        let has_room = || self.staged_bytes.load(Ordering::Relaxed) < STAGED_BYTES;
        while !has_room() {
            // Made before the second look, so that nothing in between is missed.
            let taken = self.taken.notified();
            if !has_room() {
                taken.await;
            }
        }
    }

    /// Whether somebody waits for a commit that has not begun.
    pub(super) fn is_urgent(&self) -> bool {
        let state = self.lock();
        state.is_due || state.urgent_since.is_some()
    }

    /// About how much there is to write of what somebody waits for; `None`: nobody does.
    pub(super) fn urgent_bytes(&self) -> Option<usize> {
        let state = self.lock();
        state.urgent_since?;
        Some(state.group.bytes.load(Ordering::Relaxed) + state.queues.len() * QUEUE_BYTES)
    }

    /// Asks the commit thread to write what is staged and to end.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// From now on nothing is staged any more; who waits is told.
    pub(super) fn fail(&self, reason: &str) {
        let mut state = self.lock();
        state.failed = Some(reason.to_owned());
        state.group.complete(Err(reason.to_owned()));
        self.changed.notify_one();
        drop(state);
        // Who waits for room is refused like everybody.
        self.staged_bytes.store(0, Ordering::Relaxed);
        self.taken.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the commit thread has to do besides: when the last commits shall be durable, and whether there is garbage to remove.
    pub(super) fn plan(&self, sync_at: Option<Instant>, has_garbage: bool) {
        let mut state = self.lock();
        (state.sync_at, state.has_garbage) = (sync_at, has_garbage);
    }

    /// Sleeps until there is something for the commit thread to do.
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let next = [state.sync_at, state.write_at(self.patience, now)].into_iter().flatten().min();
            if state.closing || state.failed.is_some() || next.is_some_and(|at| at <= now) {
                return;
            }
            // What comes while others have time for a commit has no need of this thread.
            state.idle = state.urgent_since.is_none();
            state = match next {
                Some(at) => {
                    let woken = self.changed.wait_timeout(state, at.saturating_duration_since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// What the commit thread is to do now, if anything.
    pub(super) fn take(&self) -> Option<Turn> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.failed.is_some() {
            return Some(Turn::End);
        }
        // Before any commit: under traffic that never stops there is always one more.
        if state.sync_at.is_some_and(|at| at <= now) {
            return Some(Turn::Sync);
        }
        if state.write_at(self.patience, now).is_some_and(|at| at <= now) {
            return Some(state.take());
        }
        state.closing.then(|| {
            state.failed = Some("it is closed".to_owned());
            Turn::Close
        })
    }

    /// The next commit, if somebody waits for it.
    pub(super) fn take_urgent(&self) -> Option<Turn> {
        let mut state = self.lock();
        (state.urgent_since.is_some() && state.failed.is_none()).then(|| state.take())
    }
}

impl PendingState {
    fn take(&mut self) -> Turn {
        (self.is_due, self.urgent_since, self.waiting_since) = (false, None, None);
        Turn::Commit(std::mem::take(&mut self.queues), std::mem::take(&mut self.group))
    }

    /// When the commit thread is to write; `None` while there is nothing for it. A close leaves garbage to the next start.
    fn write_at(&self, patience: Duration, now: Instant) -> Option<Instant> {
        if self.closing {
            return (!self.queues.is_empty()).then_some(now);
        }
        if self.is_due || self.has_garbage {
            return Some(now);
        }
        let urgent = self.urgent_since.map(|since| since + patience);
        let others = self.waiting_since.map(|since| since + WRITE_BEHIND);
        [urgent, others].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_comes_when_much_is_on_its_way_to_the_disk_waits_for_a_commit() {
        let (pending, first, second) = (Pending::default(), Group::default(), Group::default());
        pending.room().await;
        pending.count(&first, STAGED_BYTES / 2);
        pending.room().await;
        assert!(!pending.is_urgent(), "there is time");
        pending.count(&second, STAGED_BYTES / 2);
        assert!(pending.is_urgent(), "others wait now");
        let mut room = pin!(pending.room());
        assert!(poll!(room.as_mut()).is_pending());
        pending.done(&first);
        room.await;
        pending.done(&second);
        assert_eq!(pending.staged_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_failure_leaves_nobody_waiting() {
        let (pending, group) = (Pending::default(), Group::default());
        pending.count(&group, STAGED_BYTES);
        let mut room = pin!(pending.room());
        assert!(poll!(room.as_mut()).is_pending());
        pending.fail("the disk is gone");
        room.await;
    }
}
