//! Messages ↔ record bytes. Pure.
//!
//! All messages that one commit brings to one queue go into one *block*, closed at [`RECORD_BYTES`]; a block is one record of
//! the engine. A message too large for that is a block of its own, cut into *parts* of one record each.
//!
//! ```text
//! record   crc32 u32 │ version u8 │ queue u32 │ epoch u32 │ first u64 │ count u32 │ part u16 │ parts u16 │ entries …
//!          the check sum covers all that follows it
//! entry    time_ms u64 │ source u8 (1: followed by 16 bytes) │ content u8 │ length u32 │ body
//! ```
//!
//! All numbers are big-endian. A record says itself where it belongs, so a record in the wrong place is seen as damage.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use crate::{
    key::{self, Key},
    message::{Content, Message, Source},
};

/// The largest record, in bytes. sled 0.34 keeps up to 16 records in a page and moves pages over a quarter of a 16 MiB
/// segment into files that it never syncs; the other engines like values of this size too.
pub const RECORD_BYTES: usize = 16 * 1024;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4 + 1 + 4 + 4 + 8 + 4 + 2 + 2;
const PART_BODY_BYTES: usize = RECORD_BYTES - HEADER_BYTES;
/// What a block in memory takes besides its bytes: the struct, its allocations' headers and spare room, its place in a map. For
/// blocks of one small message this is more than the message.
const OVERHEAD_BYTES: usize = 384;
const ENTRY_BYTES: usize = 8 + 1 + 1 + 4;
const SOURCE_ID_BYTES: usize = 16;
const SOURCE_HTTP: u8 = 0;
const SOURCE_CONNECTION: u8 = 1;
const CONTENT_JSON: u8 = 0;

/// The largest body that a block can hold: more parts cannot be numbered.
pub const MAX_BODY_BYTES: usize = (u16::MAX as usize) * PART_BODY_BYTES - ENTRY_BYTES - SOURCE_ID_BYTES;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The record is shorter than its header or than its entries say.
    #[error("a record is cut short")]
    Short,
    /// The check sum does not match the bytes.
    #[error("a record's check sum is wrong")]
    CheckSum,
    /// The record belongs to another key.
    #[error("a record is in the wrong place")]
    Misplaced,
    /// A record is not there.
    #[error("a record is missing")]
    Missing,
    /// The record is whole but of a kind that this version does not know.
    #[error("a record was written by a newer version of httpmq")]
    Newer,
}

/// A block that still takes messages.
#[derive(Debug)]
pub struct BlockBuilder {
    place: Place,
    /// Room for the header, then the entries.
    record: BytesMut,
    /// Where each entry ends in `record`.
    ends: Vec<u32>,
}

/// A block that is full, or was read: it never changes again.
#[derive(Debug, Clone)]
pub struct Block {
    place: Place,
    /// The header (of a block in parts: room for it), then the entries.
    record: Bytes,
    ends: Vec<u32>,
}

/// What a record says about the block that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// One past the sequence of the block's last message.
    pub end: u64,
    /// Which part of the block the record is.
    pub part: u16,
    /// How many records the block has.
    pub parts: u16,
}

/// Puts records together to blocks, in the order in which the engine's range gives them.
#[derive(Debug, Default)]
pub struct BlockReader {
    parts: Option<Parts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    queue: u32,
    epoch: u32,
    first: u64,
}

#[derive(Debug)]
struct Parts {
    place: Place,
    parts: u16,
    next: u16,
    record: BytesMut,
}

struct Header {
    place: Place,
    count: u32,
    part: u16,
    parts: u16,
}

/// An entry as it stands in a record; `body` is where the body is in that record.
struct Entry {
    time_ms: u64,
    source: Source,
    content: Content,
    body: Range<usize>,
}

impl Entry {
    fn message(&self, body: Bytes) -> Message {
        Message { time_ms: self.time_ms, source: self.source, content: self.content, body }
    }
}

impl From<TryGetError> for Damage {
    fn from(_: TryGetError) -> Damage {
        Damage::Short
    }
}

// ===== impl BlockBuilder =====

