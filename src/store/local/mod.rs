//! The store on this machine: rings in memory, group commit into an engine.
//!
//! In reading order: [`shared`] (what everybody here has), [`names`] (which queues there are), [`queue`] (what happens under a queue's
//! lock), [`pending`] (what waits for the next commit), [`group`] (who waits for it), [`commit`] (who writes), [`lull`]
//! (when those who answer have nothing to do), [`forgotten`] and [`garbage`] (what it removes), [`watchdog`] (that it gets on), [`admin`]
//! (queues made, changed, deleted), [`load`] (what is not in memory), [`cache`], [`room`] (the full disk), [`open`] and [`mod@check`]
//! (recovery), [`look`] (what can be seen without changing anything), [`traffic`] and [`tally`] (what is counted).

mod admin;
mod cache;
mod check;
mod commit;
mod forgotten;
mod garbage;
mod group;
mod load;
mod look;
mod lull;
mod names;
mod open;
mod pending;
mod queue;
mod room;
mod shared;
mod tally;
mod traffic;
mod watchdog;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicUsize},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

use self::{
    commit::Committer,
    group::Group,
    names::Names,
    pending::Pending,
    queue::{Inner, Queue, Wanted},
    room::Room,
    shared::{Shared, Taken},
    tally::Tally,
    watchdog::Progress,
};
pub use self::{
    commit::SyncMode,
    lull::Lull,
    open::{Kept, OpenError, check, commit_number},
    watchdog::Commits,
};
use super::{
    Commit, Created, Get, Listing, Observer, Peek, Put, QueueReport, Select, Staged, Status, Store, StoreError,
    StoreReport, Trouble, View, Window,
};
use crate::{
    block::Block,
    data_dir::DataDir,
    engine::Engine,
    message::Message,
    ring::{self, Change, Kind, Own},
};

/// How a store shall work.
#[derive(Debug, Clone)]
pub struct Options {
    /// When a commit is durable.
    pub sync: SyncMode,
    /// Memory for blocks of all queues together, in bytes.
    pub cache_bytes: usize,
    /// Free space that the disk must have for a put to be taken, in bytes.
    pub disk_reserve_bytes: u64,
    /// How many queues there may be.
    pub max_queues: usize,
    /// What the configuration says about queues.
    pub queues: QueueSettings,
    /// Where those who answer say that they have run out of work; `None`: nobody says it.
    pub lull: Option<Arc<Lull>>,
}

/// Which settings the configuration has for queues.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// Those of a queue without its own.
    pub defaults: ring::Settings,
    /// Those of single queues, by name.
    pub named: BTreeMap<String, ring::Settings>,
}

/// Rings in memory over an engine. A handle: clones are the same store.
#[derive(Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    progress: Arc<Progress>,
}

/// What was there when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// How many queues.
    pub queues: usize,
    /// How many unread messages in all of them.
    pub unread: u64,
}

