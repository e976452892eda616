//! What the disk alone gives: one small write after the other, each synced before the next.
//!
//! Every durable figure is to be read beside this one, taken in the same run and in the same directory.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// How often one record was written and synced, and how long that took.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct DiskRate {
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Appends records of `record_bytes` to a new file in `dir`, with fdatasync after each, for `duration`; removes the file.
///
/// The file grows, so the sync carries its new length too, as it does for a log that is appended to.
///
/// # Errors
/// The file cannot be created, written or synced.
pub(crate) fn append_and_sync(dir: &Path, record_bytes: usize, duration: Duration) -> io::Result<DiskRate> {
    let path = dir.join("disk-reference");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let record = vec![b'x'; record_bytes];
    let mut took = Vec::new();
    let started = Instant::now();
    let mut last = started;
    while last - started < duration {
        file.write_all(&record)?;
        file.sync_data()?;
        let now = Instant::now();
        took.push(now - last);
        last = now;
    }
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(summary(took, last - started))
}

fn summary(mut took: Vec<Duration>, elapsed: Duration) -> DiskRate {
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).map_or(0.0, |t| t.as_secs_f64() * 1e6);
    DiskRate { per_s: took.len() as f64 / elapsed.as_secs_f64(), p50_us: at(50), p99_us: at(99) }
}
