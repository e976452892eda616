//! Looking at queues: lists, reports and messages. Nothing here moves a position or keeps a commit waiting.

use std::{sync::Arc, time::Instant};

use super::{
    LocalStore,
    load::{READ_AHEAD_BYTES, load},
    queue::{Inner, Queue, Wanted},
    shared::Shared,
    traffic::MARK_EVERY,
};
use crate::{
    block::Block,
    message::Message,
    ring::{Kind, Ring},
    store::{Listing, Peek, Peeked, QueueReport, Select, Sort, Status, StoreError, StoreReport, Window},
};

/// When the oldest unread message of a queue came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Oldest {
    /// There is none, or nobody is expected to get it.
    None,
    /// In milliseconds since the Unix epoch.
    At(u64),
    /// It must be read for that.
    Missing(Wanted),
}

impl LocalStore {
    /// Sets the marks that rates are taken from, every few seconds. Never completes.
    pub async fn mark_rates(&self) {
        let mut ticks = tokio::time::interval(MARK_EVERY);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let shared = self.shared.clone();
            // A lock for each queue, of which there may be a million. Who cannot be waited for has marked nothing.
            let _ = tokio::task::spawn_blocking(move || shared.mark_rates(Instant::now())).await;
        }
    }

    /// One queue, without a detour when memory has all of it.
    pub(super) async fn look_at(&self, queue: &str) -> Result<Option<QueueReport>, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(None) };
        if queue.lock().is_deleted {
            return Ok(None);
        }
        match self.shared.report_in_memory(&queue) {
            (_, Oldest::Missing(_)) => self.blocking(move |shared| Some(shared.report(&queue, true))).await,
            _ => Ok(Some(self.shared.report(&queue, false))),
        }
    }

    /// Messages of a queue, as many as it takes read from the engine.
    pub(super) async fn peek_at(&self, queue: &str, window: Window) -> Result<Option<Peek>, StoreError> {
        let Some(queue) = self.shared.find(queue) else { return Ok(None) };
        let mut loaded = Vec::new();
        loop {
            let found = {
                let inner = queue.lock();
                if inner.is_deleted {
                    return Ok(None);
                }
                inner.peek(window, &loaded)
            };
            let wanted = match found {
                Ok(peek) => return Ok(Some(peek)),
                Err(wanted) => wanted,
            };
            match self.load(&queue, wanted, READ_AHEAD_BYTES.min(window.max_bytes)).await {
                Ok(blocks) => loaded.extend(blocks),
                // It was got, and nobody remembers it, or the queue was reset.
                Err(_) if queue.lock().is_gone(wanted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks at many queues, or at the disk, without keeping a thread of the runtime from its connections.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        let looked = tokio::task::spawn_blocking(move || look(&shared)).await;
        looked.map_err(|error| StoreError::Failed(format!("the engine panicked: {error}")))
    }
}

impl Shared {
    pub(super) fn status_of(&self, ring: &Ring) -> Status {
        Status {
            kind: ring.kind,
            put_pos: ring.put_pos(),
            get_pos: ring.get_pos(),
            unread: ring.unread(),
            max_len: ring.settings.max_len,
            sync: self.options.sync.name(),
        }
    }

    /// Lists queues. May read from the engine, and takes each queue's lock in turn: it blocks the thread.
    pub(super) fn list(&self, select: &Select) -> Listing {
        let text = select.text.to_lowercase();
        let (mut queues, gone) = self.queues_and_gone();
        queues.retain(|queue| text.is_empty() || queue.name.to_lowercase().contains(&text));
        let matched = queues.len();
        queues.retain(|queue| select.after.as_ref().is_none_or(|after| queue.name > *after));
        let more = queues.len() > select.limit;
        let now = Instant::now();
        let mut sorted: Vec<(f64, Arc<Queue>)> =
            queues.into_iter().map(|queue| (place(&queue, select.sort, now), queue)).collect();
        sorted.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.name.cmp(&y.name)));
        sorted.truncate(select.limit);
        let queues = sorted.iter().map(|(_, queue)| self.report(queue, select.ages)).collect();
        Listing { queues, matched, more, gone }
    }

    /// One queue. With `age` it may read from the engine, which blocks the thread.
    pub(super) fn report(&self, queue: &Queue, age: bool) -> QueueReport {
        let (mut report, oldest) = self.report_in_memory(queue);
        report.oldest_unread_ms = match oldest {
            Oldest::At(time_ms) => Some(time_ms),
            Oldest::Missing(wanted) if age => self.load_time(queue, wanted),
            Oldest::Missing(_) | Oldest::None => None,
        };
        report
    }

    /// One queue, as far as memory knows it.
    pub(super) fn report_in_memory(&self, queue: &Queue) -> (QueueReport, Oldest) {
        let mut inner = queue.lock();
        let oldest = inner.oldest_unread();
        let ring = &inner.ring;
        let report = QueueReport {
            id: queue.id,
            name: queue.name.clone(),
            status: self.status_of(ring),
            history: ring.settings.history,
            overflow: ring.settings.overflow,
            own: inner.own,
            kept: ring.put - ring.floor - ring.lost.count(ring.floor..ring.put),
            traffic: inner.counted.traffic(Instant::now()),
            oldest_unread_ms: None,
        };
        (report, oldest)
    }

    /// Reads a message only for its time. One that cannot be read has none: whoever wants the message itself is told why.
    fn load_time(&self, queue: &Queue, wanted: Wanted) -> Option<u64> {
        let blocks = load(&*self.engine, queue, wanted, 0).ok()?;
        let time_ms = blocks.iter().find_map(|block| block.message(wanted.sequence))?.time_ms;
        queue.lock().note_oldest(wanted, time_ms);
        Some(time_ms)
    }

    pub(super) fn mark_rates(&self, now: Instant) {
        self.queues().iter().for_each(|queue| queue.lock().counted.mark(now));
    }

    /// The store as a whole. Takes each queue's lock in turn and asks the file system: it blocks the thread.
    pub(super) fn store_report(&self) -> StoreReport {
        let (queues, mut traffic) = self.queues_and_gone();
        let now = Instant::now();
        let mut unread = 0;
        for queue in &queues {
            let inner = queue.lock();
            unread += inner.ring.unread();
            traffic.add(&inner.counted.traffic(now));
        }
        let dir = self.room.dir();
        StoreReport {
            engine: self.engine.name(),
            sync: self.options.sync.name(),
            queues: queues.len(),
            unread,
            traffic,
            stored_bytes: dir.and_then(|dir| dir.stored_bytes().ok()),
            free_bytes: dir.and_then(|dir| dir.free_bytes().ok()),
            reserve_bytes: self.options.disk_reserve_bytes,
            cached_bytes: self.cached_bytes.load(std::sync::atomic::Ordering::Relaxed) as u64,
            commits: self.commits.report(),
        }
    }
}

