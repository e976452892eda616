//! Messages ↔ record bytes. Pure.
//!
//! All messages that one commit brings to one queue go into one *block*, closed at [`RECORD_BYTES`]; a block is one record of
//! the engine. Small ones are joined later, [`JOINED_BLOCKS`] at a time. A message too large for that is a block of its own, cut into *parts* of one record each,
//! and from [`BLOB_BYTES`] on a *blob*, a record of any size, which the engine keeps in a file.
//!
//! ```text
//! record   crc32 u32 │ version u8 │ queue u32 │ epoch u32 │ first u64 │ count u32 │ part u16 │ parts u16 │ entries …
//!          the check sum covers all that follows it
//! entry    time_ms u64 │ source u8 (1: followed by 16 bytes) │ content u8 │ length u32 │ body
//! ```
//!
//! All numbers are big-endian. A record says itself where it belongs, so a record in the wrong place is seen as damage.

mod builder;
mod reader;
mod record;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use self::record::{HEADER_BYTES, Header, Place, find_entry, to_u32};
pub use self::{builder::BlockBuilder, reader::BlockReader};
use crate::{
    key::{self, Key},
    message::Message,
};

/// The largest record but for a blob, in bytes. sled 0.34 keeps up to 16 records in a page, a few more until it is split, and moves pages over a
/// quarter of a segment, which is 4 MiB, into files that it never syncs. A bit less than 16 KiB, so that what an engine puts around a
/// record fits in as well.
pub const RECORD_BYTES: usize = 16 * 1024 - 128;
/// From this size on a record is not cut. It is worth a write and a sync of its own, and then is written once: a smaller one is written to
/// the log, and once more if it is still there when the log is full.
pub const BLOB_BYTES: usize = 64 * 1024;
/// The largest body that a block can hold. Lengths are `u32`, and a blob is read in one piece.
pub const MAX_BODY_BYTES: usize = 1 << 30;
const PART_BODY_BYTES: usize = RECORD_BYTES - HEADER_BYTES;
/// So many blocks that follow one another are joined to one, if they are small. So few that they come together before the engine is given
/// them also where commits are of a thousand queues: a record for each message is as much for the engine to take and to remove.
pub const JOINED_BLOCKS: usize = 4;
/// As large as a block is at most that is small: so many fit into one record, and joined ones soon are larger, so that messages are not
/// written many times.
const SMALL_BYTES: usize = RECORD_BYTES / 16;
/// What a block in memory takes besides its bytes: the struct, its allocations' headers and spare room, its place in a map. For
/// blocks of one small message this is more than the message.
const OVERHEAD_BYTES: usize = 384;

/// How many records a block is whose header and entries have so many bytes.
fn parts(bytes: usize) -> u16 {
    let is_cut = RECORD_BYTES < bytes && bytes < BLOB_BYTES;
    let parts = if is_cut { (bytes - HEADER_BYTES).div_ceil(PART_BODY_BYTES) } else { 1 };
    u16::try_from(parts).unwrap_or(u16::MAX)
}

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

/// A block that is full, or was read: it never changes again.
#[derive(Debug, Clone)]
pub struct Block {
    place: Place,
    /// The header (of a block in parts: room for it), then the entries.
    record: Bytes,
    ends: Vec<u32>,
    /// How many records it is. Early builds cut blobs, too.
    parts: u16,
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

/// Checks a record without reading its messages.
///
/// # Errors
/// What is wrong with it.
pub fn check(key: &Key, record: &[u8]) -> Result<Summary, Damage> {
    let Header { place, count, part, parts } = Header::read_of(key, record)?;
    Ok(Summary { end: place.first + u64::from(count), part, parts })
}

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

    /// Whether it is so small that it is worth writing it once more, together with others.
    pub fn is_small(&self) -> bool {
        self.record.len() <= SMALL_BYTES
    }

    /// The messages of several blocks of one record each, which follow one another and fit into one record, as one block.
    pub fn join(blocks: &[Arc<Block>]) -> Block {
        let place = blocks[0].place;
        let mut record = BytesMut::with_capacity(blocks.iter().map(|block| block.record.len()).sum());
        record.put_bytes(0, HEADER_BYTES);
        let mut ends = Vec::with_capacity(blocks.iter().map(|block| block.ends.len()).sum());
        for block in blocks {
            let moved = to_u32(record.len() - HEADER_BYTES);
            ends.extend(block.ends.iter().map(|end| end + moved));
            record.put_slice(&block.record[HEADER_BYTES..]);
        }
        Header { place, count: to_u32(ends.len()), part: 0, parts: 1 }.write(&mut record);
        Block { place, record: record.freeze(), ends, parts: 1 }
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
        (0..self.parts).map(move |part| key::block(queue, epoch, first, part))
    }

    /// Its records with their keys: one, or the parts of one message.
    pub fn records(&self) -> impl Iterator<Item = (Key, Bytes)> {
        let parts = self.parts;
        self.keys()
            .zip((0..parts).map(move |part| if parts == 1 { self.record.clone() } else { self.part(part, parts) }))
    }

    fn part(&self, part: u16, parts: u16) -> Bytes {
        let from = HEADER_BYTES + usize::from(part) * PART_BODY_BYTES;
        let to = (from + PART_BODY_BYTES).min(self.record.len());
        let mut record = BytesMut::with_capacity(HEADER_BYTES + to - from);
        record.put_bytes(0, HEADER_BYTES);
        record.put_slice(&self.record[from..to]);
        Header { place: self.place, count: to_u32(self.ends.len()), part, parts }.write(&mut record);
        record.freeze()
    }
}

#[cfg(test)]
mod tests;
