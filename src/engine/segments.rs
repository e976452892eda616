//! How large the segments of sled's log are, which sled has to be told as it was when the directory was made.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

/// A new segment is this large, so the store keeps several of them free on the disk (rules 3 and 8 of [`super::sled`]). sled goes
/// through its log a segment at a time when it is opened, which takes a third less while one fits into a processor's cache than with
/// 16 MiB, its most.
pub(super) const SEGMENT_BYTES: usize = 4 << 20;
/// Builds before 2026-11-30 had sled's most.
const EARLY_SEGMENT_BYTES: usize = 16 << 20;
/// What sled 0.34 puts in front of every segment: a check sum of four bytes over two numbers of eight, the segment's own and the last
/// that is stable.
const HEADER_BYTES: usize = 20;
/// sled stores its check sums and numbers combined with these.
const SUM_MASK: u32 = u32::MAX;
const NUMBER_MASK: u64 = i64::MAX as u64;

/// The size for a directory: what its settings say, and without them what its log looks like. Settings that cannot be read are
/// sled's to refuse.
pub(super) fn segment_bytes(dir: &Path) -> io::Result<usize> {
    match fs::read(dir.join("conf")) {
        Ok(settings) => Ok(named(&settings).unwrap_or(SEGMENT_BYTES)),
        Err(error) if error.kind() == ErrorKind::NotFound => in_log(&dir.join("db")),
        Err(error) => Err(error),
    }
}

fn named(settings: &[u8]) -> Option<usize> {
    String::from_utf8_lossy(settings).lines().find_map(|line| line.strip_prefix("segment_size: ")?.parse().ok())
}

/// With the wrong size sled takes whole segments for torn ones and overwrites them. A log of one segment reads the same in both.
fn in_log(path: &Path) -> io::Result<usize> {
    let log = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SEGMENT_BYTES),
        log => log?,
    };
    let bytes = log.metadata()?.len();
    let inside_early = |at: &u64| !at.is_multiple_of(EARLY_SEGMENT_BYTES as u64);
    for at in (0..bytes.saturating_sub(HEADER_BYTES as u64)).step_by(SEGMENT_BYTES).filter(inside_early) {
        let mut header = [0; HEADER_BYTES];
        log.read_exact_at(&mut header, at)?;
        if is_header(&header) {
            return Ok(SEGMENT_BYTES);
        }
    }
    Ok(if bytes > SEGMENT_BYTES as u64 { EARLY_SEGMENT_BYTES } else { SEGMENT_BYTES })
}

/// Whether these bytes begin a segment: the sum is right and the number, a place in a log without end, is one where a segment begins.
fn is_header(header: &[u8]) -> bool {
    let Some((sum, numbers)) = header.split_first_chunk() else { return false };
    let Some((number, _)) = numbers.split_first_chunk() else { return false };
    u32::from_le_bytes(*sum) ^ SUM_MASK == crc32fast::hash(numbers)
        && (u64::from_le_bytes(*number) ^ NUMBER_MASK).is_multiple_of(SEGMENT_BYTES as u64)
}
