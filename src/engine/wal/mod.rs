//! A write-ahead log in front of an engine: what an engine's commit takes several writes and syncs for, is one of each here.
//!
//! - A commit is one frame behind the last in a file that has its full length already ([`segment`]), and one `fdatasync`. Then its
//!   changes are in a layer in memory ([`overlay`]), where readers find them.
//! - When a segment is full, a thread merges its layer and gives it to the engine ([`checkpoint`]). What was inserted and removed
//!   in that time never gets there, and no put waits for it.
//! - The engine's last batch also says up to which number it has the log ([`applied`]), so at any moment the engine and the frames
//!   behind that number are everything ([`recover`]).
//! - A batch too large for the log to be worth it goes to the engine, with all that is in the log before it; as does any batch while
//!   no segment is free, so that a slow engine slows down those who write.
//!
//! The engine is committed to with [`Durability::Disk`] only: a segment is written over as soon as the engine has it.

mod applied;
mod checkpoint;
mod frame;
mod overlay;
mod recover;
mod segment;

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use bytes::Bytes;

pub(super) use self::recover::Gaps;
use self::{
    checkpoint::Shared,
    overlay::{Layer, Layers},
    recover::Recovered,
    segment::Segment,
};
use super::{Batch, Durability, Engine, EngineError, Next, Visitor};
use crate::key::{self, Key};

/// How many segments the log has: one is written to, one is ready, and the others are on their way into the engine.
const SEGMENTS: usize = 4;
/// A batch that is more work than this part of a segment goes to the engine: there it has to be done anyway.
const DIRECT_PART: usize = 16;

/// What removing a record counts for beside what is written: engines write its neighbours anew, or a mark that they have to clear away.
const REMOVE_BYTES: usize = 2048;

/// An engine with a log in front of it.
pub(super) struct LoggedEngine {
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    thread: Option<JoinHandle<()>>,
}

/// Where the next frame goes.
struct Writer {
    /// The number of the last commit.
    number: u64,
    /// The last one that is known to be on the disk.
    durable: u64,
    active: Option<(Segment, Arc<Layer>)>,
    has_failed: bool,
}

/// Where the log of the engine is whose files are in a directory.
pub(super) fn dir(engine: &Path) -> PathBuf {
    engine.with_added_extension("wal")
}

impl LoggedEngine {
    /// Puts the log in a directory, which is made when it is missing, in front of an engine. The log takes
    /// `log_bytes` on the disk, and as much memory at most. Also says what was passed over, if it was to be.
    ///
    /// # Errors
    /// The files cannot be read or written, or are damaged.
    pub(super) fn open(
        engine: Arc<dyn Engine>,
        dir: PathBuf,
        log_bytes: u64,
        gaps: Gaps,
    ) -> Result<(LoggedEngine, Vec<String>), EngineError> {
        let segment_bytes = usize::try_from(log_bytes / SEGMENTS as u64).unwrap_or(usize::MAX);
        let Recovered { mark, last, full, free, remarks } = recover::recover(&*engine, &dir, gaps)?;
        let shared = Arc::new(Shared::new(engine, dir, mark, segment_bytes, full, free));
        let own = shared.clone();
        let thread = thread::Builder::new().name("checkpoint".into()).spawn(move || own.run());
        let thread = thread.map_err(|e| EngineError::new("start the checkpoint thread", e))?;
        let writer = Writer { number: last, durable: last, active: None, has_failed: false };
        Ok((LoggedEngine { shared, writer: Mutex::new(writer), thread: Some(thread) }, remarks))
    }

    /// Whether so much work is for the log.
    fn is_for_log(&self, work: usize) -> bool {
        work <= self.shared.segment_bytes / DIRECT_PART
    }

    /// What it takes an engine to do what a batch says, in bytes that it writes: so that what the log has taken quickly is not more than the
    /// engine can do while somebody waits for it.
    fn work(&self, batch: &Batch) -> usize {
        let layers = if batch.removes.is_empty() { Layers::default() } else { self.shared.layers() };
        let removes = batch.removes.iter().filter(|key| !layers.have_new(key)).count();
        frame::length(batch) + removes * REMOVE_BYTES
    }

    fn write(&self, writer: &mut Writer, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        self.shared.check()?;
        let (number, work) = (writer.number + 1, self.work(batch));
        let fits = self.is_for_log(work) && self.reach(writer, work)?;
        let encoded = fits.then(|| frame::encode(self.shared.mark, number, writer.durable, batch)).flatten();
        let (Some((bytes, frame)), Some((segment, layer))) = (encoded, &mut writer.active) else {
            return self.write_directly(writer, batch);
        };
        let layer = layer.clone();
        segment.append(&bytes, work).map_err(failed("write the log"))?;
        writer.number = number;
        if durability == Durability::Disk {
            sync(writer)?;
        }
        layer.add(frame.changes, batch.inserts.len());
        Ok(())
    }

