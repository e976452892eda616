//! Where a blob is. Pure.
//!
//! ```text
//! record   file u64 │ at u64 │ length u32
//! ```
//!
//! All numbers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const RECORD_BYTES: usize = 8 + 8 + 4;

/// The bytes of one blob in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    /// The number of the file.
    pub(super) file: u64,
    /// Where in it they begin.
    pub(super) at: u64,
    pub(super) length: u32,
}

impl Extent {
    pub(super) fn encode(&self) -> Bytes {
        let mut record = BytesMut::with_capacity(RECORD_BYTES);
        record.put_u64(self.file);
        record.put_u64(self.at);
        record.put_u32(self.length);
        record.freeze()
    }

    /// `None`: no record of this kind.
    pub(super) fn decode(mut record: &[u8]) -> Option<Extent> {
        let (file, at) = (record.try_get_u64().ok()?, record.try_get_u64().ok()?);
        let extent = Extent { file, at, length: record.try_get_u32().ok()? };
        (record.is_empty() && at.checked_add(extent.length.into()).is_some()).then_some(extent)
    }

    /// One past its last byte.
    pub(super) fn end(&self) -> u64 {
        self.at + u64::from(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_comes_back_and_nothing_else_is_one() {
        let extent = Extent { file: 3, at: 8192, length: 100_001 };
        assert_eq!((Extent::decode(&extent.encode()), extent.end()), (Some(extent), 108_193));
        assert_eq!(Extent::decode(&extent.encode()[1..]), None);
        assert_eq!(Extent::decode(&[&extent.encode()[..], b"x"].concat()), None);
        assert_eq!(Extent::decode(&Extent { at: u64::MAX, ..extent }.encode()), None);
    }
}
