//! The keys of everything that the engine stores. Pure.
//!
//! Every key has the same width and is big-endian, so that byte order is message order and no key is a prefix of another:
//!
//! ```text
//! byte   0     1..5       5..9      9..17       17..19
//!        tag   queue id   epoch     sequence    part
//!        'a'   0          0         0           0        how far the engine has the log, see [`applied`]
//!        'b'   id         epoch     first       0        where in a file a large block is, see [`blob`]
//!        'c'   0          0         0           0        the number of the last commit
//!        'q'   id         0         0           0        the state of a queue
//!        'm'   id         epoch     first       part     a block of messages, or a part of one large message
//!        'd'   0 … 31     0         0           0        nothing, and with sled only, see [`spacers`]
//!        'p'   0 … 31     0         0           0        likewise
//! ```

use std::ops::RangeInclusive;

/// Length of every key, in bytes.
pub const KEY_BYTES: usize = 19;

/// A key as the engine sees it.
pub type Key = [u8; KEY_BYTES];

const TAG_APPLIED: u8 = b'a';
const TAG_BLOB: u8 = b'b';
const TAG_COMMIT: u8 = b'c';
const TAG_QUEUE: u8 = b'q';
const TAG_MESSAGES: u8 = b'm';
const TAGS_SPACER: [u8; 2] = [b'd', b'p'];
/// Twice what a page of sled 0.34 holds before it is split.
const SPACERS: u32 = 32;

/// Where it is how far an engine has what is in the log in front of it. Only `engine::wal` sees this record.
pub fn applied() -> Key {
    encode(TAG_APPLIED, 0, 0, 0, 0)
}

/// Where it is said in which file the record is that is too large for the engine to be given it. Only `engine::blob` sees this record.
pub fn blob(block: &Key) -> Key {
    with_tag(block, TAG_BLOB)
}

/// Where that is said of all of them.
pub fn blobs() -> RangeInclusive<Key> {
    encode(TAG_BLOB, 0, 0, 0, 0)..=encode(TAG_BLOB, u32::MAX, u32::MAX, u64::MAX, u16::MAX)
}

/// Whether a key is one of [`blobs`].
pub fn is_blob(key: &Key) -> bool {
    key[0] == TAG_BLOB
}

/// The key of the block of which one of [`blobs`] says where it is.
pub fn block_of_blob(blob: &Key) -> Key {
    with_tag(blob, TAG_MESSAGES)
}

/// Where the number of the last commit is.
pub fn commit() -> Key {
    encode(TAG_COMMIT, 0, 0, 0, 0)
}

/// Where the state of a queue is.
pub fn queue(id: u32) -> Key {
    encode(TAG_QUEUE, id, 0, 0, 0)
}

/// Where the states of all queues are.
pub fn queues() -> RangeInclusive<Key> {
    encode(TAG_QUEUE, 0, 0, 0, 0)..=encode(TAG_QUEUE, u32::MAX, u32::MAX, u64::MAX, u16::MAX)
}

/// Keys between the blocks and the small records that every commit writes again. Empty records there keep them in different
/// pages of an engine that has pages of neighbours.
pub fn spacers() -> impl Iterator<Item = Key> {
    TAGS_SPACER.into_iter().flat_map(|tag| (0..SPACERS).map(move |number| encode(tag, number, 0, 0, 0)))
}

/// Whether a key is one of [`spacers`], which are not part of what is stored.
pub fn is_spacer(key: &Key) -> bool {
    TAGS_SPACER.contains(&key[0])
}

/// The next key, in byte order; `None` behind the last.
pub fn after(key: &Key) -> Option<Key> {
    let mut next = *key;
    for byte in next.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            return Some(next);
        }
    }
    None
}

/// The key before one, in byte order; `None` in front of the first.
pub fn before(key: &Key) -> Option<Key> {
    let mut previous = *key;
    for byte in previous.iter_mut().rev() {
        let (difference, borrowed) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrowed {
            return Some(previous);
        }
    }
    None
}

/// Where a part of the block is whose first message has this sequence.
pub fn block(id: u32, epoch: u32, first: u64, part: u16) -> Key {
    encode(TAG_MESSAGES, id, epoch, first, part)
}

/// Where all blocks are whose first message has a sequence in `first..=last`.
pub fn blocks(id: u32, epoch: u32, first: u64, last: u64) -> RangeInclusive<Key> {
    block(id, epoch, first, 0)..=block(id, epoch, last, u16::MAX)
}

