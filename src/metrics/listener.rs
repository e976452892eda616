//! What a listener counts: connections, and requests that it refused.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The counts of one listener. Relaxed: each number is right by itself, and nothing is decided by them.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    open: AtomicU64,
    accepted: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

/// A connection for as long as it is there.
#[derive(Debug)]
pub struct Open(Arc<Listener>);

/// The counts of a listener at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerReport {
    /// Which listener.
    pub name: &'static str,
    /// Connections that are open.
    pub open: u64,
    /// Connections accepted since the start, those that are refused at once not included.
    pub accepted: u64,
    /// How many requests were refused since the start, for each of [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be understood: no HTTP, no frame, no command, a head that is too long.
    Malformed,
    /// Nothing is served at its path, or the queue is unknown where that is an error.
    NotFound,
    /// Its path takes other methods.
    Method,
    /// A parameter is missing or wrong.
    Parameter,
    /// Its page is not allowed.
    Forbidden,
    /// Message or body are too long.
    TooLong,
    /// The rest of it did not come in time.
    TooSlow,
    /// It came out of order.
    Order,
    /// The queue is full.
    QueueFull,
    /// It would make one queue too many.
    TooManyQueues,
    /// There are as many connections, streams of ordered puts, or long bodies and frames, as there may be.
    TooMany,
    /// The disk has no room.
    StorageFull,
    /// The disk failed, or a message cannot be read.
    StorageFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 13] = [
        Reason::Malformed,
        Reason::NotFound,
        Reason::Method,
        Reason::Parameter,
        Reason::Forbidden,
        Reason::TooLong,
        Reason::TooSlow,
        Reason::Order,
        Reason::QueueFull,
        Reason::TooManyQueues,
        Reason::TooMany,
        Reason::StorageFull,
        Reason::StorageFailed,
    ];

    /// As the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::NotFound => "not_found",
            Reason::Method => "method",
            Reason::Parameter => "parameter",
            Reason::Forbidden => "forbidden",
            Reason::TooLong => "too_long",
            Reason::TooSlow => "too_slow",
            Reason::Order => "order",
            Reason::QueueFull => "queue_full",
            Reason::TooManyQueues => "too_many_queues",
            Reason::TooMany => "too_many",
            Reason::StorageFull => "storage_full",
            Reason::StorageFailed => "storage_failed",
        }
    }
}

impl Listener {
    /// A listener that has counted nothing yet.
    pub fn new(name: &'static str) -> Arc<Listener> {
        Arc::new(Listener {
            name,
            open: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Reason::ALL.len()],
        })
    }

    /// Counts a connection until what is returned is dropped.
    #[must_use]
    pub fn open(self: &Arc<Listener>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Counts a request that is refused.
    pub fn refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn report(&self) -> ListenerReport {
        ListenerReport {
            name: self.name,
            open: self.open.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: std::array::from_fn(|at| self.refused[at].load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_in_its_own_place() {
        let listener = Listener::new("x");
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{reason:?}");
            (0..=at).for_each(|_| listener.refused(reason));
        }
        assert_eq!(listener.report().refused, std::array::from_fn(|at| at as u64 + 1));
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let listener = Listener::new("x");
        let (one, two) = (listener.open(), listener.open());
        drop(one);
        assert_eq!((listener.report().open, listener.report().accepted), (1, 2));
        drop(two);
        assert_eq!((listener.report().open, listener.report().accepted), (0, 2));
    }
}
