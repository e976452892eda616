//! Moves the messages of a data directory from one engine to another, while no daemon runs.
//!
//! At each moment the directory opens with exactly one engine, the one that `FORMAT` names, and everything is in it:
//!
//! 1. The old engine is opened, and checked as at every start.
//! 2. What an earlier try left of the new engine is removed. All records are copied.
//! 3. The new engine is closed and opened again, so that what is read now comes from its files. Each record is read from both and
//!    compared, and all is checked as at every start.
//! 4. `FORMAT` is replaced by a rename that is synced: the one step that counts.
//! 5. Only then the old engine's files are removed.
//!
//! Whatever ends the process on the way leaves files of an engine that `FORMAT` does not name. The next migration removes them, and
//! so does the next start of a daemon, once it has found everything in the engine that is named.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    block,
    config::{self, Config},
    data_dir::{DataDir, DataDirError},
    engine::{self, Batch, Durability, Engine, EngineError, Next},
    key::{self, KEY_BYTES, Key},
    store::local::{self, OpenError, QueueSettings, Recovered},
};

/// What was moved.
#[derive(Debug)]
pub struct Report {
    /// The engine that had it.
    pub from: config::Engine,
    /// The engine that has it now.
    pub to: config::Engine,
    /// What both found in it.
    pub found: Recovered,
    /// How much that is.
    pub size: Size,
    /// How long it took.
    pub took: Duration,
    /// The old engine's files are still there: why. The next start removes them.
    pub left: Option<io::Error>,
}

/// How much is in an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Blocks, states, and the number of the last commit.
    pub records: u64,
    /// Messages in the blocks, read ones included that are not removed yet.
    pub messages: u64,
    /// Bytes of keys and records.
    pub bytes: u64,
}

/// Sees how far it is: the bytes that were copied or compared, and how many there are in all.
pub type Watcher<'a> = dyn FnMut(u64, u64) + 'a;

/// Why nothing was moved. The directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Nothing keeps messages on disk by this name.
    #[error("there is no engine {0} that keeps messages on disk; there are sled and fjall")]
    NoSuchEngine(String),
    /// The engine that has the messages does not open, or something is missing there.
    #[error("the engine {0}: {1}")]
    Source(&'static str, OpenError),
    /// The engine that shall have them failed.
    #[error("the engine {0}, which was to take the messages: {1}; nothing was changed")]
    Target(&'static str, OpenError),
    /// The copy would not fit.
    #[error("{needed} MiB must be free for the copy, and {free} MiB are; nothing was changed")]
    NoRoom {
        /// MiB that are needed, with the reserve that always stays free.
        needed: u64,
        /// MiB that are there.
        free: u64,
    },
    /// The copy is not the same.
    #[error("the copy is wrong at the record {0:02x?}; nothing was changed")]
    Differs(Vec<u8>),
}

/// As much is written, and compared, at a time.
const STEP_BYTES: usize = 1 << 20;

/// Moves everything to the engine with this name; `None` when it has everything already.
///
/// # Errors
/// See [`MigrateError`].
pub fn run(config: &Config, to: &str, watch: &mut Watcher<'_>) -> Result<Option<Report>, MigrateError> {
    let began = Instant::now();
    let to = config::Engine::on_disk(to).ok_or_else(|| MigrateError::NoSuchEngine(to.to_owned()))?;
    let (dir, from) = DataDir::open_existing(&config.store.data_dir)?;
    if from == to {
        return Ok(None);
    }
    dir.make_room(config.store.disk_reserve_bytes);
    let migration = Migration { config, dir: &dir, from, to };
    let source = migration.open(from).map_err(|e| MigrateError::Source(from.name(), e.into()))?;
    let found = migration.check(&*source).map_err(|e| MigrateError::Source(from.name(), e))?;
    migration.remove(to)?;
    let copied = migration.copy(&*source, found, watch);
    drop(source);
    let size = match copied {
        Ok(size) => size,
        Err(error) => {
            // What cannot be removed now is removed by the next migration or start.
            let _ = engine::remove(to, dir.path());
            return Err(error);
        }
    };
    dir.set_engine(to.name())?;
    let left = engine::remove(from, dir.path()).err();
    Ok(Some(Report { from, to, found, size, took: began.elapsed(), left }))
}

struct Migration<'a> {
    config: &'a Config,
    dir: &'a DataDir,
    from: config::Engine,
    to: config::Engine,
}

