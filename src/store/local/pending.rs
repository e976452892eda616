//! What waits for the next commit, and when that is.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    group::Group,
    queue::{Inner, Queue},
};
use crate::store::StoreError;

/// How long changes that nobody waits for may wait for company: a topic's history is written behind.
const WRITE_BEHIND: Duration = Duration::from_millis(50);
/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<PendingState>,
    changed: Condvar,
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
