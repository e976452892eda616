//! A message as the store keeps it. Pure.

use bytes::Bytes;

/// One message with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it came in: milliseconds since the Unix epoch by the server's clock.
    pub time_ms: u64,
    /// Which door it came through, and who brought it.
    pub source: Source,
    /// What the body is.
    pub content: Content,
    /// The body, byte for byte as it came in.
    pub body: Bytes,
}

/// Who brought a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An HTTP client.
    Http,
    /// A publish/subscribe connection, by its id.
    Connection([u8; 16]),
}

/// What the body of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The exact text of one JSON value.
    Json,
}
