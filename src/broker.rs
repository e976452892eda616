//! What every door does with a queue. The doors know their wire, the store knows the disk; the rules that belong to neither
//! are here.

mod memory;
mod order;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use self::order::Orders;
pub use self::{
    memory::{Claim, Memory, Share, UNCOUNTED_BYTES},
    order::{Order, OrderError, Turn},
};
use crate::{
    message::{Content, Message, Source},
    ring::{Change, Kind, Own},
    store::{
        Created, Get, Listing, Peek, Put, QueueReport, Select, Staged, Status, Store, StoreError, StoreReport, Trouble,
        View, Window,
    },
};

/// The queues as the doors see them.
#[derive(Debug)]
pub struct Broker<S> {
    store: S,
    orders: Orders,
    memory: Memory,
}

impl<S: Store> Broker<S> {
    /// A broker over a store.
    pub fn new(store: S) -> Broker<S> {
        Broker { store, orders: Orders::default(), memory: Memory::new() }
    }

    /// Waits for the turn of an ordered put, see [`Order`]. To be asked for before anything else of that put is done: a turn that
    /// is dropped, because the put is refused, ends its stream; and a put that waits holds no memory that those before it need.
    ///
    /// # Errors
    /// The stream has ended, or the turn was taken before.
    pub async fn turn(&self, order: Order) -> Result<Turn, OrderError> {
        self.orders.turn(order).await
    }

    /// The memory that what clients send takes its share of, before it is whole.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Waits until there is room for more messages on their way to the disk. To be waited for before each
    /// [`Broker::publish`], which cannot wait for it itself.
    pub async fn room(&self) {
        self.store.room().await;
    }

    /// Appends a JSON text to a queue. With a turn, the next put of its stream goes on when this one has its place.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put(&self, queue: &str, body: Bytes, source: Source, turn: Option<Turn>) -> Result<Put, StoreError> {
        let message = Message { time_ms: now_ms(), source, content: Content::Json, body };
        let staged = |_| {
            if let Some(turn) = turn {
                turn.pass();
            }
        };
        self.room().await;
        self.store.put(queue, message, staged).await
    }

    /// Appends what a connection published, as [`Store::stage`] says.
    ///
    /// # Errors
    /// The store failed.
    pub fn publish(
        &self,
        queue: &str,
        first: &Message,
        others: &[Message],
        staged: impl FnOnce(Kind, usize) + Send,
    ) -> Result<Staged<S::Commit>, StoreError> {
        self.store.stage(queue, first, others, staged)
    }

    /// The last messages of a queue, oldest first; together no larger than `max_bytes`.
    ///
    /// # Errors
    /// The store failed, or a message cannot be read.
    pub async fn history(&self, queue: &str, max_bytes: usize) -> Result<Vec<Message>, StoreError> {
        self.store.history(queue, max_bytes).await
    }

    /// Takes the oldest unread message of a queue.
    ///
    /// # Errors
    /// The store failed, or the message cannot be read.
    pub async fn get(&self, queue: &str) -> Result<Get, StoreError> {
        self.store.get(queue).await
    }

    /// The positions of a queue; `None` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn status(&self, queue: &str) -> Result<Option<Status>, StoreError> {
        self.store.status(queue).await
    }

    /// Looks at an unread message.
    ///
    /// # Errors
    /// The store failed, or the message cannot be read.
    pub async fn view(&self, queue: &str, position: u64) -> Result<View, StoreError> {
        self.store.view(queue, position).await
    }

    /// Lists queues and what went through them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, select: Select) -> Result<Listing, StoreError> {
        self.store.list(select).await
    }

    /// One queue and what went through it; `None` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn report(&self, queue: &str) -> Result<Option<QueueReport>, StoreError> {
        self.store.report(queue).await
    }

    /// Looks at messages, read or not; `None` when the queue is unknown.
    ///
    /// # Errors
    /// The store failed, or a message cannot be read.
    pub async fn peek(&self, queue: &str, window: Window) -> Result<Option<Peek>, StoreError> {
        self.store.peek(queue, window).await
    }

    /// The store as a whole.
    ///
    /// # Errors
    /// The store failed.
    pub async fn overview(&self) -> Result<StoreReport, StoreError> {
        self.store.overview().await
    }

    /// Why puts are refused now, if they are.
    pub fn trouble(&self) -> Option<Trouble> {
        self.store.trouble()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.store.queue_count()
    }

    /// Forgets all messages of a queue, whose positions go on, and says how many were unread; `None` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn purge(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        self.store.purge(queue).await
    }

    /// Forgets all messages of a queue; `false` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn reset(&self, queue: &str) -> Result<bool, StoreError> {
        self.store.reset(queue).await
    }

    /// Makes a queue without a message.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create(&self, queue: &str, kind: Kind, own: Own) -> Result<Created, StoreError> {
        self.store.create(queue, kind, own).await
    }

    /// Changes the settings that a queue has of its own; `false` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn set(&self, queue: &str, change: Change) -> Result<bool, StoreError> {
        self.store.set(queue, change).await
    }

    /// Deletes a queue and says how many messages were unread; `None` when it is unknown.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, queue: &str) -> Result<Option<u64>, StoreError> {
        self.store.delete(queue).await
    }
}

/// The time by the server's clock, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    // A clock before 1970 is wrong anyway; a message says then that it came at the epoch.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
