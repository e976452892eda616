//! The rules of one queue's ring.

/// What a queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many unread messages fit; one more is refused. Also the number of the ring's positions.
    pub max_len: u64,
    /// How many of the last messages are kept for those who ask for history, read or not.
    pub history: u64,
}
