//! What a queue was asked to keep, what it promised, and what came out of it: the books of a test that breaks things.
//!
//! The books are kept outside of the daemon. A put is *tried*, then *acknowledged*, or it stays *unknown* because its answer never
//! came. A get whose answer never came is *in doubt*: it may have taken a message with it. [`Ledger::restarted`] closes the books
//! of one life of the daemon, [`Ledger::close`] all of them, when the queues are empty.
//!
//! Positions must not wrap: a ledger is for fewer messages than a queue has slots, so that a position is a message's place in
//! the order of its queue.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Random;

/// How many findings are told in full.
const MAX_TOLD: usize = 20;

/// The producer of a message, and its number there. A producer sends to one queue, one message after the other.
pub(crate) type Id = (u32, u64);

/// What a message says about itself: who sent it, and whether it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Id,
    text_bytes: usize,
    crc: u32,
}

/// What the sender of a put knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answer was OK; by HTTP it had a position.
    Acknowledged(Option<u64>),
    /// The answer never came.
    Unknown,
}

/// The positions of a queue as `/status/` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Positions {
    pub(crate) put: u64,
    pub(crate) get: u64,
    pub(crate) unread: u64,
}

/// The books of all queues.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    queues: BTreeMap<String, Book>,
    verdict: Verdict,
}

/// What the books say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// Acknowledged, never got, and no get in doubt can have taken them.
    pub(crate) lost: usize,
    /// Got a second time, or two messages in one place.
    pub(crate) doubled: usize,
    /// Not in the order in which the producer sent them.
    pub(crate) reordered: usize,
    /// Got, but never sent, or not as it was sent; or a status that nothing explains.
    pub(crate) invented: usize,
    /// Puts whose answer never came. They may be stored or not.
    pub(crate) unknown: usize,
    /// The first of the faults, in words.
    pub(crate) told: Vec<String>,
}

/// The books of one queue.
#[derive(Debug, Clone, Default)]
struct Book {
    tried: HashMap<Id, (Message, Outcome)>,
    /// What is acknowledged, by position.
    places: BTreeMap<u64, Id>,
    /// What was got, by position.
    got: BTreeMap<u64, Id>,
    /// Gets in doubt since the last start.
    in_doubt: usize,
    /// All before this position was read when the daemon last started.
    read_to: u64,
    /// Positions whose message went with a get in doubt.
    taken: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Lost,
    Doubled,
    Reordered,
    Invented,
}

type Faults = Vec<(Fault, String)>;

// ===== impl Message =====

impl Message {
    /// Makes a message whose text has some `text_bytes`, less than a MiB; gives its JSON too.
    pub(crate) fn make(id: Id, text_bytes: usize, random: &mut Random) -> (Message, Value) {
        let pool = pool();
        let boundary = |from: usize| (from..).find(|at| pool.is_char_boundary(*at)).unwrap();
        let from = random.index(pool.len() - text_bytes);
        let text = &pool[boundary(from)..boundary(from + text_bytes)];
        let message = Message { id, text_bytes: text.len(), crc: crc(id, text) };
        let (producer, number) = id;
        let bytes = text.len();
        (message, json!({"producer": producer, "number": number, "bytes": bytes, "crc": message.crc, "text": text}))
    }

    /// Reads a message; `None` when it is not whole.
    pub(crate) fn parse(json: &Value) -> Option<Message> {
        let number = |key: &str| json[key].as_u64();
        let id = (u32::try_from(number("producer")?).ok()?, number("number")?);
        let text = json["text"].as_str()?;
        let message = Message { id, text_bytes: text.len(), crc: crc(id, text) };
        let is_whole = number("bytes")? == text.len() as u64 && number("crc")? == u64::from(message.crc);
        is_whole.then_some(message)
    }
}

