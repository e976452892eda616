//! One queue in memory: its ring, what is staged for the next commit, and the blocks at hand.
//!
//! The lock of a queue is held for arithmetic and for copying a message, never for I/O and never across an await. Who moves a
//! position does it here, under that lock: the order in which the lock is taken is the order of the messages.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Instant,
};

use super::{cache::Cache, forgotten::Forgotten, group::Group, traffic::Counted};
use crate::{
    block::{Block, BlockBuilder, JOINED_BLOCKS},
    engine::{Batch, Engine},
    key,
    message::{Message, Source},
    ring::{Kind, Own, Ring},
    state,
};

/// A queue that the store knows.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: u32,
    pub(super) name: String,
    inner: Mutex<Inner>,
    /// Held while blocks are read from the engine, so that readers of one queue do not all read the same.
    pub(super) loading: tokio::sync::Mutex<()>,
}

/// What the lock of a queue protects.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) ring: Ring,
    /// What it was given at run time.
    pub(super) own: Own,
    /// It is in no list any more, and nothing is to be done to it.
    pub(super) is_deleted: bool,
    /// Messages that no commit has taken yet: the blocks being filled.
    staged: Vec<BlockBuilder>,
    cache: Cache,
    /// How many of the newest blocks can be joined, at most.
    joinable: usize,
    /// One past the last sequence that the engine has.
    stored: u64,
    /// The first sequence of the oldest block that the engine has. Only commits move it, and a reset.
    oldest: u64,
    /// One past the last sequence that the observer was told of. A topic's messages are announced when they are staged.
    announced: u64,
    /// The last commit that brings messages to the observer which stand before those of this topic. Until it is done they wait for
    /// their own commit, to stay behind.
    follows: Option<Arc<Group>>,
    /// What the observer was not told of before a reset forgot it: who sent it is told that it was sent.
    reset_news: Vec<News>,
    /// The commit that the staged changes wait for; `None` when there are none.
    pub(super) group: Option<Arc<Group>>,
    /// Whether somebody waits for that commit.
    pub(super) urgent: bool,
    /// A reset left blocks of older epochs that nobody removed yet.
    has_garbage: bool,
    /// What went through.
    pub(super) counted: Counted,
    /// Puts, gets, resets and other changes since the last commit.
    pub(super) operations: u64,
    /// When the oldest unread message came in, as far as somebody asked for that one.
    pub(super) oldest_unread: Option<(Wanted, u64)>,
}

/// What a get found under the lock.
#[derive(Debug)]
pub(super) enum Take {
    Empty,
    Taken {
        position: u64,
        message: Message,
    },
    /// The next message is not in memory.
    Missing(Wanted),
}

/// A message to be read from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) epoch: u32,
    pub(super) sequence: u64,
}

/// What a commit takes from a queue, besides what went into the batch.
#[derive(Debug)]
pub(super) struct Sealed {
    epoch: u32,
    /// One past the last sequence that the commit stores.
    put: u64,
    /// Blocks that may go and that nobody remembers.
    pub(super) forgotten: Option<Forgotten>,
    /// The epoch below which all blocks are garbage, when a reset is part of the commit.
    pub(super) garbage_before: Option<u32>,
    /// The commit says that the queue is deleted.
    pub(super) is_deleted: bool,
    /// How many puts, gets, resets and other changes it is.
    pub(super) operations: u64,
    /// What the observer is to be told once the commit is done, in this order.
    pub(super) news: Vec<News>,
}

/// Blocks of one epoch, and the first sequence in them that the observer has not heard of.
#[derive(Debug)]
pub(super) struct News {
    pub(super) blocks: Vec<Arc<Block>>,
    pub(super) from: u64,
}

impl Queue {
    /// A queue as the engine has it; `oldest` is the first sequence of its oldest block.
    pub(super) fn new(
        id: u32,
        name: String,
        ring: Ring,
        own: Own,
        oldest: u64,
        cached_bytes: Arc<AtomicUsize>,
    ) -> Queue {
        let inner = Inner {
            stored: ring.put,
            announced: ring.put,
            follows: None,
            reset_news: Vec::new(),
            oldest,
            ring,
            own,
            is_deleted: false,
            staged: Vec::new(),
            cache: Cache::new(cached_bytes),
            joinable: 0,
            group: None,
            urgent: false,
            has_garbage: false,
            counted: Counted::new(Instant::now()),
            operations: 0,
            oldest_unread: None,
        };
        Queue { id, name, inner: Mutex::new(inner), loading: tokio::sync::Mutex::new(()) }
    }

