//! However the keys are cut, the verdict is that of one who goes through all of them.

use std::{collections::HashSet, ops::Range};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{super::open::WAY_OUT, *};
use crate::{
    block::BlockBuilder,
    engine::{Batch, Durability, memory::MemoryEngine},
    message::{Content, Message, Source},
    ring::{Kind, Lost, Overflow, Own, Settings},
};

const MAX_LEN: u64 = 1_000_000;
/// A message of this length is stored in several records.
const LARGE_BYTES: usize = 40_000;
const SEVERAL_CUTS: [u64; 5] = [1, 2, 3, 7, 20];

/// What comes next in a queue.
#[derive(Debug, Clone)]
enum Piece {
    /// A block of so many messages.
    Block(u64),
    /// A message in several records.
    Large,
    /// So many messages that a repair could not save.
    Lost(u64),
}

/// A queue as it may be left behind.
#[derive(Debug, Clone)]
struct Left {
    epoch: u32,
    first: u64,
    pieces: Vec<Piece>,
    /// The floor is that far behind the first message that is there, at most.
    floor: u64,
    has_garbage: bool,
}

#[derive(Debug, Clone)]
enum Damaging {
    Removed(Index),
    /// A byte of it is another one.
    Changed(Index, Index),
    /// It has the key of the other, which is gone.
    Moved(Index, Index),
    /// The state of the first queue says that there are more messages, or fewer.
    Put(bool),
}

fn left() -> impl Strategy<Value = Left> {
    let piece = prop_oneof![
        8 => (1u64..6).prop_map(Piece::Block),
        1 => Just(Piece::Large),
        1 => (1u64..4).prop_map(Piece::Lost),
    ];
    (0u32..3, 0u64..100, vec(piece, 0..12), 0u64..8, any::<bool>())
        .prop_map(|(epoch, first, pieces, floor, has_garbage)| Left { epoch, first, pieces, floor, has_garbage })
}

fn damaging() -> impl Strategy<Value = Damaging> {
    prop_oneof![
        4 => any::<Index>().prop_map(Damaging::Removed),
        2 => any::<(Index, Index)>().prop_map(|(record, byte)| Damaging::Changed(record, byte)),
        2 => any::<(Index, Index)>().prop_map(|(record, other)| Damaging::Moved(record, other)),
        1 => any::<bool>().prop_map(Damaging::Put),
    ]
}

/// The records of a block.
fn block(id: u32, epoch: u32, first: u64, messages: u64, body_bytes: usize) -> Vec<(Key, Bytes)> {
    let mut builder = BlockBuilder::new(id, epoch, first);
    for _ in 0..messages {
        let body = vec![b'0'; body_bytes].into();
        builder.push(&Message { time_ms: 0, source: Source::Http, content: Content::Json, body });
    }
    builder.seal().records().collect()
}

/// What the state of a queue says, and its records.
fn lay(id: u32, left: &Left) -> (Kept, Vec<(Key, Bytes)>) {
    let (mut records, mut lost, mut next): (_, Vec<Range<u64>>, _) = (Vec::new(), Vec::new(), left.first);
    if left.has_garbage && left.epoch > 0 {
        records.extend(block(id, left.epoch - 1, 5, 3, 10));
    }
    for piece in &left.pieces {
        let messages = match piece {
            Piece::Block(messages) | Piece::Lost(messages) => *messages,
            Piece::Large => 1,
        };
        let range = next..next + messages;
        match piece {
            Piece::Block(_) => records.extend(block(id, left.epoch, next, messages, 10)),
            Piece::Large => records.extend(block(id, left.epoch, next, 1, LARGE_BYTES)),
            Piece::Lost(_) => match lost.last_mut() {
                Some(before) if before.end == next => before.end = range.end,
                _ => lost.push(range.clone()),
            },
        }
        next = range.end;
    }
    let settings = Settings { max_len: MAX_LEN, history: 0, overflow: Overflow::Reject };
    let floor = (left.first + left.floor).min(next);
    lost.retain(|range| range.end > floor);
    lost.iter_mut().for_each(|range| range.start = range.start.max(floor));
    let lost = Lost::new(lost, floor..next).expect("the ranges ascend");
    let ring = Ring { epoch: left.epoch, put: next, get: floor, floor, lost, ..Ring::new(Kind::Work, settings) };
    (Kept { id, name: format!("queue {id}"), ring, own: Own::default() }, records)
}

fn damage(records: &mut Vec<(Key, Bytes)>, states: &mut States, damaging: &Damaging) {
    if records.is_empty() {
        return;
    }
    match damaging {
        Damaging::Removed(record) => {
            records.remove(record.index(records.len()));
        }
        Damaging::Changed(record, byte) => {
            let at = record.index(records.len());
            let mut changed = records[at].1.to_vec();
            let byte = byte.index(changed.len());
            changed[byte] ^= 1;
            records[at].1 = changed.into();
        }
        Damaging::Moved(record, other) => {
            let (_, moved) = records.remove(record.index(records.len()));
            if !records.is_empty() {
                let at = other.index(records.len());
                records[at].1 = moved;
            }
        }
        Damaging::Put(more) => {
            let ring = states.queues.values_mut().next().map(|queue| &mut queue.ring);
            ring.into_iter()
                .for_each(|ring| ring.put = if *more { ring.put + 1 } else { ring.floor.max(ring.put - 1) });
        }
    }
}

