//! Export, import and salvage on engines in memory, with queues made at random.

#![allow(clippy::unwrap_used, clippy::panic)] // A failed test may panic.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::{collection::vec, sample::Index};

use super::draft::Writer;
use super::export::write_engine;
use super::import::read_into;
use super::salvage::salvage;
use crate::block::BlockBuilder;
use crate::engine::{Batch, Durability, Engine, Next, memory::MemoryEngine};
use crate::key::{self, KEY_BYTES, Key};
use crate::message::{Content, Message, Source};
use crate::ring::{Kind, Lost, Overflow, Own, Ring, Settings};
use crate::state;
use crate::store::local::{QueueSettings, check};

fn settings() -> QueueSettings {
    QueueSettings { defaults: Settings { max_len: 7, history: 3, overflow: Overflow::Reject }, named: BTreeMap::new() }
}

fn export(engine: &dyn Engine) -> Vec<u8> {
    let mut out = Vec::new();
    write_engine(engine, &[], &settings(), &mut out).unwrap();
    out
}

fn import(mut lines: &[u8]) -> Result<Arc<dyn Engine>, String> {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let mut writer = Writer::new(engine.clone());
    read_into(&mut writer, &mut lines, &settings()).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn records(engine: &dyn Engine) -> Vec<(Key, Bytes)> {
    let mut found = Vec::new();
    let visited = engine.range([0; KEY_BYTES]..=[0xff; KEY_BYTES], &mut |key, record| {
        found.push((*key, Bytes::copy_from_slice(record)));
        Next::Continue
    });
    visited.unwrap();
    found
}

// ===== queues at random =====

/// A message, and whether it ends its block.
type Written = (Message, bool);

fn message() -> impl Strategy<Value = Written> {
    let body = prop_oneof![
        8 => r#"("[a-z]{0,30}"|[0-9]{1,3}|\{"a":\n?[0-9]\})"#.prop_map(Bytes::from),
        1 => vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        1 => (16_000usize..40_000).prop_map(|length| Bytes::from(format!("\"{}\"", "x".repeat(length)))),
    ];
    let source = any::<Option<[u8; 16]>>().prop_map(|id| id.map_or(Source::Http, Source::Connection));
    (any::<u64>(), source, body, any::<bool>())
        .prop_map(|(time_ms, source, body, ends)| (Message { time_ms, source, content: Content::Json, body }, ends))
}

/// The messages of a queue from some sequence on, and where its floor and its reader are among them.
type Queue = (Vec<Written>, u64, u32, Index, Index, bool);

fn queue() -> impl Strategy<Value = Queue> {
    (vec(message(), 0..12), 0u64..20, 0u32..3, any::<Index>(), any::<Index>(), any::<bool>())
}

/// Writes a queue as the store would; gives its state.
fn write(engine: &dyn Engine, id: u32, (messages, first, epoch, floor, get, is_topic): &Queue) -> (String, Ring) {
    let mut batch = Batch::default();
    let mut block: Option<BlockBuilder> = None;
    for (sequence, (message, ends)) in (*first..).zip(messages) {
        if !block.as_ref().is_some_and(|block| block.has_room_for(message)) {
            let new = BlockBuilder::new(id, *epoch, sequence);
            batch
                .puts
                .extend(block.replace(new).into_iter().flat_map(|full| full.seal().records().collect::<Vec<_>>()));
        }
        block.as_mut().unwrap().push(message);
        if *ends {
            batch.puts.extend(block.take().unwrap().seal().records());
        }
    }
    batch.puts.extend(block.into_iter().flat_map(|last| last.seal().records().collect::<Vec<_>>()));
    let mut places = [floor.index(messages.len() + 1) as u64 + first, get.index(messages.len() + 1) as u64 + first];
    places.sort_unstable();
    let kind = if *is_topic { Kind::Topic } else { Kind::Work };
    let [floor, get] = places;
    let put = first + messages.len() as u64;
    // Each third queue has settings of its own.
    let own = Own {
        max_len: (id % 9 == 3).then_some(5),
        history: None,
        overflow: (id % 9 == 3).then_some(Overflow::DropOldest),
    };
    let ring = Ring {
        settings: own.over(settings().defaults),
        kind,
        epoch: *epoch,
        put,
        get,
        floor,
        got: get > 0,
        lost: Lost::default(),
    };
    let name = format!("queue \"{id}\" é");
    batch.puts.push((key::queue(id), state::encode(id, &name, &ring, &own)));
    engine.commit(&batch, Durability::Disk).unwrap();
    (name, ring)
}

fn engine_with(queues: &[Queue]) -> MemoryEngine {
    let engine = MemoryEngine::default();
    for (id, queue) in (0..).zip(queues) {
        write(&engine, id * 3, queue);
    }
    engine
}

/// What of the messages `floor..put` is in whole records, by queue id.
fn kept(engine: &dyn Engine, id: u32, ring: &Ring) -> BTreeMap<u64, Message> {
    let mut walk = super::survey::Walk::default();
    let mut found = BTreeMap::new();
    engine
        .range(key::blocks(id, ring.epoch, 0, u64::MAX), &mut |key, record| {
            if let Ok(Some(block)) = walk.push(key, record) {
                let sequences = block.first().max(ring.floor)..block.end();
                found.extend(sequences.map(|sequence| (sequence, block.message(sequence).unwrap())));
            }
            Next::Continue
        })
        .unwrap();
    found
}

// ===== export and import =====

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_imported_is_what_was_exported(queues in vec(queue(), 0..4)) {
        let engine = engine_with(&queues);
        let lines = export(&engine);
        let imported = import(&lines).unwrap();
        prop_assert!(export(&*imported) == lines, "{}", String::from_utf8_lossy(&lines));
        let before = check(&engine, &settings()).unwrap();
        let after = check(&*imported, &settings()).unwrap();
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!((&before.name, &before.ring), (&after.name, &after.ring));
            prop_assert!(kept(&engine, before.id, &before.ring) == kept(&*imported, after.id, &after.ring));
        }
    }

    #[test]
    fn one_wrong_byte_or_a_missing_end_is_refused(queues in vec(queue(), 0..3), at in any::<Index>(), flip in 1u8..=255) {
        let lines = export(&engine_with(&queues));
        let at = at.index(lines.len());
        prop_assert!(import(&lines[..at]).is_err(), "cut at {at}");
        let mut wrong = lines.clone();
        wrong[at] ^= flip;
        prop_assert!(import(&wrong).is_err(), "byte {at}");
        let twice = [lines.clone(), lines].concat();
        prop_assert!(import(&twice).is_err());
    }

    #[test]
    fn lines_that_are_left_out_or_change_places_are_refused(queues in vec(queue(), 1..3), from in any::<Index>(), to in any::<Index>()) {
        let lines = export(&engine_with(&queues));
        let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        let mut without = lines.clone();
        without.remove(from);
        prop_assert!(import(&without.concat()).is_err());
        let mut swapped = lines.clone();
        swapped.swap(from, to);
        prop_assert!(swapped.concat() == lines.concat() || import(&swapped.concat()).is_err());
    }
}