/// What all texts are cut from: to make each of them anew would take longer than to store it.
fn pool() -> &'static str {
    // What may go wrong on the way: escapes, and characters of two to four bytes.
    const CHARACTERS: [char; 16] = ['a', 'b', 'c', 'd', 'e', '0', '1', '2', ' ', '{', '"', '\\', '\n', 'é', '世', '🦀'];
    const POOL_BYTES: usize = 1 << 20;
    static POOL: LazyLock<String> = LazyLock::new(|| {
        let mut random = Random::new(0);
        let mut text = String::with_capacity(POOL_BYTES + 8);
        while text.len() < POOL_BYTES {
            text.push(CHARACTERS[random.index(16)]);
        }
        text
    });
    &POOL
}

fn crc((producer, number): Id, text: &str) -> u32 {
    crc32fast::hash(format!("{producer} {number} {text}").as_bytes())
}

// ===== impl Ledger =====

impl Ledger {
    /// A put was sent.
    pub(crate) fn put(&mut self, queue: &str, message: Message, outcome: Outcome) {
        let faults = self.book(queue).put(message, outcome);
        self.tell(queue, faults);
    }

    /// The gets that one connection was answered, in the order of the answers: position and message, which is `None` when it is
    /// not whole.
    pub(crate) fn got(&mut self, queue: &str, answers: &[(u64, Option<Message>)]) {
        let book = self.book(queue);
        let mut faults: Faults =
            answers.iter().filter_map(|(position, message)| book.got(*position, *message)).collect();
        let backward = answers.windows(2).filter(|pair| pair[0].0 >= pair[1].0);
        faults.extend(backward.map(|pair| (Fault::Reordered, format!("{} was got before {}", pair[0].0, pair[1].0))));
        self.tell(queue, faults);
    }

    /// A get was sent and not answered.
    pub(crate) fn get_in_doubt(&mut self, queue: &str) {
        self.book(queue).in_doubt += 1;
    }

    /// The daemon is back: its positions must hold all that was promised before, and no more than was asked for.
    pub(crate) fn restarted(&mut self, queue: &str, now: Positions) {
        let faults = self.book(queue).restarted(now);
        self.tell(queue, faults);
    }

    /// How many puts were acknowledged, how many messages were got, and how many went with a get in doubt.
    pub(crate) fn volume(&self) -> (usize, usize, usize) {
        let acknowledged =
            |book: &Book| book.tried.values().filter(|(_, outcome)| *outcome != Outcome::Unknown).count();
        let books = || self.queues.values();
        let sum = |count: &dyn Fn(&Book) -> usize| books().map(count).sum();
        (sum(&acknowledged), sum(&|book| book.got.len()), sum(&|book| book.taken.len()))
    }

    /// The queues are empty: what was acknowledged must have been got.
    pub(crate) fn close(mut self) -> Verdict {
        for (queue, book) in std::mem::take(&mut self.queues) {
            self.verdict.unknown += book.tried.values().filter(|(_, outcome)| *outcome == Outcome::Unknown).count();
            self.tell(&queue, book.close());
        }
        self.verdict
    }

    fn book(&mut self, queue: &str) -> &mut Book {
        self.queues.entry(queue.to_owned()).or_default()
    }

    fn tell(&mut self, queue: &str, faults: impl IntoIterator<Item = (Fault, String)>) {
        for (fault, what) in faults {
            let count = match fault {
                Fault::Lost => &mut self.verdict.lost,
                Fault::Doubled => &mut self.verdict.doubled,
                Fault::Reordered => &mut self.verdict.reordered,
                Fault::Invented => &mut self.verdict.invented,
            };
            *count += 1;
            if self.verdict.told.len() < MAX_TOLD {
                self.verdict.told.push(format!("{queue}: {fault:?}: {what}"));
            }
        }
    }
}

// ===== impl Book =====

impl Book {
    fn put(&mut self, message: Message, outcome: Outcome) -> Option<(Fault, String)> {
        let id = message.id;
        let before = self.tried.insert(id, (message, outcome));
        assert!(before.is_none(), "a producer used the number {id:?} twice");
        let Outcome::Acknowledged(Some(position)) = outcome else { return None };
        let other = self.places.insert(position, id)?;
        Some((Fault::Doubled, format!("{id:?} and {other:?} are both acknowledged at {position}")))
    }