/// An engine and states with these queues in them, and one more that was deleted and has a block left.
fn engine_with(queues: &[Left], damages: &[Damaging]) -> (MemoryEngine, States) {
    let mut states = States { deleted: HashSet::from([77]), ..States::default() };
    let mut records = block(77, 0, 0, 3, 10);
    for (id, left) in (1..).zip(queues) {
        let (queue, its) = lay(id, left);
        states.queues.insert(id, queue);
        records.extend(its);
    }
    damages.iter().for_each(|damaging| damage(&mut records, &mut states, damaging));
    let engine = MemoryEngine::default();
    let batch = Batch { puts: records, ..Batch::default() };
    engine.commit(&batch, Durability::Disk).expect("memory takes everything");
    (engine, states)
}

fn verdict(engine: &MemoryEngine, states: &States, stretch_messages: u64) -> Result<Vec<Seen>, String> {
    check_blocks(engine, states, stretch_messages).map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_whole_is_found_whole_however_it_is_cut(queues in vec(left(), 0..4)) {
        let (engine, states) = engine_with(&queues, &[]);
        let whole = verdict(&engine, &states, u64::MAX);
        prop_assert!(whole.is_ok(), "{whole:?}");
        for stretch_messages in SEVERAL_CUTS {
            prop_assert_eq!(&verdict(&engine, &states, stretch_messages), &whole, "{} a stretch", stretch_messages);
        }
    }

    #[test]
    fn the_same_damage_is_named_however_it_is_cut(queues in vec(left(), 1..4), damages in vec(damaging(), 1..4)) {
        let (engine, states) = engine_with(&queues, &damages);
        let whole = verdict(&engine, &states, u64::MAX);
        for stretch_messages in SEVERAL_CUTS {
            prop_assert_eq!(&verdict(&engine, &states, stretch_messages), &whole, "{} a stretch", stretch_messages);
        }
    }
}

#[test]
fn every_message_that_is_missing_is_missed() {
    let left = Left { epoch: 1, first: 0, pieces: vec![Piece::Block(2); 20], floor: 0, has_garbage: true };
    let (queue, records) = lay(1, &left);
    let states = States { queues: BTreeMap::from([(1, queue)]), ..States::default() };
    for gone in records.iter().skip(1).map(|(key, _)| *key) {
        let engine = MemoryEngine::default();
        let puts = records.iter().filter(|(key, _)| *key != gone).cloned().collect();
        engine.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).expect("memory takes everything");
        for stretch_messages in SEVERAL_CUTS {
            let position = key::first_sequence(&gone);
            let expected = format!("queue \"queue 1\", position {position}: a record is missing");
            let verdict = verdict(&engine, &states, stretch_messages).expect_err("a block is missing");
            assert!(verdict.starts_with(&expected), "{verdict}, not {expected}");
        }
    }
}

/// The state says that the message before was the last, so nothing but this record tells that something is wrong.
#[test]
fn the_beginning_of_a_message_behind_the_last_is_seen() {
    let left = Left { epoch: 0, first: 0, pieces: vec![Piece::Block(5), Piece::Large], floor: 0, has_garbage: false };
    let (mut queue, records) = lay(1, &left);
    queue.ring.put = 5;
    let states = States { queues: BTreeMap::from([(1, queue)]), ..States::default() };
    let engine = MemoryEngine::default();
    let batch = Batch { puts: records.into_iter().take(2).collect(), ..Batch::default() };
    engine.commit(&batch, Durability::Disk).expect("memory takes everything");
    for stretch_messages in [u64::MAX, 5, 1] {
        let verdict = verdict(&engine, &states, stretch_messages);
        assert_eq!(
            verdict,
            Err(r#"queue "queue 1", position 5: a record is missing; nothing was changed; "#.to_owned() + WAY_OUT)
        );
    }
}

#[test]
fn the_keys_are_cut_without_gaps_and_doubles() {
    let left = Left { epoch: 0, first: 0, pieces: vec![Piece::Block(5); 7], floor: 3, has_garbage: false };
    let (_, states) = engine_with(&vec![left; 3], &[]);
    let stretches = cut(&states, 10);
    // 3 × 32 messages.
    assert_eq!(stretches.len(), 10);
    let (first, last) = key::all_blocks().into_inner();
    assert_eq!(
        (stretches.first().map(|keys| *keys.start()), stretches.last().map(|keys| *keys.end())),
        (Some(first), Some(last))
    );
    for pair in stretches.windows(2) {
        assert_eq!(key::after(pair[0].end()), Some(*pair[1].start()));
    }
}
