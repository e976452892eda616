//! Blocks below the floor that are not in memory: where they are, a search in the engine has to say.
//!
//! Their keys are enough for it, since a block ends where the next one begins at the latest. So large messages to which others are
//! preferred are not read once more to be removed, and a damaged record of messages that nobody needs goes like any other.

use std::ops::RangeInclusive;

use super::garbage::GARBAGE_RECORDS;
use crate::{
    engine::{Batch, Engine, EngineError, Next},
    key::{self, Key},
};

/// Where such blocks of a queue may be.
#[derive(Debug)]
pub(super) struct Forgotten {
    /// No message before this sequence is needed.
    floor: u64,
    /// Up to the block that begins at the floor, if one does.
    range: RangeInclusive<Key>,
    /// Nothing that is stored is needed.
    is_all: bool,
}

impl Forgotten {
    /// Those of a queue that end before the floor and begin at `oldest` or behind it; `stored` is one past the last sequence that the engine
    /// has.
    pub(super) fn new(queue: u32, epoch: u32, oldest: u64, floor: u64, stored: u64) -> Forgotten {
        let floor = floor.min(stored);
        Forgotten { floor, range: key::blocks(queue, epoch, oldest, floor), is_all: floor == stored }
    }

    /// Adds the removal of some of them to a batch; gives the first sequence of the oldest block left, or the floor.
    pub(super) fn remove_some(&self, engine: &dyn Engine, batch: &mut Batch) -> Result<u64, EngineError> {
        let room = batch.removes.len() + GARBAGE_RECORDS;
        // The keys of the last block that was found: it may have messages at the floor and above it.
        let mut block: Vec<Key> = Vec::new();
        let mut oldest = None;
        engine.visit_keys(self.range.clone(), &mut |key| {
            let first = key::first_sequence(key);
            if block.first().is_some_and(|begun| key::first_sequence(begun) < first) {
                // Of a message in parts all goes or nothing, and there may be more than there is room for.
                batch.removes.append(&mut block);
            }
            if first >= self.floor || batch.removes.len() >= room {
                oldest = Some(first);
                return Next::Stop;
            }
            block.push(*key);
            Next::Continue
        })?;
        if self.is_all && oldest.is_none() {
            batch.removes.append(&mut block);
        }
        let left = block.first().map(key::first_sequence);
        Ok(left.or(oldest).unwrap_or(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::{Durability, memory::MemoryEngine};

    const QUEUE: u32 = 3;
    const EPOCH: u32 = 1;

    /// An engine with blocks that begin at these sequences, each from 1,000 on in three parts.
    fn engine(firsts: &[u64]) -> MemoryEngine {
        let engine = MemoryEngine::default();
        let keys = firsts.iter().flat_map(|first| {
            let parts = if *first >= 1000 { 3 } else { 1 };
            (0..parts).map(|part| key::block(QUEUE, EPOCH, *first, part))
        });
        let puts = keys.map(|key| (key, Bytes::from_static(b"block"))).collect();
        engine.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).unwrap();
        engine
    }

    /// The first sequences of what is removed, and of what is left.
    fn removed(engine: &MemoryEngine, oldest: u64, floor: u64, stored: u64) -> (Vec<u64>, u64) {
        let mut batch = Batch::default();
        let left = Forgotten::new(QUEUE, EPOCH, oldest, floor, stored).remove_some(engine, &mut batch).unwrap();
        (batch.removes.iter().map(key::first_sequence).collect(), left)
    }

    #[test]
    fn a_block_goes_when_the_next_one_begins_at_the_floor_or_before_it() {
        let engine = engine(&[0, 5, 9, 12]);
        assert_eq!(removed(&engine, 0, 4, 20), (vec![], 0));
        assert_eq!(removed(&engine, 0, 5, 20), (vec![0], 5));
        assert_eq!(removed(&engine, 0, 8, 20), (vec![0], 5));
        assert_eq!(removed(&engine, 5, 12, 20), (vec![5, 9], 12));
        assert_eq!(removed(&engine, 0, 19, 20), (vec![0, 5, 9], 12));
        assert_eq!(removed(&engine, 0, 20, 20), (vec![0, 5, 9, 12], 20));
        assert_eq!(removed(&engine, 0, 25, 20), (vec![0, 5, 9, 12], 20), "what is not stored is none of it");
    }

    #[test]
    fn what_is_gone_already_is_not_missed() {
        let engine = engine(&[9, 12]);
        assert_eq!(removed(&engine, 0, 5, 20), (vec![], 5));
        assert_eq!(removed(&engine, 0, 10, 20), (vec![], 9));
        assert_eq!(removed(&engine, 0, 12, 20), (vec![9], 12));
    }

    #[test]
    fn many_go_some_at_a_time_and_parts_of_a_message_together() {
        let firsts: Vec<u64> = (0..600).chain(1000..1400).collect();
        let engine = engine(&firsts);
        let (some, left) = removed(&engine, 0, 1400, 1400);
        assert_eq!((some.len(), left), (GARBAGE_RECORDS, 512));
        let (more, left) = removed(&engine, left, 1400, 1400);
        assert_eq!((more.len(), left), (88 + 142 * 3, 1142), "two more than there was room for");
        let (rest, left) = removed(&engine, left, 1400, 1400);
        assert_eq!((rest.len(), left), (171 * 3, 1313));
    }
}
