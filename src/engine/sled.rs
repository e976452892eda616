//! sled 0.34.7, under the rules that make it keep what it was given.
//!
//! Each rule answers a fault that was seen in power-cut and kill tests of the bare engine:
//!
//! 1. One `Tree` with keys of fixed width. One thread writes: `apply_batch`, then `flush`, one at a time. Writers side by side
//!    deadlock inside sled (a truncation waits for a pool whose threads wait for the lock that it holds).
//! 2. `flush` ends in `sync_file_range`, which is not durable; after it we `fdatasync` a descriptor of our own on the log.
//! 3. Segments of 4 MiB and no record over [`crate::block::RECORD_BYTES`]: what is larger than a quarter of a segment goes to a file
//!    that is never synced, and a page, with up to 16 records and a few more until it is split, is a third of that. What is larger is for
//!    [`super::blob`], in front of it.
//! 4. No flush timer of sled's own. Its cache forgets pages only when 64 accesses to one of its 256 shards have come together,
//!    which with large pages is after gigabytes; so we see to it that they come together, see [`SledEngine::mind_cache`].
//! 5. Before opening, half-written snapshots are deleted, and settings that were written before there was a log; after opening,
//!    the settings and the directories are synced.
//! 6. The first error is final, and the caller ends the process without dropping the `Db`, because the drop would flush.
//!    Opening can panic on damage, so it runs under `catch_unwind`.
//! 7. A silent rollback is the caller's to see: [`crate::data_dir`] keeps the number of the last durable commit beside the engine.
//! 8. sled never meets a full disk: the store refuses puts below a reserve, and [`crate::data_dir`] has a ballast to give up.
//! 9. None of `flush_async`, `watch_prefix`, `drop_tree` and transactions: the first hangs under tokio, the second lets a slow
//!    reader block the writer. They are not named in this file, which the layering test checks.
//! 10. Neighbours share a page, which is written anew after a few changes to it. So that the small records of every commit are
//!     not written with some 16 blocks of 16 KiB beside them, empty records stand between, see [`keep_apart`].

use std::{
    fs::{self, File, TryLockError},
    ops::RangeInclusive,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Batch, Durability, Engine, EngineError, Next, Visitor, files, own_key, panics::catch_panic, segments::segment_bytes,
};
use crate::{
    block::RECORD_BYTES,
    key::{self, Key},
};

/// Snapshots only make opening faster: without them sled reads its log from the beginning.
pub(super) const SNAPSHOTS: &[&str] = &["snap."];
/// Settings that are missing are written anew, as [`SledEngine::open`] has them.
pub(super) const SNAPSHOTS_AND_SETTINGS: &[&str] = &["snap.", "conf"];

/// One tree of sled, made durable.
pub struct SledEngine {
    tree: sled::Db,
    /// Our own descriptor on sled's log, for `fdatasync` (rule 2).
    log: File,
    /// Bytes of values that passed through sled's cache since it was last minded.
    passed_bytes: AtomicUsize,
}

/// How long sled may take to let go of its files after it was dropped; it takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How many accesses sled collects before it looks at the size of a part of its cache.
const ACCESSES_BEFORE_EVICTION: usize = 64;
/// How often that shall happen: about once for each page of records.
const MIND_CACHE_BYTES: usize = 8 * RECORD_BYTES;

