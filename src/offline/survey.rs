//! What of the queues in a damaged engine is whole, and what becomes of each queue. No I/O: it is shown every record.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::block::{Block, BlockReader, Damage};
use crate::key::{self, Key};
use crate::ring::{Kind, Lost, Own, Ring};
use crate::state;
use crate::store::local::QueueSettings;

/// What a queue will be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) ring: Ring,
    pub(super) own: Own,
    /// What is lost of it, and why.
    pub(super) losses: Vec<(Range<u64>, Damage)>,
    /// What else is not as it was.
    pub(super) remarks: Vec<String>,
}

/// What was seen so far.
pub(super) struct Survey<'a> {
    settings: &'a QueueSettings,
    queues: BTreeMap<u32, Seen>,
    walk: Walk,
}

/// Follows the blocks in the order of their keys.
#[derive(Default)]
pub(super) struct Walk {
    place: Option<(u32, u32)>,
    reader: BlockReader,
    /// One past the last message of this place.
    end: u64,
}

#[derive(Default)]
struct Seen {
    state: Option<State>,
    epochs: BTreeMap<u32, Blocks>,
}

/// The state of a queue; of a damaged one what is wrong with it, and the name that it seems to say.
type State = Result<state::State, (Damage, Option<String>)>;

/// The blocks of one epoch.
#[derive(Default)]
struct Blocks {
    /// Stretches of messages that are all there.
    whole: Vec<Range<u64>>,
    /// Why the messages behind a sequence are not, where it is known.
    causes: BTreeMap<u64, Damage>,
}

impl Walk {
    /// Takes the next record of a block; gives the block that it completes. A record that belongs to nothing whole is damage.
    pub(super) fn push(&mut self, key: &Key, record: &[u8]) -> Result<Option<Block>, Damage> {
        let place = Some((key::queue_id(key), key::epoch(key)));
        if self.place != place {
            *self = Walk { place, ..Walk::default() };
        }
        let block = match self.reader.push(key, record) {
            Ok(block) => block,
            Err(_) => {
                // The damage may be that of the message before, whose end is missing, and this record be the next one's first.
                self.reader = BlockReader::default();
                self.reader.push(key, record).inspect_err(|_| self.reader = BlockReader::default())?
            }
        };
        let Some(block) = block else { return Ok(None) };
        if block.first() < self.end {
            return Err(Damage::Misplaced);
        }
        self.end = block.end();
        Ok(Some(block))
    }
}

impl Survey<'_> {
    pub(super) fn new(settings: &QueueSettings) -> Survey<'_> {
        Survey { settings, queues: BTreeMap::new(), walk: Walk::default() }
    }

    /// Sees the next record, in the order of the keys.
    pub(super) fn see(&mut self, key: &Key, record: &[u8]) {
        let id = key::queue_id(key);
        if key::queues().contains(key) {
            let read = state::decode(id, record, |name| self.settings.of(name));
            let read = read.map_err(|damage| (damage, state::guess_name(record).map(str::to_owned)));
            self.queues.entry(id).or_default().state = Some(read);
        } else if key::all_blocks().contains(key) {
            let blocks = self.queues.entry(id).or_default().epochs.entry(key::epoch(key)).or_default();
            match self.walk.push(key, record) {
                Ok(None) => {}
                Ok(Some(block)) => blocks.add(block.first()..block.end()),
                Err(damage) => {
                    blocks.causes.entry(blocks.end()).or_insert(damage);
                }
            }
        }
    }

    /// What the queues will be; and what can be said of those of which nothing can be saved.
    pub(super) fn plan(self) -> (Vec<Plan>, Vec<String>) {
        let known = |seen: &Seen| seen.name().map(str::to_owned);
        let mut names: BTreeSet<String> = self.queues.values().filter_map(known).collect();
        let (mut plans, mut given_up) = (Vec::new(), Vec::new());
        let mut taken = BTreeSet::new();
        for (id, mut seen) in self.queues {
            // Two states with one name: the second one is in the wrong place, or the first.
            if seen.name().is_some_and(|name| !taken.insert(name.to_owned())) {
                seen.state = Some(Err((Damage::Misplaced, None)));
            }
            // What is left of a deleted queue goes.
            if matches!(seen.state, Some(Ok(state::State::Deleted))) {
                continue;
            }
            match seen.plan(id, self.settings, &mut names) {
                Ok(plan) => plans.push(plan),
                Err(why) => given_up.push(why),
            }
        }
        (plans, given_up)
    }
}

impl Seen {
    /// Its name, where the state is whole.
    fn name(&self) -> Option<&str> {
        match &self.state {
            Some(Ok(state::State::Queue { name, .. })) => Some(name),
            _ => None,
        }
    }

