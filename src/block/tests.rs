#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{record::VERSION, *};
use crate::message::{Content, Source};

fn message(body: &[u8]) -> Message {
    Message { time_ms: 7, source: Source::Http, content: Content::Json, body: Bytes::copy_from_slice(body) }
}

fn build(messages: &[Message]) -> Block {
    let mut builder = BlockBuilder::new(3, 1, 100);
    messages.iter().for_each(|message| builder.push(message));
    builder.seal()
}

fn read(records: impl IntoIterator<Item = (Key, Bytes)>) -> Result<Vec<Block>, Damage> {
    let mut reader = BlockReader::default();
    let mut blocks = Vec::new();
    for (key, record) in records {
        blocks.extend(reader.push(&key, &record)?);
    }
    reader.finish()?;
    Ok(blocks)
}

fn any_message() -> impl Strategy<Value = Message> {
    let source = prop_oneof![Just(Source::Http), any::<[u8; 16]>().prop_map(Source::Connection)];
    let body = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..400),
        1 => prop::collection::vec(any::<u8>(), RECORD_BYTES - 60..3 * RECORD_BYTES),
        1 => prop::collection::vec(any::<u8>(), BLOB_BYTES - 60..BLOB_BYTES + 60),
    ];
    (any::<u64>(), source, body).prop_map(|(time_ms, source, body)| Message {
        time_ms,
        source,
        content: Content::Json,
        body: body.into(),
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(messages in prop::collection::vec(any_message(), 1..40)) {
        let mut blocks = vec![BlockBuilder::new(3, 1, 100)];
        for (sequence, message) in (100..).zip(&messages) {
            if !blocks.last().unwrap().has_room_for(message) {
                blocks.push(BlockBuilder::new(3, 1, sequence));
            }
            blocks.last_mut().unwrap().push(message);
            prop_assert_eq!(blocks.last().unwrap().message(sequence), Some(message.clone()), "before it is sealed");
        }
        let records: Vec<_> = blocks.into_iter().flat_map(|b| b.seal().records().collect::<Vec<_>>()).collect();
        let is_cut = |(_, record): &(Key, Bytes)| record.len() <= RECORD_BYTES || record.len() >= BLOB_BYTES;
        prop_assert!(records.iter().all(is_cut));
        let blocks = read(records).unwrap();
        let found: Vec<_> = blocks.iter().flat_map(|b| (b.first()..b.end()).map(|s| b.message(s).unwrap())).collect();
        prop_assert_eq!(found, messages);
        prop_assert!(blocks.windows(2).all(|pair| pair[0].end() == pair[1].first()));
    }

    #[test]
    fn one_wrong_byte_is_seen(at in 0usize..200, flip in 1u8..=255) {
        let (key, record) = build(&[message(&[b'x'; 200])]).records().next().unwrap();
        let mut record = record.to_vec();
        record[at] ^= flip;
        prop_assert_eq!(read([(key, record.into())]).unwrap_err(), Damage::CheckSum);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(key in any::<[u8; 19]>(), mut record in prop::collection::vec(any::<u8>(), 0..300), mend in any::<bool>()) {
        if mend && record.len() > 5 {
            record[4] = VERSION;
            let crc = crc32fast::hash(&record[4..]);
            record[..4].copy_from_slice(&crc.to_be_bytes());
        }
        let _ = (BlockReader::default().push(&key, &record), check(&key, &record));
    }
}

#[test]
fn a_record_cut_short_or_in_the_wrong_place_is_seen() {
    let (key, record) = build(&[message(b"1"), message(b"2")]).records().next().unwrap();
    assert_eq!(read([(key, record.slice(..3))]).unwrap_err(), Damage::Short);
    assert_eq!(read([(key, record.slice(..record.len() - 1))]).unwrap_err(), Damage::CheckSum);
    assert_eq!(read([(key::block(3, 1, 101, 0), record)]).unwrap_err(), Damage::Misplaced);
}

#[test]
fn a_large_message_with_a_missing_part_is_seen() {
    let records: Vec<_> = build(&[message(&[b'x'; 3 * RECORD_BYTES])]).records().collect();
    assert_eq!(records.len(), 4);
    for missing in 0..4 {
        let mut some = records.clone();
        some.remove(missing);
        assert_eq!(read(some).unwrap_err(), Damage::Missing, "part {missing}");
    }
    assert!(read(records).is_ok());
}

#[test]
fn a_record_tells_where_its_block_ends() {
    let block = build(&[message(b"1"), message(b"2")]);
    let (key, record) = block.records().next().unwrap();
    assert_eq!((check(&key, &record).unwrap(), block.end()), (Summary { end: 102, part: 0, parts: 1 }, 102));
    assert_eq!((block.message(99), block.message(102)), (None, None));
}
