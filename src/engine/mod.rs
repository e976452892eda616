//! The seam below the store: a small, blocking, ordered map of bytes that survives.
//!
//! The contract, which `tests/engine.rs` holds every engine to:
//!
//! - [`Engine::commit`] is atomic: after any crash all of a batch is there or none of it, and batches survive in order (a
//!   later one is never there without the earlier ones).
//! - When `commit` returns `Ok` with [`Durability::Disk`], the batch and all before it survive a power cut; with
//!   [`Durability::System`] they survive the death of the process.
//! - After the first `Err` of a call that writes, nothing more may be asked of the engine: the store poisons itself.
//! - One thread writes at a time. Reads may come from any thread at any time and see committed batches only.

mod background;
mod blob;
#[cfg(test)]
mod contents;
mod damaged;
mod files;
pub mod fjall;
pub mod memory;
mod panics;
mod segments;
pub mod sled;
mod wal;

use std::{fmt, io, ops::RangeInclusive, path::Path, sync::Arc};

use bytes::Bytes;

pub use self::damaged::{NotOpened, OpenedCopy, open_copy};
use self::{
    background::with_threads_that_give_way,
    blob::BlobEngine,
    fjall::FjallEngine,
    memory::MemoryEngine,
    sled::SledEngine,
    wal::{Gaps, LoggedEngine},
};
use crate::{
    config,
    key::{KEY_BYTES, Key},
};

/// An ordered map of bytes on disk.
pub trait Engine: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Applies a batch: all of it or nothing.
    ///
    /// # Errors
    /// The disk refused. Nothing may be committed from then on.
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError>;

    /// Whether a commit of about so many bytes, with [`Durability::System`], would wait for no disk, as far as it can be told: it may be
    /// done where others wait for the thread.
    fn is_quick(&self, _bytes: usize) -> bool {
        false
    }

    /// Whether a record has not got further than a log, or there is none: its removal costs nothing.
    fn is_removed_freely(&self, _key: &Key) -> bool {
        false
    }

    /// Makes everything committed so far survive a power cut.
    ///
    /// # Errors
    /// The disk refused. Nothing may be committed from then on.
    fn sync(&self) -> Result<(), EngineError>;

    /// The value of a key.
    ///
    /// # Errors
    /// It cannot be read.
    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError>;

    /// Visits the records of a range in ascending order until the visitor says stop.
    ///
    /// # Errors
    /// A record cannot be read.
    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError>;

    /// The same for who needs the keys alone: a large record is not read for them.
    ///
    /// # Errors
    /// A record cannot be read.
    fn visit_keys(&self, range: RangeInclusive<Key>, visit: &mut KeyVisitor<'_>) -> Result<(), EngineError> {
        self.range(range, &mut |key, _| visit(key))
    }

    /// The highest key in a range that has a record.
    ///
    /// # Errors
    /// It cannot be read.
    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError>;
}

/// What an engine may take.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// What it may keep in memory; each engine has its own sense of the word.
    pub cache_bytes: u64,
    /// What the log in front of it takes on the disk, and in memory at most.
    pub log_bytes: u64,
}

impl From<&config::Store> for Sizes {
    fn from(store: &config::Store) -> Sizes {
        Sizes { cache_bytes: store.engine_cache_bytes, log_bytes: store.log_bytes }
    }
}

/// Opens the engine of a data directory. Its files are in a directory there that has its name, those of the log in front of it in
/// one beside that.
///
/// # Errors
/// The files cannot be read or written, or are damaged.
pub fn open(engine: config::Engine, data_dir: &Path, sizes: Sizes) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(open_over(engine, data_dir, sizes, Gaps::Refuse)?.0)
}

/// The same, and what was passed over of the log.
fn open_over(
    engine: config::Engine,
    data_dir: &Path,
    sizes: Sizes,
    gaps: Gaps,
) -> Result<(Arc<dyn Engine>, Vec<String>), EngineError> {
    let behind = open_bare(engine, data_dir, sizes)?;
    if engine == config::Engine::Memory {
        return Ok((behind, Vec::new()));
    }
    let dir = data_dir.join(engine.name());
    let (logged, passed_over) = LoggedEngine::open(behind, wal::dir(&dir), sizes.log_bytes, gaps)?;
    Ok((Arc::new(BlobEngine::open(Arc::new(logged), blob::dir(&dir))?), passed_over))
}

/// Opens an engine without the log in front of it.
fn open_bare(engine: config::Engine, data_dir: &Path, sizes: Sizes) -> Result<Arc<dyn Engine>, EngineError> {
    let dir = data_dir.join(engine.name());
    Ok(match engine {
        config::Engine::Sled => Arc::new(SledEngine::open(&dir, sizes.cache_bytes)?),
        // It writes tables out and merges them in threads of its own.
        config::Engine::Fjall => Arc::new(with_threads_that_give_way(|| FjallEngine::open(&dir, sizes.cache_bytes))?),
        config::Engine::Memory => Arc::new(MemoryEngine::default()),
    })
}

/// Removes the files of an engine from a data directory; says whether there were any.
///
/// # Errors
/// The file system refused; some may be left.
pub fn remove(engine: config::Engine, data_dir: &Path) -> io::Result<bool> {
    let dir = data_dir.join(engine.name());
    let all = [files::unfinished(&dir), wal::dir(&dir), blob::dir(&dir), dir];
    let found = all.iter().any(|dir| dir.exists());
    all.iter().try_for_each(|dir| files::remove(dir))?;
    Ok(found)
}

/// Drops the last handle of the engine of a data directory, and returns when it has let go of its files.
pub fn close(engine: Arc<dyn Engine>, data_dir: &Path) {
    let dir = data_dir.join(engine.name());
    let is_sled = engine.name() == config::Engine::Sled.name();
    drop(engine);
    if is_sled {
        self::sled::wait_until_closed(&dir);
    }
}

/// Sees one record of a range; decides whether there shall be another.
pub type Visitor<'a> = dyn FnMut(&Key, &[u8]) -> Next + 'a;

/// The same, of one key.
pub type KeyVisitor<'a> = dyn FnMut(&Key) -> Next + 'a;

/// Whether to go on visiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Visit the next record.
    Continue,
    /// This was the last one.
    Stop,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: it is on the disk.
    Disk,
    /// The death of the process: the operating system has it.
    System,
}

/// What one commit changes. No key is in it twice.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records to write.
    pub puts: Vec<(Key, Bytes)>,
    /// Records to write whose keys have none now. One that is removed before it got further than a log need not get further.
    pub inserts: Vec<(Key, Bytes)>,
    /// Records to remove; they need not exist.
    pub removes: Vec<Key>,
}

impl Batch {
    /// Forgets what it held and keeps the room.
    pub fn clear(&mut self) {
        self.puts.clear();
        self.inserts.clear();
        self.removes.clear();
    }

    /// All records to write.
    pub fn written(&self) -> impl Iterator<Item = &(Key, Bytes)> {
        self.puts.iter().chain(&self.inserts)
    }
}

/// An engine failed: which call, and what it said.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {reason}")]
pub struct EngineError {
    call: &'static str,
    reason: String,
}

impl EngineError {
    /// The error of one call.
    pub fn new(call: &'static str, reason: impl fmt::Display) -> EngineError {
        EngineError { call, reason: reason.to_string() }
    }
}

fn own_key(key: &[u8]) -> Result<Key, EngineError> {
    Key::try_from(key).map_err(|_| EngineError::new("range", format!("a key of {} bytes, not {KEY_BYTES}", key.len())))
}
