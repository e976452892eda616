//! What is in the log and not yet in the engine, by key.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, RangeInclusive},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;

use super::frame::Change;
use crate::{
    engine::Batch,
    key::{self, Key},
};

/// How many records a walk takes out of a layer at a time: so long a commit may have to wait for a reader.
const STEP: usize = 64;

/// What one segment of the log says of each key. Only the last word counts.
#[derive(Debug, Default)]
pub(super) struct Layer(RwLock<BTreeMap<Key, Option<Bytes>>>);

/// The layers of all segments, the oldest first. Those who read hold what there was when they began.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(pub(super) Vec<Arc<Layer>>);

/// Goes through the layers in the order of keys.
pub(super) struct Walk {
    layers: Layers,
    from: Bound<Key>,
    end: Key,
    taken: VecDeque<Change>,
}

impl Layer {
    /// What a batch changes; readers see all of it or nothing.
    pub(super) fn add(&self, changes: Vec<Change>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(changes);
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Key, Option<Bytes>>) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Layers {
    /// What is said of a key; `None`: nothing, so the engine has the word.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Bytes>> {
        self.0.iter().rev().find_map(|layer| layer.read(|records| records.get(key).cloned()))
    }

    /// Whether nothing is said of any key.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|layer| layer.read(BTreeMap::is_empty))
    }

    /// The highest key of a range that has a record here.
    pub(super) fn last(&self, range: &RangeInclusive<Key>) -> Option<(Key, Bytes)> {
        let (first, mut last) = (*range.start(), *range.end());
        while first <= last {
            let highest = |layer: &Arc<Layer>| layer.read(|records| Some(*records.range(first..=last).next_back()?.0));
            let key = self.0.iter().filter_map(highest).max()?;
            if let Some(Some(value)) = self.get(&key) {
                return Some((key, value));
            }
            last = key::before(&key)?;
        }
        None
    }

    /// All of them as one batch.
    pub(super) fn merged(&self) -> Batch {
        let mut all: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        self.0.iter().for_each(|layer| layer.read(|records| all.extend(records.iter().map(|(k, v)| (*k, v.clone())))));
        let mut batch = Batch::default();
        for (key, value) in all {
            match value {
                Some(value) => batch.puts.push((key, value)),
                None => batch.removes.push(key),
            }
        }
        batch
    }

    pub(super) fn walk(self, range: &RangeInclusive<Key>) -> Walk {
        Walk { layers: self, from: Bound::Included(*range.start()), end: *range.end(), taken: VecDeque::new() }
    }
}

impl Walk {
    /// The key of the next change.
    pub(super) fn peek(&mut self) -> Option<Key> {
        if self.taken.is_empty() {
            self.take();
        }
        self.taken.front().map(|(key, _)| *key)
    }

    pub(super) fn next(&mut self) -> Option<Change> {
        self.peek()?;
        self.taken.pop_front()
    }

    /// Takes the next few out of the layers. What is behind the last key of a layer that may have more is left for the next time.
    fn take(&mut self) {
        let is_empty = match self.from {
            Bound::Included(from) => from > self.end,
            Bound::Excluded(from) => from >= self.end,
            Bound::Unbounded => false,
        };
        if is_empty {
            return;
        }
        let (mut some, mut until) = (BTreeMap::new(), self.end);
        for layer in &self.layers.0 {
            layer.read(|records| {
                let mut count = 0;
                for (key, value) in records.range((self.from, Bound::Included(until))).take(STEP) {
                    some.insert(*key, value.clone());
                    count += 1;
                    if count == STEP {
                        until = *key;
                    }
                }
            });
        }
        self.from = Bound::Excluded(until);
        self.taken.extend(some.into_iter().take_while(|(key, _)| *key <= until));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn at(number: u64) -> Key {
        key::block(1, 0, number, 0)
    }

    proptest! {
        /// Against one plain map into which all was written in turn.
        #[test]
        fn layers_say_what_one_map_would(
            layers in vec(vec((0..300_u64, option::of(0..9_u8)), 0..300), 0..5),
            (first, length) in (0..300_u64, 0..300_u64),
        ) {
            let (mut plain, mut all) = (BTreeMap::new(), Layers::default());
            for changes in layers {
                let layer = Layer::default();
                for (number, value) in changes {
                    let change = (at(number), value.map(|value| Bytes::from(vec![value])));
                    plain.extend([change.clone()]);
                    layer.add(vec![change]);
                }
                all.0.push(Arc::new(layer));
            }
            let range = at(first)..=at(first + length);
            let expected: Vec<Change> = plain.range(range.clone()).map(|(k, v)| (*k, v.clone())).collect();
            let mut walk = all.clone().walk(&range);
            let walked: Vec<Change> = std::iter::from_fn(|| walk.next()).collect();
            prop_assert_eq!(&walked, &expected);
            let last = expected.iter().rev().find_map(|(key, value)| Some((*key, value.clone()?)));
            prop_assert_eq!(all.last(&range), last);
            for number in 0..300 {
                prop_assert_eq!(all.get(&at(number)), plain.get(&at(number)).cloned());
            }
            let merged = all.merged();
            let removed = plain.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key);
            prop_assert!(merged.removes.into_iter().eq(removed));
            let put = plain.into_iter().filter_map(|(key, value)| Some((key, value?)));
            prop_assert!(merged.puts.into_iter().eq(put));
        }
    }
}