impl BlockBuilder {
    /// An empty block whose first message will have the sequence `first`.
    pub fn new(queue: u32, epoch: u32, first: u64) -> BlockBuilder {
        let mut record = BytesMut::with_capacity(512);
        record.put_bytes(0, HEADER_BYTES);
        BlockBuilder { place: Place { queue, epoch, first }, record, ends: Vec::new() }
    }

    /// One past the sequence of its last message.
    pub fn end(&self) -> u64 {
        self.place.first + self.ends.len() as u64
    }

    /// Whether one more message keeps the block within a record. An empty block takes a message of any size.
    pub fn has_room_for(&self, message: &Message) -> bool {
        self.ends.is_empty() || self.record.len() + entry_bytes(message) <= RECORD_BYTES
    }

    /// Appends a message, which takes the next sequence.
    pub fn push(&mut self, message: &Message) {
        let record = &mut self.record;
        record.put_u64(message.time_ms);
        match message.source {
            Source::Http => record.put_u8(SOURCE_HTTP),
            Source::Connection(id) => {
                record.put_u8(SOURCE_CONNECTION);
                record.put_slice(&id);
            }
        }
        match message.content {
            Content::Json => record.put_u8(CONTENT_JSON),
        }
        record.put_u32(to_u32(message.body.len()));
        record.put_slice(&message.body);
        self.ends.push(to_u32(record.len()));
    }

    /// The message with this sequence, when it is in here.
    pub fn message(&self, sequence: u64) -> Option<Message> {
        let entry = find_entry(self.place.first, &self.ends, &self.record, sequence)?;
        Some(entry.message(Bytes::copy_from_slice(&self.record[entry.body.clone()])))
    }

    /// Closes the block: it gets its header and takes no more messages.
    pub fn seal(mut self) -> Block {
        if self.record.len() <= RECORD_BYTES {
            let header = Header { place: self.place, count: to_u32(self.ends.len()), part: 0, parts: 1 };
            write_header(&mut self.record, &header);
        }
        Block { place: self.place, record: self.record.freeze(), ends: self.ends }
    }
}

// ===== impl Block =====

impl Block {
    /// The epoch that it was put in.
    pub fn epoch(&self) -> u32 {
        self.place.epoch
    }

    /// The sequence of its first message.
    pub fn first(&self) -> u64 {
        self.place.first
    }

    /// One past the sequence of its last message.
    pub fn end(&self) -> u64 {
        self.place.first + self.ends.len() as u64
    }

    /// The message with this sequence, when it is in here. Its body shares the block's memory.
    pub fn message(&self, sequence: u64) -> Option<Message> {
        let entry = find_entry(self.place.first, &self.ends, &self.record, sequence)?;
        Some(entry.message(self.record.slice(entry.body.clone())))
    }

    /// What it takes in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.record.len() + self.ends.len() * size_of::<u32>() + OVERHEAD_BYTES
    }

    /// The keys of its records.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let Place { queue, epoch, first } = self.place;
        (0..self.parts()).map(move |part| key::block(queue, epoch, first, part))
    }

    /// Its records with their keys: one, or the parts of one large message.
    pub fn records(&self) -> impl Iterator<Item = (Key, Bytes)> {
        let parts = self.parts();
        self.keys()
            .zip((0..parts).map(move |part| if parts == 1 { self.record.clone() } else { self.part(part, parts) }))
    }

    fn parts(&self) -> u16 {
        if self.record.len() <= RECORD_BYTES {
            return 1;
        }
        // MAX_BODY_BYTES keeps this in range; `Limits` checks it before a message gets here.
        u16::try_from((self.record.len() - HEADER_BYTES).div_ceil(PART_BODY_BYTES)).unwrap_or(u16::MAX)
    }

    fn part(&self, part: u16, parts: u16) -> Bytes {
        let from = HEADER_BYTES + usize::from(part) * PART_BODY_BYTES;
        let to = (from + PART_BODY_BYTES).min(self.record.len());
        let mut record = BytesMut::with_capacity(HEADER_BYTES + to - from);
        record.put_bytes(0, HEADER_BYTES);
        record.put_slice(&self.record[from..to]);
        write_header(&mut record, &Header { place: self.place, count: to_u32(self.ends.len()), part, parts });
        record.freeze()
    }
}

// ===== impl BlockReader =====