    fn got(&mut self, position: u64, message: Option<Message>) -> Option<(Fault, String)> {
        let sent = message.and_then(|message| self.tried.get(&message.id)).map(|(sent, _)| *sent);
        let Some(Message { id, .. }) = message.filter(|message| sent == Some(*message)) else {
            return Some((Fault::Invented, format!("at {position}: {message:?}")));
        };
        if let Some(other) = self.got.insert(position, id) {
            return Some((Fault::Doubled, format!("{other:?} and {id:?} were both got at {position}")));
        }
        let was_read = position < self.read_to;
        was_read
            .then(|| (Fault::Doubled, format!("{id:?} was got at {position}, which was read before the last start")))
    }

    /// Of the messages that are read now and that nobody was given, each must have gone with a get in doubt.
    fn restarted(&mut self, now: Positions) -> Faults {
        let mut faults = Faults::new();
        let behind = self.places.range(now.put..);
        faults.extend(behind.map(|(at, id)| (Fault::Lost, format!("{id:?} at {at} is behind the end, {now:?}"))));
        let again = self.got.range(now.get..);
        faults.extend(
            again.map(|(at, id)| (Fault::Doubled, format!("{id:?} at {at} was got, is unread again, {now:?}"))),
        );
        let tried = self.tried.len() as u64;
        if now.get + now.unread != now.put || now.put > tried || now.get < self.read_to {
            let what = format!("{now:?} after {tried} puts, and {} were read before", self.read_to);
            faults.push((Fault::Invented, what));
        }
        let taken: Vec<u64> = (self.read_to..now.get).filter(|position| !self.got.contains_key(position)).collect();
        let in_doubt = std::mem::take(&mut self.in_doubt);
        for position in taken.iter().skip(in_doubt) {
            faults.push((
                Fault::Lost,
                format!("{position} is read, got by nobody, one of {taken:?}, {in_doubt} in doubt"),
            ));
        }
        self.taken.extend(taken);
        self.read_to = self.read_to.max(now.get);
        faults
    }

    fn close(&self) -> Faults {
        let mut faults = Faults::new();
        let mut seen = HashMap::new();
        let mut last = HashMap::new();
        for (position, id) in &self.got {
            if let Some(before) = seen.insert(*id, *position) {
                faults.push((Fault::Doubled, format!("{id:?} at {before} and at {position}")));
            }
            let (producer, number) = *id;
            if last.insert(producer, number).is_some_and(|before| before >= number) {
                faults.push((Fault::Reordered, format!("{id:?} at {position} is behind a later one")));
            }
            if self.places.get(position).is_some_and(|promised| promised != id) {
                faults.push((Fault::Doubled, format!("{id:?} is at {position}, which is another's")));
            }
        }
        // A message without a known position may have gone with a get, if there is one that nothing else explains.
        let mut unexplained = self.taken.iter().filter(|position| !self.places.contains_key(position)).count();
        for (id, (_, outcome)) in &self.tried {
            match *outcome {
                Outcome::Unknown => {}
                Outcome::Acknowledged(_) if seen.contains_key(id) => {}
                Outcome::Acknowledged(Some(position)) if self.taken.contains(&position) => {}
                Outcome::Acknowledged(None) if unexplained > 0 => unexplained -= 1,
                Outcome::Acknowledged(position) => faults.push((Fault::Lost, format!("{id:?} at {position:?}"))),
            }
        }
        faults
    }
}

impl Verdict {
    /// What other books say too.
    pub(crate) fn add(&mut self, other: Verdict) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.invented += other.invented;
        self.unknown += other.unknown;
        self.told.extend(other.told);
        self.told.truncate(MAX_TOLD);
    }

    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        [self.lost, self.doubled, self.reordered, self.invented] == [0; 4]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { lost, doubled, reordered, invented, unknown, told } = self;
        write!(f, "{lost} lost, {doubled} doubled, {reordered} reordered, {invented} invented, {unknown} unknown")?;
        told.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}
