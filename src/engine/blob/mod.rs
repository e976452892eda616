//! Blobs, records of [`BLOB_BYTES`] and more, in files in front of an engine that would write each of them twice or more.
//!
//! - A blob is written to a file ([`files`]), once and past the system's cache, and synced, whatever the commit is to survive. Then the
//!   engine is given two small records instead: [`MARK`] under its key, and under [`key::blob`] where it is ([`extent`]).
//! - What is removed is given back to the file system when the removal survives a power cut and nobody reads it any more ([`reclaim`]).
//!
//! So at any moment the files hold all that the engine points to, and perhaps bytes that nothing points to, which the first durable
//! commit behind a start gives back.
//! They are what WiscKey (Lu et al., FAST 2016) calls the value log, without its garbage collection: queues are emptied from one end.

mod extent;
mod files;
mod reclaim;

use std::{
    collections::BTreeMap,
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use bytes::Bytes;

use self::{extent::Extent, files::Appender, reclaim::Reclaimer};
use super::{Batch, Durability, Engine, EngineError, KeyVisitor, Next, Visitor};
use crate::{
    block::BLOB_BYTES,
    key::{self, Key},
};

/// Stands for a blob. No record of a block is so short.
const MARK: &[u8] = b"blob";

/// Removals of so many bytes are made durable, so that their place can be given back: with `sync = "never"` nobody else does that.
const REMOVED_BYTES: u64 = 64 << 20;

/// An engine with files for blobs in front of it.
pub(super) struct BlobEngine {
    behind: Arc<dyn Engine>,
    dir: PathBuf,
    /// Where each blob is. Who reads one has a share of its extent for so long.
    extents: RwLock<Extents>,
    writer: Mutex<Writer>,
    reclaimer: Reclaimer,
}

type Extents = BTreeMap<Key, Arc<Extent>>;

/// Who commits.
struct Writer {
    files: Appender,
    /// What was removed. A power cut may still bring it back.
    removed: Vec<Arc<Extent>>,
}

/// Where the blobs of the engine are whose files are in a directory.
pub(super) fn dir(engine: &Path) -> PathBuf {
    engine.with_added_extension("blobs")
}

impl BlobEngine {
    /// Puts the files of a directory, which is made when it is needed, in front of an engine.
    ///
    /// # Errors
    /// The engine or the file system refused.
    pub(super) fn open(behind: Arc<dyn Engine>, dir: PathBuf) -> Result<BlobEngine, EngineError> {
        // What a start gives back, no power cut may bring back.
        behind.sync()?;
        let mut extents = Extents::new();
        behind.range(key::blobs(), &mut |key, record| {
            // One that cannot be read is as a blob that is not there.
            extents.extend(Extent::decode(record).map(|blob| (key::block_of_blob(key), Arc::new(blob))));
            Next::Continue
        })?;
        let mut in_order: Vec<Extent> = extents.values().map(|blob| **blob).collect();
        in_order.sort_unstable();
        let next = files::next(&dir, &in_order).map_err(failed("open the files of large messages"))?;
        let reclaimer = Reclaimer::start(dir.clone(), next, in_order).map_err(failed("start the thread reclaim"))?;
        let files = Appender::new(dir.clone(), next);
        let writer = Mutex::new(Writer { files, removed: Vec::new() });
        Ok(BlobEngine { behind, dir, extents: RwLock::new(extents), writer, reclaimer })
    }

    fn write(&self, writer: &mut Writer, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let ended = self.ended_by(batch);
        if ended.is_empty() && !batch.written().any(is_blob) {
            return self.behind.commit(batch, durability);
        }
        let mut new = Extents::new();
        let puts = self.take_blobs(&batch.puts, &mut new, writer)?;
        let inserts = self.take_blobs(&batch.inserts, &mut new, writer)?;
        if !new.is_empty() {
            writer.files.sync().map_err(failed("sync a large message"))?;
        }
        let only_ended: Vec<Key> = ended.keys().filter(|key| !new.contains_key(*key)).copied().collect();
        let removes = batch.removes.iter().copied().chain(only_ended.iter().map(key::blob)).collect();
        // Who finds the record finds the blob.
        self.change(|extents| extents.extend(new));
        self.behind.commit(&Batch { puts, inserts, removes }, durability)?;
        self.change(|extents| only_ended.iter().for_each(|key| drop(extents.remove(key))));
        writer.removed.extend(ended.into_values());
        Ok(())
    }

    /// The blobs that a batch removes or writes over.
    fn ended_by(&self, batch: &Batch) -> Extents {
        let extents = self.extents();
        if extents.is_empty() {
            return Extents::new();
        }
        let keys = batch.removes.iter().chain(batch.written().map(|(key, _)| key));
        keys.filter_map(|key| extents.get_key_value(key)).map(|(key, blob)| (*key, blob.clone())).collect()
    }

    /// Writes the blobs among some records to files; gives the records with what stands for them.
    fn take_blobs(
        &self,
        records: &[(Key, Bytes)],
        new: &mut Extents,
        writer: &mut Writer,
    ) -> Result<Vec<(Key, Bytes)>, EngineError> {
        let mut pointing = Vec::with_capacity(records.len() * 2);
        for record in records {
            if !is_blob(record) {
                pointing.push(record.clone());
                continue;
            }
            let (key, value) = record;
            let spare = || self.reclaimer.take_spare();
            let blob = writer.files.append(value, spare).map_err(failed("write a large message"))?;
            self.reclaimer.added(&blob);
            pointing.extend([(*key, Bytes::from_static(MARK)), (key::blob(key), blob.encode())]);
            new.insert(*key, Arc::new(blob));
        }
        Ok(pointing)
    }

    fn make_durable(&self, writer: &mut Writer) -> Result<(), EngineError> {
        self.behind.sync()?;
        self.reclaimer.give_back(&mut writer.removed);
        Ok(())
    }

    fn read(&self, blob: &Extent) -> Result<Option<Vec<u8>>, EngineError> {
        files::read(&self.dir, blob).map_err(failed("read a large message"))
    }

    fn extents(&self) -> RwLockReadGuard<'_, Extents> {
        self.extents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn extent(&self, key: &Key) -> Option<Arc<Extent>> {
        self.extents().get(key).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Extents)) {
        change(&mut self.extents.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Whether the next commit waits for the disk.
    fn is_full(&self) -> bool {
        self.removed.iter().map(|blob| u64::from(blob.length)).sum::<u64>() >= REMOVED_BYTES
    }
}

impl Engine for BlobEngine {
    fn name(&self) -> &'static str {
        self.behind.name()
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut writer = self.writer();
        let is_full = writer.is_full();
        self.write(&mut writer, batch, durability)?;
        match durability {
            Durability::Disk => self.reclaimer.give_back(&mut writer.removed),
            Durability::System if is_full => self.make_durable(&mut writer)?,
            Durability::System => {}
        }
        Ok(())
    }

    fn is_quick(&self, bytes: usize) -> bool {
        let is_full = || self.writer.try_lock().map_or(true, |writer| writer.is_full());
        bytes < BLOB_BYTES && !is_full() && self.behind.is_quick(bytes)
    }

    fn is_removed_freely(&self, key: &Key) -> bool {
        self.behind.is_removed_freely(key)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.make_durable(&mut self.writer())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        // Before the record is looked for: once it was found, the blob may be gone.
        let blob = self.extent(key);
        match (self.behind.get(key)?, blob) {
            (Some(record), Some(blob)) if record == MARK => Ok(self.read(&blob)?.map(Bytes::from)),
            (Some(record), _) if record == MARK => Ok(None),
            (record, _) => Ok(record),
        }
    }

    /// A blob that is not there is shown as little as a record that is not there.
    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        let mut shown = Ok(());
        self.behind.range(range, &mut |key, record| {
            let next = match record {
                _ if key::is_blob(key) => Ok(Next::Continue),
                // It may have been removed a moment ago.
                MARK => self
                    .extent(key)
                    .map_or(Ok(None), |blob| self.read(&blob))
                    .map(|read| read.map_or(Next::Continue, |bytes| visit(key, &bytes))),
                record => Ok(visit(key, record)),
            };
            next.unwrap_or_else(|error| {
                shown = Err(error);
                Next::Stop
            })
        })?;
        shown
    }

    fn visit_keys(&self, range: RangeInclusive<Key>, visit: &mut KeyVisitor<'_>) -> Result<(), EngineError> {
        self.behind.visit_keys(range, &mut |key| if key::is_blob(key) { Next::Continue } else { visit(key) })
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        let (first, mut end) = range.into_inner();
        while let Some(key) = self.behind.last_key(first..=end)? {
            match key::before(&key) {
                _ if !key::is_blob(&key) => return Ok(Some(key)),
                Some(before) if before >= first => end = before,
                _ => break,
            }
        }
        Ok(None)
    }
}

/// Whether a record of a batch is one.
fn is_blob((key, value): &(Key, Bytes)) -> bool {
    value.len() >= BLOB_BYTES && key::all_blocks().contains(key)
}

fn failed(call: &'static str) -> impl FnOnce(io::Error) -> EngineError {
    move |error| EngineError::new(call, error)
}

#[cfg(test)]
mod tests;