    /// Locks the queue. A panic under the lock ends the process, so a poisoned lock has nothing more to say.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything that is staged into a batch: blocks, the state, and what nobody needs any more.
    pub(super) fn seal(&self, batch: &mut Batch, engine: &dyn Engine) -> Sealed {
        let mut inner = self.lock();
        inner.group = None;
        inner.urgent = false;
        if inner.is_deleted {
            batch.puts.push((key::queue(self.id), state::encode_deleted(self.id)));
            return inner.sealed(None, Vec::new());
        }
        let new = inner.seal_staged();
        new.iter().for_each(|block| inner.cache.insert(block.clone()));
        inner.remove_unneeded(batch);
        // A block that was put and got within one commit was never stored and need not be.
        if !inner.join_small(batch, engine, &new) {
            let needed = new.iter().filter(|block| block.first() >= inner.oldest);
            needed.for_each(|block| batch.inserts.extend(block.records()));
        }
        batch.puts.push((key::queue(self.id), state::encode(self.id, &self.name, &inner.ring, &inner.own)));
        let put = inner.ring.put;
        let from = std::mem::replace(&mut inner.announced, put);
        let forgotten = inner.forgotten(self.id);
        inner.sealed(forgotten, News::of(new, from).into_iter().collect())
    }

    /// Notes that a sealed commit is stored; `oldest` is where a search for forgotten blocks ended.
    pub(super) fn stored(&self, sealed: &Sealed, oldest: Option<u64>) {
        let mut inner = self.lock();
        if inner.ring.epoch != sealed.epoch {
            return;
        }
        inner.stored = sealed.put;
        if let Some(oldest) = oldest {
            inner.oldest = oldest;
            inner.cache.remove_before(oldest);
        }
    }
}

impl Inner {
    /// Stages a message, to which the oldest give way where they shall; gives its sequence, or `None` when the ring is full.
    pub(super) fn put(&mut self, queue: u32, message: &Message) -> Option<u64> {
        if message.source == Source::Http {
            self.ring.become_work();
        }
        let dropped = self.ring.make_room();
        let sequence = self.ring.put()?;
        self.counted.put(message.body.len());
        self.counted.dropped(dropped);
        self.operations += 1;
        match self.staged.last_mut() {
            Some(block) if block.has_room_for(message) => block.push(message),
            _ => {
                let mut block = BlockBuilder::new(queue, self.ring.epoch, sequence);
                block.push(message);
                self.staged.push(block);
            }
        }
        Some(sequence)
    }

    /// Whether the observer is to be told of the messages just staged at once, which this notes: of a topic's, unless they have to wait
    /// for others.
    pub(super) fn tell_at_once(&mut self) -> bool {
        let at_once = self.ring.kind == Kind::Topic && self.follows.as_ref().is_none_or(|group| group.is_complete());
        if at_once {
            self.announced = self.ring.put;
            self.forget_passed();
        }
        at_once
    }

    /// Messages that are staged now are to reach the observer behind all that this commit brings it.
    pub(super) fn follow(&mut self, group: Option<Arc<Group>>) {
        self.follows = group;
    }

    /// Takes the next unread message, if it is in memory.
    pub(super) fn take(&mut self) -> Take {
        self.ring.become_work();
        let Some(sequence) = self.ring.next_unread() else { return Take::Empty };
        let Some(message) = self.message(sequence) else {
            return Take::Missing(Wanted { epoch: self.ring.epoch, sequence });
        };
        self.ring.get();
        self.counted.got(message.body.len());
        self.operations += 1;
        Take::Taken { position: self.ring.position(sequence), message }
    }

    /// The message with this sequence, if it is in memory.
    pub(super) fn message(&self, sequence: u64) -> Option<Message> {
        self.cache.message(sequence).or_else(|| self.staged.iter().find_map(|block| block.message(sequence)))
    }

    /// Keeps blocks that were read from the engine, as far as a reader will come to them.
    pub(super) fn keep(&mut self, blocks: Vec<Arc<Block>>) {
        for block in blocks {
            let is_ahead = block.epoch() == self.ring.epoch && block.end() > self.ring.get;
            // It may have been joined with others since it was read.
            if is_ahead && !self.cache.has(block.first()) {
                self.cache.insert(block);
            }
        }
    }

    /// Whether a message was removed since somebody wanted it.
    pub(super) fn is_gone(&self, wanted: Wanted) -> bool {
        wanted.epoch != self.ring.epoch || wanted.sequence < self.ring.floor
    }

    /// Whether a message was got or forgotten since somebody wanted it.
    pub(super) fn is_past(&self, wanted: Wanted) -> bool {
        wanted.epoch != self.ring.epoch || wanted.sequence < self.ring.get
    }

