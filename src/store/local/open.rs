//! Opens a store: finds the queues, and checks that everything that should be there is.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::AtomicUsize},
};

use super::{
    QueueSettings, Recovered,
    check::{STRETCH_MESSAGES, check_blocks},
    garbage::Garbage,
    queue::Queue,
};
use crate::{
    block::Damage,
    data_dir::{DataDir, DataDirError},
    engine::{Engine, EngineError, Next},
    key,
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
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What who reads a refusal wants to know next.
pub(super) const WAY_OUT: &str = "`httpmq repair` saves what is whole, lists what is lost, and keeps all of this aside";

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

/// What the states say there is.
#[derive(Default)]
pub(super) struct States {
    pub(super) queues: BTreeMap<u32, Kept>,
    /// Queues that were deleted: whatever is left of them is to be removed.
    pub(super) deleted: HashSet<u32>,
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
    let states = read_states(engine, settings)?;
    check_blocks(engine, &states, STRETCH_MESSAGES)?;
    Ok(states.queues.into_values().collect())
}

/// Reads the state of every queue and checks every block.
pub(super) fn find(
    engine: &dyn Engine,
    dir: Option<&DataDir>,
    settings: &QueueSettings,
    cached_bytes: &Arc<AtomicUsize>,
) -> Result<Found, OpenError> {
    let number = commit_number(engine, dir)?;
    let states = read_states(engine, settings)?;
    let seen = check_blocks(engine, &states, STRETCH_MESSAGES)?;
    let States { queues, deleted } = states;
    let mut found = Found { queues: Vec::with_capacity(queues.len()), deleted, garbage: Garbage::default(), number };
    found.deleted.iter().for_each(|id| found.garbage.add_deleted(*id));
    for (Kept { id, name, ring, own }, seen) in queues.into_values().zip(seen) {
        if seen.has_garbage {
            found.garbage.add_before_epoch(id, ring.epoch);
        }
        let oldest = seen.oldest.unwrap_or(ring.put);
        found.queues.push(Arc::new(Queue::new(id, name, ring, own, oldest, cached_bytes.clone())));
    }
    Ok(found)
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

fn read_states(engine: &dyn Engine, settings: &QueueSettings) -> Result<States, OpenError> {
    let mut all = States::default();
    let mut damaged = None;
    engine.range(key::queues(), &mut |key, record| match state::decode(key::queue_id(key), record, |name| {
        settings.of(name)
    }) {
        Ok(State::Queue { name, ring, own }) => {
            let id = key::queue_id(key);
            all.queues.insert(id, Kept { id, name, ring, own });
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
