//! What is in the log and not yet in the engine, by key.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    ops::{Bound, RangeInclusive},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::frame::Change;
use crate::{
    engine::Batch,
    key::{self, Key},
};

/// How many records a walk takes out of a layer at a time: so long a commit may have to wait for a reader.
const STEP: usize = 64;

/// What one segment of the log says of each key. Only the last word counts, and of what was inserted and removed here nothing is said.
#[derive(Debug, Default)]
pub(super) struct Layer {
    records: RwLock<BTreeMap<Key, Said>>,
    /// The engine may have some of it.
    is_passed_on: AtomicBool,
}

/// What is said of a key.
#[derive(Debug, Clone)]
struct Said {
    /// `None`: it is removed.
    value: Option<Bytes>,
    /// There was no record before, and nothing was said of it here.
    is_new: bool,
}

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
    /// What a batch changes, the last so many of which are inserts; readers see all of it or nothing.
    pub(super) fn add(&self, changes: Vec<Change>, inserts: usize) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let inserts_at = changes.len().saturating_sub(inserts);
        for (at, (key, value)) in changes.into_iter().enumerate() {
            match records.entry(key) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Said { value, is_new: at >= inserts_at });
                }
                Entry::Occupied(said) if value.is_none() && said.get().is_new => {
                    said.remove();
                }
                Entry::Occupied(mut said) => said.get_mut().value = value,
            }
        }
    }

    /// To be called before any of it is given to the engine.
    pub(super) fn pass_on(&self) {
        self.is_passed_on.store(true, Ordering::Release);
    }

    /// Whether a key was inserted here and the engine cannot have it.
    fn has_new(&self, key: &Key) -> bool {
        !self.is_passed_on.load(Ordering::Acquire)
            && self.read(|records| records.get(key).is_some_and(|said| said.is_new))
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Key, Said>) -> T) -> T {
        look(&self.records.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Layers {
    /// What is said of a key; `None`: nothing, so the engine has the word.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Bytes>> {
        self.0.iter().rev().find_map(|layer| layer.read(|records| Some(records.get(key)?.value.clone())))
    }

    /// Whether the removal of a key costs the engine nothing, because it will never have had it.
    pub(super) fn have_new(&self, key: &Key) -> bool {
        self.0.iter().any(|layer| layer.has_new(key))
    }

    /// Whether nothing is said of any key.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|layer| layer.read(BTreeMap::is_empty))
    }

    /// The highest key of a range that has a record here.
    pub(super) fn last_key(&self, range: &RangeInclusive<Key>) -> Option<Key> {
        let (first, mut last) = (*range.start(), *range.end());
        while first <= last {
            let highest = |layer: &Arc<Layer>| layer.read(|records| Some(*records.range(first..=last).next_back()?.0));
            let key = self.0.iter().filter_map(highest).max()?;
            if self.get(&key).is_some_and(|said| said.is_some()) {
                return Some(key);
            }
            last = key::before(&key)?;
        }
        None
    }

    /// All of them as one batch. What was inserted and removed since is not in it, if the engine cannot have it.
    pub(super) fn merged(&self) -> Batch {
        let mut all: BTreeMap<Key, Said> = BTreeMap::new();
        for layer in &self.0 {
            let can_undo = !layer.is_passed_on.load(Ordering::Acquire);
            layer.read(|records| {
                for (key, said) in records {
                    match all.entry(*key) {
                        Entry::Vacant(vacant) => {
                            vacant.insert(Said { value: said.value.clone(), is_new: said.is_new && can_undo });
                        }
                        Entry::Occupied(before) if said.value.is_none() && before.get().is_new => {
                            before.remove();
                        }
                        Entry::Occupied(mut before) => before.get_mut().value = said.value.clone(),
                    }
                }
            });
        }
        let mut batch = Batch::default();
        for (key, said) in all {
            match said.value {
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
                for (key, said) in records.range((self.from, Bound::Included(until))).take(STEP) {
                    some.insert(*key, said.value.clone());
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

    /// That layers over an engine say what one map does, and that the engine has it once it was given them.
    fn compare(layers: &Layers, plain: &BTreeMap<u64, u8>, engine: &BTreeMap<Key, Bytes>, range: RangeInclusive<u64>) {
        let mut given = engine.clone();
        let merged = layers.merged();
        merged.removes.iter().for_each(|key| drop(given.remove(key)));
        given.extend(merged.puts);
        let expected =
            |range: RangeInclusive<u64>| plain.range(range).map(|(n, value)| (at(*n), Bytes::from(vec![*value])));
        assert!(given.into_iter().eq(expected(0..=u64::MAX)));
        let keys = at(*range.start())..=at(*range.end());
        let mut walk = layers.clone().walk(&keys);
        let mut seen: BTreeMap<Key, Bytes> = engine.range(keys.clone()).map(|(k, v)| (*k, v.clone())).collect();
        while let Some((key, value)) = walk.next() {
            match value {
                Some(value) => seen.insert(key, value),
                None => seen.remove(&key),
            };
        }
        assert!(seen.into_iter().eq(expected(range.clone())));
        let last = range.rev().map(at).find(|key| layers.get(key).is_some_and(|said| said.is_some()));
        assert_eq!(layers.last_key(&keys), last);
    }

    /// In one layer and in two, but for what the engine may have.
    #[test]
    fn what_was_inserted_and_removed_never_gets_to_the_engine() {
        let change = |number, value: Option<&'static str>| vec![(at(number), value.map(Bytes::from))];
        let [older, newer] = [Arc::new(Layer::default()), Arc::new(Layer::default())];
        older.add(change(1, Some("in one")), 1);
        older.add(change(1, None), 0);
        older.add(change(2, Some("in two")), 1);
        older.add(change(3, Some("was there")), 0);
        let layers = Layers(vec![older.clone(), newer.clone()]);
        assert!(layers.have_new(&at(2)) && !layers.have_new(&at(3)));
        newer.add(change(2, Some("written again")), 0);
        newer.add(change(2, None), 0);
        newer.add(change(3, None), 0);
        assert_eq!((layers.merged().puts, layers.merged().removes), (Vec::new(), vec![at(3)]));
        assert_eq!(layers.get(&at(2)), Some(None));
        older.pass_on();
        assert_eq!(layers.merged().removes, [at(2), at(3)]);
        assert!(!layers.have_new(&at(2)));
    }

    proptest! {
        /// Against one plain map, with an engine that was given some of the layers, or some of their records.
        #[test]
        fn layers_over_an_engine_say_what_one_map_would(
            layers in vec((vec((0..40_u64, option::of(0..9_u8)), 0..60), 0..4_u8), 0..8),
            (first, length) in (0..40_u64, 0..40_u64),
        ) {
            let (mut plain, mut engine, mut all) = (BTreeMap::new(), BTreeMap::new(), Layers::default());
            for (changes, given) in layers {
                let layer = Arc::new(Layer::default());
                all.0.push(layer.clone());
                for (number, value) in changes {
                    let is_new = value.is_some() && !plain.contains_key(&number);
                    layer.add(vec![(at(number), value.map(|value| Bytes::from(vec![value])))], usize::from(is_new));
                    match value {
                        Some(value) => plain.insert(number, value),
                        None => plain.remove(&number),
                    };
                    compare(&all, &plain, &engine, first..=first + length);
                }
                let merged = all.merged();
                let is_given = |key: &Key| given == 1 || given == 2 && key::first_sequence(key).is_multiple_of(2);
                if given > 0 {
                    all.0.iter().for_each(|layer| layer.pass_on());
                    merged.removes.iter().filter(|key| is_given(key)).for_each(|key| drop(engine.remove(key)));
                    engine.extend(merged.puts.into_iter().filter(|(key, _)| is_given(key)));
                }
                if given == 1 {
                    all.0.clear();
                }
                compare(&all, &plain, &engine, first..=first + length);
            }
        }
    }
}