    /// Forgets all messages, and says how many of them were unread. Positions go on.
    pub(super) fn purge(&mut self) -> u64 {
        let unread = self.ring.unread();
        self.ring.purge();
        self.operations += 1;
        unread
    }

    /// Forgets all messages and positions.
    pub(super) fn reset(&mut self) {
        let forgotten = self.seal_staged();
        self.reset_news.extend(News::of(forgotten, self.announced));
        self.ring.reset();
        self.cache.clear();
        (self.stored, self.oldest, self.announced) = (0, 0, 0);
        self.operations += 1;
        self.has_garbage = true;
    }

    /// Forgets all, for good. The change must be staged already.
    pub(super) fn delete(&mut self) {
        self.reset();
        self.has_garbage = false;
        self.is_deleted = true;
    }

    /// Gives memory back, see [`Cache::shrink`].
    pub(super) fn shrink_cache(&mut self) {
        self.cache.shrink(self.ring.get, self.stored);
    }

    /// What a commit takes; `news` is what of it the observer has not heard of.
    fn sealed(&mut self, forgotten: Option<Forgotten>, news: Vec<News>) -> Sealed {
        let mut all_news = std::mem::take(&mut self.reset_news);
        all_news.extend(news);
        Sealed {
            epoch: self.ring.epoch,
            put: self.ring.put,
            forgotten,
            garbage_before: std::mem::take(&mut self.has_garbage).then_some(self.ring.epoch),
            is_deleted: self.is_deleted,
            operations: std::mem::take(&mut self.operations),
            news: all_news,
        }
    }

    /// Writes new blocks as one with the small ones before them, if there are enough of those: where messages come one by one, an engine
    /// would have a record for each of them, to keep, to check at a start, and to remove. Where it has some of them already, it is not worth it.
    fn join_small(&mut self, batch: &mut Batch, engine: &dyn Engine, new: &[Arc<Block>]) -> bool {
        let ([first, ..], Some(last)) = (new, new.last()) else { return false };
        self.joinable += new.len();
        // So that commits of many queues need not have all of their blocks in the processor's cache.
        if self.joinable < JOINED_BLOCKS {
            return false;
        }
        let small = self.cache.small_before(last.end());
        // Below the floor are those that are going to be removed: no key is in a batch twice.
        let is_free = |block: &Arc<Block>| {
            block.end() > self.ring.floor
                && (block.first() >= self.stored || block.keys().all(|key| engine.is_removed_freely(&key)))
        };
        self.joinable = small.iter().rev().take_while(|block| is_free(block)).count();
        if self.joinable < JOINED_BLOCKS || first.first() < small[0].first() {
            return false;
        }
        let joined = Arc::new(Block::join(&small));
        for block in &small {
            self.cache.remove(block.first());
            // The first one's key is the joined one's.
            if block.first() < self.stored && block.first() > joined.first() {
                batch.removes.extend(block.keys());
            }
        }
        batch.puts.extend(joined.records());
        self.cache.insert(joined);
        self.joinable = 1;
        true
    }

    fn seal_staged(&mut self) -> Vec<Arc<Block>> {
        std::mem::take(&mut self.staged).into_iter().map(|block| Arc::new(block.seal())).collect()
    }

    /// Drops staged blocks that are below the floor before they were ever stored: between two commits, a topic can pass over far
    /// more messages than it keeps.
    fn forget_passed(&mut self) {
        let passed = self.staged.iter().take_while(|block| block.end() <= self.ring.floor).count();
        self.staged.drain(..passed);
    }

    /// Drops the oldest blocks that are wholly below the floor, as far as they are in memory.
    fn remove_unneeded(&mut self, batch: &mut Batch) {
        while self.oldest < self.ring.floor
            && let Some(block) = self.cache.starting_at(self.oldest)
            && block.end() <= self.ring.floor
        {
            if self.oldest < self.stored {
                batch.removes.extend(block.keys());
            }
            let end = block.end();
            self.cache.remove(self.oldest);
            self.oldest = end;
        }
    }

    /// Blocks below the floor that the engine has and the cache has not: they must be searched for.
    fn forgotten(&self, queue: u32) -> Option<Forgotten> {
        let Ring { epoch, floor, .. } = self.ring;
        let has_some = self.oldest < floor.min(self.stored) && self.cache.starting_at(self.oldest).is_none();
        has_some.then(|| Forgotten::new(queue, epoch, self.oldest, floor, self.stored))
    }
}

impl News {
    /// `None` when the observer has heard of all of it.
    fn of(blocks: Vec<Arc<Block>>, from: u64) -> Option<News> {
        blocks.last().is_some_and(|block| block.end() > from).then_some(News { blocks, from })
    }
}
