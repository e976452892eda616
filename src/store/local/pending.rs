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

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Pending {
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
    /// Somebody waits for the next commit.
    urgent: bool,
    /// When the first of the changes was staged that nobody waits for.
    waiting_since: Option<Instant>,
}

/// What the commit thread does next.
pub(super) enum Turn {
    Commit(Vec<Arc<Queue>>, Arc<Group>),
    Sync,
    Close,
}

impl Pending {
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
            state.urgent = true;
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
            let mut state = self.lock();
            state.urgent = true;
            state.idle = false;
            self.changed.notify_one();
        }
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
        self.lock().urgent
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
        drop(state);
        // Who waits for room is refused like everybody.
        self.staged_bytes.store(0, Ordering::Relaxed);
        self.taken.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there is something to do. `sync_at`: when the last commits shall be durable; `busy`: there is
    /// garbage to remove.
    pub(super) fn next(&self, sync_at: Option<Instant>, busy: bool) -> Turn {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            // Before any commit: under traffic that never stops there is always one more.
            if sync_at.is_some_and(|at| at <= now) {
                return Turn::Sync;
            }
            let write_at = state.write_at(busy, now);
            if write_at.is_some_and(|at| at <= now) {
                (state.urgent, state.waiting_since) = (false, None);
                let queues = std::mem::take(&mut state.queues);
                return Turn::Commit(queues, std::mem::take(&mut state.group));
            }
            if state.closing {
                state.failed = Some("it is closed".to_owned());
                return Turn::Close;
            }
            state.idle = true;
            state = match [sync_at, write_at].into_iter().flatten().min() {
                Some(at) => {
                    let woken = self.changed.wait_timeout(state, at.saturating_duration_since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl PendingState {
    /// When the next commit is due; `None` while there is nothing for it. A close leaves garbage to the next start.
    fn write_at(&self, has_garbage: bool, now: Instant) -> Option<Instant> {
        match self.waiting_since {
            _ if self.closing => (!self.queues.is_empty()).then_some(now),
            _ if self.urgent || has_garbage => Some(now),
            since => since.map(|since| since + WRITE_BEHIND),
        }
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
        assert!(!pending.lock().urgent, "there is time");
        pending.count(&second, STAGED_BYTES / 2);
        assert!(pending.lock().urgent, "others wait now");
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
