//! The live side of one queue: its subscribers, and the messages on their way to them.
//!
//! Who has a message puts it in, in the order of positions, and goes on. One task per queue, which lives only while there is
//! something to do, takes all that has come together, encodes each message once, and hands every subscriber the same
//! bytes. The busier the queue, the more messages go in one batch, and the less each of them costs.

use std::{
    collections::HashSet,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{runtime::Handle, sync::Notify, time::Instant};
use uuid::Uuid;

use super::{
    frame,
    gather::{Waiting, gather},
    message::{self, Form, HTTP_SENDER, Stamp},
    outbox::Outbox,
    websocket_frame,
};
use crate::{
    block::Block,
    message::{Message, Source},
};

/// How much a publisher may be ahead of the task that delivers, in bytes of messages.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// Deliveries pause while a subscriber's queue is half full, and look again after this long.
const PAUSE: Duration = Duration::from_millis(5);
/// What the subscribers of a queue must take together to be paused for. One whose share of that is too much for it slows nobody.
const FAST_BYTES_PER_S: u64 = 12 << 20;
/// How long they have for that: the writers of many connections take turns.
const FAST_WITHIN: Duration = Duration::from_millis(50);
const FAST_WITHIN_EACH: Duration = Duration::from_millis(1);

/// Between two batches a queue with many subscribers rests, so that more goes in one system call for each of them: 200,000 small
/// writes a second would leave a small machine no time for anything else. A message that comes after a rest goes out at once.
const TOPIC_REST: Rest = Rest { each: Duration::from_micros(100), most: Duration::from_millis(10) };
/// Who subscribes to a work queue looks on while others get, and those are not to be held up: a program that does nothing but
/// write to 100 sockets every 10 ms, and read from them, takes a fifth of the puts of a machine with two processors.
const WORK_REST: Rest = Rest { each: Duration::from_micros(400), most: Duration::from_millis(40) };
/// A shorter rest than this is none: the timer is no finer.
const MIN_REST: Duration = Duration::from_millis(1);
/// When so much waits, it is delivered, and a rest is over.
const ENOUGH_BYTES: usize = 64 << 10;

/// How long a rest is.
#[derive(Debug)]
struct Rest {
    /// For each subscriber.
    each: Duration,
    /// A longer one would be felt.
    most: Duration,
}

/// One queue's subscribers and what they have not been given yet.
#[derive(Debug)]
pub(super) struct Channel {
    queue: String,
    runtime: Handle,
    crowded: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Told when what waits was taken.
    taken: Notify,
    /// Told when enough waits to end a rest.
    enough: Notify,
    /// Told when a batch was delivered.
    passed: Notify,
}

type Subscribers = Arc<Vec<Arc<Outbox>>>;

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Arrived>,
    waiting_bytes: usize,
    /// Replaced as a whole when it changes, so that the task can use it without the lock.
    subscribers: Subscribers,
    /// Subscribers that were paused for in vain.
    slow: Vec<Uuid>,
    delivering: bool,
    /// How many times something came in, and up to where that is delivered.
    arrived: u64,
    delivered: u64,
}

/// Messages as they come in.
#[derive(Debug)]
enum Arrived {
    One(Message),
    /// Those of a commit, from a sequence on.
    Block(Arc<Block>, u64),
}

/// Messages encoded for all subscribers of one form, one behind the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Bytes,
    /// Where each message ends, and who sent it.
    ends: Vec<(usize, Source)>,
    /// All who sent one of them. Most subscribers are not among them, and are told so by one look.
    senders: HashSet<Source>,
}

impl Channel {
    /// In `crowded` those channels are counted that have no room.
    pub(super) fn new(queue: String, runtime: Handle, crowded: Arc<AtomicUsize>) -> Channel {
        let [taken, enough, passed] = [(); 3].map(|()| Notify::new());
        Channel { queue, runtime, crowded, state: Mutex::default(), taken, enough, passed }
    }

    /// Adds a subscriber; one that is there already is not added again.
    pub(super) fn subscribe(&self, outbox: &Arc<Outbox>) {
        let mut state = self.lock();
        if !state.subscribers.iter().any(|other| other.id == outbox.id) {
            Arc::make_mut(&mut state.subscribers).push(outbox.clone());
        }
    }