/// Where the blocks of a queue are that were put before the reset which began `epoch`; `None` in the first epoch.
pub fn blocks_before_epoch(id: u32, epoch: u32) -> Option<RangeInclusive<Key>> {
    let last = epoch.checked_sub(1)?;
    Some(block(id, 0, 0, 0)..=block(id, last, u64::MAX, u16::MAX))
}

/// Where all blocks of a queue are.
pub fn blocks_of_queue(id: u32) -> RangeInclusive<Key> {
    block(id, 0, 0, 0)..=block(id, u32::MAX, u64::MAX, u16::MAX)
}

/// Where every block of every queue is.
pub fn all_blocks() -> RangeInclusive<Key> {
    block(0, 0, 0, 0)..=block(u32::MAX, u32::MAX, u64::MAX, u16::MAX)
}

/// The queue id in the key of a state or of a block.
pub fn queue_id(key: &Key) -> u32 {
    u32::from_be_bytes(field(key, 1))
}

/// The epoch in the key of a block.
pub fn epoch(key: &Key) -> u32 {
    u32::from_be_bytes(field(key, 5))
}

/// The sequence of the first message in the key of a block.
pub fn first_sequence(key: &Key) -> u64 {
    u64::from_be_bytes(field(key, 9))
}

fn with_tag(key: &Key, tag: u8) -> Key {
    let mut other = *key;
    other[0] = tag;
    other
}

fn encode(tag: u8, id: u32, epoch: u32, sequence: u64, part: u16) -> Key {
    let mut key = [0; KEY_BYTES];
    key[0] = tag;
    key[1..5].copy_from_slice(&id.to_be_bytes());
    key[5..9].copy_from_slice(&epoch.to_be_bytes());
    key[9..17].copy_from_slice(&sequence.to_be_bytes());
    key[17..19].copy_from_slice(&part.to_be_bytes());
    key
}

fn field<const N: usize>(key: &Key, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&key[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_message_order() {
        let ascending = [
            block(1, 0, 255, 0),
            block(1, 0, 256, 0),
            block(1, 0, 256, 1),
            block(1, 1, 0, 0),
            block(2, 0, 0, 0),
            queue(0),
            queue(u32::MAX),
        ];
        assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn ranges_hold_what_they_say() {
        assert!(
            queues().contains(&queue(7)) && !queues().contains(&commit()) && !queues().contains(&block(7, 0, 0, 0))
        );
        let some = blocks(7, 2, 10, 20);
        assert!(some.contains(&block(7, 2, 20, 9)) && !some.contains(&block(7, 2, 21, 0)));
        assert!(!some.contains(&block(7, 1, 15, 0)) && !some.contains(&block(8, 2, 15, 0)));
        let before = blocks_before_epoch(7, 2).unwrap();
        assert!(before.contains(&block(7, 1, u64::MAX, 3)) && !before.contains(&block(7, 2, 0, 0)));
        assert_eq!(blocks_before_epoch(7, 0), None);
        let of_queue = blocks_of_queue(7);
        assert!(of_queue.contains(&block(7, u32::MAX, u64::MAX, 3)) && !of_queue.contains(&block(8, 0, 0, 0)));
        assert!(all_blocks().contains(&block(u32::MAX, 3, 4, 5)) && !all_blocks().contains(&queue(1)));
    }

    #[test]
    fn nothing_is_between_a_key_and_the_one_after_it() {
        assert_eq!(after(&block(1, 0, 5, 7)), Some(block(1, 0, 5, 8)));
        assert_eq!(after(&block(1, 0, 5, u16::MAX)), Some(block(1, 0, 6, 0)));
        assert_eq!(after(&[0xff; KEY_BYTES]), None);
        assert_eq!(before(&block(1, 0, 6, 0)), Some(block(1, 0, 5, u16::MAX)));
        assert_eq!(before(&[0; KEY_BYTES]), None);
        assert!(spacers().all(|key| is_spacer(&key)));
        assert!(![commit(), queue(1), block(1, 2, 3, 4)].iter().any(is_spacer));
    }

    #[test]
    fn fields_come_back() {
        let key = block(0xdead_beef, 5, 0x0123_4567_89ab_cdef, 6);
        assert_eq!((queue_id(&key), epoch(&key), first_sequence(&key)), (0xdead_beef, 5, 0x0123_4567_89ab_cdef));
        let said = blob(&key);
        assert!(blobs().contains(&said) && is_blob(&said) && !is_blob(&key));
        assert_eq!(block_of_blob(&said), key);
    }
}