    /// Sees to it that there is a segment with room for so much work. `false`: none is free.
    fn reach(&self, writer: &mut Writer, work: usize) -> Result<bool, EngineError> {
        if writer.active.as_ref().is_some_and(|(segment, _)| segment.has_room(work)) {
            return Ok(true);
        }
        let Some(next) = self.shared.take_free() else { return Ok(false) };
        sync(writer)?;
        if let Some((segment, layer)) = writer.active.replace(next) {
            self.shared.hand_over(segment, layer, writer.number);
        }
        Ok(true)
    }

    fn write_directly(&self, writer: &mut Writer, batch: &Batch) -> Result<(), EngineError> {
        let number = writer.number + 1;
        self.shared.commit_behind_all(batch, number)?;
        writer.number = number;
        writer.durable = number;
        if let Some((segment, layer)) = &mut writer.active {
            segment.rewind();
            *layer = self.shared.begin_layer();
        }
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for LoggedEngine {
    fn name(&self) -> &'static str {
        self.shared.engine.name()
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut writer = self.writer();
        let written = self.write(&mut writer, batch, durability);
        writer.has_failed |= written.is_err();
        written
    }

    fn is_quick(&self, bytes: usize) -> bool {
        let has_room = |writer: &Writer| writer.active.as_ref().is_some_and(|(segment, _)| segment.has_room(bytes));
        self.is_for_log(bytes) && self.writer.try_lock().is_ok_and(|writer| has_room(&writer))
    }

    fn is_removed_freely(&self, key: &Key) -> bool {
        self.shared.layers().have_new(key)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut writer = self.writer();
        let synced = sync(&mut writer);
        writer.has_failed |= synced.is_err();
        synced
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        match self.shared.layers().get(key) {
            Some(said) => Ok(said),
            None => self.shared.engine.get(key),
        }
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        let mut walk = self.shared.layers().walk(&range);
        let mut stopped = false;
        self.shared.engine.range(range, &mut |key, value| {
            // What only the log has, in front of this.
            while walk.peek().is_some_and(|own| own < *key) && !stopped {
                stopped = walk.next().is_some_and(|(key, value)| is_last(&key, value.as_deref(), visit));
            }
            if stopped {
                return Next::Stop;
            }
            let own = if walk.peek() == Some(*key) { walk.next() } else { None };
            stopped = match &own {
                Some((key, value)) => is_last(key, value.as_deref(), visit),
                None if *key == key::applied() => false,
                None => is_last(key, Some(value), visit),
            };
            if stopped { Next::Stop } else { Next::Continue }
        })?;
        while !stopped && let Some((key, value)) = walk.next() {
            stopped = is_last(&key, value.as_deref(), visit);
        }
        Ok(())
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        let layers = self.shared.layers();
        let own = layers.last_key(&range);
        let (first, mut end) = (*range.start(), *range.end());
        // Down to the first record of the engine of which the log says nothing.
        let others = loop {
            match self.shared.engine.last_key(first..=end)? {
                Some(key) if layers.get(&key).is_some() || key == key::applied() => match key::before(&key) {
                    Some(before) if before >= first => end = before,
                    _ => break None,
                },
                found => break found,
            }
        };
        Ok(own.into_iter().chain(others).max())
    }
}

impl Drop for LoggedEngine {
    /// The engine gets what is left, so that the next start need not bring it there.
    fn drop(&mut self) {
        self.shared.close();
        // What a panic of that thread has left undone is still in the log.
        let ended = self.thread.take().map(JoinHandle::join);
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if writer.has_failed || !matches!(ended, Some(Ok(()))) || !self.shared.has_rest() {
            return;
        }
        if let Err(error) = self.shared.commit_behind_all(&Batch::default(), writer.number) {
            log::warn!("the engine does not take what is in the log, where it stays until the next start: {error}");
        }
    }
}

/// Makes everything in the log durable.
fn sync(writer: &mut Writer) -> Result<(), EngineError> {
    if let Some((segment, _)) = &writer.active
        && writer.durable < writer.number
    {
        segment.sync().map_err(failed("sync the log"))?;
    }
    writer.durable = writer.number;
    Ok(())
}

/// Shows a record, if there is one; says whether the visitor wants no other.
fn is_last(key: &Key, value: Option<&[u8]>, visit: &mut Visitor<'_>) -> bool {
    value.is_some_and(|value| visit(key, value) == Next::Stop)
}

fn failed(call: &'static str) -> impl FnOnce(std::io::Error) -> EngineError {
    move |error| EngineError::new(call, error)
}

#[cfg(test)]
mod tests;