    /// Takes a subscriber out; says whether that was the last one.
    pub(super) fn unsubscribe(&self, id: Uuid) -> bool {
        let mut state = self.lock();
        Arc::make_mut(&mut state.subscribers).retain(|outbox| outbox.id != id);
        state.slow.retain(|slow| *slow != id);
        state.subscribers.is_empty()
    }

    /// How many there are.
    pub(super) fn subscribers(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Puts messages in. Never waits.
    pub(super) fn push(self: &Arc<Self>, messages: &[Message]) {
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        self.arrived(messages.iter().cloned().map(Arrived::One), bytes);
    }

    /// Puts the messages of a block in, from a sequence on. Never waits.
    pub(super) fn push_block(self: &Arc<Self>, block: &Arc<Block>, from: u64) {
        self.arrived([Arrived::Block(block.clone(), from)], block.memory_bytes());
    }

    /// Waits until a publisher is not too far ahead of the deliveries.
    pub(super) async fn has_room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.lock().waiting_bytes < MAX_WAITING_BYTES {
                return;
            }
            taken.await;
        }
    }

    /// Waits until everything that has been put in by now is delivered.
    pub(super) async fn delivered(&self) {
        let by_now = self.lock().arrived;
        loop {
            let passed = self.passed.notified();
            if self.lock().delivered >= by_now {
                return;
            }
            passed.await;
        }
    }

    fn arrived(self: &Arc<Self>, arrived: impl IntoIterator<Item = Arrived>, bytes: usize) {
        let mut state = self.lock();
        if state.subscribers.is_empty() {
            return;
        }
        state.waiting.extend(arrived);
        state.arrived += 1;
        let before = state.waiting_bytes;
        state.waiting_bytes += bytes;
        let passes = |limit| before < limit && state.waiting_bytes >= limit;
        if passes(ENOUGH_BYTES) {
            self.enough.notify_waiters();
        }
        if passes(MAX_WAITING_BYTES) {
            self.crowded.fetch_add(1, Ordering::Relaxed);
        }
        if !mem::replace(&mut state.delivering, true) {
            drop(state);
            self.runtime.spawn(self.clone().deliver());
        }
    }

    /// Delivers until nothing waits any more.
    async fn deliver(self: Arc<Self>) {
        loop {
            gather(ENOUGH_BYTES, || self.waiting()).await;
            let Some((waiting, subscribers, arrived)) = self.take() else { return };
            self.taken.notify_waiters();
            let is_committed = waiting.iter().any(|arrived| matches!(arrived, Arrived::Block(..)));
            let messages = unpack(waiting);
            for form in [Form::Frame, Form::WebSocket] {
                self.deliver_to(&messages, subscribers.iter().filter(|outbox| outbox.form == form), form);
            }
            self.lock().delivered = arrived;
            self.passed.notify_waiters();
            self.pause_for(&subscribers).await;
            // The writers and the publisher have their turn, and more comes together for the next batch.
            self.rest(if is_committed { &WORK_REST } else { &TOPIC_REST }, subscribers.len()).await;
        }
    }

    fn deliver_to<'a>(&self, messages: &[Message], to: impl Iterator<Item = &'a Arc<Outbox>>, form: Form) {
        let mut to = to.peekable();
        if to.peek().is_none() {
            return;
        }
        let batch = Batch::encode(&self.queue, messages, form);
        for outbox in to {
            let is_own = outbox.name == self.queue;
            if is_own || outbox.echo.load(Ordering::Relaxed) {
                batch.push_all(outbox);
            } else {
                batch.push_without(outbox, Source::Connection(*outbox.id.as_bytes()));
            }
        }
    }

    /// Gives subscribers that are behind, but fast, the time to catch up: on one machine a publisher can outrun anybody.
    async fn pause_for(&self, subscribers: &[Arc<Outbox>]) {
        let is_behind = |outbox: &Outbox| outbox.backlog() > outbox.limit_bytes() / 2;
        if !subscribers.iter().any(|outbox| is_behind(outbox)) {
            return;
        }
        let mut slow = mem::take(&mut self.lock().slow);
        slow.retain(|id| subscribers.iter().any(|outbox| outbox.id == *id && is_behind(outbox)));
        let count = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
        let within = FAST_WITHIN + FAST_WITHIN_EACH * count;
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let enough = (FAST_BYTES_PER_S / u64::from(count)).saturating_mul(within_ms) / 1000;
        loop {
            let fast = subscribers.iter().filter(|outbox| is_behind(outbox) && !slow.contains(&outbox.id));
            let waited: Vec<_> = fast.map(|outbox| (outbox, outbox.taken())).collect();
            let until = Instant::now() + within;
            while waited.iter().any(|(outbox, _)| is_behind(outbox)) && Instant::now() < until {
                tokio::time::sleep(PAUSE).await;
            }
            let behind = waited.iter().filter(|(outbox, _)| is_behind(outbox));
            let stuck: Vec<_> = behind.clone().filter(|(outbox, before)| outbox.taken() - before < enough).collect();
            let is_done = behind.count() == stuck.len();
            slow.extend(stuck.iter().map(|(outbox, _)| outbox.id));
            if is_done {
                break;
            }
        }
        self.lock().slow = slow;
    }

    async fn rest(&self, rest: &Rest, writes: usize) {
        let rest = rest.each.saturating_mul(u32::try_from(writes).unwrap_or(u32::MAX)).min(rest.most);
        if rest < MIN_REST {
            return tokio::task::yield_now().await;
        }
        let enough = self.enough.notified();
        if self.lock().waiting_bytes < ENOUGH_BYTES {
            tokio::time::timeout(rest, enough).await.ok();
        }
    }

    fn waiting(&self) -> Waiting {
        let state = self.lock();
        Waiting { pieces: state.waiting.len(), bytes: state.waiting_bytes }
    }

    /// What waits, for whom, and how much came in so far.
    fn take(&self) -> Option<(Vec<Arrived>, Subscribers, u64)> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.delivering = false;
            return None;
        }
        if mem::take(&mut state.waiting_bytes) >= MAX_WAITING_BYTES {
            self.crowded.fetch_sub(1, Ordering::Relaxed);
        }
        Some((mem::take(&mut state.waiting), state.subscribers.clone(), state.arrived))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unpack(arrived: Vec<Arrived>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(arrived.len());
    for arrived in arrived {
        match arrived {
            Arrived::One(message) => messages.push(message),
            Arrived::Block(block, from) => {
                messages.extend((from.max(block.first())..block.end()).filter_map(|sequence| block.message(sequence)));
            }
        }
    }
    messages
}