/// What a queue is sorted by: the largest first.
fn place(queue: &Queue, sort: Sort, now: Instant) -> f64 {
    match sort {
        Sort::Name => 0.0,
        // Only an order among counts that would have to be beyond 2^53 to be mixed up.
        #[allow(clippy::cast_precision_loss)]
        Sort::Unread => queue.lock().ring.unread() as f64,
        Sort::Puts => queue.lock().counted.traffic(now).puts_per_s,
        Sort::Gets => queue.lock().counted.traffic(now).gets_per_s,
    }
}

impl Inner {
    /// The messages of a window, as far as they are kept; `loaded` are blocks just read from the engine. Otherwise the message that is
    /// still missing.
    pub(super) fn peek(&self, window: Window, loaded: &[Arc<Block>]) -> Result<Peek, Wanted> {
        let Ring { epoch, floor, get, put, ref lost, .. } = self.ring;
        let from_loaded = |sequence| loaded.iter().filter(|b| b.epoch() == epoch).find_map(|b| b.message(sequence));
        let mut peek = Peek { epoch, first: floor, next_get: get, next_put: put, messages: Vec::new(), next: None };
        let mut left_bytes = window.max_bytes;
        let mut sequence = lost.skip(window.from.unwrap_or(get).max(floor));
        while sequence < put {
            let is_first = peek.messages.is_empty();
            if peek.messages.len() >= window.limit || (left_bytes == 0 && !is_first) {
                peek.next = Some(sequence);
                break;
            }
            let found = self.message(sequence).or_else(|| from_loaded(sequence));
            let message = found.ok_or(Wanted { epoch, sequence })?;
            let Some(rest) = left_bytes.checked_sub(message.body.len()).or(is_first.then_some(0)) else {
                peek.next = Some(sequence);
                break;
            };
            left_bytes = rest;
            let position = self.ring.position(sequence);
            peek.messages.push(Peeked { sequence, position, is_read: sequence < get, message });
            sequence = lost.skip(sequence + 1);
        }
        Ok(peek)
    }

    /// The last messages that are together no larger than `max_bytes`, the very last in any case; `loaded` are blocks just read from
    /// the engine. Otherwise the message that is still missing.
    pub(super) fn history(&self, loaded: &[Arc<Block>], max_bytes: usize) -> Result<Vec<Message>, Wanted> {
        let epoch = self.ring.epoch;
        let from_loaded = |sequence| loaded.iter().filter(|b| b.epoch() == epoch).find_map(|b| b.message(sequence));
        let mut messages = Vec::new();
        let mut left = max_bytes;
        for sequence in self.ring.history().rev() {
            let found = self.message(sequence).or_else(|| from_loaded(sequence));
            let message = found.ok_or(Wanted { epoch, sequence })?;
            let rest = left.checked_sub(message.body.len());
            if rest.is_none() && !messages.is_empty() {
                break;
            }
            left = rest.unwrap_or_default();
            messages.push(message);
        }
        messages.reverse();
        Ok(messages)
    }

    /// When the message came in that the next get takes.
    fn oldest_unread(&mut self) -> Oldest {
        let Some(sequence) = self.ring.next_unread().filter(|_| self.ring.kind == Kind::Work) else {
            return Oldest::None;
        };
        let wanted = Wanted { epoch: self.ring.epoch, sequence };
        if let Some((known, time_ms)) = self.oldest_unread
            && known == wanted
        {
            return Oldest::At(time_ms);
        }
        let Some(message) = self.message(sequence) else { return Oldest::Missing(wanted) };
        self.note_oldest(wanted, message.time_ms);
        Oldest::At(message.time_ms)
    }

    fn note_oldest(&mut self, wanted: Wanted, time_ms: u64) {
        self.oldest_unread = Some((wanted, time_ms));
    }
}