impl LocalStore {
    /// Opens the store in an engine. `dir` is the data directory that the engine is in, if it is in one; `observer` sees what
    /// becomes visible.
    ///
    /// # Errors
    /// Something that should be there is not, or cannot be read: see [`OpenError`].
    pub fn open(
        engine: Arc<dyn Engine>,
        dir: Option<DataDir>,
        options: Options,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<(LocalStore, Recovered), OpenError> {
        let cached_bytes = Arc::new(AtomicUsize::new(0));
        let found = open::find(&*engine, dir.as_ref(), &options.queues, &cached_bytes)?;
        let recovered = found.recovered();
        let names = Names::new(found.queues, found.deleted, options.queues.clone());
        let mode = options.sync;
        let patience = options.lull_to_commit_in().map_or(Duration::ZERO, |_| commit::PATIENCE);
        let shared = Arc::new(Shared {
            engine,
            names: RwLock::new(names),
            pending: Pending::new(patience),
            room: Room::new(dir, options.disk_reserve_bytes),
            failure: watch::Sender::new(None),
            cached_bytes,
            commits: Tally::new(),
            observer,
            options,
        });
        let progress = Arc::new(Progress::default());
        let committer = Committer::new(shared.clone(), progress.clone(), mode, found.number, found.garbage);
        let thread = std::thread::Builder::new().name("commit".into()).spawn(move || committer.run());
        let thread = thread.map_err(OpenError::Thread)?;
        Ok((LocalStore { shared, thread: Arc::new(Mutex::new(Some(thread))), progress }, recovered))
    }

    /// Calls `hung` when a commit or a sync takes longer than `timeout`, in a thread of its own. Nobody knows then what becomes of
    /// the store: a [`LocalStore::close`] may never return.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(&self, timeout: Duration, hung: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let progress = self.progress.clone();
        let watch = move || {
            if progress.hangs(timeout) {
                hung();
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
    }

    /// To see from time to time whether commits get on.
    pub fn commits(&self) -> Commits {
        Commits::new(self.shared.clone(), self.progress.clone())
    }

    /// Completes when a write has failed and nothing is stored any more; says why. Otherwise it never completes.
    pub async fn failed(&self) -> String {
        let mut failure = self.shared.failure.subscribe();
        loop {
            if let Some(reason) = &*failure.borrow_and_update() {
                return reason.clone();
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Commits what is staged, makes it durable whatever the mode, and ends the commit thread. Blocks.
    ///
    /// # Errors
    /// A write failed, now or earlier.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.pending.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let panicked = thread.is_some_and(|thread| thread.join().is_err());
        match self.shared.failure.borrow().clone() {
            Some(reason) => Err(StoreError::Failed(reason)),
            None if panicked => Err(StoreError::Failed("the commit thread panicked".into())),
            None => Ok(()),
        }
    }

    /// Takes the next message when it was not in memory: reads on from the engine until it is.
    async fn load_and_take(&self, queue: &Arc<Queue>) -> Result<Taken, StoreError> {
        let _one_reader = queue.loading.lock().await;
        let mut loaded = Vec::new();
        loop {
            match self.shared.take(queue, std::mem::take(&mut loaded))? {
                Taken::Missing(wanted) => match self.load(queue, wanted, self.shared.ahead_bytes()).await {
                    Ok(blocks) => loaded = blocks,
                    // A reset came between.
                    Err(_) if queue.lock().is_past(wanted) => {}
                    Err(error) => return Err(error),
                },
                taken => return Ok(taken),
            }
        }
    }

    async fn load(&self, queue: &Arc<Queue>, wanted: Wanted, ahead: usize) -> Result<Vec<Arc<Block>>, StoreError> {
        let (shared, reader) = (self.shared.clone(), queue.clone());
        let loaded = tokio::task::spawn_blocking(move || load::load(&*shared.engine, &reader, wanted, ahead));
        let loaded = loaded.await.unwrap_or_else(|e| Err(format!("the engine panicked: {e}")));
        loaded.map_err(|reason| StoreError::Unreadable {
            queue: queue.name.clone(),
            position: queue.lock().ring.position(wanted.sequence),
            reason,
        })
    }
}

impl Store for LocalStore {
    type Commit = Arc<Group>;

    fn stage(
        &self,
        queue: &str,
        first: &Message,
        others: &[Message],
        staged: impl FnOnce(Kind, usize) + Send,
    ) -> Result<Staged<Arc<Group>>, StoreError> {
        if !self.shared.room.has_room() {
            return Ok(Staged::refused(Put::StorageFull));
        }
        loop {
            let Some(queue) = self.shared.find_or_make(queue, first.source) else {
                return Ok(Staged::refused(Put::TooManyQueues));
            };
            let mut inner = queue.lock();
            // Deleted in this moment: the messages are for the queue that has the name now.
            if inner.is_deleted {
                continue;
            }
            return self.shared.stage(&queue, &mut inner, (first, others), staged);
        }
    }

    async fn room(&self) {
        self.shared.pending.room().await;
    }

    async fn get(&self, queue: &str) -> Result<Get, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(Get::Empty) };
        let mut taken = self.shared.take(&queue, Vec::new())?;
        if let Taken::Missing(_) = taken {
            // In a box, as all that waits for the engine: no connection keeps room for what most gets do not need.
            taken = Box::pin(self.load_and_take(&queue)).await?;
        }
        match taken {
            Taken::Message { position, message, group } => {
                group.durable().await?;
                Ok(Get::Message { position, message })
            }
            Taken::Turned(group) => group.durable().await.map(|()| Get::Empty),
            Taken::Empty | Taken::Missing(_) => Ok(Get::Empty),
        }
    }

    async fn status(&self, queue: &str) -> Result<Option<Status>, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(None) };
        let inner = queue.lock();
        Ok((!inner.is_deleted).then(|| self.shared.status_of(&inner.ring)))
    }

