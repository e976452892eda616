//! What resets and deletions leave behind: blocks that nobody reads any more. Removing them goes on a bit in each commit.

use std::ops::RangeInclusive;

use crate::{
    engine::{Batch, Engine, EngineError, Next},
    key::{self, Key},
};

/// How many records of garbage one commit removes: enough to get done, few enough not to be felt by those who wait.
pub(super) const GARBAGE_RECORDS: usize = 512;

/// Where such blocks are.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    left: Vec<Leftover>,
}

#[derive(Debug)]
struct Leftover {
    queue: u32,
    range: RangeInclusive<Key>,
    /// The state of the queue, which says that it was deleted, goes with the last of its blocks.
    is_deleted: bool,
}

impl Garbage {
    /// The blocks of a queue from before the reset that began `epoch`.
    pub(super) fn add_before_epoch(&mut self, queue: u32, epoch: u32) {
        if let Some(range) = key::blocks_before_epoch(queue, epoch) {
            self.add(Leftover { queue, range, is_deleted: false });
        }
    }

    /// All blocks of a deleted queue, and behind them the record which says that it was. To be called when that is in the engine, or
    /// behind [`Garbage::remove_some`] of the commit that it is in: no key is in a batch twice.
    pub(super) fn add_deleted(&mut self, queue: u32) {
        self.add(Leftover { queue, range: key::blocks_of_queue(queue), is_deleted: true });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Adds the removal of some of it to a batch; gives the queues of which nothing is left then.
    pub(super) fn remove_some(&mut self, engine: &dyn Engine, batch: &mut Batch) -> Result<Vec<u32>, EngineError> {
        let mut room = GARBAGE_RECORDS;
        let mut gone = Vec::new();
        while room > 0
            && let Some(leftover) = self.left.last_mut()
        {
            let mut keys: Vec<Key> = Vec::new();
            engine.visit_keys(leftover.range.clone(), &mut |key| {
                keys.push(*key);
                if keys.len() < room { Next::Continue } else { Next::Stop }
            })?;
            match keys.last() {
                // Not from the beginning again: an engine that keeps marks of what was removed would read more of them each time.
                Some(last) if keys.len() == room => leftover.range = *last..=*leftover.range.end(),
                _ => {
                    if leftover.is_deleted {
                        batch.removes.push(key::queue(leftover.queue));
                        gone.push(leftover.queue);
                    }
                    self.left.pop();
                }
            }
            // Also to find nothing takes its time.
            room -= keys.len().max(1);
            batch.removes.extend(keys);
        }
        Ok(gone)
    }

    /// The newest of a queue covers what was there before.
    fn add(&mut self, leftover: Leftover) {
        self.left.retain(|other| other.queue != leftover.queue);
        self.left.push(leftover);
    }
}
