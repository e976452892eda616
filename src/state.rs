//! The state of a queue, and the number of a commit ↔ record bytes. Pure.
//!
//! ```text
//! crc32 u32 │ version u8 │ queue u32 │ kind u8 │ got u8 │ epoch u32 │ put u64 │ get u64 │ floor u64 │ name length u16 │ name │ sections …
//! section   tag u8 │ length u32 │ bytes
//! tag 1     the ranges of lost messages: from u64 │ to u64, both sequences, `to` one past the last
//! ```
//!
//! The record says itself which queue it belongs to, so that two states that changed places are seen as damage.
//!
//! Sections are there when there is something to say; there is room for what comes later (acks out of order, delays, settings of
//! its own). A record with a section that this version does not know is refused: to ignore it would be to forget something.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    block::Damage,
    ring::{Kind, Lost, Ring, Settings},
};

const VERSION: u8 = 1;
const KIND_WORK: u8 = 0;
const KIND_TOPIC: u8 = 1;
const SECTION_LOST: u8 = 1;

/// Bytes of one range of lost messages.
const RANGE_BYTES: usize = 16;
/// Where the length of the name is.
const NAME_AT: usize = 4 + 1 + 4 + 1 + 1 + 4 + 8 + 8 + 8;

/// Writes the state of a queue. Its settings are not part of it: they come from the configuration.
pub fn encode(queue: u32, name: &str, ring: &Ring) -> Bytes {
    let mut record = BytesMut::with_capacity(64 + name.len());
    record.put_u32(0);
    record.put_u8(VERSION);
    record.put_u32(queue);
    record.put_u8(match ring.kind {
        Kind::Work => KIND_WORK,
        Kind::Topic => KIND_TOPIC,
    });
    record.put_u8(u8::from(ring.got));
    record.put_u32(ring.epoch);
    record.put_u64(ring.put);
    record.put_u64(ring.get);
    record.put_u64(ring.floor);
    // A name is at most 65,535 bytes long: the configuration allows no larger limit.
    record.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
    record.put_slice(name.as_bytes());
    if !ring.lost.ranges().is_empty() {
        record.put_u8(SECTION_LOST);
        record.put_u32(u32::try_from(ring.lost.ranges().len() * RANGE_BYTES).unwrap_or(u32::MAX));
        for range in ring.lost.ranges() {
            record.put_u64(range.start);
            record.put_u64(range.end);
        }
    }
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_be_bytes());
    record.freeze()
}

/// Reads the state of a queue: its name and its ring. The settings depend on the name.
///
/// # Errors
/// What is wrong with the record.
pub fn decode(queue: u32, record: &[u8], settings: impl FnOnce(&str) -> Settings) -> Result<(String, Ring), Damage> {
    let mut fields = record;
    let crc = fields.try_get_u32()?;
    if crc32fast::hash(fields) != crc {
        return Err(Damage::CheckSum);
    }
    if fields.try_get_u8()? != VERSION {
        return Err(Damage::Newer);
    }
    if fields.try_get_u32()? != queue {
        return Err(Damage::Misplaced);
    }
    let kind = match fields.try_get_u8()? {
        KIND_WORK => Kind::Work,
        KIND_TOPIC => Kind::Topic,
        _ => return Err(Damage::Newer),
    };
    let got = fields.try_get_u8()? != 0;
    let epoch = fields.try_get_u32()?;
    let (put, get, floor) = (fields.try_get_u64()?, fields.try_get_u64()?, fields.try_get_u64()?);
    let name_bytes = usize::from(fields.try_get_u16()?);
    let name = fields.get(..name_bytes).and_then(|name| std::str::from_utf8(name).ok()).ok_or(Damage::Short)?;
    let ranges = lost_ranges(&fields[name_bytes..])?;
    if !(floor <= get && get <= put) {
        return Err(Damage::Misplaced);
    }
    let lost = Lost::new(ranges, floor..put).ok_or(Damage::Misplaced)?;
    Ok((name.to_owned(), Ring { settings: settings(name), kind, epoch, put, get, floor, got, lost }))
}