    fn plan(self, id: u32, settings: &QueueSettings, names: &mut BTreeSet<String>) -> Result<Plan, String> {
        let newest = self.epochs.iter().rev().find(|(_, blocks)| !blocks.whole.is_empty()).map(|(epoch, _)| *epoch);
        let mut epochs = self.epochs;
        let mut blocks = |epoch| epochs.remove(&epoch).unwrap_or_default();
        let (name, why) = match self.state {
            Some(Ok(state::State::Queue { name, ring, own })) => match newest {
                Some(newest) if newest > ring.epoch => (name, "its state is older than its messages".to_owned()),
                _ => {
                    let blocks = blocks(ring.epoch);
                    return Ok(Plan { own, ..with_state(id, name, ring, blocks) });
                }
            },
            Some(Err((damage, guess))) => {
                let name = free_name(guess, id, names);
                (name, format!("the record with its name and positions is damaged ({damage}); the name is a guess"))
            }
            Some(Ok(state::State::Deleted)) | None => {
                (free_name(None, id, names), "the record with its name and positions is missing".to_owned())
            }
        };
        let Some(epoch) = newest else {
            return Err(format!("queue {name:?} (id {id}): {why}, and none of its messages is there"));
        };
        Ok(from_messages(id, name, why, epoch, blocks(epoch), settings))
    }
}

impl Blocks {
    fn end(&self) -> u64 {
        self.whole.last().map_or(0, |range| range.end)
    }

    fn add(&mut self, new: Range<u64>) {
        match self.whole.last_mut() {
            Some(last) if last.end == new.start => last.end = new.end,
            _ => self.whole.push(new),
        }
    }

    /// What of a range is not there, and why.
    fn missing(&self, kept: Range<u64>) -> Vec<(Range<u64>, Damage)> {
        let mut missing = Vec::new();
        let mut next = kept.start;
        let behind = std::iter::once(kept.end..kept.end);
        for (at, whole) in self.whole.iter().cloned().chain(behind).enumerate() {
            if next < whole.start.min(kept.end) {
                let before = at.checked_sub(1).map_or(0, |before| self.whole[before].end);
                let cause = self.causes.get(&before).cloned().unwrap_or(Damage::Missing);
                missing.push((next..whole.start.min(kept.end), cause));
            }
            next = next.max(whole.end);
        }
        missing
    }
}

/// A queue whose state is whole: its positions stay. Messages behind its end are there all the same, so the state is older.
fn with_state(id: u32, name: String, mut ring: Ring, blocks: Blocks) -> Plan {
    let mut remarks = Vec::new();
    if blocks.end() > ring.put {
        let more = blocks.end() - ring.put;
        remarks.push(format!(
            "queue {name:?}: {more} messages more than its state knows of; some may have been got already"
        ));
        ring.put = blocks.end();
    }
    let mut losses = blocks.missing(ring.floor..ring.put);
    // They were lost before.
    losses.retain(|(range, _)| !ring.lost.ranges().contains(range));
    ring.lost = lost(blocks.missing(ring.floor..ring.put), &ring);
    Plan { id, name, ring, own: Own::default(), losses, remarks }
}

/// A queue whose positions are those of its messages: all of them are unread, as nobody knows how far the reader was.
fn from_messages(id: u32, name: String, why: String, epoch: u32, blocks: Blocks, settings: &QueueSettings) -> Plan {
    let floor = blocks.whole.first().map_or(0, |range| range.start);
    let put = blocks.end();
    let losses = blocks.missing(floor..put);
    // A work queue whatever it was: it forgets nothing by itself.
    let mut ring = Ring { epoch, put, get: floor, floor, ..Ring::new(Kind::Work, settings.of(&name)) };
    ring.lost = lost(losses.clone(), &ring);
    let remark = format!(
        "queue {name:?} (id {id}): {why}. It is made anew out of its messages: a work queue, all of them unread, also those \
         that had been got"
    );
    Plan { id, name, ring, own: Own::default(), losses, remarks: vec![remark] }
}

fn lost(losses: Vec<(Range<u64>, Damage)>, ring: &Ring) -> Lost {
    // Stretches of what is whole lie between them, so they are as `Lost` wants them.
    Lost::new(losses.into_iter().map(|(range, _)| range).collect(), ring.floor..ring.put).unwrap_or_default()
}

/// A name that no other queue has.
fn free_name(guess: Option<String>, id: u32, names: &mut BTreeSet<String>) -> String {
    let numbered =
        (0..).map(|number| if number == 0 { format!("repaired-{id}") } else { format!("repaired-{id}-{number}") });
    let name = guess.into_iter().chain(numbered).find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(name.clone());
    name
}
