//! `httpmq export`: an engine → lines.

use std::io::Write;
use std::path::Path;

use super::error::OfflineError;
use super::line::{End, Entry, Line, Queue, VERSION};
use super::{Count, settings};
use crate::block::{Block, BlockReader, Damage};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::engine::{self, Engine, Next};
use crate::key;
use crate::store::local::{Kept, OpenError, QueueSettings, check, commit_number};

/// Writes the queues that are named, or all, of the data directory at `place`.
pub(super) fn export(
    place: &Path,
    names: &[String],
    config: &Config,
    out: &mut dyn Write,
) -> Result<Count, OfflineError> {
    let (dir, kind) = DataDir::open_existing(place)?;
    let engine = engine::open(kind, place, (&config.store).into())?;
    commit_number(&*engine, Some(&dir))?;
    let count = write_engine(&*engine, names, &settings(config), out)?;
    // Closed in order, so that the next start finds nothing to recover.
    engine::close(engine, place);
    Ok(count)
}

/// Checks all that an engine has, then writes the queues that are named, or all, in the order of their ids.
pub(super) fn write_engine(
    engine: &dyn Engine,
    names: &[String],
    settings: &QueueSettings,
    out: &mut dyn Write,
) -> Result<Count, OfflineError> {
    let mut queues = check(engine, settings)?;
    if let Some(unknown) = names.iter().find(|name| queues.iter().all(|queue| queue.name != **name)) {
        return Err(OfflineError::UnknownQueue(unknown.clone()));
    }
    queues.retain(|queue| names.is_empty() || names.contains(&queue.name));
    let mut writer = Writer { out, crc: crc32fast::Hasher::new(), buffer: Vec::new(), count: Count::default() };
    writer.write(&Line::Begin(VERSION))?;
    for queue in &queues {
        write_queue(engine, queue, &mut writer)?;
    }
    let Count { queues, messages } = writer.count;
    let crc32 = format!("{:08x}", writer.crc.clone().finalize());
    writer.write(&Line::End(End { queues, messages, crc32 }))?;
    writer.out.flush().map_err(OfflineError::Output)?;
    Ok(writer.count)
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    buffer: Vec<u8>,
    count: Count,
}

impl Writer<'_> {
    fn write(&mut self, line: &Line) -> Result<(), OfflineError> {
        self.buffer.clear();
        line.write(&mut self.buffer).map_err(|reason| OfflineError::Output(std::io::Error::other(reason)))?;
        self.crc.update(&self.buffer);
        self.out.write_all(&self.buffer).map_err(OfflineError::Output)
    }
}

fn write_queue(engine: &dyn Engine, queue: &Kept, writer: &mut Writer<'_>) -> Result<(), OfflineError> {
    writer.count.queues += 1;
    writer.write(&Line::Queue(Queue { name: queue.name.clone(), ring: queue.ring.clone(), own: queue.own }))?;
    let mut reader = BlockReader::default();
    let mut outcome = Ok(());
    let mut next = queue.ring.lost.skip(queue.ring.floor);
    engine.range(key::blocks(queue.id, queue.ring.epoch, 0, u64::MAX), &mut |key, record| {
        outcome = match reader.push(key, record) {
            Ok(None) => Ok(()),
            Ok(Some(block)) => write_block(&block, queue, &mut next, writer),
            // A clean-up below the floor can have stopped between two parts of a message.
            Err(_) if key::first_sequence(key) < queue.ring.floor => {
                reader = BlockReader::default();
                Ok(())
            }
            Err(damage) => Err(damaged(queue, key::first_sequence(key), damage).into()),
        };
        if outcome.is_ok() { Next::Continue } else { Next::Stop }
    })?;
    outcome?;
    // All was checked; what does not come any more is a mistake of ours or a fault of the disk.
    if next == queue.ring.put { Ok(()) } else { Err(damaged(queue, next, Damage::Missing).into()) }
}

fn write_block(block: &Block, queue: &Kept, next: &mut u64, writer: &mut Writer<'_>) -> Result<(), OfflineError> {
    for sequence in block.first().max(queue.ring.floor)..block.end() {
        let message = block.message(sequence).filter(|_| sequence == *next);
        let message = message.ok_or_else(|| damaged(queue, *next, Damage::Missing))?;
        writer.write(&Line::Message(Entry { sequence, position: queue.ring.position(sequence), message }))?;
        writer.count.messages += 1;
        *next = queue.ring.lost.skip(sequence + 1);
    }
    Ok(())
}

fn damaged(queue: &Kept, sequence: u64, damage: Damage) -> OpenError {
    OpenError::Damaged { queue: queue.name.clone(), position: queue.ring.position(sequence), damage }
}
