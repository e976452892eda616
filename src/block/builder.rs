//! Messages → a block.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Block, RECORD_BYTES, parts,
    record::{
        CONTENT_JSON, HEADER_BYTES, Header, Place, SOURCE_CONNECTION, SOURCE_HTTP, entry_bytes, find_entry, to_u32,
    },
};
use crate::message::{Content, Message, Source};

/// A block that still takes messages.
#[derive(Debug)]
pub struct BlockBuilder {
    place: Place,
    /// Room for the header, then the entries.
    record: BytesMut,
    /// Where each entry ends in `record`.
    ends: Vec<u32>,
}

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
        let parts = parts(self.record.len());
        if parts == 1 {
            let header = Header { place: self.place, count: to_u32(self.ends.len()), part: 0, parts: 1 };
            header.write(&mut self.record);
        }
        Block { place: self.place, record: self.record.freeze(), ends: self.ends, parts }
    }
}
