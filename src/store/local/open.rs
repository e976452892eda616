//! Opens a store: finds the queues, and checks that everything that should be there is.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::{Arc, atomic::AtomicUsize},
};

use super::{QueueSettings, Recovered, garbage::Garbage, queue::Queue};
use crate::{
    block::{self, Damage},
    data_dir::{DataDir, DataDirError},
    engine::{Engine, EngineError, Next},
    key::{self, Key},
    ring::{Own, Ring},
    state::{self, State},
};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The engine failed.
    #[error("the engine failed: {0}. If its files are damaged, {WAY_OUT}")]
    Engine(#[from] EngineError),
    /// The engine has lost commits that it had called durable.
    #[error(
        "the engine has lost commits: it ends at number {found}, and number {promised} was durable. \
         Messages that were acknowledged are missing; nothing was changed; {WAY_OUT}"
    )]
    RolledBack {
        /// The last commit that is there.
        found: u64,
        /// The last commit that was durable.
        promised: u64,
    },
    /// A message is damaged or missing.
    #[error("queue \"{queue}\", position {position}: {damage}; nothing was changed; {WAY_OUT}")]
    Damaged {
        /// The name of the queue.
        queue: String,
        /// The ring slot of the first message concerned.
        position: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A record that belongs to no single message is damaged.
    #[error("{what}: {damage}; nothing was changed; {WAY_OUT}")]
    Record {
        /// Which record.
        what: String,
        /// What is wrong.
        damage: Damage,
    },
    /// The commit thread cannot be started.
    #[error("cannot start the commit thread: {0}")]
    Thread(std::io::Error),
}

/// What who reads a refusal wants to know next.
const WAY_OUT: &str = "`httpmq repair` saves what is whole, lists what is lost, and keeps all of this aside";

/// What was found in the engine.
pub(super) struct Found {
    pub(super) queues: Vec<Arc<Queue>>,
    /// The ids of deleted queues of which something is left.
    pub(super) deleted: HashSet<u32>,
    pub(super) garbage: Garbage,
    /// The number of the last commit.
    pub(super) number: u64,
}

impl Found {
    pub(super) fn recovered(&self) -> Recovered {
        let unread = self.queues.iter().map(|queue| queue.lock().ring.unread()).sum();
        Recovered { queues: self.queues.len(), unread }
    }
}

/// Everything while it is checked.
#[derive(Default)]
struct Everything {
    queues: HashMap<u32, Checked>,
    /// Queues that were deleted: whatever is left of them is to be removed.
    deleted: HashSet<u32>,
}

/// One queue while its blocks are checked.
struct Checked {
    name: String,
    ring: Ring,
    own: Own,
    /// The first sequence of the oldest block.
    oldest: Option<u64>,
    /// One past the last sequence seen; the floor before there was any.
    end: u64,
    /// Of a message in parts: its sequence, how many parts there are, and which comes next.
    parts: Option<(u64, u16, u16)>,
    has_garbage: bool,
}

/// A queue of which every record was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number in the engine.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its positions.
    pub ring: Ring,
    /// The settings that it was given at run time.
    pub own: Own,
}

/// Checks everything in an engine as a start does, and gives the queues in the order of their ids. Changes nothing.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(engine: &dyn Engine, settings: &QueueSettings) -> Result<Vec<Kept>, OpenError> {
    let mut kept = Vec::new();
    for (id, checked) in check_all(engine, settings)?.queues {
        kept.push(Kept { id, name: checked.name, ring: checked.ring, own: checked.own });
    }
    kept.sort_by_key(|queue| queue.id);
    Ok(kept)
}

/// Reads the state of every queue and checks every block.
pub(super) fn find(
    engine: &dyn Engine,
    dir: Option<&DataDir>,
    settings: &QueueSettings,
    cached_bytes: &Arc<AtomicUsize>,
) -> Result<Found, OpenError> {
    let number = commit_number(engine, dir)?;
    let Everything { queues, deleted } = check_all(engine, settings)?;
    let (queues, garbage) = (queues.into_iter(), Garbage::default());
    let mut found = Found { queues: Vec::with_capacity(queues.len()), deleted, garbage, number };
    found.deleted.iter().for_each(|id| found.garbage.add_deleted(*id));
    for (id, checked) in queues {
        if checked.has_garbage {
            found.garbage.add_before_epoch(id, checked.ring.epoch);
        }
        let oldest = checked.oldest.unwrap_or(checked.ring.put);
        let queue = Queue::new(id, checked.name, checked.ring, checked.own, oldest, cached_bytes.clone());
        found.queues.push(Arc::new(queue));
    }
    Ok(found)
}

fn check_all(engine: &dyn Engine, settings: &QueueSettings) -> Result<Everything, OpenError> {
    let mut all = read_states(engine, settings)?;
    check_blocks(engine, key::all_blocks(), &mut all)?;
    all.queues.values().try_for_each(Checked::check_end)?;
    Ok(all)
}

