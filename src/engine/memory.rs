//! An engine that forgets everything with the process. For tests, and for queues that need not survive.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use bytes::Bytes;

use super::{Batch, Durability, Engine, EngineError, Next, Visitor};
use crate::key::Key;

/// A map in memory.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    records: RwLock<BTreeMap<Key, Bytes>>,
}

impl MemoryEngine {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Bytes>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn commit(&self, batch: &Batch, _: Durability) -> Result<(), EngineError> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for key in &batch.removes {
            records.remove(key);
        }
        for (key, value) in batch.written() {
            // A copy, as an engine with a disk makes one: a slice would keep the whole buffer that it was cut from.
            records.insert(*key, Bytes::copy_from_slice(value));
        }
        Ok(())
    }

    fn is_quick(&self, _: usize) -> bool {
        true
    }

    fn is_removed_freely(&self, _: &Key) -> bool {
        true
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        Ok(self.read().get(key).cloned())
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        for (key, value) in self.read().range(range) {
            if visit(key, value) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        Ok(self.read().range(range).next_back().map(|(key, _)| *key))
    }
}
