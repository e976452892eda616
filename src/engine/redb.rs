//! redb 4: a B-tree in one file, whose pages are copied when they change.
//!
//! The rules that it is under:
//!
//! 1. One table with keys of fixed width, one thread that writes, one commit for a group.
//! 2. Every commit is [`redb::Durability::Immediate`], whatever is asked for. Its other mode forgets on a kill what was answered
//!    before; and without syncs in between, pages that the last durable state needs would be written over.
//! 3. It is made under another name and renamed when it is whole, so that a crash on the way leaves nothing that does not open.
//! 4. After a crash it walks all its pages. Its quick repair, which saves that, costs a second sync in every commit.
//! 5. It checks the pages of its tree, not the values that it reads: the check sum in each of our records is what sees a wrong byte.
//! 6. The first error is final; redb itself refuses to write until it is opened again. On damage it can panic: opening runs
//!    under `catch_unwind`.
//! 7. What it has allocated is a power of two of pages, so a record of [`crate::block::RECORD_BYTES`] fits 16 KiB with all that
//!    stands around it.

use std::{fs, ops::RangeInclusive, path::Path};

use bytes::Bytes;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, TableDefinition};

use super::{Batch, Durability, Engine, EngineError, Next, Visitor, files, panics::catch_panic};
use crate::key::{KEY_BYTES, Key};

/// One table of redb.
pub struct RedbEngine {
    database: Database,
}

const TABLE: TableDefinition<'_, &[u8; KEY_BYTES], &[u8]> = TableDefinition::new("records");
/// The one file in the engine's directory.
const FILE: &str = "records.redb";

impl RedbEngine {
    /// Opens the engine in a directory, which is made when it is missing. `cache_bytes` is all that redb keeps in memory.
    ///
    /// # Errors
    /// The file cannot be read or written, or redb finds it damaged.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<RedbEngine, EngineError> {
        let cache_bytes = usize::try_from(cache_bytes).unwrap_or(usize::MAX);
        files::make_whole(dir, |unfinished| make(unfinished, cache_bytes))?;
        let database = catch_panic("open", || {
            Builder::new().set_cache_size(cache_bytes).open(dir.join(FILE)).map_err(|e| EngineError::new("open", e))
        })?;
        Ok(RedbEngine { database })
    }

    fn begin_read(&self) -> Result<ReadTransaction, EngineError> {
        self.database.begin_read().map_err(|e| EngineError::new("begin_read", e))
    }
}

/// Makes a database with an empty table, and closes it.
fn make(dir: &Path, cache_bytes: usize) -> Result<(), EngineError> {
    fs::create_dir(dir).map_err(|e| EngineError::new("create the directory", e))?;
    let database = Builder::new().set_cache_size(cache_bytes).create(dir.join(FILE));
    let write = database.as_ref().map_err(|e| EngineError::new("create", e))?.begin_write();
    let write = write.map_err(|e| EngineError::new("begin_write", e))?;
    write.open_table(TABLE).map_err(|e| EngineError::new("open_table", e))?;
    write.commit().map_err(|e| EngineError::new("commit", e))
}

impl Engine for RedbEngine {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn commit(&self, batch: &Batch, _: Durability) -> Result<(), EngineError> {
        let mut write = self.database.begin_write().map_err(|e| EngineError::new("begin_write", e))?;
        let immediate = write.set_durability(redb::Durability::Immediate);
        immediate.map_err(|e| EngineError::new("set_durability", e))?;
        {
            let mut table = write.open_table(TABLE).map_err(|e| EngineError::new("open_table", e))?;
            for key in &batch.removes {
                table.remove(key).map_err(|e| EngineError::new("remove", e))?;
            }
            for (key, value) in &batch.puts {
                table.insert(key, &value[..]).map_err(|e| EngineError::new("insert", e))?;
            }
        }
        write.commit().map_err(|e| EngineError::new("commit", e))
    }

    /// Every commit is durable already (rule 2).
    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        let table = self.begin_read()?.open_table(TABLE).map_err(|e| EngineError::new("open_table", e))?;
        let value = table.get(key).map_err(|e| EngineError::new("get", e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        let table = self.begin_read()?.open_table(TABLE).map_err(|e| EngineError::new("open_table", e))?;
        let records = table.range::<&Key>(range.start()..=range.end()).map_err(|e| EngineError::new("range", e))?;
        for record in records {
            let (key, value) = record.map_err(|e| EngineError::new("range", e))?;
            if visit(key.value(), value.value()) == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, range: RangeInclusive<Key>) -> Result<Option<(Key, Bytes)>, EngineError> {
        let table = self.begin_read()?.open_table(TABLE).map_err(|e| EngineError::new("open_table", e))?;
        let mut records = table.range::<&Key>(range.start()..=range.end()).map_err(|e| EngineError::new("last", e))?;
        match records.next_back() {
            None => Ok(None),
            Some(Err(e)) => Err(EngineError::new("last", e)),
            Some(Ok((key, value))) => Ok(Some((*key.value(), Bytes::copy_from_slice(value.value())))),
        }
    }
}
