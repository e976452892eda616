//! What the disk alone gives: one write after the other, each synced before the next.
//!
//! Every durable figure is to be read beside this one, taken in the same run and in the same directory.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// How often one record was written and synced, and how long each took.
#[derive(Clone, Debug)]
pub(crate) struct Synced {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    #[allow(dead_code, reason = "the benchmark without sockets shows rates only")]
    pub(crate) latency_ns: Histogram<u64>,
}

/// Appends records of `record_bytes` to a new file in `dir`, with fdatasync after each, for `duration`; removes the file.
///
/// The file grows, so the sync carries its new length too, as it does for a log that is appended to.
///
/// # Errors
/// The file cannot be created, written or synced.
pub(crate) fn append_and_sync(dir: &Path, record_bytes: usize, duration: Duration) -> io::Result<Synced> {
    let path = dir.join("disk-reference");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let record = vec![b'x'; record_bytes];
    let latency_ns = Histogram::new(3).map_err(io::Error::other)?;
    let started = Instant::now();
    let mut synced = Synced { count: 0, elapsed: Duration::ZERO, latency_ns };
    while synced.elapsed < duration {
        file.write_all(&record)?;
        file.sync_data()?;
        let elapsed = started.elapsed();
        let took_ns = u64::try_from((elapsed - synced.elapsed).as_nanos()).unwrap_or(u64::MAX);
        synced.latency_ns.record(took_ns).map_err(io::Error::other)?;
        (synced.count, synced.elapsed) = (synced.count + 1, elapsed);
    }
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(synced)
}
