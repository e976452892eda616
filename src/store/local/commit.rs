//! The commit thread: the one writer of the engine.
//!
//! It takes everything that was staged since its last turn, writes it as one batch, makes that as durable as the mode says, and
//! only then tells those who wait. What comes in meanwhile is the next batch: the slower the disk, the larger the groups.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    garbage::{GARBAGE_RECORDS, Garbage},
    pending::Turn,
    queue::{Queue, Sealed},
    shared::Shared,
    watchdog::Progress,
};
use crate::{
    block,
    engine::{Batch, Durability, EngineError, Next},
    key, state,
};

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

/// What only the commit thread has.
pub(super) struct Committer {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    mode: SyncMode,
    /// The number of the last commit.
    number: u64,
    /// When the last commits shall be durable; `None` when they are, or when nobody asked.
    sync_at: Option<Instant>,
    garbage: Garbage,
    batch: Batch,
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
        Committer { shared, progress, mode, number, sync_at: None, garbage, batch: Batch::default(), shrink_next: 0 }
    }

    /// Commits until the store is closed or a write fails.
    pub(super) fn run(mut self) {
        loop {
            let turn = self.shared.pending.next(self.sync_at, !self.garbage.is_empty());
            let closing = matches!(turn, Turn::Close);
            // sled can panic where it finds its files damaged. That is a failed write like any other.
            self.progress.step();
            let done = catch_unwind(AssertUnwindSafe(|| self.turn(&turn)));
            self.progress.step();
            let failure = match done {
                Ok(Ok(())) if closing => return,
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the engine panicked".to_owned(),
            };
            self.shared.commits.failed();
            if let Turn::Commit(_, group) = turn {
                group.complete(Err(failure.clone()));
            }
            self.shared.pending.fail(&failure);
            self.shared.failure.send_replace(Some(failure));
            return;
        }
    }

    fn turn(&mut self, turn: &Turn) -> Result<(), EngineError> {
        match turn {
            Turn::Commit(queues, group) => {
                // Also a get is written: on a disk that others filled, the ballast must go before that.
                self.shared.room.look();
                let operations = self.commit(queues)?;
                // One who is alone is not waited for.
                let lull = self.shared.options.lull.clone().filter(|_| operations > 1);
                lull.iter().for_each(|lull| lull.expect());
                self.shared.pending.done(group);
                group.complete(Ok(()));
                self.shrink_caches();
                lull.iter().for_each(|lull| lull.wait());
                Ok(())
            }
            Turn::Sync => self.sync(),
            Turn::Close if self.mode == SyncMode::Always => Ok(()),
            Turn::Close => self.sync(),
        }
    }

    /// Says how many operations are in the commit.
    fn commit(&mut self, queues: &[Arc<Queue>]) -> Result<u64, EngineError> {
        let began = Instant::now();
        self.batch.clear();
        let sealed: Vec<Sealed> = queues.iter().map(|queue| queue.seal(&mut self.batch)).collect();
        let mut oldest = Vec::with_capacity(sealed.len());
        for (queue, sealed) in queues.iter().zip(&sealed) {
            sealed.garbage_before.into_iter().for_each(|epoch| self.garbage.add_before_epoch(queue.id, epoch));
            oldest.push(self.remove_forgotten(sealed)?);
        }
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
                self.sync_at.get_or_insert_with(|| Instant::now() + interval);
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

    fn sync(&mut self) -> Result<(), EngineError> {
        self.shared.engine.sync()?;
        self.sync_at = None;
        self.note_durable()
    }

    fn note_durable(&self) -> Result<(), EngineError> {
        match self.shared.room.dir() {
            Some(dir) => dir.set_commit_mark(self.number).map_err(|e| EngineError::new("write the commit mark", e)),
            None => Ok(()),
        }
    }

    /// Removes stored blocks below the floor that are not in memory; gives the first sequence of the oldest block left.
    fn remove_forgotten(&mut self, sealed: &Sealed) -> Result<Option<u64>, EngineError> {
        let Some((floor, range)) = &sealed.forgotten else { return Ok(None) };
        let mut oldest = *floor;
        let removes = &mut self.batch.removes;
        let room = removes.len() + GARBAGE_RECORDS;
        self.shared.engine.range(range.clone(), &mut |key, record| match block::check(key, record) {
            // The last message in parts may be more than there is room for: all of it goes, or none.
            Ok(found) if found.end <= *floor && (removes.len() < room || found.part > 0) => {
                removes.push(*key);
                Next::Continue
            }
            // A damaged record is not ours to remove: whoever reads it says so.
            _ => {
                oldest = key::first_sequence(key);
                Next::Stop
            }
        })?;
        Ok(Some(oldest))
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
