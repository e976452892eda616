//! Commits: the one writer of the engine, and the thread that has it for most of the time.
//!
//! It takes everything that was staged since its last turn, writes it as one batch, makes that as durable as the mode says, and
//! only then tells those who wait. What comes in meanwhile is the next batch: the slower the disk, the larger the groups.
//!
//! Where no disk is waited for, the way to another thread and back would be most of what a commit costs. There it is left to those who
//! answer, when they have run out of work; the thread does what they do not come to, syncs, and whatever may take long.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    garbage::Garbage,
    pending::Turn,
    queue::{Queue, Sealed},
    shared::Shared,
    watchdog::Progress,
};
use crate::{
    engine::{Batch, Durability, EngineError},
    key, state,
};

/// How long a commit is left to those who answer, where they can do it: for who never runs out of work. Each time costs a thread that wakes.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// Behind a commit that wrote so many bytes nobody is waited for: they are what takes time, not how many commits they are in, and the disk
/// would have nothing to do meanwhile.
const LARGE_COMMIT_BYTES: usize = 1 << 20;

/// When a commit is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before anybody is told.
    Always,
    /// At most this long after it was written.
    Interval(Duration),
    /// When the store is closed.
    Never,
}

impl SyncMode {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            SyncMode::Always => "always",
            SyncMode::Interval(_) => "interval",
            SyncMode::Never => "never",
        }
    }
}

