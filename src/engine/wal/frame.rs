//! Batches ↔ frames of the log. Pure.
//!
//! ```text
//! mark u64 │ crc32 u32 │ length u32 │ number u64 │ durable u64 │ removes u32 │ puts u32 │ key … │ (key │ length u32 │ value) …
//! ```
//!
//! All numbers are big-endian; the check sum covers all that follows it, the length is that of the whole frame. The mark is random,
//! drawn once for a log: what stands in a message can look like a frame, but nobody outside knows the mark.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::memmem;

use crate::{
    engine::Batch,
    key::{KEY_BYTES, Key},
};

const MARK_BYTES: usize = 8;
/// What the check sum covers begins here.
const CHECKED_AT: usize = MARK_BYTES + 4;
const HEAD_BYTES: usize = CHECKED_AT + 4 + 8 + 8 + 4 + 4;

/// A change of one record: its new value, or `None` when it is removed.
pub(super) type Change = (Key, Option<Bytes>);

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Frames are numbered without gaps, in the order of their commits.
    pub(super) number: u64,
    /// The last number that was known to be on the disk when this frame was written.
    pub(super) durable: u64,
    /// What its batch changes; inserts are last. Values are slices of the frame's bytes.
    pub(super) changes: Vec<Change>,
}

/// How long the frame of a batch is, in bytes.
pub(super) fn length(batch: &Batch) -> usize {
    let puts: usize = batch.written().map(|(_, value)| KEY_BYTES + 4 + value.len()).sum();
    HEAD_BYTES + batch.removes.len() * KEY_BYTES + puts
}

/// Writes a batch as a frame; gives its bytes and what they say. `None`: it is longer than a frame can be.
pub(super) fn encode(mark: u64, number: u64, durable: u64, batch: &Batch) -> Option<(Bytes, Frame)> {
    let length = length(batch);
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_u64(mark);
    bytes.put_u32(0);
    bytes.put_u32(u32::try_from(length).ok()?);
    bytes.put_u64(number);
    bytes.put_u64(durable);
    bytes.put_u32(u32::try_from(batch.removes.len()).ok()?);
    bytes.put_u32(u32::try_from(batch.written().count()).ok()?);
    batch.removes.iter().for_each(|key| bytes.put_slice(key));
    for (key, value) in batch.written() {
        bytes.put_slice(key);
        bytes.put_u32(u32::try_from(value.len()).ok()?);
        bytes.put_slice(value);
    }
    let sum = crc32fast::hash(&bytes[CHECKED_AT..]);
    bytes[MARK_BYTES..CHECKED_AT].copy_from_slice(&sum.to_be_bytes());
    let bytes = bytes.freeze();
    let frame = read(bytes.slice(CHECKED_AT + 4..))?;
    Some((bytes, frame))
}

/// The frame at the beginning of some bytes, and how long it is. `None`: there is none, or not all of it.
pub(super) fn decode(mark: u64, bytes: &Bytes) -> Option<(Frame, usize)> {
    let mut head = bytes.get(..HEAD_BYTES)?;
    if head.get_u64() != mark {
        return None;
    }
    let sum = head.get_u32();
    let length = usize::try_from(head.get_u32()).ok()?;
    let checked = bytes.get(CHECKED_AT..length)?;
    if crc32fast::hash(checked) != sum {
        return None;
    }
    Some((read(bytes.slice(CHECKED_AT + 4..length))?, length))
}

/// Every whole frame in some bytes, whatever lies between them.
pub(super) fn find_all(mark: u64, bytes: &Bytes) -> Vec<Frame> {
    let (mark_bytes, mut found, mut at) = (mark.to_be_bytes(), Vec::new(), 0);
    let finder = memmem::Finder::new(&mark_bytes);
    while let Some(next) = finder.find(&bytes[at..]) {
        at += next;
        match decode(mark, &bytes.slice(at..)) {
            Some((frame, length)) => {
                found.push(frame);
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

/// What is behind the length.
fn read(mut bytes: Bytes) -> Option<Frame> {
    let (number, durable) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    let (removes, puts) = (bytes.try_get_u32().ok()?, bytes.try_get_u32().ok()?);
    // A record takes more than its key: nothing is reserved for more of them than there can be.
    let possible = bytes.len() / KEY_BYTES;
    let mut changes = Vec::with_capacity(possible.min(removes as usize + puts as usize));
    for _ in 0..removes {
        changes.push((key(&mut bytes)?, None));
    }
    for _ in 0..puts {
        let key = key(&mut bytes)?;
        let length = bytes.try_get_u32().ok()? as usize;
        if length > bytes.len() {
            return None;
        }
        changes.push((key, Some(bytes.split_to(length))));
    }
    bytes.is_empty().then_some(Frame { number, durable, changes })
}

fn key(bytes: &mut Bytes) -> Option<Key> {
    let mut key = [0; KEY_BYTES];
    bytes.try_copy_to_slice(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u64 = 0x6d61_726b_0000_0001;

    fn batch(number: u8) -> Batch {
        let value = Bytes::from(vec![number; usize::from(number) * 7]);
        Batch {
            puts: vec![([number; KEY_BYTES], value), ([9; KEY_BYTES], Bytes::new())],
            removes: vec![[3; KEY_BYTES]],
            ..Batch::default()
        }
    }

    #[test]
    fn a_frame_comes_back_and_is_as_long_as_was_said() {
        let (bytes, written) = encode(MARK, 7, 6, &batch(5)).unwrap();
        assert_eq!(bytes.len(), length(&batch(5)));
        assert_eq!(decode(MARK, &bytes), Some((written.clone(), bytes.len())));
        assert_eq!((written.number, written.durable, written.changes.len()), (7, 6, 3));
        assert_eq!(written.changes[0], ([3; KEY_BYTES], None));
        assert_eq!(written.changes[1], ([5; KEY_BYTES], Some(Bytes::from(vec![5; 35]))));
    }

    #[test]
    fn one_wrong_byte_or_a_missing_end_is_no_frame() {
        let (bytes, _) = encode(MARK, 7, 6, &batch(5)).unwrap();
        for at in 0..bytes.len() {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 1;
            assert_eq!(decode(MARK, &wrong.into()), None, "byte {at}");
            assert_eq!(decode(MARK, &bytes.slice(..at)), None, "cut at {at}");
        }
        assert_eq!(decode(MARK + 1, &bytes), None);
    }

    #[test]
    fn whole_frames_are_found_between_remains_but_not_those_of_others_or_inside_a_message() {
        let frame = |mark, number: u8| encode(mark, number.into(), 0, &batch(number)).unwrap().0;
        let mut inside = batch(4);
        inside.puts[0].1 = frame(MARK, 99);
        let around = encode(MARK, 4, 0, &inside).unwrap().0;
        let torn = frame(MARK, 6);
        let bytes =
            [&frame(MARK, 1)[..], b"some", &frame(MARK, 2), &torn[..40], &[0; 99], &around, &frame(MARK + 1, 5)];
        let numbers = |bytes: &Bytes| find_all(MARK, bytes).iter().map(|frame| frame.number).collect::<Vec<_>>();
        assert_eq!(numbers(&bytes.concat().into()), [1, 2, 4]);
        assert_eq!(numbers(&Bytes::new()), [0; 0]);
    }
}
