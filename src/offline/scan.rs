//! Every record of an engine that cannot read all of them: what is unreadable is stepped over.
//!
//! Damage covers a stretch of keys, and nobody knows how long it is. So keys are tried at growing distances until one can be
//! read, and the end of the damage is searched between it and the last that cannot. A readable stretch between two damaged ones
//! that is much shorter than the first of them can be missed; so each queue begins anew, with small distances.

use std::iter::successors;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::{Engine, Next, Visitor};
use crate::key::{self, Key};
use crate::ring::{Overflow, Settings};
use crate::state::{self, State};

/// Each distance that is tried is an eighth longer than the one before.
const GROWTH: u128 = 8;

/// Visits every record that can be read, in order, each once; gives the reason of each place where some could not be.
pub(super) fn scan(engine: &dyn Engine, visit: &mut dyn FnMut(&Key, &[u8])) -> Vec<String> {
    let mut starts = vec![key::commit(), *key::all_blocks().start(), *key::queues().start()];
    // The states of queues say where messages begin. What is wrong with them is found when it is their turn.
    scan_range(engine, key::queues(), &mut |key, record| {
        let id = key::queue_id(key);
        starts.push(key::block(id, 0, 0, 0));
        let ignored = Settings { max_len: 1, history: 0, overflow: Overflow::Reject };
        if let Ok(State::Queue { ring, .. }) = state::decode(id, record, |_| ignored) {
            starts.push(key::block(id, ring.epoch, ring.floor, 0));
        }
    });
    starts.sort_unstable();
    starts.dedup();
    let mut reasons = Vec::new();
    for (at, start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).map_or(*key::queues().end(), before);
        reasons.extend(scan_range(engine, *start..=end, visit));
    }
    reasons
}

fn scan_range(engine: &dyn Engine, range: RangeInclusive<Key>, visit: &mut dyn FnMut(&Key, &[u8])) -> Vec<String> {
    let (mut from, end) = range.into_inner();
    let mut reasons = Vec::new();
    loop {
        let mut next = from;
        let read = read(engine, from..=end, &mut |key, record| {
            visit(key, record);
            next = after(key);
            Next::Continue
        });
        let Err(reason) = read else { return reasons };
        reasons.push(reason);
        match readable_from(engine, &next, &end) {
            Some(start) => from = start,
            None => return reasons,
        }
    }
}

fn read(engine: &dyn Engine, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), String> {
    // An engine can panic where it finds its files damaged.
    match catch_unwind(AssertUnwindSafe(|| engine.range(range, visit))) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the engine panicked".to_owned()),
    }
}

/// The first key behind a damaged place from which on the engine finds the next record, or that there is none up to `end`.
fn readable_from(engine: &dyn Engine, damaged: &Key, end: &Key) -> Option<Key> {
    let at = |number| with_number(damaged, number);
    // Not whether the key itself can be looked for: right before the damage it can, over and over.
    let is_readable = |number| read(engine, at(number)..=*end, &mut |_, _| Next::Stop).is_ok();
    let (first, last) = (number(damaged), if end[0] == damaged[0] { number(end) } else { u128::MAX });
    let mut below = first;
    for distance in successors(Some(1u128), |distance| distance.checked_add((distance / GROWTH).max(1))) {
        let above = first.checked_add(distance).filter(|above| *above <= last)?;
        if is_readable(above) {
            return Some(at(end_of_damage(below, above, is_readable)));
        }
        below = above;
    }
    None
}

/// The first number that is readable between one that is not and one that is.
fn end_of_damage(mut below: u128, mut above: u128, is_readable: impl Fn(u128) -> bool) -> u128 {
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if is_readable(middle) { above = middle } else { below = middle }
    }
    above
}

/// Queue, epoch and sequence of a key as one number, in the order of the keys of its tag.
fn number(key: &Key) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&key[1..17]);
    u128::from_be_bytes(bytes)
}

/// The first part of the message with that number.
fn with_number(like: &Key, number: u128) -> Key {
    let mut key = [0; key::KEY_BYTES];
    key[0] = like[0];
    key[1..17].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key right behind another one. None of ours is the last of all.
fn after(key: &Key) -> Key {
    let mut next = *key;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
}

/// The key right before another one. None of ours is the first of all.
fn before(key: &Key) -> Key {
    let mut previous = *key;
    for byte in previous.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != 0xff {
            break;
        }
    }
    previous
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)] // A failed test may panic, and the engine here shall.

    use std::ops::RangeInclusive;

    use bytes::Bytes;

    use super::*;
    use crate::engine::{Batch, Durability, EngineError, memory::MemoryEngine};
    use crate::key;
    use crate::ring::{Kind, Own, Ring};

    /// Fails, or panics, where it comes to certain keys.
    struct Broken {
        whole: MemoryEngine,
        damaged: Vec<RangeInclusive<Key>>,
        panics: bool,
    }

    impl Engine for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
            self.whole.commit(batch, durability)
        }
        fn sync(&self) -> Result<(), EngineError> {
            Ok(())
        }
        fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
            self.whole.get(key)
        }
        fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
            // As an engine of pages: a range that begins within a damaged page meets the damage too.
            let meets = |key: &Key| self.damaged.iter().any(|damaged| damaged.contains(key));
            let mut met = meets(range.start());
            if !met {
                self.whole.range(range, &mut |key, record| {
                    met = meets(key);
                    if met { Next::Stop } else { visit(key, record) }
                })?;
            }
            if met && self.panics {
                // Without the message, which thousands of times would take its time.
                std::panic::resume_unwind(Box::new("as told"));
            }
            if met { Err(EngineError::new("range", "damage")) } else { Ok(()) }
        }
        fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
            self.whole.last_key(range)
        }
    }

    fn state_of(id: u32) -> Bytes {
        let ring = Ring {
            epoch: 1,
            put: 150,
            ..Ring::new(Kind::Work, Settings { max_len: 1000, history: 0, overflow: Overflow::Reject })
        };
        state::encode(id, "q", &ring, &Own::default())
    }

    #[test]
    fn all_but_the_damaged_places_is_visited_once() {
        let keys: Vec<Key> = (0..4)
            .flat_map(|id| (0..50).map(move |first| key::block(id, 1, first * 3, 0)))
            .chain((0..4).map(key::queue))
            .collect();
        let block = |id, first| key::block(id, 1, first, 0);
        let places = [
            key::commit()..=block(0, 9),
            block(0, 30)..=block(0, 33),
            block(0, 36)..=block(0, 36),
            block(1, 140)..=block(3, 2),
            key::queue(2)..=key::queue(5),
        ];
        for panics in [false, true] {
            let whole = MemoryEngine::default();
            let record = |key: &Key| if key[0] == b'q' { state_of(key::queue_id(key)) } else { Bytes::new() };
            let puts = keys.iter().map(|key| (*key, record(key))).collect();
            let batch = Batch { puts, ..Batch::default() };
            whole.commit(&batch, Durability::Disk).unwrap();
            let engine = Broken { whole, damaged: places.to_vec(), panics };
            let mut visited = Vec::new();
            let reasons = scan(&engine, &mut |key, _| visited.push(*key));
            let mut expected = keys.clone();
            expected.retain(|key| !places.iter().any(|place| place.contains(key)));
            expected.sort_unstable();
            assert!(visited == expected, "{} of {}", visited.len(), expected.len());
            assert!(reasons.len() >= places.len(), "{reasons:?}");
        }
    }
}
