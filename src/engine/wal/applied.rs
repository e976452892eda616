//! The record that says how far an engine has what is in its log. Pure.
//!
//! ```text
//! crc32 u32 │ mark u64 │ number u64
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

const CHECKED_AT: usize = 4;

/// The mark of the log, and the number of the last frame that the engine has.
pub(super) fn encode(mark: u64, number: u64) -> Bytes {
    let mut record = BytesMut::with_capacity(CHECKED_AT + 16);
    record.put_u32(0);
    record.put_u64(mark);
    record.put_u64(number);
    let sum = crc32fast::hash(&record[CHECKED_AT..]);
    record[..CHECKED_AT].copy_from_slice(&sum.to_be_bytes());
    record.freeze()
}

/// `None`: it is damaged.
pub(super) fn decode(mut record: &[u8]) -> Option<(u64, u64)> {
    let sum = record.try_get_u32().ok()?;
    let is_whole = record.len() == 16 && crc32fast::hash(record) == sum;
    is_whole.then(|| (record.get_u64(), record.get_u64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_one_wrong_byte_is_seen() {
        let record = encode(7, 300);
        assert_eq!(decode(&record), Some((7, 300)));
        for at in 0..record.len() {
            let mut wrong = record.to_vec();
            wrong[at] ^= 4;
            assert_eq!(decode(&wrong), None, "byte {at}");
            assert_eq!(decode(&record[..at]), None);
        }
    }
}
