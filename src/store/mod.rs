//! The store as everything above sees it: queues by name, at the verbs of a queue.
//!
//! A store owns the positions. [`local::LocalStore`] keeps them in an engine on this machine; a store that spans machines can
//! stand here later with positions of its own.

pub mod local;
mod report;

use std::{future::Future, sync::Arc};

pub use self::report::{
    CommitReport, Listing, Peek, Peeked, QueueReport, Select, Sort, StoreReport, Traffic, Trouble, Window,
};
use crate::{
    block::Block,
    message::Message,
    ring::{Change, Kind, Own},
};

/// Durable queues.
///
/// When a future returned here completes with `Ok`, what it says is as durable as the store was told to be.
pub trait Store: Send + Sync + 'static {
    /// What those wait for whose change is to be durable.
    type Commit: Commit;

    /// Appends messages of one source to a queue, the first and then the others until one is refused. The queue is made when it is
    /// unknown: a topic for messages that were published, a work queue for those that came by HTTP, which also make a work queue of a
    /// topic.
    ///
    /// The messages take their places in the order now. `staged` is called then, once, with how many have theirs, before anybody sees
    /// them; it is not called when the first is refused. It must be quick, and must not call the store. What is given back says when
    /// they are durable; of a topic's nobody is promised that.
    ///
    /// # Errors
    /// The store has failed.
    fn stage(
        &self,
        queue: &str,
        first: &Message,
        others: &[Message],
        staged: impl FnOnce(Kind, usize) + Send,
    ) -> Result<Staged<Self::Commit>, StoreError>;

    /// [`Store::stage`] for one message, and then the wait for it.
    fn put(
        &self,
        queue: &str,
        message: Message,
        staged: impl FnOnce(Kind) + Send,
    ) -> impl Future<Output = Result<Put, StoreError>> + Send {
        async {
            let staged = self.stage(queue, &message, &[], |kind, _| staged(kind))?;
            // A commit can take its time.
            drop(message);
            staged.done().await
        }
    }

    /// Waits until less than a bound is on its way to the disk: to be waited for before a message is staged, so that puts that come faster
    /// than the disk takes them cannot fill the memory.
    fn room(&self) -> impl Future<Output = ()> + Send;

    /// Takes the oldest unread message. A queue that nobody ever put to is empty; a topic becomes a work queue.
    fn get(&self, queue: &str) -> impl Future<Output = Result<Get, StoreError>> + Send;

    /// The positions of a queue; `None` when it is unknown.
    fn status(&self, queue: &str) -> impl Future<Output = Result<Option<Status>, StoreError>> + Send;

    /// Looks at the unread message at a position and leaves it there.
    fn view(&self, queue: &str, position: u64) -> impl Future<Output = Result<View, StoreError>> + Send;

    /// The last messages of a queue, oldest first, read or not; none of an unknown queue. Where their bodies together are over
    /// `max_bytes`, the oldest are left out; the newest is always there.
    fn history(&self, queue: &str, max_bytes: usize) -> impl Future<Output = Result<Vec<Message>, StoreError>> + Send;

    /// Lists queues and what went through them.
    fn list(&self, select: Select) -> impl Future<Output = Result<Listing, StoreError>> + Send;

    /// One queue and what went through it; `None` when it is unknown.
    fn report(&self, queue: &str) -> impl Future<Output = Result<Option<QueueReport>, StoreError>> + Send;

    /// Looks at messages, read or not, and leaves them and the queue as they are: a topic stays a topic. `None` when the queue is
    /// unknown.
    fn peek(&self, queue: &str, window: Window) -> impl Future<Output = Result<Option<Peek>, StoreError>> + Send;

    /// The store as a whole.
    fn overview(&self) -> impl Future<Output = Result<StoreReport, StoreError>> + Send;

    /// Why puts are refused now, if they are.
    fn trouble(&self) -> Option<Trouble>;

    /// How many queues there are.
    fn queue_count(&self) -> usize;

    /// Forgets all messages of a queue, read or not, and says how many were unread; positions go on from where they are. `None` when
    /// it is unknown.
    fn purge(&self, queue: &str) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Forgets all messages and positions of a queue. `false` when it is unknown.
    fn reset(&self, queue: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Makes a queue without a message.
    fn create(&self, queue: &str, kind: Kind, own: Own) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Changes the settings that a queue has of its own. `false` when it is unknown.
    fn set(&self, queue: &str, change: Change) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes a queue with all that is in it, and says how many messages were unread; its name is free at once. `None` when it
    /// is unknown.
    ///
    /// A put beside it is stored before the deletion, and goes with the queue, or behind it, in a new queue. Subscribers are told of
    /// all messages of the old queue before those of a new one.
    fn delete(&self, queue: &str) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;
}

