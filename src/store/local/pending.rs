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
    /// Somebody waits for the next commit.
    is_urgent: bool,
    /// When the commit thread is to take the next commit.
    write_at: Option<Instant>,
    /// When the last commits shall be durable.
    sync_at: Option<Instant>,
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
        state.expect_write(urgent, if urgent { self.patience } else { WRITE_BEHIND });
        if std::mem::take(&mut state.idle) {
            self.changed.notify_one();
        }
        Ok(inner.group.get_or_insert_with(|| state.group.clone()).clone())
    }

    /// Counts messages whose puts or gets were staged for this commit, and the bytes of their bodies together.
    pub(super) fn count(&self, group: &Group, messages: usize, bodies_bytes: usize) {
        let bytes = messages * MESSAGE_BYTES + bodies_bytes;
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
        (state.is_urgent, state.write_at, state.idle) = (true, Some(Instant::now()), false);
        self.changed.notify_one();
    }

    /// Says when the last commits shall be durable, unless that is to be sooner. Who sleeps now finds it in time: it is woken by what is
    /// staged next, or by the end of the patience with what is in those commits.
    pub(super) fn sync_by(&self, at: Instant) {
        self.lock().sync_at.get_or_insert(at);
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
        self.lock().is_urgent
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

    /// Sleeps until there is something for the commit thread to do.
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        loop {
            let (now, next) = (Instant::now(), state.next_at());
            if state.is_ending() || next.is_some_and(|at| at <= now) {
                return;
            }
            // What comes while others have time for a commit has no need of this thread.
            state.idle = !state.is_urgent;
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
    pub(super) fn next_turn(&self) -> Option<Turn> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.failed.is_some() {
            return Some(Turn::End);
        }
        // Before any commit: under traffic that never stops there is always one more.
        if state.sync_at.take_if(|at| *at <= now).is_some() {
            return Some(Turn::Sync);
        }
        if state.closing && state.queues.is_empty() {
            state.failed = Some("it is closed".to_owned());
            return Some(Turn::Close);
        }
        (state.closing || state.write_at.is_some_and(|at| at <= now)).then(|| state.take_commit())
    }

    /// The next commit, if somebody waits for it and so many bytes, about as many as it has to write, are taken at once. Those that are
    /// not are left to the commit thread, which is told.
    pub(super) fn quick_turn(&self, is_quick: impl FnOnce(usize) -> bool) -> Option<Turn> {
        let mut state = self.lock();
        if !state.is_urgent || state.failed.is_some() {
            return None;
        }
        if is_quick(state.group.bytes.load(Ordering::Relaxed) + state.queues.len() * QUEUE_BYTES) {
            return Some(state.take_commit());
        }
        drop(state);
        self.hurry();
        None
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingState {
    /// The commit thread is to write what is staged now after this time, unless that is to be sooner.
    fn expect_write(&mut self, urgent: bool, after: Duration) {
        if !self.is_urgent && (urgent || self.write_at.is_none()) {
            let at = Instant::now() + after;
            self.write_at = Some(self.write_at.map_or(at, |sooner| sooner.min(at)));
        }
        self.is_urgent |= urgent;
    }

    fn take_commit(&mut self) -> Turn {
        (self.is_urgent, self.write_at) = (false, None);
        Turn::Commit(std::mem::take(&mut self.queues), std::mem::take(&mut self.group))
    }

    fn is_ending(&self) -> bool {
        self.closing || self.failed.is_some()
    }

    /// When there is something to do for the commit thread, as long as nothing ends it.
    fn next_at(&self) -> Option<Instant> {
        [self.sync_at, self.write_at].into_iter().flatten().min()
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
        pending.count(&first, 1, STAGED_BYTES / 2);
        pending.room().await;
        assert!(!pending.is_urgent(), "there is time");
        pending.count(&second, 1, STAGED_BYTES / 2);
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
        pending.count(&group, 1, STAGED_BYTES);
        let mut room = pin!(pending.room());
        assert!(poll!(room.as_mut()).is_pending());
        pending.fail("the disk is gone");
        room.await;
    }
}