impl SledEngine {
    /// Opens the engine in a directory, which is made when it is missing. `cache_bytes` is sled's setting, not what it takes.
    ///
    /// # Errors
    /// The files cannot be read or written, or sled finds them damaged.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SledEngine, EngineError> {
        remove_unfinished_snapshots(dir).map_err(|e| EngineError::new("remove unfinished snapshots", e))?;
        remove_early_settings(dir).map_err(|e| EngineError::new("remove unfinished settings", e))?;
        let segment_bytes = segment_bytes(dir).map_err(|e| EngineError::new("read the settings", e))?;
        let config =
            sled::Config::new().path(dir).cache_capacity(cache_bytes).segment_size(segment_bytes).flush_every_ms(None);
        // When it was open in this process before. No other process has it: that would have the lock of the data directory.
        wait_until_closed(dir);
        let tree = catch_panic("open", || config.open().map_err(|e| EngineError::new("open", e)))?;
        let log = File::options().read(true).write(true).open(dir.join("db"));
        let log = log.map_err(|e| EngineError::new("open the log", e))?;
        keep_apart(&tree).map_err(|e| EngineError::new("insert", e))?;
        sync_settings(dir).map_err(|e| EngineError::new("sync the settings", e))?;
        sync_directories(dir).map_err(|e| EngineError::new("sync the directory", e))?;
        Ok(SledEngine { tree, log, passed_bytes: AtomicUsize::new(0) })
    }

    /// Has sled evict what is over its capacity in the part of the cache that a key's page is in (rule 4). To be called for every
    /// value that is read or written; what it costs is some 30 µs for every [`MIND_CACHE_BYTES`].
    fn mind_cache(&self, key: &[u8], value_bytes: usize) -> sled::Result<()> {
        if self.passed_bytes.fetch_add(value_bytes, Ordering::Relaxed) + value_bytes < MIND_CACHE_BYTES {
            return Ok(());
        }
        self.passed_bytes.store(0, Ordering::Relaxed);
        for _ in 0..=ACCESSES_BEFORE_EVICTION {
            self.tree.contains_key(key)?;
        }
        Ok(())
    }
}

impl Engine for SledEngine {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut changes = sled::Batch::default();
        for key in &batch.removes {
            changes.remove(key);
        }
        for (key, value) in batch.written() {
            changes.insert(key, &value[..]);
        }
        self.tree.apply_batch(changes).map_err(|e| EngineError::new("apply_batch", e))?;
        self.tree.flush().map_err(|e| EngineError::new("flush", e))?;
        for (key, value) in batch.written() {
            self.mind_cache(key, value.len()).map_err(|e| EngineError::new("contains_key", e))?;
        }
        match durability {
            Durability::Disk => self.log.sync_data().map_err(|e| EngineError::new("fdatasync", e)),
            Durability::System => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.tree.flush().map_err(|e| EngineError::new("flush", e))?;
        self.log.sync_data().map_err(|e| EngineError::new("fdatasync", e))
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        let value = self.tree.get(key).map_err(|e| EngineError::new("get", e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        for record in self.tree.range(range) {
            let (key, value) = record.map_err(|e| EngineError::new("range", e))?;
            self.mind_cache(&key, value.len()).map_err(|e| EngineError::new("contains_key", e))?;
            if visit(&own_key(&key)?, &value) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        let last = self.tree.range(range).next_back().transpose().map_err(|e| EngineError::new("last", e))?;
        last.map(|(key, _)| own_key(&key)).transpose()
    }
}

/// sled's threads let go of its files a moment after it was dropped: waits until its lock on the log is free.
pub(super) fn wait_until_closed(dir: &Path) {
    let deadline = Instant::now() + LOCK_PATIENCE;
    while Instant::now() < deadline {
        // Without a log there is nothing that is still written to.
        let Ok(log) = File::open(dir.join("db")) else { return };
        match log.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            _ => return,
        }
    }
}

/// Writes the empty records that keep blocks and small records in different pages (rule 10). Whether they are durable does not
/// matter: those that are missing are written when the engine is opened again.
fn keep_apart(tree: &sled::Db) -> sled::Result<()> {
    for key in key::spacers() {
        if !tree.contains_key(key)? {
            tree.insert(key, &[])?;
        }
    }
    Ok(())
}

/// A snapshot that a crash left half-written stops sled from opening (rule 5).
fn remove_unfinished_snapshots(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            log::warn!("removing the unfinished snapshot {name} that a crash left behind");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// sled writes its settings in two steps before it makes its log, and does not open with the half of them (rule 5). Without a
/// log there is nothing that they are the settings of, so they can be written anew.
fn remove_early_settings(dir: &Path) -> std::io::Result<()> {
    if dir.join("db").exists() {
        return Ok(());
    }
    match fs::remove_file(dir.join("conf")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// From now on there is a log, and settings that a power cut takes away would be written anew beside it, in two steps (rule 5).
fn sync_settings(dir: &Path) -> std::io::Result<()> {
    File::open(dir.join("conf"))?.sync_all()
}

/// sled does not sync the directories that its files are created in (rule 5).
fn sync_directories(dir: &Path) -> std::io::Result<()> {
    let blobs = dir.join("blobs");
    if blobs.is_dir() {
        File::open(blobs)?.sync_all()?;
    }
    File::open(dir)?.sync_all()?;
    files::sync_parent(dir)
}
