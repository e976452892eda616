//! A data directory in the making, beside the place that it is for. It goes there whole, or is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::OfflineError;
use crate::config;
use crate::data_dir::{self, DataDir};
use crate::engine::{self, Batch, Durability, Engine, Sizes};
use crate::key::{self, Key};
use crate::state;

/// A batch is committed when it has this many bytes: some hundred records.
const BATCH_BYTES: usize = 4 << 20;

/// An engine in a new data directory. Dropped unfinished, it leaves nothing behind.
pub(super) struct Draft {
    path: PathBuf,
    dir: Option<DataDir>,
    writer: Option<Writer>,
}

/// Fills a new engine, in batches of a bounded size.
pub(super) struct Writer {
    engine: Arc<dyn Engine>,
    batch: Batch,
    batch_bytes: usize,
    number: u64,
}

impl Draft {
    /// Begins one in the directory `path`, from which what an earlier draft left is removed.
    pub(super) fn begin(path: PathBuf, engine: config::Engine, sizes: Sizes) -> Result<Draft, OfflineError> {
        clear(&path)?;
        let dir = DataDir::open(&path, engine.name())?;
        let mut draft = Draft { path, dir: Some(dir), writer: None };
        draft.writer = Some(Writer::new(engine::open(engine, &draft.path, sizes)?));
        Ok(draft)
    }

    pub(super) fn writer(&mut self) -> Result<&mut Writer, OfflineError> {
        self.writer.as_mut().ok_or_else(|| OfflineError::Io {
            what: "finished before its time",
            path: self.path.clone(),
            error: std::io::Error::other("this is a mistake in httpmq"),
        })
    }

    /// Puts everything on disk and closes the directory; gives its path. It is the caller's to move.
    pub(super) fn finish(mut self) -> Result<PathBuf, OfflineError> {
        if let (Some(writer), Some(dir)) = (self.writer.take(), &self.dir) {
            let (engine, number) = writer.finish()?;
            engine::close(engine, &self.path);
            dir.set_commit_mark(number).map_err(OfflineError::io("cannot write the commit mark in", &self.path))?;
        }
        sync(&self.path.join("COMMIT"))?;
        sync(&self.path)?;
        self.dir = None;
        Ok(std::mem::take(&mut self.path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            engine::close(writer.engine, &self.path);
        }
        if !self.path.as_os_str().is_empty() {
            // The next draft removes it, if this cannot.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Writer {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Writer {
        Writer { engine, batch: Batch::default(), batch_bytes: 0, number: 0 }
    }

    /// The engine, for those who read back what was written. What was not committed yet is not in it.
    pub(super) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub(super) fn put(&mut self, records: impl IntoIterator<Item = (Key, Bytes)>) -> Result<(), OfflineError> {
        for (key, record) in records {
            self.batch_bytes += record.len();
            self.batch.puts.push((key, record));
        }
        if self.batch_bytes < BATCH_BYTES { Ok(()) } else { self.commit() }
    }

    /// Writes what was put so far.
    pub(super) fn commit(&mut self) -> Result<(), OfflineError> {
        self.number += 1;
        self.batch.puts.push((key::commit(), Bytes::copy_from_slice(&state::encode_commit(self.number))));
        self.engine.commit(&self.batch, Durability::System)?;
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }

    /// Makes everything durable; gives the engine and the number of its last commit.
    fn finish(mut self) -> Result<(Arc<dyn Engine>, u64), OfflineError> {
        self.commit()?;
        self.engine.sync()?;
        Ok((self.engine, self.number))
    }
}

/// `path` with something behind its last part: a neighbour on the same file system.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what an earlier command left at a path, unless that command still runs.
pub(super) fn clear(path: &Path) -> Result<(), OfflineError> {
    if !path.exists() {
        return Ok(());
    }
    let _lock = data_dir::lock(path)?;
    fs::remove_dir_all(path).map_err(OfflineError::io("cannot remove", path))
}

/// Makes a file, or the entries of a directory, durable.
pub(super) fn sync(path: &Path) -> Result<(), OfflineError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(OfflineError::io("cannot sync", path))
}

/// The directory that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
