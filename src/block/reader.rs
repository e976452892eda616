//! Records → blocks.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Block, Damage, RECORD_BYTES,
    record::{ENTRY_BYTES, HEADER_BYTES, Header, Place, read_entry, to_u32},
};
use crate::key::Key;

/// How many parts of a message there is room for at once: enough for one of a MiB, of which early builds made parts, too. Longer ones
/// grow as they come.
const RESERVED_PARTS: usize = 65;

/// Puts records together to blocks, in the order in which the engine's range gives them.
#[derive(Debug, Default)]
pub struct BlockReader {
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    place: Place,
    parts: u16,
    next: u16,
    record: BytesMut,
}

impl BlockReader {
    /// Takes the next record; gives the block that it completes.
    ///
    /// # Errors
    /// What is wrong with this record, or with a large message before it that has no end.
    pub fn push(&mut self, key: &Key, record: &[u8]) -> Result<Option<Block>, Damage> {
        let header = Header::read_of(key, record)?;
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
            // What a record says of others is no reason to reserve a gigabyte.
            let parts = usize::from(header.parts).min(RESERVED_PARTS);
            let mut room = BytesMut::with_capacity(parts * RECORD_BYTES);
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
    Ok(Block { place: header.place, record, ends, parts: header.parts })
}
