//! What the handles of a store and its commit thread share.

use std::{
    slice,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    Options,
    group::Group,
    load,
    names::Names,
    pending::Pending,
    queue::{Inner, Queue, Sealed, Take, Wanted},
    room::Room,
    tally::Tally,
};
use crate::{
    block::Block,
    engine::Engine,
    message::{Message, Source},
    ring::{Kind, Own},
    store::{Observer, Put, Staged, StoreError},
};

/// What the handles and the commit thread share.
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) names: RwLock<Names>,
    pub(super) pending: Pending,
    pub(super) room: Room,
    /// Why no commit is possible any more.
    pub(super) failure: watch::Sender<Option<String>>,
    pub(super) cached_bytes: Arc<AtomicUsize>,
    pub(super) commits: Tally,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) options: Options,
}

/// What a get took, and the commit that makes it so.
pub(super) enum Taken {
    Empty,
    /// Nothing, but the topic is a work queue from this commit on.
    Turned(Arc<Group>),
    Message {
        position: u64,
        message: Message,
        group: Arc<Group>,
    },
    Missing(Wanted),
}

impl Shared {
    pub(super) fn find(&self, name: &str) -> Option<Arc<Queue>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// The queue with this name; a new one if there is none yet, unless there are as many as there may be.
    pub(super) fn find_or_make(&self, name: &str, first: Source) -> Option<Arc<Queue>> {
        if let Some(queue) = self.find(name) {
            return Some(queue);
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = names.by_name.get(name) {
            return Some(queue.clone());
        }
        if names.by_name.len() >= self.options.max_queues {
            return None;
        }
        let kind = match first {
            Source::Http => Kind::Work,
            Source::Connection(_) => Kind::Topic,
        };
        Some(names.make(name, kind, Own::default(), &self.cached_bytes))
    }

    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// Stages messages in a locked queue, see [`crate::store::Store::stage`].
    pub(super) fn stage(
        &self,
        queue: &Arc<Queue>,
        inner: &mut Inner,
        (first, others): (&Message, &[Message]),
        staged: impl FnOnce(Kind, usize),
    ) -> Result<Staged<Arc<Group>>, StoreError> {
        let was = inner.ring.kind;
        let Some(sequence) = inner.put(queue.id, first) else {
            // A topic that keeps more than fits a work queue: it is one from now on, whether this message fits or not.
            if was == Kind::Topic {
                self.pending.stage(queue, inner, false)?;
            }
            return Ok(Staged::refused(Put::Full));
        };
        let others = &others[..others.iter().take_while(|other| inner.put(queue.id, other).is_some()).count()];
        let (kind, stored) = (inner.ring.kind, 1 + others.len());
        let group = self.pending.stage(queue, inner, kind == Kind::Work)?;
        let bodies_bytes = first.body.len() + others.iter().map(|other| other.body.len()).sum::<usize>();
        self.pending.count(&group, stored, bodies_bytes);
        // Under the lock, so that everybody sees the messages in the order of their positions.
        staged(kind, stored);
        if inner.tell_at_once() {
            self.announce_staged(queue, slice::from_ref(first));
            self.announce_staged(queue, others);
        } else if kind == Kind::Topic {
            inner.follow(Some(group.clone()));
        }
        let put = Put::Stored { position: inner.ring.position(sequence + others.len() as u64) };
        Ok(Staged { stored, put, commit: (kind == Kind::Work).then_some(group) })
    }

    /// Takes the next message of a queue, to whose cache the blocks just read are added first.
    pub(super) fn take(&self, queue: &Arc<Queue>, loaded: Vec<Arc<Block>>) -> Result<Taken, StoreError> {
        let mut inner = queue.lock();
        // Its messages went with it.
        if inner.is_deleted {
            return Ok(Taken::Empty);
        }
        inner.keep(loaded);
        let was = inner.ring.kind;
        Ok(match inner.take() {
            Take::Empty if was == Kind::Topic => Taken::Turned(self.pending.stage(queue, &mut inner, true)?),
            Take::Empty => Taken::Empty,
            Take::Missing(wanted) => Taken::Missing(wanted),
            Take::Taken { position, message } => {
                let group = self.pending.stage(queue, &mut inner, true)?;
                self.pending.count(&group, 1, message.body.len());
                Taken::Message { position, message, group }
            }
        })
    }

    fn announce_staged(&self, queue: &Queue, messages: &[Message]) {
        if let Some(observer) = &self.observer
            && !messages.is_empty()
        {
            observer.staged(&queue.name, messages);
        }
    }

    pub(super) fn announce_committed(&self, queue: &Queue, sealed: &Sealed) {
        if let Some(observer) = &self.observer {
            sealed.news.iter().for_each(|news| observer.committed(&queue.name, &news.blocks, news.from));
        }
    }

    /// How much a reader is to read ahead now.
    pub(super) fn ahead_bytes(&self) -> usize {
        load::ahead_bytes(self.options.cache_bytes.saturating_sub(self.cached_bytes.load(Ordering::Relaxed)))
    }

    pub(super) fn cache_is_over_budget(&self) -> bool {
        self.cached_bytes.load(Ordering::Relaxed) > self.options.cache_bytes
    }
}

impl Drop for Shared {
    /// After a failed write the engine must not run its own clean-up, which would write again: it is left to the process's end.
    fn drop(&mut self) {
        if self.failure.borrow().is_some() {
            std::mem::forget(self.engine.clone());
        }
    }
}
