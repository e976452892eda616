//! The state of a queue, and the number of a commit ↔ record bytes. Pure.
//!
//! ```text
//! crc32 u32 │ version u8 │ queue u32 │ kind u8 │ got u8 │ epoch u32 │ put u64 │ get u64 │ floor u64 │ name length u16 │ name │ sections …
//! section   tag u8 │ length u32 │ bytes
//! tag 1     the ranges of lost messages: from u64 │ to u64, both sequences, `to` one past the last
//! tag 2     its own settings: which u8 (0 max_len, 1 history, 2 overflow) │ value u64
//! ```
//!
//! The record says itself which queue it belongs to, so that two states that changed places are seen as damage.
//!
//! A deleted queue has such a record too, of a kind of its own and without a name, until the last of its blocks is removed: without
//! it nobody would know of those that a crash leaves.
//!
//! Sections are there when there is something to say, in the order of their tags; there is room for what comes later (acks out of
//! order, delays). A record with a section that this version does not know is refused: to ignore it would be to forget something.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    block::Damage,
    ring::{Kind, Lost, Overflow, Own, Ring, Settings},
};

const VERSION: u8 = 1;
const KIND_WORK: u8 = 0;
const KIND_TOPIC: u8 = 1;
const KIND_DELETED: u8 = 2;
const SECTION_LOST: u8 = 1;
const SECTION_OWN: u8 = 2;
const OWN_MAX_LEN: u8 = 0;
const OWN_HISTORY: u8 = 1;
const OWN_OVERFLOW: u8 = 2;

/// Bytes of one range of lost messages.
const RANGE_BYTES: usize = 16;
/// Bytes of one setting.
const SETTING_BYTES: usize = 9;
/// Where the length of the name is.
const NAME_AT: usize = 4 + 1 + 4 + 1 + 1 + 4 + 8 + 8 + 8;

/// What a record says of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Queue {
        /// Its name.
        name: String,
        /// Its positions, with the settings in force.
        ring: Ring,
        /// The settings that it was given at run time.
        own: Own,
    },
    /// It was deleted, and what is left of its messages is to be removed.
    Deleted,
}

/// Writes the state of a queue. Of its settings only its own are part of it: the others come from the configuration.
pub fn encode(queue: u32, name: &str, ring: &Ring, own: &Own) -> Bytes {
    let kind = match ring.kind {
        Kind::Work => KIND_WORK,
        Kind::Topic => KIND_TOPIC,
    };
    let mut record = begin(queue, kind, name, ring);
    put_section(&mut record, SECTION_LOST, ring.lost.ranges(), RANGE_BYTES, |record, range| {
        record.put_u64(range.start);
        record.put_u64(range.end);
    });
    let settings = [
        (OWN_MAX_LEN, own.max_len),
        (OWN_HISTORY, own.history),
        (OWN_OVERFLOW, own.overflow.map(|overflow| u64::from(overflow == Overflow::DropOldest))),
    ];
    let settings: Vec<(u8, u64)> = settings.into_iter().filter_map(|(which, value)| Some((which, value?))).collect();
    put_section(&mut record, SECTION_OWN, &settings, SETTING_BYTES, |record, (which, value)| {
        record.put_u8(*which);
        record.put_u64(*value);
    });
    seal(record)
}

/// Writes that a queue was deleted.
pub fn encode_deleted(queue: u32) -> Bytes {
    // Nothing but the id means anything.
    let nothing = Ring::new(Kind::Work, Settings { max_len: 1, history: 0, overflow: Overflow::Reject });
    seal(begin(queue, KIND_DELETED, "", &nothing))
}

