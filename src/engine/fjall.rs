//! fjall 3: a log of batches, and sorted tables that the log is written out to.
//!
//! The rules that it is under:
//!
//! 1. One thread that writes, one batch a commit. Blocks are in a keyspace of their own: the small records, which every commit writes
//!    again, have keys on either side of them, and a table that holds some of both reaches over all blocks, so that each merge would
//!    be one of everything. Apart, what is merged of the blocks is what was removed.
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

use std::{
    ops::{ControlFlow, RangeInclusive},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot, compaction::Leveled,
    config::CompressionPolicy,
};

use super::{Batch, Durability, Engine, EngineError, Next, Visitor, files, own_key, panics::catch_panic};
use crate::key::{self, KEY_BYTES, Key};

/// Two keyspaces of fjall, which are one map.
pub struct FjallEngine {
    database: Database,
    blocks: Keyspace,
    /// All records but blocks.
    others: Keyspace,
    /// How many logs there were after the last commit: the one that is written to, and those that are closed.
    logs: AtomicUsize,
}

/// How the names of its logs end. One that is cut anywhere opens up to there; one with a wrong byte in it does not.
pub(super) const LOG_ENDING: &str = "jnl";
/// The directories of files that are written once and never changed.
pub(super) const TABLES: &str = "tables";

/// The name of the keyspace that had all records once.
const BLOCKS: &str = "records";
const OTHERS: &str = "others";
/// How large a table of blocks in memory gets before it is written out. One is filled while up to four wait for that, so this is a fifth
/// of what all of them take at most.
const BLOCKS_MEMTABLE_BYTES: u64 = 8 << 20;
/// The same for all other records, of which ten thousand queues have a megabyte.
const OTHERS_MEMTABLE_BYTES: u64 = 1 << 20;
/// How large a table on the disk gets.
const TABLE_BYTES: u64 = 16 << 20;
/// The smallest bound for its logs that fjall takes.
const JOURNALS_BYTES: u64 = 64 << 20;
/// One to write tables out, which commits may have to wait for, and one to merge them, which can take long.
const WORKERS: usize = 2;

impl FjallEngine {
    /// Opens the engine in a directory, which is made when it is missing. `cache_bytes` is for blocks of tables on disk; the
    /// tables in memory (45 MiB at most) come on top.
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
    let keyspace = |name, memtable_bytes| {
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
        };
        database.keyspace(name, options).map_err(|e| EngineError::new("open the keyspace", e))
    };
    let blocks = keyspace(BLOCKS, BLOCKS_MEMTABLE_BYTES)?;
    let was_there = database.keyspace_exists(OTHERS);
    let others = keyspace(OTHERS, OTHERS_MEMTABLE_BYTES)?;
    if !was_there {
        // fjall passes over what its log says of a keyspace whose directory is gone.
        files::sync_tree(dir).map_err(|e| EngineError::new("sync the new keyspace", e))?;
    }
    let engine = FjallEngine { database, blocks, others, logs: AtomicUsize::new(1) };
    engine.take_apart()?;
    Ok(engine)
}

impl FjallEngine {
    /// Where a record is.
    fn keyspace(&self, key: &Key) -> &Keyspace {
        if key::all_blocks().contains(key) { &self.blocks } else { &self.others }
    }

    /// The parts of a range, in order, each with the keyspace that has it.
    fn parts(&self, range: &RangeInclusive<Key>) -> impl DoubleEndedIterator<Item = (&Keyspace, RangeInclusive<Key>)> {
        let all = key::all_blocks();
        let below = key::before(all.start()).map(|last| (&self.others, [0; KEY_BYTES]..=last));
        let above = key::after(all.end()).map(|first| (&self.others, first..=[u8::MAX; KEY_BYTES]));
        let parts = [below, Some((&self.blocks, all)), above].into_iter().flatten();
        let (start, end) = range.clone().into_inner();
        let cut = move |part: RangeInclusive<Key>| start.max(*part.start())..=end.min(*part.end());
        parts.map(move |(keyspace, part)| (keyspace, cut(part))).filter(|(_, part)| !part.is_empty())
    }

    /// Has the other records written out when a log is closed. A log goes when all of it is in tables, and of them there are so few that
    /// their table in memory is full only after several logs. fjall's documentation does not show the call for it.
    fn mind_logs(&self) -> fjall::Result<()> {
        let logs = self.database.journal_count();
        if logs > self.logs.swap(logs, Ordering::Relaxed) {
            self.others.rotate_memtable()?;
        }
        Ok(())
    }

    /// Moves what is no block out of the keyspace that had all records once: in one durable batch, so that a crash leaves it where it
    /// was or where it belongs.
    fn take_apart(&self) -> Result<(), EngineError> {
        let snapshot = self.database.snapshot();
        let mut moved = self.database.batch().durability(Some(PersistMode::SyncData));
        let everything = [0; KEY_BYTES]..=[u8::MAX; KEY_BYTES];
        for (_, part) in self.parts(&everything).filter(|(keyspace, _)| keyspace.id() == self.others.id()) {
            let _ = visit(&snapshot, &self.blocks, part, &mut |key, value| {
                moved.insert(&self.others, key, value);
                moved.remove(&self.blocks, key);
                Next::Continue
            })?;
        }
        moved.commit().map_err(|e| EngineError::new("commit", e))
    }
}

/// Visits the records of one keyspace; breaks where the visitor says stop.
fn visit(
    snapshot: &Snapshot,
    keyspace: &Keyspace,
    range: RangeInclusive<Key>,
    visit: &mut Visitor<'_>,
) -> Result<ControlFlow<()>, EngineError> {
    for record in snapshot.range(keyspace, range) {
        let (key, value) = record.into_inner().map_err(|e| EngineError::new("range", e))?;
        if visit(&own_key(&key)?, &value) == Next::Stop {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
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
            changes.remove(self.keyspace(key), key);
        }
        for (key, value) in batch.written() {
            changes.insert(self.keyspace(key), key, &value[..]);
        }
        changes.commit().map_err(|e| EngineError::new("commit", e))?;
        self.mind_logs().map_err(|e| EngineError::new("rotate_memtable", e))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.database.persist(PersistMode::SyncData).map_err(|e| EngineError::new("persist", e))
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        let value = self.database.snapshot().get(self.keyspace(key), key).map_err(|e| EngineError::new("get", e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, range: RangeInclusive<Key>, visitor: &mut Visitor<'_>) -> Result<(), EngineError> {
        let snapshot = self.database.snapshot();
        for (keyspace, part) in self.parts(&range) {
            if visit(&snapshot, keyspace, part, visitor)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        let snapshot = self.database.snapshot();
        let last = self.parts(&range).rev().find_map(|(keyspace, part)| snapshot.range(keyspace, part).next_back());
        let key = last.map(fjall::Guard::key).transpose().map_err(|e| EngineError::new("last", e))?;
        key.map(|key| own_key(&key)).transpose()
    }
}
