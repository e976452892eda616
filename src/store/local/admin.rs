//! Queues made, changed and deleted by those who run the daemon.
//!
//! A deletion takes effect under the locks of the names and of the queue, like a put: what was staged before it is in the same commit or
//! an earlier one, and who comes later finds no queue, or a new one with another id. What still holds the old one finds it
//! marked ([`Inner::is_deleted`]) and does nothing to it.

use std::sync::{Arc, PoisonError};

use super::{
    LocalStore, QueueSettings,
    group::Group,
    queue::{Inner, Queue},
    shared::Shared,
};
use crate::{
    ring::{Change, Kind, Own},
    store::{Created, StoreError, Traffic},
};

impl LocalStore {
    /// Puts other settings of the configuration in force, for the queues that there are and those to come. What a queue was given at
    /// run time stays. Nothing is stored: the configuration is read at each start.
    pub fn configure(&self, settings: QueueSettings) {
        let queues = {
            let mut names = self.shared.names.write().unwrap_or_else(PoisonError::into_inner);
            names.settings = settings;
            names.by_name.values().cloned().collect::<Vec<_>>()
        };
        for queue in queues {
            // Under the lock of the names, so that a change at the same time is not made on what was.
            let names = self.shared.names.read().unwrap_or_else(PoisonError::into_inner);
            let mut inner = queue.lock();
            let own = inner.own;
            inner.ring.set(own.over(names.settings.of(&queue.name)));
        }
    }
}

impl Shared {
    /// Makes a queue; gives what to wait for.
    pub(super) fn create(&self, name: &str, kind: Kind, own: Own) -> Result<(Created, Option<Arc<Group>>), StoreError> {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = names.by_name.get(name) {
            let mut inner = queue.lock();
            if (inner.ring.kind, inner.own) != (kind, own) {
                return Ok((Created::Differs { kind: inner.ring.kind, own: inner.own }, None));
            }
            // Whoever made it may still wait for that; this answer means the same.
            return Ok((Created::Same, Some(self.pending.stage(queue, &mut inner, true)?)));
        }
        if !self.room.has_room() {
            return Ok((Created::StorageFull, None));
        }
        if names.by_name.len() >= self.options.max_queues {
            return Ok((Created::TooManyQueues, None));
        }
        let queue = names.make(name, kind, own, &self.cached_bytes);
        let mut inner = queue.lock();
        inner.operations += 1;
        Ok((Created::Made, Some(self.pending.stage(&queue, &mut inner, true)?)))
    }

    /// Changes a queue's own settings; gives what to wait for, or `None` when there is no such queue.
    pub(super) fn set(&self, name: &str, change: &Change) -> Result<Option<Arc<Group>>, StoreError> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = names.by_name.get(name) else { return Ok(None) };
        let mut inner = queue.lock();
        inner.own = change.of(inner.own);
        let own = inner.own;
        inner.ring.set(own.over(names.settings.of(name)));
        inner.operations += 1;
        self.pending.stage(queue, &mut inner, true).map(Some)
    }

    /// Deletes a queue; gives how many unread messages it had and what to wait for, or `None` when there is no such queue.
    pub(super) fn delete(&self, name: &str) -> Result<Option<(u64, Arc<Group>)>, StoreError> {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = names.by_name.get(name).cloned() else { return Ok(None) };
        let mut inner = queue.lock();
        // First, because it can fail. The commit thread takes the queue only when its lock is free again.
        let group = self.pending.stage(&queue, &mut inner, true)?;
        let unread = inner.ring.unread();
        inner.delete();
        names.remove(&queue, &inner.counted.traffic(std::time::Instant::now()), group.clone());
        Ok(Some((unread, group)))
    }

    /// The queue and its lock, for those who change it; `None` when there is none of this name.
    pub(super) fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Inner) -> T,
    ) -> Result<Option<(T, Arc<Group>)>, StoreError> {
        let Some(queue) = self.find(name) else { return Ok(None) };
        let mut inner = queue.lock();
        // Deleted in this moment.
        if inner.is_deleted {
            return Ok(None);
        }
        let changed = change(&mut inner);
        Ok(Some((changed, self.pending.stage(&queue, &mut inner, true)?)))
    }

    /// What went through all queues, and through those that are gone.
    pub(super) fn queues_and_gone(&self) -> (Vec<Arc<Queue>>, Traffic) {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        (names.by_name.values().cloned().collect(), names.gone)
    }
}
