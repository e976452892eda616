//! Group commit: everybody whose change goes into one commit waits for the same [`Group`].

use std::sync::{Arc, OnceLock, atomic::AtomicUsize};

use tokio::sync::Notify;

use crate::store::{Commit, StoreError};

/// One commit to come, and those who wait for it.
#[derive(Debug, Default)]
pub struct Group {
    /// What it has to write of messages, as far as it is known.
    pub(super) bytes: AtomicUsize,
    outcome: OnceLock<Result<(), String>>,
    done: Notify,
}

impl Group {
    /// Tells everybody what became of the commit. The first outcome counts.
    pub(super) fn complete(&self, outcome: Result<(), String>) {
        if self.outcome.set(outcome).is_ok() {
            self.done.notify_waiters();
        }
    }

    /// Whether everybody was told.
    pub(super) fn is_complete(&self) -> bool {
        self.outcome.get().is_some()
    }
}

impl Commit for Arc<Group> {
    async fn durable(self) -> Result<(), StoreError> {
        loop {
            // Made before the look at the outcome, so that a completion in between is not missed.
            let done = self.done.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone().map_err(StoreError::Failed);
            }
            done.await;
        }
    }
}