/// Sees messages become visible, in the order of their positions. It is called where others wait: it must be quick and must
/// not call the store.
pub trait Observer: Send + Sync {
    /// A topic has new messages, which are not durable yet.
    fn staged(&self, queue: &str, messages: &[Message]);

    /// The messages from the sequence `from` on in these blocks of a work queue are durable now.
    fn committed(&self, queue: &str, blocks: &[Arc<Block>], from: u64);
}

/// A commit to come.
pub trait Commit: Send + 'static {
    /// Waits until it is as durable as it shall be.
    ///
    /// # Errors
    /// It failed.
    fn durable(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Puts that have their places in the order, or one that was refused.
#[derive(Debug)]
pub struct Staged<C> {
    /// How many have their places.
    pub stored: usize,
    /// What becomes of the last of those, unless their commit fails; without any, why the first was refused.
    pub put: Put,
    /// What is to be waited for.
    pub commit: Option<C>,
}

impl<C: Commit> Staged<C> {
    /// Waits until they are durable.
    ///
    /// # Errors
    /// Their commit failed.
    pub async fn done(self) -> Result<Put, StoreError> {
        if let Some(commit) = self.commit {
            commit.durable().await?;
        }
        Ok(self.put)
    }
}

impl<C> Staged<C> {
    /// The first was refused.
    pub fn refused(put: Put) -> Self {
        Staged { stored: 0, put, commit: None }
    }
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored {
        /// The ring slot that it is in.
        position: u64,
    },
    /// The queue has as many unread messages as it may.
    Full,
    /// There are as many queues as there may be, and this would be one more.
    TooManyQueues,
    /// The disk has no room left.
    StorageFull,
}

/// What became of the making of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    Made,
    /// It was there, just so.
    Same,
    /// It was there, and is as it was, which is something else.
    Differs {
        /// Its kind.
        kind: Kind,
        /// Its own settings.
        own: Own,
    },
    /// There are as many queues as there may be.
    TooManyQueues,
    /// The disk has no room left.
    StorageFull,
}

/// What became of a get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Get {
    /// The message, which is now read.
    Message {
        /// The ring slot that it was in.
        position: u64,
        /// The message itself.
        message: Message,
    },
    /// Nothing is unread, or the queue is unknown.
    Empty,
}

/// What a view found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// The unread message at that position.
    Message(Message),
    /// Other positions are unread, this one is not.
    NotUnread,
    /// Nothing is unread.
    Empty,
    /// The queue has no such position.
    OutOfRange,
    /// Nobody ever put to this queue.
    Unknown,
}

/// The positions of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Work queue or topic.
    pub kind: Kind,
    /// The slot that the next put takes, see [`crate::ring::Ring::put_pos`].
    pub put_pos: u64,
    /// The slot that the next get takes, see [`crate::ring::Ring::get_pos`].
    pub get_pos: Option<u64>,
    /// How many messages nobody has got yet.
    pub unread: u64,
    /// How many unread messages fit.
    pub max_len: u64,
    /// What an OK promises: "always", "interval" or "never", as in the configuration.
    pub sync: &'static str,
}

/// The store cannot do what was asked, and it is not the client's fault: the operator must look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A write failed earlier. Nothing is stored any more; the process is about to end.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// A message that should be there cannot be read.
    #[error("queue \"{queue}\", position {position}: {reason}")]
    Unreadable {
        /// The name of the queue.
        queue: String,
        /// The ring slot of the message.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}
