//! Checks every block at a start: whole, in its place, and right behind the one before it.
//!
//! A start waits for this, and nearly all of it is reading. So the keys are cut into stretches, which several threads check; whether each
//! stretch begins where the one before it ended is seen when they are joined. What is found, and which damage is named, is the same as if one
//! had gone through all of them.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    ops::RangeInclusive,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::open::{Kept, OpenError, States};
use crate::{
    block::{self, Damage},
    engine::{Engine, Next},
    key::{self, Key},
    ring::Ring,
};

/// About so many messages are a stretch: much more work than to begin one, and little enough that the last threads end together.
pub(super) const STRETCH_MESSAGES: u64 = 10_000;

/// What was seen of the blocks of a queue, in one stretch of them or, joined, in all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The first sequence of the oldest block.
    pub(super) oldest: Option<u64>,
    /// There are blocks of before the last reset.
    pub(super) has_garbage: bool,
    /// The sequences of the blocks that have a message at the floor or above it: the first one's, and one past the last one's.
    covered: Option<(u64, u64)>,
    /// Of a message in parts, of which more are to come: its sequence, how many parts there are, and which comes next.
    parts: Option<(u64, u16, u16)>,
}

/// What was seen in one stretch.
#[derive(Default)]
struct Stretch {
    queues: BTreeMap<u32, Seen>,
    /// What ended it early.
    wrong: Option<OpenError>,
}

/// Checks every block, and that no message is missing that should be there; gives what was seen of each queue, in their order. Changes
/// nothing.
///
/// # Errors
/// The first thing that is wrong, in the order of keys; messages missing at the end of a queue come after everything else.
pub(super) fn check_blocks(
    engine: &dyn Engine,
    states: &States,
    stretch_messages: u64,
) -> Result<Vec<Seen>, OpenError> {
    let mut all: BTreeMap<u32, (&Kept, Seen)> = BTreeMap::new();
    all.extend(states.queues.iter().map(|(id, queue)| (*id, (queue, Seen::default()))));
    for stretch in check_stretches(engine, states, &cut(states, stretch_messages))? {
        for (id, seen) in stretch.queues {
            if let Some((queue, before)) = all.get_mut(&id) {
                before.join(seen, queue)?;
            }
        }
        stretch.wrong.map_or(Ok(()), Err)?;
    }
    all.values().try_for_each(|(queue, seen)| seen.check_end(queue))?;
    Ok(all.into_values().map(|(_, seen)| seen).collect())
}

/// Cuts the keys of all blocks, so that there are about as many messages in each stretch.
fn cut(states: &States, stretch_messages: u64) -> Vec<RangeInclusive<Key>> {
    let (first, last) = key::all_blocks().into_inner();
    let (mut stretches, mut from, mut room) = (Vec::new(), first, stretch_messages);
    for (id, Kept { ring: Ring { epoch, floor, put, .. }, .. }) in &states.queues {
        let mut next = *floor;
        while put - next >= room {
            next += room;
            let start = key::block(*id, *epoch, next, 0);
            stretches.extend(key::before(&start).map(|end| from..=end));
            (from, room) = (start, stretch_messages);
        }
        room -= put - next;
    }
    stretches.push(from..=last);
    stretches
}

/// Checks each stretch, as many at a time as there are processors. Those behind one in which something is wrong may be left out.
fn check_stretches(
    engine: &dyn Engine,
    states: &States,
    stretches: &[RangeInclusive<Key>],
) -> Result<Vec<Stretch>, OpenError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut checked = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(keys) = stretches.get(at) else { return checked };
            let stretch = Stretch::check(engine, states, keys.clone());
            if stretch.wrong.is_some() {
                // All in front of this one have been begun.
                next.store(stretches.len(), Ordering::Relaxed);
            }
            checked.push((at, stretch));
        }
    };
    let helpers = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(stretches.len()) - 1;
    let mut checked = thread::scope(|scope| -> io::Result<_> {
        let spawn = |_| thread::Builder::new().name("check".into()).spawn_scoped(scope, work);
        let threads = (0..helpers).map(spawn).collect::<io::Result<Vec<_>>>()?;
        let mut checked = work();
        for thread in threads {
            checked.extend(thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        }
        Ok(checked)
    })
    .map_err(OpenError::Thread)?;
    checked.sort_by_key(|(at, _)| *at);
    Ok(checked.into_iter().map(|(_, stretch)| stretch).collect())
}

