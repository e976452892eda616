//! CoreMQ frames as cheaply as they can be told apart, and the messages of this benchmark in them. No sockets here.

/// Numbers begin here, so that every one of them has ten digits: a number in JSON must not begin with a zero.
const NUMBER_BASE: u64 = 1_000_000_000;
/// Times begin here for the same reason: sixteen digits.
const TIME_BASE: u64 = 1_000_000_000_000_000;
const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;
const BEFORE_NUMBER: &[u8] = br#"{"n":"#;
const BEFORE_TIME: &[u8] = br#","t":"#;
const BEFORE_FILLING: &[u8] = br#","x":""#;
const END: &[u8] = br#""}"#;
const TIME_AT: usize = BEFORE_NUMBER.len() + NUMBER_DIGITS + BEFORE_TIME.len();
const FILLING_AT: usize = TIME_AT + TIME_DIGITS + BEFORE_FILLING.len();

/// The shortest message: all but the filling.
pub(crate) const SIZE_MIN: usize = FILLING_AT + END.len();

/// What a frame is, to somebody who waits for the messages of one queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Message(Message),
    /// An answer to this connection, or anything else.
    Other(&'a [u8]),
}

/// One message of this benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its place in what was published, from 0.
    pub(crate) number: u64,
    /// When it was published, in microseconds since a moment that the publisher knows.
    pub(crate) time_us: u64,
}

/// The payload of the first frame in `bytes` and the bytes that the frame takes; nothing when more have to come.
///
/// # Errors
/// These bytes are not the beginning of a frame.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    let mut length = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        match byte {
            b'+' if at == 0 => {}
            b'0'..=b'9' if at > 0 => length = length * 10 + usize::from(byte - b'0'),
            b' ' if at > 1 => {
                let end = at + 1 + length;
                return Ok((bytes.len() >= end).then(|| (&bytes[at + 1..end], end)));
            }
            _ => return Err(broken(bytes)),
        }
    }
    if bytes.len() < 10 { Ok(None) } else { Err(broken(bytes)) }
}

/// A frame around `json`.
pub(crate) fn encode(queue: &str, json: &str) -> Vec<u8> {
    format!("+{} {queue} {json}", queue.len() + 1 + json.len()).into_bytes()
}

/// Reads a payload as one of `queue`.
pub(crate) fn read<'a>(payload: &'a [u8], queue: &str) -> Payload<'a> {
    message(payload, queue).map_or(Payload::Other(payload), Payload::Message)
}

fn message(payload: &[u8], queue: &str) -> Option<Message> {
    let json = payload.strip_prefix(queue.as_bytes())?.strip_prefix(b" ")?;
    // Stamps may follow the message's own keys, but what came in must begin and end as it did.
    let whole = json.starts_with(BEFORE_NUMBER) && json.ends_with(b"}") && json.len() >= SIZE_MIN;
    let number = json.get(BEFORE_NUMBER.len()..).filter(|_| whole)?;
    Some(Message {
        number: digits(number, NUMBER_DIGITS)?.checked_sub(NUMBER_BASE)?,
        time_us: digits(&json[TIME_AT..], TIME_DIGITS)?.checked_sub(TIME_BASE)?,
    })
}

fn digits(bytes: &[u8], count: usize) -> Option<u64> {
    let mut value = 0;
    for byte in bytes.get(..count)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

fn broken(bytes: &[u8]) -> String {
    format!("no frame: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]))
}

/// The frame of a message, to be stamped and copied.
pub(crate) struct Template {
    frame: Vec<u8>,
    json_at: usize,
}

impl Template {
    /// Messages to `queue` with exactly `size` bytes of JSON, [`SIZE_MIN`] at least.
    pub(crate) fn new(queue: &str, size: usize) -> Self {
        let mut json = String::new();
        for part in [BEFORE_NUMBER, &[b'0'; NUMBER_DIGITS], BEFORE_TIME, &[b'0'; TIME_DIGITS], BEFORE_FILLING] {
            json += &String::from_utf8_lossy(part);
        }
        json += &"x".repeat(size.saturating_sub(SIZE_MIN));
        json += &String::from_utf8_lossy(END);
        let frame = encode(queue, &json);
        Self { json_at: frame.len() - json.len(), frame }
    }

    /// Appends one message to `batch`.
    pub(crate) fn push(&mut self, message: Message, batch: &mut Vec<u8>) {
        let json = &mut self.frame[self.json_at..];
        write_digits(&mut json[BEFORE_NUMBER.len()..][..NUMBER_DIGITS], NUMBER_BASE + message.number);
        write_digits(&mut json[TIME_AT..][..TIME_DIGITS], TIME_BASE + message.time_us);
        batch.extend_from_slice(&self.frame);
    }
}

fn write_digits(places: &mut [u8], mut value: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