    async fn view(&self, queue: &str, position: u64) -> Result<View, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(View::Unknown) };
        let wanted = {
            let inner = queue.lock();
            let sequence = match inner.ring.view(position) {
                ring::View::Unread(sequence) => sequence,
                ring::View::NotUnread => return Ok(View::NotUnread),
                ring::View::Empty => return Ok(View::Empty),
                ring::View::OutOfRange => return Ok(View::OutOfRange),
            };
            if let Some(message) = inner.message(sequence) {
                return Ok(View::Message(message));
            }
            Wanted { epoch: inner.ring.epoch, sequence }
        };
        match Box::pin(self.load(&queue, wanted, 0)).await {
            Ok(blocks) => match blocks.iter().find_map(|block| block.message(wanted.sequence)) {
                Some(message) => Ok(View::Message(message)),
                None => Ok(View::NotUnread),
            },
            // Somebody may have got it, or reset the queue, while we were looking.
            Err(_) if queue.lock().is_past(wanted) => Ok(View::NotUnread),
            Err(error) => Err(error),
        }
    }

    async fn history(&self, queue: &str, max_bytes: usize) -> Result<Vec<Message>, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(Vec::new()) };
        let mut loaded = Vec::new();
        loop {
            let found = queue.lock().history(&loaded, max_bytes);
            let wanted = match found {
                Ok(messages) => return Ok(messages),
                Err(wanted) => wanted,
            };
            match self.load(&queue, wanted, 0).await {
                Ok(blocks) => loaded.extend(blocks),
                // Messages came in meanwhile, and the oldest of those that were asked for are gone.
                Err(_) if queue.lock().is_gone(wanted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn list(&self, select: Select) -> Result<Listing, StoreError> {
        self.blocking(move |shared| shared.list(&select)).await
    }

    async fn report(&self, queue: &str) -> Result<Option<QueueReport>, StoreError> {
        self.look_at(queue).await
    }

    async fn peek(&self, queue: &str, window: Window) -> Result<Option<Peek>, StoreError> {
        self.peek_at(queue, window).await
    }

    async fn overview(&self) -> Result<StoreReport, StoreError> {
        self.blocking(|shared| shared.store_report()).await
    }

    fn trouble(&self) -> Option<Trouble> {
        if let Some(reason) = self.shared.failure.borrow().clone() {
            return Some(Trouble::Failed(reason));
        }
        let reserve_bytes = self.shared.options.disk_reserve_bytes;
        (!self.shared.room.has_room()).then_some(Trouble::NoRoom { reserve_bytes })
    }

    fn queue_count(&self) -> usize {
        self.shared.names.read().unwrap_or_else(PoisonError::into_inner).by_name.len()
    }

    async fn purge(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        let Some((purged, group)) = self.shared.change(queue, Inner::purge)? else { return Ok(None) };
        group.durable().await?;
        Ok(Some(purged))
    }

    async fn reset(&self, queue: &str) -> Result<bool, StoreError> {
        let Some(((), group)) = self.shared.change(queue, Inner::reset)? else { return Ok(false) };
        group.durable().await?;
        Ok(true)
    }

    async fn create(&self, queue: &str, kind: Kind, own: Own) -> Result<Created, StoreError> {
        let (created, group) = self.shared.create(queue, kind, own)?;
        if let Some(group) = group {
            group.durable().await?;
        }
        Ok(created)
    }

    async fn set(&self, queue: &str, change: Change) -> Result<bool, StoreError> {
        let Some(group) = self.shared.set(queue, &change)? else { return Ok(false) };
        group.durable().await?;
        Ok(true)
    }

    async fn delete(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        let Some((unread, group)) = self.shared.delete(queue)? else { return Ok(None) };
        group.durable().await?;
        Ok(Some(unread))
    }
}

impl Options {
    /// Where those who answer commit themselves, since no disk is waited for there.
    fn lull_to_commit_in(&self) -> Option<&Lull> {
        self.lull.as_deref().filter(|_| self.sync != SyncMode::Always)
    }

    /// What the commit thread waits for before the next commit.
    fn lull_to_wait_for(&self) -> Option<&Lull> {
        self.lull.as_deref().filter(|_| self.sync == SyncMode::Always)
    }
}

impl QueueSettings {
    /// The settings of the queue with this name.
    pub fn of(&self, name: &str) -> ring::Settings {
        self.named.get(name).copied().unwrap_or(self.defaults)
    }
}