impl Stretch {
    fn check(engine: &dyn Engine, states: &States, keys: RangeInclusive<Key>) -> Stretch {
        let mut stretch = Stretch::default();
        let walked = engine.range(keys, &mut |key, record| match stretch.check_next(states, key, record) {
            Ok(()) => Next::Continue,
            Err(error) => {
                stretch.wrong = Some(error);
                Next::Stop
            }
        });
        if let Err(error) = walked {
            stretch.wrong = Some(error.into());
        }
        stretch
    }

    fn check_next(&mut self, states: &States, key: &Key, record: &[u8]) -> Result<(), OpenError> {
        let id = key::queue_id(key);
        match states.queues.get(&id) {
            Some(queue) => self.queues.entry(id).or_default().check_next(queue, key, record),
            None if states.deleted.contains(&id) => Ok(()),
            None => {
                let what = format!("a block of an unknown queue (id {id}), its message {}", key::first_sequence(key));
                Err(OpenError::Record { what, damage: Damage::Misplaced })
            }
        }
    }
}

impl Seen {
    /// Checks the next record of a queue: whole, in its place, and right behind the one before it, if that is in the same stretch.
    fn check_next(&mut self, queue: &Kept, key: &Key, record: &[u8]) -> Result<(), OpenError> {
        let (ring, first) = (&queue.ring, key::first_sequence(key));
        if key::epoch(key) < ring.epoch {
            self.has_garbage = true;
            return Ok(());
        }
        if key::epoch(key) > ring.epoch {
            return Err(damaged(queue, first, Damage::Misplaced));
        }
        let header = block::check(key, record).map_err(|damage| damaged(queue, first, damage))?;
        // The search for forgotten blocks starts at the oldest. It removes in steps, so any of them may be gone already.
        self.oldest.get_or_insert(first);
        if header.end <= ring.floor {
            return Ok(());
        }
        let (begin, end) = *self.covered.get_or_insert((first, first));
        let follows = match self.parts {
            None => first == end && header.part == 0,
            Some(open) => (first, header.parts, header.part) == open,
        };
        if !follows {
            return Err(damaged(queue, end, Damage::Missing));
        }
        let next = header.part + 1;
        self.parts = (next < header.parts).then_some((first, header.parts, next));
        if self.parts.is_none() {
            self.covered = Some((begin, ring.lost.skip(header.end)));
        }
        Ok(())
    }

    /// Goes on with the next stretch of the same queue.
    fn join(&mut self, next: Seen, queue: &Kept) -> Result<(), OpenError> {
        self.oldest = self.oldest.or(next.oldest);
        self.has_garbage |= next.has_garbage;
        let Some((begin, end)) = next.covered else { return Ok(()) };
        if self.parts.is_some() || !self.goes_on_at(begin, &queue.ring) {
            return Err(damaged(queue, self.end(&queue.ring), Damage::Missing));
        }
        self.covered = Some((self.covered.map_or(begin, |(begin, _)| begin), end));
        self.parts = next.parts;
        Ok(())
    }

    /// Whether a block that begins here follows. The first one may begin before the floor; no message at or above it may be missing.
    fn goes_on_at(&self, begin: u64, ring: &Ring) -> bool {
        let end = self.end(ring);
        begin == end || (begin < end && end == ring.floor)
    }

    /// One past the last sequence seen; where the first should be before there was any.
    fn end(&self, ring: &Ring) -> u64 {
        self.covered.map_or_else(|| ring.lost.skip(ring.floor), |(_, end)| end)
    }

    /// Checks that the last block ends where the state says.
    fn check_end(&self, queue: &Kept) -> Result<(), OpenError> {
        let end = self.end(&queue.ring);
        if self.parts.is_none() && end == queue.ring.put { Ok(()) } else { Err(damaged(queue, end, Damage::Missing)) }
    }
}

fn damaged(queue: &Kept, sequence: u64, damage: Damage) -> OpenError {
    OpenError::Damaged { queue: queue.name.clone(), position: queue.ring.position(sequence), damage }
}

#[cfg(test)]
mod tests;