/// What only who commits has.
pub(super) struct Committer {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    mode: SyncMode,
    /// The number of the last commit.
    number: u64,
    garbage: Garbage,
    batch: Batch,
    /// The last commit had to look into the engine for what it removes; the next one will, too.
    has_read: bool,
    /// The queue whose cache gives memory back next.
    shrink_next: usize,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        progress: Arc<Progress>,
        mode: SyncMode,
        number: u64,
        garbage: Garbage,
    ) -> Committer {
        Committer { shared, progress, mode, number, garbage, batch: Batch::default(), has_read: false, shrink_next: 0 }
    }

    /// Commits until the store is closed or a write fails.
    pub(super) fn run(self) {
        let shared = self.shared.clone();
        self.go_on_with_garbage();
        let own = Arc::new(Mutex::new(self));
        let others = own.clone();
        let in_lull: Arc<dyn Fn() + Send + Sync> = Arc::new(move || Committer::in_lull(&others));
        if let Some(lull) = shared.options.lull_to_commit_in() {
            lull.fill(&in_lull);
        }
        loop {
            shared.pending.wait();
            let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
            // Turns are taken under this lock only, so that commits are done in their order.
            if shared.pending.next_turn().is_some_and(|turn| own.attempt(&turn).is_break()) {
                return;
            }
        }
    }

    /// Commits what somebody waits for, if no disk is waited for there. For who answers and has nothing else to do.
    fn in_lull(own: &Mutex<Committer>) {
        // At work: what has come meanwhile is next.
        let Ok(mut own) = own.try_lock() else { return };
        let shared = own.shared.clone();
        let reads = own.has_read || !own.garbage.is_empty();
        if let Some(turn) = shared.pending.quick_turn(|bytes| !reads && shared.engine.is_quick(bytes)) {
            // The commit thread sees for itself when this was the last.
            let _ = own.attempt(&turn);
        }
    }

    /// Does what is to be done; says whether it was the last.
    fn attempt(&mut self, turn: &Turn) -> ControlFlow<()> {
        let is_last = matches!(turn, Turn::Close | Turn::End);
        self.progress.step();
        // sled can panic where it finds its files damaged. That is a failed write like any other.
        let done = catch_unwind(AssertUnwindSafe(|| self.turn(turn)));
        self.progress.step();
        let failure = match done {
            Ok(Ok(())) if is_last => return ControlFlow::Break(()),
            Ok(Ok(())) => {
                self.go_on_with_garbage();
                return ControlFlow::Continue(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the engine panicked".to_owned(),
        };
        self.shared.commits.failed();
        if let Turn::Commit(_, group) = turn {
            group.complete(Err(failure.clone()));
        }
        self.shared.pending.fail(&failure);
        self.shared.failure.send_replace(Some(failure));
        ControlFlow::Break(())
    }

    fn turn(&mut self, turn: &Turn) -> Result<(), EngineError> {
        match turn {
            Turn::Commit(queues, group) => {
                // Also a get is written: on a disk that others filled, the ballast must go before that.
                self.shared.room.look();
                let operations = self.commit(queues)?;
                let shared = self.shared.clone();
                // One who is alone is not waited for.
                let is_worth_it = operations > 1 && self.written_bytes() < LARGE_COMMIT_BYTES;
                let lull = shared.options.lull_to_wait_for().filter(|_| is_worth_it);
                lull.inspect(|lull| lull.expect());
                shared.pending.done(group);
                group.complete(Ok(()));
                self.shrink_caches();
                lull.inspect(|lull| lull.wait());
                Ok(())
            }
            Turn::Sync => self.sync(),
            Turn::End => Ok(()),
            Turn::Close if self.mode == SyncMode::Always => Ok(()),
            Turn::Close => self.sync(),
        }
    }

    /// Says how many operations are in the commit.
    fn commit(&mut self, queues: &[Arc<Queue>]) -> Result<u64, EngineError> {
        let began = Instant::now();
        self.batch.clear();
        let sealed: Vec<Sealed> =
            queues.iter().map(|queue| queue.seal(&mut self.batch, &*self.shared.engine)).collect();
        let mut oldest = Vec::with_capacity(sealed.len());
        for (queue, sealed) in queues.iter().zip(&sealed) {
            sealed.garbage_before.into_iter().for_each(|epoch| self.garbage.add_before_epoch(queue.id, epoch));
            let forgotten = sealed.forgotten.as_ref();
            let left = forgotten.map(|blocks| blocks.remove_some(&*self.shared.engine, &mut self.batch));
            oldest.push(left.transpose()?);
        }
        self.has_read = sealed.iter().any(|sealed| sealed.forgotten.is_some());
        let gone = self.garbage.remove_some(&*self.shared.engine, &mut self.batch)?;
        let deleted = || queues.iter().zip(&sealed).filter(|(_, sealed)| sealed.is_deleted).map(|(queue, _)| queue);
        deleted().for_each(|queue| self.garbage.add_deleted(queue.id));
        self.number += 1;
        self.batch.puts.push((key::commit(), Bytes::copy_from_slice(&state::encode_commit(self.number))));
        match self.mode {
            SyncMode::Always => {
                self.shared.engine.commit(&self.batch, Durability::Disk)?;
                self.note_durable()?;
            }
            SyncMode::Interval(interval) => {
                self.shared.engine.commit(&self.batch, Durability::System)?;
                self.shared.pending.sync_by(Instant::now() + interval);
            }
            SyncMode::Never => self.shared.engine.commit(&self.batch, Durability::System)?,
        }
        let operations = sealed.iter().map(|sealed| sealed.operations).sum();
        self.shared.commits.committed(began.elapsed(), operations);
        for ((queue, sealed), oldest) in queues.iter().zip(&sealed).zip(oldest) {
            queue.stored(sealed, oldest);
            self.shared.announce_committed(queue, sealed);
        }
        if !gone.is_empty() || deleted().next().is_some() {
            let mut names = self.shared.names.write().unwrap_or_else(PoisonError::into_inner);
            deleted().for_each(|queue| names.left(queue));
            names.free_ids(&gone);
        }
        Ok(operations)
    }

    /// What the last commit wrote.
    fn written_bytes(&self) -> usize {
        self.batch.written().map(|(_, record)| record.len()).sum()
    }

    /// While there is garbage, one commit follows the other.
    fn go_on_with_garbage(&self) {
        if !self.garbage.is_empty() {
            self.shared.pending.hurry();
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.shared.engine.sync()?;
        self.note_durable()
    }

    fn note_durable(&self) -> Result<(), EngineError> {
        match self.shared.room.dir() {
            Some(dir) => dir.set_commit_mark(self.number).map_err(|e| EngineError::new("write the commit mark", e)),
            None => Ok(()),
        }
    }

    /// Goes round the queues and has each give back a part of its memory until all together are within the budget.
    fn shrink_caches(&mut self) {
        if !self.shared.cache_is_over_budget() {
            return;
        }
        let queues = self.shared.queues();
        // Halves and halves again: in this many rounds the largest cache is empty.
        let mut turns = queues.len().saturating_mul(usize::BITS as usize);
        while self.shared.cache_is_over_budget() && turns > 0 {
            turns -= 1;
            self.shrink_next = (self.shrink_next + 1) % queues.len();
            queues[self.shrink_next].lock().shrink_cache();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.progress.end();
    }
}