/// Reads the state of a queue. `settings` gives those that the configuration has for a name.
///
/// # Errors
/// What is wrong with the record.
pub fn decode(queue: u32, record: &[u8], settings: impl FnOnce(&str) -> Settings) -> Result<State, Damage> {
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
        KIND_DELETED => return Ok(State::Deleted),
        _ => return Err(Damage::Newer),
    };
    let got = fields.try_get_u8()? != 0;
    let epoch = fields.try_get_u32()?;
    let (put, get, floor) = (fields.try_get_u64()?, fields.try_get_u64()?, fields.try_get_u64()?);
    let name_bytes = usize::from(fields.try_get_u16()?);
    let name = fields.get(..name_bytes).and_then(|name| std::str::from_utf8(name).ok()).ok_or(Damage::Short)?;
    let (ranges, own) = sections(&fields[name_bytes..])?;
    if !(floor <= get && get <= put) {
        return Err(Damage::Misplaced);
    }
    let lost = Lost::new(ranges, floor..put).ok_or(Damage::Misplaced)?;
    let ring = Ring { settings: own.over(settings(name)), kind, epoch, put, get, floor, got, lost };
    Ok(State::Queue { name: name.to_owned(), ring, own })
}

/// The name that a damaged record seems to say, for those who must guess.
pub fn guess_name(record: &[u8]) -> Option<&str> {
    let mut behind = record.get(NAME_AT..)?;
    let name_bytes = usize::from(behind.try_get_u16().ok()?);
    let name = std::str::from_utf8(behind.get(..name_bytes)?).ok()?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

fn begin(queue: u32, kind: u8, name: &str, ring: &Ring) -> BytesMut {
    let mut record = BytesMut::with_capacity(64 + name.len());
    record.put_u32(0);
    record.put_u8(VERSION);
    record.put_u32(queue);
    record.put_u8(kind);
    record.put_u8(u8::from(ring.got));
    record.put_u32(ring.epoch);
    record.put_u64(ring.put);
    record.put_u64(ring.get);
    record.put_u64(ring.floor);
    // A name is at most 65,535 bytes long: the configuration allows no larger limit.
    record.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
    record.put_slice(name.as_bytes());
    record
}

fn put_section<T>(record: &mut BytesMut, tag: u8, items: &[T], item_bytes: usize, put: impl Fn(&mut BytesMut, &T)) {
    if !items.is_empty() {
        record.put_u8(tag);
        record.put_u32(u32::try_from(items.len() * item_bytes).unwrap_or(u32::MAX));
        items.iter().for_each(|item| put(record, item));
    }
}

fn seal(mut record: BytesMut) -> Bytes {
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_be_bytes());
    record.freeze()
}

fn sections(mut sections: &[u8]) -> Result<(Vec<Range<u64>>, Own), Damage> {
    let (mut ranges, mut own) = (Vec::new(), Own::default());
    let mut last = 0;
    while !sections.is_empty() {
        let (tag, length) = (sections.try_get_u8()?, sections.try_get_u32()? as usize);
        let section = sections.get(..length).ok_or(Damage::Short)?;
        sections.advance(length);
        match tag {
            _ if tag <= last => return Err(Damage::Newer),
            SECTION_LOST => ranges = lost_ranges(section)?,
            SECTION_OWN => own = own_settings(section)?,
            _ => return Err(Damage::Newer),
        }
        last = tag;
    }
    Ok((ranges, own))
}

fn lost_ranges(mut section: &[u8]) -> Result<Vec<Range<u64>>, Damage> {
    let mut ranges = Vec::with_capacity(section.len() / RANGE_BYTES);
    while !section.is_empty() {
        ranges.push(section.try_get_u64()?..section.try_get_u64()?);
    }
    Ok(ranges)
}