/// The name that a damaged record seems to say, for those who must guess.
pub fn guess_name(record: &[u8]) -> Option<&str> {
    let mut behind = record.get(NAME_AT..)?;
    let name_bytes = usize::from(behind.try_get_u16().ok()?);
    let name = std::str::from_utf8(behind.get(..name_bytes)?).ok()?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

fn lost_ranges(mut sections: &[u8]) -> Result<Vec<Range<u64>>, Damage> {
    if sections.is_empty() {
        return Ok(Vec::new());
    }
    let (tag, length) = (sections.try_get_u8()?, sections.try_get_u32()? as usize);
    if tag != SECTION_LOST || length != sections.len() || !length.is_multiple_of(RANGE_BYTES) {
        return Err(Damage::Newer);
    }
    let mut ranges = Vec::with_capacity(length / RANGE_BYTES);
    while !sections.is_empty() {
        ranges.push(sections.try_get_u64()?..sections.try_get_u64()?);
    }
    Ok(ranges)
}

/// A record with the number of a commit: 8 bytes and their check sum.
pub fn encode_commit(number: u64) -> [u8; 12] {
    let mut record = [0; 12];
    record[..8].copy_from_slice(&number.to_be_bytes());
    let crc = crc32fast::hash(&record[..8]);
    record[8..].copy_from_slice(&crc.to_be_bytes());
    record
}

/// Reads the number of a commit.
///
/// # Errors
/// What is wrong with the record.
pub fn decode_commit(record: &[u8]) -> Result<u64, Damage> {
    let number =
        record.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes).ok_or(Damage::Short)?;
    if record == encode_commit(number) { Ok(number) } else { Err(Damage::CheckSum) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings = Settings { max_len: 9, history: 2 };

    proptest! {
        #[test]
        fn what_is_written_is_read(id in any::<u32>(), name in ".{1,60}", mut places in any::<[u64; 3]>(), epoch in any::<u32>(), topic in any::<bool>(), got in any::<bool>(), lost in any::<bool>()) {
            places.sort_unstable();
            let kind = if topic { Kind::Topic } else { Kind::Work };
            let [floor, get, put] = places;
            let lost = if lost && floor < get { Lost::new(std::iter::once(floor..get).collect(), floor..put) } else { None };
            let ring = Ring { settings: SETTINGS, kind, epoch, put, get, floor, got, lost: lost.unwrap_or_default() };
            let record = encode(id, &name, &ring);
            prop_assert_eq!(decode(id.wrapping_add(1), &record, |_| SETTINGS).unwrap_err(), Damage::Misplaced);
            prop_assert_eq!(guess_name(&record).is_some(), !name.chars().any(char::is_control));
            prop_assert_eq!(decode(id, &record, |_| SETTINGS).unwrap(), (name, ring));
        }

        #[test]
        fn one_wrong_byte_is_seen(at in 0usize..46, flip in 1u8..=255) {
            let mut record = encode(7, "queue", &Ring::new(Kind::Work, SETTINGS)).to_vec();
            record[at] ^= flip;
            prop_assert_eq!(decode(7, &record, |_| SETTINGS).unwrap_err(), Damage::CheckSum);
        }
    }

    #[test]
    fn a_section_that_this_version_does_not_know_is_refused() {
        let mut record = encode(7, "q", &Ring::new(Kind::Topic, SETTINGS)).to_vec();
        record.extend([200, 0, 0, 0, 0]);
        let crc = crc32fast::hash(&record[4..]);
        record[..4].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(decode(7, &record, |_| SETTINGS).unwrap_err(), Damage::Newer);
        assert_eq!(decode(7, &record[..10], |_| SETTINGS).unwrap_err(), Damage::CheckSum);
        assert_eq!(decode(7, &[], |_| SETTINGS).unwrap_err(), Damage::Short);
    }
}
