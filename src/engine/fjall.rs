//! fjall 3: a log of batches, and sorted tables that the log is written out to.
//!
//! The rules that it is under:
//!
//! 1. One keyspace, one thread that writes, one batch a commit.
//! 2. A batch is made durable by the very call that commits it. With a commit first and a sync behind it, readers would see
//!    records that a power cut can still take away.
//! 3. All reads go by a snapshot. Without one they see the first records of a batch while its last are still being applied.
//! 4. Memory and disk are bounded by small tables in memory and the smallest log that it takes: with the defaults both are a
//!    multiple of what a queue holds. No compression: the log would pay for it in every commit.
//! 5. It is made under another name and renamed when it is whole: with a log and no version file beside it, it does not open.
//! 6. The first error, also of one of its own threads, is final; fjall itself refuses to write until it is opened again. On
//!    damage it can panic: opening runs under `catch_unwind`.
//! 7. It must not meet a full disk, from which it does not come back when that is small: [`crate::data_dir`] keeps a ballast, and
//!    the store refuses puts below a reserve.

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use bytes::Bytes;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, compaction::Leveled,
    config::CompressionPolicy,
};

use super::{Batch, Durability, Engine, EngineError, Next, Visitor, files, own_key, panics::catch_panic};
use crate::key::Key;

/// One keyspace of fjall.
pub struct FjallEngine {
    database: Database,
    records: Keyspace,
}

/// How the names of its logs end. One that is cut anywhere opens up to there; one with a wrong byte in it does not.
pub(super) const LOG_ENDING: &str = "jnl";
/// The directories of files that are written once and never changed.
pub(super) const TABLES: &str = "tables";

const KEYSPACE: &str = "records";
/// How large a table in memory gets before it is written out. One is filled while up to four wait for that, so this is a fifth
/// of what all of them take at most.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// How large a table on the disk gets. Four of them are all that the small records of every commit, whose keys are on either side of the
/// blocks, are merged with again and again; what is beyond is passed on as it is.
const TABLE_BYTES: u64 = 16 << 20;
/// The smallest bound for its logs that fjall takes.
const JOURNALS_BYTES: u64 = 64 << 20;
/// One to write tables out, which commits may have to wait for, and one to merge them, which can take long.
const WORKERS: usize = 2;

impl FjallEngine {
    /// Opens the engine in a directory, which is made when it is missing. `cache_bytes` is for blocks of tables on disk; the
    /// tables in memory (40 MiB at most) come on top.
    ///
    /// # Errors
    /// The files cannot be read or written, or fjall finds them damaged.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<FjallEngine, EngineError> {
        catch_panic("open", || {
            files::make_whole(dir, |unfinished| open(unfinished, cache_bytes).map(drop))?;
            open(dir, cache_bytes)
        })
    }
}

fn open(dir: &Path, cache_bytes: u64) -> Result<FjallEngine, EngineError> {
    let database = Database::builder(dir)
        .cache_size(cache_bytes)
        .max_journaling_size(JOURNALS_BYTES)
        .journal_compression(CompressionType::None)
        .worker_threads(WORKERS)
        .open();
    let database = database.map_err(|e| EngineError::new("open", e))?;
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .data_block_compression_policy(CompressionPolicy::disabled())
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
    };
    let records = database.keyspace(KEYSPACE, options).map_err(|e| EngineError::new("open the keyspace", e))?;
    Ok(FjallEngine { database, records })
}

impl Engine for FjallEngine {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let persist = match durability {
            Durability::Disk => PersistMode::SyncData,
            Durability::System => PersistMode::Buffer,
        };
        let mut changes = self.database.batch().durability(Some(persist));
        for key in &batch.removes {
            changes.remove(&self.records, key);
        }
        for (key, value) in &batch.puts {
            changes.insert(&self.records, key, &value[..]);
        }
        changes.commit().map_err(|e| EngineError::new("commit", e))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.database.persist(PersistMode::SyncData).map_err(|e| EngineError::new("persist", e))
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        let value = self.database.snapshot().get(&self.records, key).map_err(|e| EngineError::new("get", e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        for record in self.database.snapshot().range(&self.records, range) {
            let (key, value) = record.into_inner().map_err(|e| EngineError::new("range", e))?;
            if visit(&own_key(&key)?, &value) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, range: RangeInclusive<Key>) -> Result<Option<(Key, Bytes)>, EngineError> {
        let Some(record) = self.database.snapshot().range(&self.records, range).next_back() else { return Ok(None) };
        let (key, value) = record.into_inner().map_err(|e| EngineError::new("last", e))?;
        Ok(Some((own_key(&key)?, Bytes::copy_from_slice(&value))))
    }
}