impl Batch {
    fn encode(queue: &str, messages: &[Message], form: Form) -> Batch {
        let mut bytes = BytesMut::with_capacity(messages.iter().map(|message| message.body.len() + 160).sum());
        let mut ends: Vec<(usize, Source)> = Vec::with_capacity(messages.len());
        let mut senders = HashSet::new();
        let (mut object, mut end, mut stamped) = (String::new(), String::new(), None);
        for message in messages {
            // What the store keeps was checked to be JSON text when it came in.
            let Ok(body) = std::str::from_utf8(&message.body) else { continue };
            // Mostly one publisher has many messages in a row, and in a millisecond.
            let stamp = Some((message.source, message.time_ms));
            if stamped != stamp {
                stamped = stamp;
                senders.insert(message.source);
                end = message::end(Stamp { sender: &sender_of(message.source), sent_ms: message.time_ms });
            }
            object.clear();
            match form {
                Form::Frame => {
                    message::push_for_frame(&mut object, body, &end);
                    // A frame that the protocol has no number for cannot be sent to anybody.
                    if !frame::push(&mut bytes, queue, &object) {
                        continue;
                    }
                }
                Form::WebSocket => {
                    message::push_for_websocket(&mut object, queue, body, &end);
                    websocket_frame::push_text(&mut bytes, &object);
                }
            }
            ends.push((bytes.len(), message.source));
        }
        Batch { bytes: bytes.freeze(), ends, senders }
    }

    fn push_all(&self, outbox: &Outbox) {
        outbox.push([self.bytes.clone()]);
    }

    fn push_without(&self, outbox: &Outbox, own: Source) {
        if !self.senders.contains(&own) {
            return self.push_all(outbox);
        }
        outbox.push(self.messages().filter(|(_, source)| *source != own).map(|(message, _)| message));
    }

    fn messages(&self) -> impl Iterator<Item = (Bytes, Source)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, source))| (self.bytes.slice(start..*end), *source))
    }
}

/// The sender of a message as subscribers see it.
pub(super) fn sender_of(source: Source) -> String {
    match source {
        Source::Http => HTTP_SENDER.to_owned(),
        Source::Connection(id) => Uuid::from_bytes(id).to_string(),
    }
}
