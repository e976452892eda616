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

/// The deepest nesting of a message. Many JSON readers recurse, and stop or crash somewhere above this.
pub const MAX_DEPTH: usize = 128;

/// Whether a valid JSON text is nested deeper than [`MAX_DEPTH`]. serde_json steps over raw values without recursion, and so without
/// its own limit on depth.
pub fn is_too_deep(json: &str) -> bool {
    // Nearly every text has fewer brackets than that, in strings and all, and this is much faster to see.
    if memchr::memchr2_iter(b'[', b'{', json.as_bytes()).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}