/// The number of the engine's last commit. An engine that is behind the commit mark has lost commits that it had called durable.
///
/// # Errors
/// It has, or the number or the mark is damaged.
pub fn commit_number(engine: &dyn Engine, dir: Option<&DataDir>) -> Result<u64, OpenError> {
    let number = match engine.get(&key::commit())? {
        None => 0,
        Some(record) => state::decode_commit(&record)
            .map_err(|damage| OpenError::Record { what: "the commit number".into(), damage })?,
    };
    let Some(dir) = dir else { return Ok(number) };
    match dir.commit_mark()? {
        Some(mark) if number < mark => Err(OpenError::RolledBack { found: number, promised: mark }),
        Some(_) => Ok(number),
        None => {
            log::warn!("there is no commit mark in {}: lost commits would go unnoticed", dir.path().display());
            Ok(number)
        }
    }
}

fn read_states(engine: &dyn Engine, settings: &QueueSettings) -> Result<Everything, OpenError> {
    let mut all = Everything::default();
    let mut damaged = None;
    engine.range(key::queues(), &mut |key, record| match state::decode(key::queue_id(key), record, |name| {
        settings.of(name)
    }) {
        Ok(State::Queue { name, ring, own }) => {
            let end = ring.lost.skip(ring.floor);
            let checked = Checked { name, ring, own, oldest: None, end, parts: None, has_garbage: false };
            all.queues.insert(key::queue_id(key), checked);
            Next::Continue
        }
        Ok(State::Deleted) => {
            all.deleted.insert(key::queue_id(key));
            Next::Continue
        }
        Err(damage) => {
            damaged = Some(OpenError::Record { what: state_of(key::queue_id(key), record), damage });
            Next::Stop
        }
    })?;
    damaged.map_or(Ok(all), Err)
}

/// Names the state of a queue, which is the only place that the name of the queue is in.
fn state_of(id: u32, record: &[u8]) -> String {
    match state::guess_name(record) {
        Some(name) => format!("the state of a queue (id {id}, perhaps \"{name}\")"),
        None => format!("the state of a queue (id {id})"),
    }
}

fn check_blocks(engine: &dyn Engine, range: RangeInclusive<Key>, all: &mut Everything) -> Result<(), OpenError> {
    let mut wrong = None;
    engine.range(range, &mut |key, record| {
        let checked = match all.queues.get_mut(&key::queue_id(key)) {
            Some(queue) => queue.check(key, record),
            None if all.deleted.contains(&key::queue_id(key)) => Ok(()),
            None => {
                let (id, first) = (key::queue_id(key), key::first_sequence(key));
                let what = format!("a block of an unknown queue (id {id}), its message {first}");
                Err(OpenError::Record { what, damage: Damage::Misplaced })
            }
        };
        match checked {
            Ok(()) => Next::Continue,
            Err(error) => {
                wrong = Some(error);
                Next::Stop
            }
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

impl Checked {
    /// Checks the next record of this queue: whole, in its place, and right behind the one before it.
    fn check(&mut self, key: &Key, record: &[u8]) -> Result<(), OpenError> {
        let first = key::first_sequence(key);
        if key::epoch(key) < self.ring.epoch {
            self.has_garbage = true;
            return Ok(());
        }
        if key::epoch(key) > self.ring.epoch {
            return Err(self.damaged(first, Damage::Misplaced));
        }
        let header = block::check(key, record).map_err(|damage| self.damaged(first, damage))?;
        // The search for forgotten blocks starts at the oldest. It removes in steps, so any of them may be gone already.
        self.oldest.get_or_insert(first);
        if header.end <= self.ring.floor {
            return Ok(());
        }
        let follows = match self.parts {
            // The first block may begin before the floor; no message at or above it may be missing.
            None => (first == self.end || (first < self.end && self.end == self.ring.floor)) && header.part == 0,
            Some(open) => (first, header.parts, header.part) == open,
        };
        if !follows {
            return Err(self.damaged(self.end, Damage::Missing));
        }
        let next = header.part + 1;
        self.parts = (next < header.parts).then_some((first, header.parts, next));
        if self.parts.is_none() {
            self.end = self.ring.lost.skip(header.end);
        }
        Ok(())
    }

    /// Checks that the last block ends where the state says.
    fn check_end(&self) -> Result<(), OpenError> {
        let whole = self.parts.is_none() && self.end == self.ring.put;
        if whole { Ok(()) } else { Err(self.damaged(self.end, Damage::Missing)) }
    }

    fn damaged(&self, sequence: u64, damage: Damage) -> OpenError {
        OpenError::Damaged { queue: self.name.clone(), position: self.ring.position(sequence), damage }
    }
}
