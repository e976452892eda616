//! Records of messages: written and read, damaged, and made up.
//!
//! - What is written is read, message by message, and no record is longer than the engine may get.
//! - A few wrong bytes in one place are always seen, as is a record that is missing or at another's key.
//! - Made-up records whose check sum is right do no harm; what is read of one is a block that is written as that very record.
//! - Memory is in proportion to the records, whatever they announce.
#![no_main]

use httpmq::{
    block::{BlockBuilder, BlockReader, Damage, RECORD_BYTES, Summary, check},
    key::{self, Key},
    message::{Content, Message, Source},
};
use httpmq_fuzz::within;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};

/// How many times its bytes a record may take: a copy, and four bytes for each entry of fourteen.
const TIMES: usize = 3;
/// What may be reserved for a large message when its first part comes: a MiB and a little, whatever it announces.
const RESERVED_BYTES: usize = 65 * RECORD_BYTES;
const VERSION: u8 = 1;
const CHECKED_BYTES: usize = 4;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Written { first: u64, messages: Vec<AnyMessage<'a>>, damage: DamageDone },
    MadeUp(Vec<MadeUp<'a>>),
}

#[derive(Debug, Arbitrary)]
struct AnyMessage<'a> {
    time_ms: u64,
    connection: Option<[u8; 16]>,
    body: &'a [u8],
    /// Makes a message long enough for several records.
    times: u8,
}

#[derive(Debug, Arbitrary)]
struct DamageDone {
    record: u16,
    at: u32,
    /// What the bytes from there on are changed by.
    flips: [u8; 4],
}

#[derive(Debug, Arbitrary)]
struct MadeUp<'a> {
    queue: u32,
    epoch: u32,
    first: u64,
    count: u32,
    part: u16,
    parts: u16,
    entries: &'a [u8],
    /// The key and the check sum are those of the record.
    mended: bool,
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Written { first, messages, damage } => written(first, &messages, &damage),
    Input::MadeUp(records) => made_up(&records),
});

fn written(first: u64, messages: &[AnyMessage<'_>], damage: &DamageDone) {
    let messages: Vec<Message> = messages.iter().map(AnyMessage::message).collect();
    // The range of sequences looks one further than its end.
    if messages.is_empty() || first.checked_add(messages.len() as u64 + 1).is_none() {
        return;
    }
    let mut builders = vec![BlockBuilder::new(3, 1, first)];
    for (sequence, message) in (first..).zip(&messages) {
        if !builders[builders.len() - 1].has_room_for(message) {
            builders.push(BlockBuilder::new(3, 1, sequence));
        }
        let last = builders.len() - 1;
        builders[last].push(message);
        assert_eq!(builders[last].message(sequence).as_ref(), Some(message));
    }
    let blocks = builders.into_iter().map(BlockBuilder::seal);
    let records: Vec<(Key, Vec<u8>)> = blocks
        .flat_map(|block| block.records().map(|(key, record)| (key, record.to_vec())).collect::<Vec<_>>())
        .collect();
    assert!(records.iter().all(|(_, record)| record.len() <= RECORD_BYTES));
    assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "keys in the order of messages");
    assert_eq!(read(&records).as_ref(), Ok(&messages));
    damaged(records, damage, &messages);
}

fn damaged(mut records: Vec<(Key, Vec<u8>)>, damage: &DamageDone, messages: &[Message]) {
    let number = usize::from(damage.record) % records.len();
    let whole = records[number].1.clone();
    let at = damage.at as usize % whole.len();
    for (byte, flip) in records[number].1[at..].iter_mut().zip(damage.flips) {
        *byte ^= flip;
    }
    if records[number].1 != whole {
        assert_eq!(read(&records), Err(Damage::CheckSum));
    }
    records[number].1 = whole[..at].to_vec();
    assert!(read(&records).is_err(), "cut at {at}");
    records[number].1 = whole;
    let (key, _) = records[number];
    records[number].0 = key::block(4, 1, key::first_sequence(&key), 0);
    assert_eq!(read(&records), Err(Damage::Misplaced));
    records.remove(number);
    // A block that is missing is for recovery to see, which knows where the next one must begin; a part is seen here.
    assert!(read(&records).is_err() || read(&records).is_ok_and(|found| found.len() < messages.len()));
}

fn read(records: &[(Key, Vec<u8>)]) -> Result<Vec<Message>, Damage> {
    let mut reader = BlockReader::default();
    let mut messages = Vec::new();
    for (key, record) in records {
        let block = reader.push(key, record)?;
        messages.extend(block.iter().flat_map(|block| (block.first()..block.end()).flat_map(|at| block.message(at))));
    }
    reader.finish()?;
    Ok(messages)
}

fn made_up(records: &[MadeUp<'_>]) {
    let mut reader = BlockReader::default();
    let mut bytes = 0;
    for made_up in records {
        let (key, record) = made_up.record();
        // The parts of a large message are gathered.
        bytes += record.len();
        let summary = within(0, 0, || check(&key, &record));
        let outcome = within(1, TIMES * bytes + RESERVED_BYTES, || reader.push(&key, &record));
        let Ok(Some(block)) = outcome else { continue };
        let Summary { end, parts, .. } = summary.expect("it was read");
        assert_eq!(end, block.end());
        assert!((block.first()..block.end()).all(|sequence| block.message(sequence).is_some()));
        assert!(block.first().checked_sub(1).is_none_or(|before| block.message(before).is_none()));
        assert_eq!(block.message(end), None);
        if parts == 1 && record.len() <= RECORD_BYTES {
            let again: Vec<_> = block.records().collect();
            assert_eq!(again, [(key, record.into())]);
        }
    }
}

impl AnyMessage<'_> {
    fn message(&self) -> Message {
        Message {
            time_ms: self.time_ms,
            source: self.connection.map_or(Source::Http, Source::Connection),
            content: Content::Json,
            body: self.body.repeat(1 + usize::from(self.times) * usize::from(self.times) / 64).into(),
        }
    }
}

impl MadeUp<'_> {
    fn record(&self) -> (Key, Vec<u8>) {
        if !self.mended {
            return (key::block(self.queue, self.epoch, self.first, self.part), self.entries.to_vec());
        }
        let mut record = vec![0; CHECKED_BYTES];
        record.push(VERSION);
        record.extend(self.queue.to_be_bytes());
        record.extend(self.epoch.to_be_bytes());
        record.extend(self.first.to_be_bytes());
        record.extend(self.count.to_be_bytes());
        record.extend(self.part.to_be_bytes());
        record.extend(self.parts.to_be_bytes());
        record.extend(self.entries);
        let crc = crc32fast::hash(&record[CHECKED_BYTES..]);
        record[..CHECKED_BYTES].copy_from_slice(&crc.to_be_bytes());
        (key::block(self.queue, self.epoch, self.first, self.part), record)
    }
}
