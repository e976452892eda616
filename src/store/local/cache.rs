//! The blocks of one queue that are in memory.
//!
//! A queue is read from its front, so the blocks that are worth their memory are those that the reader reaches first. What is
//! just being committed is here too, whatever the budget says: nothing else has it yet.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    block::{Block, JOINED_BLOCKS},
    message::Message,
};

/// Blocks by the sequence of their first message.
#[derive(Debug)]
pub(super) struct Cache {
    blocks: BTreeMap<u64, Arc<Block>>,
    /// Bytes in the caches of all queues.
    total_bytes: Arc<AtomicUsize>,
}

impl Cache {
    pub(super) fn new(total_bytes: Arc<AtomicUsize>) -> Cache {
        Cache { blocks: BTreeMap::new(), total_bytes }
    }

    pub(super) fn insert(&mut self, block: Arc<Block>) {
        self.total_bytes.fetch_add(block.memory_bytes(), Ordering::Relaxed);
        if let Some(old) = self.blocks.insert(block.first(), block) {
            self.total_bytes.fetch_sub(old.memory_bytes(), Ordering::Relaxed);
        }
    }

    /// The block whose first message has this sequence.
    pub(super) fn starting_at(&self, first: u64) -> Option<&Arc<Block>> {
        self.blocks.get(&first)
    }

    pub(super) fn remove(&mut self, first: u64) {
        if let Some(block) = self.blocks.remove(&first) {
            self.total_bytes.fetch_sub(block.memory_bytes(), Ordering::Relaxed);
        }
    }

    /// The newest blocks up to a sequence, oldest first, as far as they are small and follow one another; [`JOINED_BLOCKS`] at most.
    pub(super) fn small_before(&self, end: u64) -> Vec<Arc<Block>> {
        let (mut small, mut end) = (Vec::new(), end);
        for block in self.blocks.range(..end).rev().map(|(_, block)| block).take(JOINED_BLOCKS) {
            if block.end() != end || !block.is_small() {
                break;
            }
            end = block.first();
            small.push(block.clone());
        }
        small.reverse();
        small
    }

    /// Whether the message with this sequence is here.
    pub(super) fn has(&self, sequence: u64) -> bool {
        self.blocks.range(..=sequence).next_back().is_some_and(|(_, block)| sequence < block.end())
    }

    /// The message with this sequence.
    pub(super) fn message(&self, sequence: u64) -> Option<Message> {
        let (_, block) = self.blocks.range(..=sequence).next_back()?;
        block.message(sequence)
    }

    /// Drops the blocks that begin before `first`.
    pub(super) fn remove_before(&mut self, first: u64) {
        while let Some((&oldest, _)) = self.blocks.first_key_value()
            && oldest < first
        {
            self.remove(oldest);
        }
    }

    /// Makes room: drops what was read already, and of what the engine has (all before `stored`) the half that the reader, who
    /// is at `next`, reaches last. With one block left, that one goes too.
    pub(super) fn shrink(&mut self, next: u64, stored: u64) {
        let evictable: Vec<u64> =
            self.blocks.values().filter(|block| block.end() <= stored).map(|block| block.first()).collect();
        let unread = evictable.partition_point(|first| self.blocks[first].end() <= next);
        let keep = (evictable.len() - unread) / 2;
        for first in evictable[..unread].iter().chain(&evictable[unread + keep..]) {
            self.remove(*first);
        }
    }

    pub(super) fn clear(&mut self) {
        self.remove_before(u64::MAX);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}
