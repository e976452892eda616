//! The bytes of a record: its header and its entries.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, TryGetError};

use super::Damage;
use crate::{
    key::{self, Key},
    message::{Content, Message, Source},
};

pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 4 + 1 + 4 + 4 + 8 + 4 + 2 + 2;
pub(super) const ENTRY_BYTES: usize = 8 + 1 + 1 + 4;
pub(super) const SOURCE_ID_BYTES: usize = 16;
pub(super) const SOURCE_HTTP: u8 = 0;
pub(super) const SOURCE_CONNECTION: u8 = 1;
pub(super) const CONTENT_JSON: u8 = 0;

/// Where a block belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) queue: u32,
    pub(super) epoch: u32,
    pub(super) first: u64,
}

/// What stands in front of a record's entries.
pub(super) struct Header {
    pub(super) place: Place,
    pub(super) count: u32,
    pub(super) part: u16,
    pub(super) parts: u16,
}

/// An entry as it stands in a record; `body` is where the body is in that record.
pub(super) struct Entry {
    time_ms: u64,
    source: Source,
    content: Content,
    pub(super) body: Range<usize>,
}

impl Entry {
    pub(super) fn message(&self, body: Bytes) -> Message {
        Message { time_ms: self.time_ms, source: self.source, content: self.content, body }
    }
}

impl From<TryGetError> for Damage {
    fn from(_: TryGetError) -> Damage {
        Damage::Short
    }
}

impl Header {
    /// Writes the header into the room that was left for it in front of the entries, and the check sum.
    pub(super) fn write(&self, record: &mut [u8]) {
        let mut fields = &mut record[4..HEADER_BYTES];
        fields.put_u8(VERSION);
        fields.put_u32(self.place.queue);
        fields.put_u32(self.place.epoch);
        fields.put_u64(self.place.first);
        fields.put_u32(self.count);
        fields.put_u16(self.part);
        fields.put_u16(self.parts);
        let crc = crc32fast::hash(&record[4..]);
        record[..4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads the header of the record of a key.
    pub(super) fn read_of(key: &Key, record: &[u8]) -> Result<Header, Damage> {
        let header = Header::read(record)?;
        let Place { queue, epoch, first } = header.place;
        if *key == key::block(queue, epoch, first, header.part) { Ok(header) } else { Err(Damage::Misplaced) }
    }

    fn read(record: &[u8]) -> Result<Header, Damage> {
        let mut fields = record;
        let crc = fields.try_get_u32()?;
        if crc32fast::hash(fields) != crc {
            return Err(Damage::CheckSum);
        }
        if fields.try_get_u8()? != VERSION {
            return Err(Damage::Newer);
        }
        let place = Place { queue: fields.try_get_u32()?, epoch: fields.try_get_u32()?, first: fields.try_get_u64()? };
        let header =
            Header { place, count: fields.try_get_u32()?, part: fields.try_get_u16()?, parts: fields.try_get_u16()? };
        // No writer makes these; they would break the arithmetic of the readers.
        if header.count == 0 || header.part >= header.parts || place.first.checked_add(header.count.into()).is_none() {
            return Err(Damage::Short);
        }
        Ok(header)
    }
}

/// Reads the entry that starts at `at`.
pub(super) fn read_entry(record: &[u8], at: usize) -> Result<Entry, Damage> {
    let mut fields = record.get(at..).ok_or(Damage::Short)?;
    let time_ms = fields.try_get_u64()?;
    let source = match fields.try_get_u8()? {
        SOURCE_HTTP => Source::Http,
        SOURCE_CONNECTION => {
            let mut id = [0; 16];
            fields.try_copy_to_slice(&mut id)?;
            Source::Connection(id)
        }
        _ => return Err(Damage::Newer),
    };
    let content = match fields.try_get_u8()? {
        CONTENT_JSON => Content::Json,
        _ => return Err(Damage::Newer),
    };
    let body_bytes = fields.try_get_u32()? as usize;
    if body_bytes > fields.len() {
        return Err(Damage::Short);
    }
    let from = record.len() - fields.len();
    Ok(Entry { time_ms, source, content, body: from..from + body_bytes })
}

/// The entry of a sequence, in a record that was built or checked before.
pub(super) fn find_entry(first: u64, ends: &[u32], record: &[u8], sequence: u64) -> Option<Entry> {
    let index = usize::try_from(sequence.checked_sub(first)?).ok().filter(|index| *index < ends.len())?;
    let from = if index == 0 { HEADER_BYTES } else { ends[index - 1] as usize };
    read_entry(record, from).ok()
}

pub(super) fn entry_bytes(message: &Message) -> usize {
    ENTRY_BYTES + message.body.len() + if message.source == Source::Http { 0 } else { SOURCE_ID_BYTES }
}

/// Lengths in a block are bounded by [`super::MAX_BODY_BYTES`], far below 4 GiB.
pub(super) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
