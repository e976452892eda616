//! Who is subscribed to what, and who is connected. The store tells it what became visible; it knows no positions.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::runtime::Handle;
use uuid::Uuid;

use super::{channel::Channel, outbox::Outbox};
use crate::{block::Block, message::Message, metrics::LiveReport, store::Observer};

/// The live side of all queues.
#[derive(Debug)]
pub struct Hub {
    runtime: Handle,
    channels: RwLock<HashMap<String, Arc<Channel>>>,
    /// How many channels have no room.
    crowded: Arc<AtomicUsize>,
    connected: RwLock<HashSet<String>>,
    dropped: AtomicU64,
    /// Connections with a subscription besides that to their own id, and how many subscriptions those are.
    subscribers: AtomicUsize,
    subscriptions: AtomicUsize,
}

impl Hub {
    /// A hub whose deliveries run on this runtime.
    pub fn new(runtime: Handle) -> Hub {
        Hub {
            runtime,
            channels: RwLock::default(),
            crowded: Arc::default(),
            connected: RwLock::default(),
            dropped: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connected.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Who is subscribed, in numbers.
    pub(super) fn report(&self) -> LiveReport {
        LiveReport {
            subscribers: self.subscribers.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            dropped: self.dropped(),
        }
    }

    /// How many connections are subscribed to a queue.
    pub(super) fn subscribers(&self, queue: &str) -> usize {
        self.channel(queue).map_or(0, |channel| channel.subscribers())
    }

    /// A connection that had so many subscriptions has so many now.
    pub(super) fn note_subscriptions(&self, before: usize, now: usize) {
        self.subscriptions.fetch_add(now, Ordering::Relaxed);
        self.subscriptions.fetch_sub(before, Ordering::Relaxed);
        match (before, now) {
            (0, 1..) => {
                self.subscribers.fetch_add(1, Ordering::Relaxed);
            }
            (1.., 0) => {
                self.subscribers.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// How many connections were ended since the start because they did not take what they were sent.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection comes: it is subscribed to its own id.
    pub(super) fn connect(&self, outbox: &Arc<Outbox>) {
        self.connected.write().unwrap_or_else(PoisonError::into_inner).insert(outbox.name.clone());
        self.subscribe(&outbox.name, outbox);
    }

    /// A connection goes. `subscriptions` are the queues that it is subscribed to besides its own.
    pub(super) fn disconnect<'a>(&self, outbox: &'a Outbox, subscriptions: impl IntoIterator<Item = &'a String>) {
        for queue in subscriptions.into_iter().chain([&outbox.name]) {
            self.unsubscribe(queue, outbox.id);
        }
        self.connected.write().unwrap_or_else(PoisonError::into_inner).remove(&outbox.name);
    }

    /// Whether a name is the id of a connection that is there now.
    pub(super) fn is_connected(&self, name: &str) -> bool {
        self.connected.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    pub(super) fn subscribe(&self, queue: &str, outbox: &Arc<Outbox>) {
        // The lock is held until the subscriber is in: a channel without any is removed.
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(queue) {
            Some(channel) => channel,
            None => {
                let channel = Arc::new(Channel::new(queue.to_owned(), self.runtime.clone(), self.crowded.clone()));
                channels.entry(queue.to_owned()).or_insert(channel)
            }
        };
        channel.subscribe(outbox);
    }

    pub(super) fn unsubscribe(&self, queue: &str, id: Uuid) {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.get(queue).is_some_and(|channel| channel.unsubscribe(id)) {
            channels.remove(queue);
        }
    }

    /// Waits until a publisher to a queue is not too far ahead of its deliveries.
    pub(super) async fn has_room(&self, queue: &str) {
        // Nearly always, and cheaper to see than to look for the channel.
        if self.crowded.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(channel) = self.channel(queue) {
            channel.has_room().await;
        }
    }

    /// The live side of a queue, if anybody is subscribed to it.
    pub(super) fn channel(&self, queue: &str) -> Option<Arc<Channel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }
}

impl Observer for Hub {
    fn staged(&self, queue: &str, messages: &[Message]) {
        if let Some(channel) = self.channel(queue) {
            channel.push(messages);
        }
    }

    fn committed(&self, queue: &str, blocks: &[Arc<Block>], from: u64) {
        if let Some(channel) = self.channel(queue) {
            for block in blocks.iter().filter(|block| block.end() > from) {
                channel.push_block(block, from);
            }
        }
    }
}