// ===== salvage =====

/// What becomes of a record.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Gone,
    Flipped,
    Cut,
    Another,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![Just(Harm::Gone), Just(Harm::Flipped), Just(Harm::Cut), Just(Harm::Another)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn salvage_keeps_what_is_whole_where_it_was_and_names_the_rest(
        queues in vec(queue(), 1..4), harms in vec((any::<Index>(), harm(), any::<Index>()), 0..4),
    ) {
        let engine = engine_with(&queues);
        let before = check(&engine, &settings()).unwrap();
        let all = records(&engine);
        for (which, harm, at) in &harms {
            let (key, record) = which.get(&all);
            let at = at.index(record.len());
            let mut changed = record.to_vec();
            match harm {
                Harm::Gone => {
                    engine.commit(&Batch { removes: vec![*key], ..Batch::default() }, Durability::Disk).unwrap();
                    continue;
                }
                Harm::Flipped => changed[at] ^= 4,
                Harm::Cut => changed.truncate(at),
                Harm::Another => changed = all[at % all.len()].1.to_vec(),
            }
            engine.commit(&Batch { puts: vec![(*key, changed.into())], ..Batch::default() }, Durability::Disk).unwrap();
        }
        let new: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let salvaged = salvage(&engine, &mut Writer::new(new.clone()), &settings()).unwrap();
        let after = check(&*new, &settings()).unwrap();
        for was in &before {
            let Some(is) = after.iter().find(|queue| queue.id == was.id) else {
                prop_assert!(salvaged.given_up.len() + before.len() > after.len(), "{was:?} went without a word");
                continue;
            };
            let plan = salvaged.plans.iter().find(|plan| plan.id == was.id).unwrap();
            // Nothing whole is left behind, nothing is anywhere else, and what is not there is said to be lost.
            let whole = kept(&engine, was.id, &is.ring);
            prop_assert!(kept(&*new, is.id, &is.ring) == whole);
            let lost = |sequence: u64| plan.losses.iter().any(|(range, _): &(Range<u64>, _)| range.contains(&sequence));
            for sequence in is.ring.floor..is.ring.put {
                prop_assert_eq!(whole.contains_key(&sequence), !lost(sequence), "{}", sequence);
            }
            if plan.remarks.is_empty() {
                prop_assert_eq!((&is.name, is.ring.put, is.ring.get, is.ring.floor), (&was.name, was.ring.put, was.ring.get, was.ring.floor));
            }
        }
        if harms.is_empty() {
            prop_assert_eq!(before, after);
        }
        // And what was saved can be exported and imported, gaps and all.
        let lines = export(&*new);
        prop_assert!(export(&*import(&lines).unwrap()) == lines);
    }
}