fn own_settings(mut section: &[u8]) -> Result<Own, Damage> {
    let mut own = Own::default();
    while !section.is_empty() {
        match (section.try_get_u8()?, section.try_get_u64()?) {
            (OWN_MAX_LEN, value) => own.max_len = Some(value),
            (OWN_HISTORY, value) => own.history = Some(value),
            (OWN_OVERFLOW, 0) => own.overflow = Some(Overflow::Reject),
            (OWN_OVERFLOW, 1) => own.overflow = Some(Overflow::DropOldest),
            _ => return Err(Damage::Newer),
        }
    }
    // What may be set here is all that this version can do.
    if own.is_valid() { Ok(own) } else { Err(Damage::Newer) }
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

    const SETTINGS: Settings = Settings { max_len: 9, history: 2, overflow: Overflow::Reject };

    proptest! {
        #[test]
        fn what_is_written_is_read(id in any::<u32>(), name in ".{1,60}", mut places in any::<[u64; 3]>(), epoch in any::<u32>(), topic in any::<bool>(), got in any::<bool>(), lost in any::<bool>(), max_len in proptest::option::of(1u64..1_000_000), history in proptest::option::of(0u64..10_000), drops in any::<Option<bool>>()) {
            places.sort_unstable();
            let kind = if topic { Kind::Topic } else { Kind::Work };
            let [floor, get, put] = places;
            let lost = if lost && floor < get { Lost::new(std::iter::once(floor..get).collect(), floor..put) } else { None };
            let overflow = drops.map(|drops| if drops { Overflow::DropOldest } else { Overflow::Reject });
            let own = Own { max_len, history, overflow };
            let ring = Ring { settings: own.over(SETTINGS), kind, epoch, put, get, floor, got, lost: lost.unwrap_or_default() };
            let record = encode(id, &name, &ring, &own);
            prop_assert_eq!(decode(id.wrapping_add(1), &record, |_| SETTINGS).unwrap_err(), Damage::Misplaced);
            prop_assert_eq!(guess_name(&record).is_some(), !name.chars().any(char::is_control));
            prop_assert_eq!(decode(id, &record, |_| SETTINGS).unwrap(), State::Queue { name, ring, own });
            let deleted = encode_deleted(id);
            prop_assert_eq!(decode(id, &deleted, |_| SETTINGS).unwrap(), State::Deleted);
            prop_assert_eq!(decode(id.wrapping_add(1), &deleted, |_| SETTINGS).unwrap_err(), Damage::Misplaced);
            prop_assert_eq!(guess_name(&deleted), None);
        }

        #[test]
        fn one_wrong_byte_is_seen(at in 0usize..46, flip in 1u8..=255) {
            let mut record = encode(7, "queue", &Ring::new(Kind::Work, SETTINGS), &Own::default()).to_vec();
            record[at] ^= flip;
            prop_assert_eq!(decode(7, &record, |_| SETTINGS).unwrap_err(), Damage::CheckSum);
        }
    }

    fn with_section(section: &[u8]) -> Bytes {
        let mut record = begin(7, KIND_TOPIC, "q", &Ring::new(Kind::Topic, SETTINGS));
        record.extend(section);
        seal(record)
    }

    #[test]
    fn a_section_that_this_version_does_not_know_is_refused() {
        let own = |which: u8, value: u64| [&[SECTION_OWN, 0, 0, 0, 9, which][..], &value.to_be_bytes()].concat();
        assert!(decode(7, &with_section(&own(OWN_MAX_LEN, 5)), |_| SETTINGS).is_ok());
        let twice = [own(OWN_MAX_LEN, 5), own(OWN_HISTORY, 5)].concat();
        for section in [&[200, 0, 0, 0, 0][..], &own(9, 1), &own(OWN_OVERFLOW, 2), &own(OWN_MAX_LEN, 0), &twice] {
            assert_eq!(decode(7, &with_section(section), |_| SETTINGS).unwrap_err(), Damage::Newer, "{section:?}");
        }
        let record = with_section(&own(OWN_MAX_LEN, 5)[..9]);
        assert_eq!(decode(7, &record, |_| SETTINGS).unwrap_err(), Damage::Short);
        assert_eq!(decode(7, &record[..10], |_| SETTINGS).unwrap_err(), Damage::CheckSum);
        assert_eq!(decode(7, &[], |_| SETTINGS).unwrap_err(), Damage::Short);
    }
}
