//! What can be seen of queues and of a store without changing them.

use super::Status;
use crate::{
    histogram::Buckets,
    message::Message,
    ring::{Overflow, Own},
};

/// Which queues to list, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Only queues with this text in their name, in capital or small letters alike; empty for all.
    pub text: String,
    /// Only queues whose name stands behind this one.
    pub after: Option<String>,
    /// What stands first.
    pub sort: Sort,
    /// How many at most.
    pub limit: usize,
    /// Whether to find out when the oldest unread messages came in, for which some may have to be read.
    pub ages: bool,
}

/// The order of a list of queues. Where it leaves two equal, the name decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// By name, in byte order.
    Name,
    /// The most unread messages first.
    Unread,
    /// The most puts a second first.
    Puts,
    /// The most gets a second first.
    Gets,
}

/// A list of queues.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The queues that were asked for.
    pub queues: Vec<QueueReport>,
    /// How many have the text in their name, on this page or not.
    pub matched: usize,
    /// Whether there are more behind these.
    pub more: bool,
    /// What went through queues that are gone, as of the same moment.
    pub gone: Traffic,
}

/// One queue as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueReport {
    /// Another queue of the same name has another.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its positions.
    pub status: Status,
    /// How many of its last messages are kept, read or not.
    pub history: u64,
    /// What becomes of a put when it is full.
    pub overflow: Overflow,
    /// Which of its settings it was given at run time.
    pub own: Own,
    /// How many messages are kept, read or not.
    pub kept: u64,
    /// What went through it.
    pub traffic: Traffic,
    /// When the oldest unread message came in, in milliseconds since the Unix epoch. `None`: there is none, the queue is a topic,
    /// where nobody is expected to get messages, or it cannot be read.
    pub oldest_unread_ms: Option<u64>,
}

/// What went through a queue, or through all of them, since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Traffic {
    /// Messages put, by whichever door.
    pub puts: u64,
    /// Messages got.
    pub gets: u64,
    /// Bytes of the messages put.
    pub put_bytes: u64,
    /// Bytes of the messages got.
    pub got_bytes: u64,
    /// Unread messages that gave way to others because the queue was full.
    pub dropped: u64,
    /// Messages put a second, over the last few seconds.
    pub puts_per_s: f64,
    /// Messages got a second, over the last few seconds.
    pub gets_per_s: f64,
}

/// Which messages to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The sequence to begin with; `None` for the message that the next get takes.
    pub from: Option<u64>,
    /// How many messages at most.
    pub limit: usize,
    /// How many bytes of bodies at most; a first message that is larger is there nevertheless.
    pub max_bytes: usize,
}

/// A stretch of a queue's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// How often the queue was reset: sequences of different epochs have nothing to do with each other.
    pub epoch: u32,
    /// The oldest sequence that is kept.
    pub first: u64,
    /// The sequence that the next get takes, if there is any message then.
    pub next_get: u64,
    /// The sequence that the next put takes.
    pub next_put: u64,
    /// The messages, oldest first.
    pub messages: Vec<Peeked>,
    /// Where to go on; `None` when there is nothing behind these yet.
    pub next: Option<u64>,
}

/// One message of a [`Peek`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Counts the messages since the last reset.
    pub sequence: u64,
    /// Its ring slot.
    pub position: u64,
    /// Whether it was got.
    pub is_read: bool,
    /// The message itself.
    pub message: Message,
}

/// A store as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreReport {
    /// What keeps the records.
    pub engine: &'static str,
    /// What an OK promises, as in the configuration.
    pub sync: &'static str,
    /// How many queues there are.
    pub queues: usize,
    /// How many messages in all of them nobody has got yet.
    pub unread: u64,
    /// What went through all queues, those that are gone included.
    pub traffic: Traffic,
    /// What the data directory takes on the disk, in bytes; `None` without a disk.
    pub stored_bytes: Option<u64>,
    /// What is free on that disk, in bytes.
    pub free_bytes: Option<u64>,
    /// Below this many free bytes, puts are refused.
    pub reserve_bytes: u64,
    /// Bytes of messages in memory.
    pub cached_bytes: u64,
    /// The commits since the store was opened.
    pub commits: CommitReport,
}

/// The commits of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitReport {
    /// How long they took, until they were as durable as they shall be, in seconds.
    pub seconds: Buckets,
    /// How many puts, gets, resets and other changes each of them had.
    pub operations: Buckets,
    /// Writes and syncs that failed. After the first one nothing is stored any more.
    pub errors: u64,
}

/// Why a store does not take puts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A write failed, or the store is closed.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// The disk has less free space than its reserve.
    #[error("the disk has less free space than disk_reserve_bytes = {reserve_bytes}")]
    NoRoom {
        /// The reserve.
        reserve_bytes: u64,
    },
}