impl Migration<'_> {
    fn open(&self, engine: config::Engine) -> Result<Arc<dyn Engine>, EngineError> {
        engine::open(engine, self.dir.path(), (&self.config.store).into())
    }

    fn remove(&self, engine: config::Engine) -> Result<bool, MigrateError> {
        let path = self.dir.path().join(engine.name());
        let removed = engine::remove(engine, self.dir.path());
        removed.map_err(|error| DataDirError::Io { path: path.display().to_string(), error }.into())
    }

    /// As a start does it.
    fn check(&self, engine: &dyn Engine) -> Result<Recovered, OpenError> {
        let queues = QueueSettings { defaults: self.config.queue_defaults, named: self.config.queues.clone() };
        local::commit_number(engine, Some(self.dir))?;
        let kept = local::check(engine, &queues)?;
        Ok(Recovered { queues: kept.len(), unread: kept.iter().map(|queue| queue.ring.unread()).sum() })
    }

    /// Copies everything and compares what arrived.
    fn copy(&self, source: &dyn Engine, found: Recovered, watch: &mut Watcher<'_>) -> Result<Size, MigrateError> {
        let in_source = |error: EngineError| MigrateError::Source(self.from.name(), error.into());
        let in_target = |error: EngineError| MigrateError::Target(self.to.name(), error.into());
        let size = measure(source).map_err(in_source)?;
        self.check_room(size.bytes)?;
        let mut done = 0;
        let mut advance = |bytes: u64| {
            done += bytes;
            watch(done, 2 * size.bytes);
        };
        let target = self.open(self.to).map_err(in_target)?;
        let mut records = Records::new(source);
        while let Some(puts) = records.next().map_err(in_source)? {
            let bytes = puts.iter().map(record_bytes).sum();
            let written = target.commit(&Batch { puts, ..Batch::default() }, Durability::System);
            written.map_err(in_target)?;
            self.check_room(0)?;
            advance(bytes);
        }
        target.sync().map_err(in_target)?;
        drop(target);
        let target = self.open(self.to).map_err(in_target)?;
        let (mut ours, mut theirs) = (Records::new(source), Records::new(&*target));
        loop {
            let (ours, theirs) = (ours.next().map_err(in_source)?, theirs.next().map_err(in_target)?);
            if ours != theirs {
                return Err(MigrateError::Differs(first_difference(&ours, &theirs)));
            }
            match ours {
                Some(records) => advance(records.iter().map(record_bytes).sum()),
                None => break,
            }
        }
        let arrived = self.check(&*target).map_err(|e| MigrateError::Target(self.to.name(), e))?;
        // The same records say the same; a difference would be a mistake of this program.
        if arrived == found { Ok(size) } else { Err(MigrateError::Differs(Vec::new())) }
    }

    /// Whether so much more fits, with a half more for the files around it, and the reserve stays free.
    fn check_room(&self, bytes: u64) -> Result<(), MigrateError> {
        let needed = bytes + bytes / 2 + self.config.store.disk_reserve_bytes;
        let path = self.dir.path().display().to_string();
        let free = self.dir.free_bytes().map_err(|error| DataDirError::Io { path, error })?;
        if free < needed {
            return Err(MigrateError::NoRoom { needed: needed.div_ceil(1 << 20), free: free >> 20 });
        }
        Ok(())
    }
}

/// All records of an engine but for those that are the engine's own business, in steps.
struct Records<'a> {
    engine: &'a dyn Engine,
    from: Option<Key>,
}

impl<'a> Records<'a> {
    fn new(engine: &'a dyn Engine) -> Records<'a> {
        Records { engine, from: Some([0; KEY_BYTES]) }
    }

    /// The next of them; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<(Key, Bytes)>>, EngineError> {
        let Some(from) = self.from else { return Ok(None) };
        let (mut found, mut bytes) = (Vec::new(), 0);
        self.engine.range(from..=[0xff; KEY_BYTES], &mut |key, record| {
            if !key::is_spacer(key) {
                found.push((*key, Bytes::copy_from_slice(record)));
                bytes += KEY_BYTES + record.len();
            }
            if bytes < STEP_BYTES { Next::Continue } else { Next::Stop }
        })?;
        self.from = found.last().and_then(|(key, _)| key::after(key));
        Ok((!found.is_empty()).then_some(found))
    }
}

fn measure(engine: &dyn Engine) -> Result<Size, EngineError> {
    let mut size = Size::default();
    let mut records = Records::new(engine);
    while let Some(step) = records.next()? {
        for record in &step {
            size.records += 1;
            size.bytes += record_bytes(record);
            // What is no whole block is no message either: the rest of one that is being removed.
            let block = block::check(&record.0, &record.1).ok().filter(|block| block.part == 0);
            size.messages += block.map_or(0, |block| block.end - key::first_sequence(&record.0));
        }
    }
    Ok(size)
}

fn record_bytes((_, record): &(Key, Bytes)) -> u64 {
    (KEY_BYTES + record.len()) as u64
}

/// The first key that two engines do not have the same record for.
fn first_difference(ours: &Option<Vec<(Key, Bytes)>>, theirs: &Option<Vec<(Key, Bytes)>>) -> Vec<u8> {
    let (ours, theirs) = (ours.as_deref().unwrap_or_default(), theirs.as_deref().unwrap_or_default());
    let same = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let different = ours.get(same).into_iter().chain(theirs.get(same)).map(|(key, _)| key.to_vec()).min();
    different.unwrap_or_default()
}

/// Removes what a migration that did not come to its end left behind: the files of every engine but the one that has the messages.
/// To be called when that one was found whole.
pub fn clean_up(dir: &Path, engine: config::Engine) {
    for other in config::Engine::ON_DISK.into_iter().filter(|other| *other != engine) {
        match engine::remove(other, dir) {
            Ok(false) => {}
            Ok(true) => log::warn!("removed files of the engine {} that a migration left behind", other.name()),
            Err(error) => log::warn!("cannot remove files of {} that a migration left: {error}", other.name()),
        }
    }
}