impl BlockReader {
    /// Takes the next record; gives the block that it completes.
    ///
    /// # Errors
    /// What is wrong with this record, or with a large message before it that has no end.
    pub fn push(&mut self, key: &Key, record: &[u8]) -> Result<Option<Block>, Damage> {
        let header = read_header_of(key, record)?;
        if header.parts == 1 {
            self.finish()?;
            return decode(&header, Bytes::copy_from_slice(record)).map(Some);
        }
        self.push_part(&header, record)
    }

    /// Says that no more records come.
    ///
    /// # Errors
    /// A large message has no end.
    pub fn finish(&self) -> Result<(), Damage> {
        if self.parts.is_some() { Err(Damage::Missing) } else { Ok(()) }
    }

    fn push_part(&mut self, header: &Header, record: &[u8]) -> Result<Option<Block>, Damage> {
        if header.part == 0 {
            self.finish()?;
            let mut room = BytesMut::with_capacity(usize::from(header.parts) * RECORD_BYTES);
            room.put_bytes(0, HEADER_BYTES);
            self.parts = Some(Parts { place: header.place, parts: header.parts, next: 0, record: room });
        }
        let Some(open) = &mut self.parts else { return Err(Damage::Missing) };
        if (open.place, open.parts, open.next) != (header.place, header.parts, header.part) {
            return Err(Damage::Missing);
        }
        open.record.put_slice(&record[HEADER_BYTES..]);
        open.next += 1;
        if open.next < open.parts {
            return Ok(None);
        }
        match self.parts.take() {
            Some(whole) => decode(header, whole.record.freeze()).map(Some),
            None => Err(Damage::Missing),
        }
    }
}

/// Checks a record without reading its messages.
///
/// # Errors
/// What is wrong with it.
pub fn check(key: &Key, record: &[u8]) -> Result<Summary, Damage> {
    let Header { place, count, part, parts } = read_header_of(key, record)?;
    Ok(Summary { end: place.first + u64::from(count), part, parts })
}

// ===== bytes =====

fn decode(header: &Header, record: Bytes) -> Result<Block, Damage> {
    let mut ends = Vec::with_capacity(header.count.min(to_u32(record.len() / ENTRY_BYTES)) as usize);
    let mut at = HEADER_BYTES;
    for _ in 0..header.count {
        at = read_entry(&record, at)?.body.end;
        ends.push(to_u32(at));
    }
    if at != record.len() {
        return Err(Damage::Short);
    }
    Ok(Block { place: header.place, record, ends })
}

fn write_header(record: &mut [u8], header: &Header) {
    let mut fields = &mut record[4..HEADER_BYTES];
    fields.put_u8(VERSION);
    fields.put_u32(header.place.queue);
    fields.put_u32(header.place.epoch);
    fields.put_u64(header.place.first);
    fields.put_u32(header.count);
    fields.put_u16(header.part);
    fields.put_u16(header.parts);
    let crc = crc32fast::hash(&record[4..]);
    record[..4].copy_from_slice(&crc.to_be_bytes());
}

fn read_header_of(key: &Key, record: &[u8]) -> Result<Header, Damage> {
    let header = read_header(record)?;
    let Place { queue, epoch, first } = header.place;
    if *key == key::block(queue, epoch, first, header.part) { Ok(header) } else { Err(Damage::Misplaced) }
}

fn read_header(record: &[u8]) -> Result<Header, Damage> {
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

/// Reads the entry that starts at `at`.
fn read_entry(record: &[u8], at: usize) -> Result<Entry, Damage> {
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
fn find_entry(first: u64, ends: &[u32], record: &[u8], sequence: u64) -> Option<Entry> {
    let index = usize::try_from(sequence.checked_sub(first)?).ok().filter(|index| *index < ends.len())?;
    let from = if index == 0 { HEADER_BYTES } else { ends[index - 1] as usize };
    read_entry(record, from).ok()
}

fn entry_bytes(message: &Message) -> usize {
    ENTRY_BYTES + message.body.len() + if message.source == Source::Http { 0 } else { SOURCE_ID_BYTES }
}

/// Lengths in a block are bounded by [`MAX_BODY_BYTES`], far below 4 GiB.
fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
