//! Bytes ↔ CoreMQ frames: `+LEN QUEUE JSON`, where LEN is the number of bytes of `QUEUE JSON` in decimal.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The longest queue name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The greatest LEN: eight digits, because the Python client reads ten bytes (`+`, digits, space) to find it.
pub const MAX_LEN: usize = 99_999_999;

/// The greatest sensible `max_message_bytes`: written as ASCII a message grows to three times its bytes at most
/// (`é`, two bytes, becomes the six of `\u00e9`), and that has to fit a frame together with name and stamps.
pub const MAX_MESSAGE_BYTES_CEILING: usize = 33_000_000;

/// The shortest LEN that is written: with `+7 ` in front it makes ten bytes. The Python client's first read takes ten,
/// and would swallow the start of the next frame from a shorter one.
const MIN_LEN: usize = 7;

/// `+`, the digits of [`MAX_LEN`], and a space.
const MAX_HEADER_BYTES: usize = 10;

/// First letters of HTTP's methods (CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE). One byte is all that
/// is looked at, so that the verdict does not depend on how the bytes were cut into reads.
const HTTP_INITIALS: &[u8] = b"CDGHOPT";

/// One frame as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The queue it is addressed to; keeps the rules of [`check_name`].
    pub queue: String,
    /// The rest of the frame, not looked at. It is a view of the read buffer and keeps all of that alive: what is to
    /// stay for long should be copied.
    pub json: Bytes,
}

/// A frame where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First<'a> {
    pub(crate) queue: &'a [u8],
    pub(crate) json: &'a [u8],
    /// How many bytes it takes.
    pub(crate) used: usize,
}

/// What is wrong with a frame. The texts are for the peer and hold nothing that the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The first byte is no `+`.
    #[error("a frame begins with +LEN, this does not{}", if *.looks_like_http { "; HTTP is spoken on another port" } else { "" })]
    NoPlus {
        /// The byte could begin an HTTP request that was sent to the wrong port.
        looks_like_http: bool,
    },
    /// Between `+` and space stands something other than digits, or a zero first.
    #[error("the length after + must be decimal digits without sign or leading zero, then a space")]
    BadLength,
    /// LEN is over the limit.
    #[error("frame over the limit of {limit_bytes} bytes")]
    OverLimit {
        /// The greatest LEN that is taken.
        limit_bytes: usize,
    },
    /// A whole frame without a space in it.
    #[error("no space between queue and JSON")]
    NoSpace,
    /// A whole frame whose queue name breaks a rule.
    #[error("bad queue name: {0}")]
    BadName(#[from] NameError),
}

/// The rule that a queue name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// No byte at all.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("it is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// A space, which ends the name in a frame.
    #[error("it has a space")]
    Space,
    /// A control character.
    #[error("it has a control character")]
    Control,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// Takes the first frame off `buf`; `None` means that more bytes are needed.
///
/// Nothing is reserved for what LEN announces: a peer has to send its bytes before they take memory. Nothing is scanned
/// twice either, but the header, which is ten bytes at most.
///
/// # Errors
/// [`FrameError::in_step`] tells whether the connection can go on: then the frame has been taken off `buf`. Otherwise
/// `buf` is as it was. Errors come with the first byte that is wrong, so they do not depend on how the reads were cut.
pub fn decode(buf: &mut BytesMut, max_message_bytes: usize) -> Result<Option<Frame>, FrameError> {
    let Some((header_bytes, payload_bytes)) = parse_header(buf, limit_bytes(max_message_bytes))? else {
        return Ok(None);
    };
    if buf.len() < header_bytes + payload_bytes {
        return Ok(None);
    }
    buf.advance(header_bytes);
    let payload = buf.split_to(payload_bytes).freeze();
    split_queue(&payload).map(Some)
}

/// How many bytes the frame takes that `buf` begins with, as far as it says so already.
pub(crate) fn announced(buf: &[u8], max_message_bytes: usize) -> Option<usize> {
    let (header_bytes, payload_bytes) = parse_header(buf, limit_bytes(max_message_bytes)).ok()??;
    Some(header_bytes + payload_bytes)
}

/// The frame that `bytes` begin with; `None` means that more are needed. For a reader that gets too many to make a [`Frame`] of each.
///
/// # Errors
/// As [`decode`], but that the name is not checked.
pub(crate) fn first(bytes: &[u8], max_message_bytes: usize) -> Result<Option<First<'_>>, FrameError> {
    let Some((header_bytes, payload_bytes)) = parse_header(bytes, limit_bytes(max_message_bytes))? else {
        return Ok(None);
    };
    let used = header_bytes + payload_bytes;
    let Some(payload) = bytes.get(header_bytes..used) else { return Ok(None) };
    let at = payload.iter().position(|byte| *byte == b' ').ok_or(FrameError::NoSpace)?;
    Ok(Some(First { queue: &payload[..at], json: &payload[at + 1..], used }))
}

/// Writes a frame into one buffer, header included, so that it can be sent with one write. `None` when it would be
/// longer than [`MAX_LEN`].
///
/// `queue` must keep the rules of [`check_name`]. What goes to clients must be ASCII ([`super::ascii`]), because the Python
/// client compares LEN with the number of characters that it decoded; what goes to a server may be any JSON text. A queue name with other characters cannot please
/// both kinds of client: LEN counts its bytes, as the protocol says, and the Python client cannot read such a queue.
///
/// A very short frame is filled up to ten bytes with spaces after the JSON, where they mean nothing.
#[must_use]
pub fn encode(queue: &str, json: &str) -> Option<Bytes> {
    let mut frame = BytesMut::with_capacity(MAX_HEADER_BYTES + MIN_LEN.max(queue.len() + 1 + json.len()));
    push(&mut frame, queue, json).then(|| frame.freeze())
}

/// Appends what [`encode`] gives. `false`: nothing, for it would be too long.
#[must_use]
pub(super) fn push(out: &mut BytesMut, queue: &str, json: &str) -> bool {
    let len = MIN_LEN.max(queue.len() + 1 + json.len());
    if len > MAX_LEN {
        return false;
    }
    out.reserve(MAX_HEADER_BYTES + len);
    for part in ["+", itoa::Buffer::new().format(len), " ", queue, " ", json] {
        out.extend_from_slice(part.as_bytes());
    }
    let filling = len - (queue.len() + 1 + json.len());
    out.resize(out.len() + filling, b' ');
    true
}

/// Reads bytes as a queue name of this door: UTF-8, 1 to [`MAX_NAME_BYTES`] bytes, no space, no control character.
///
/// # Errors
/// The first rule that is broken.
pub fn check_name(bytes: &[u8]) -> Result<&str, NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let name = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
    // Nearly every name.
    if bytes.iter().all(u8::is_ascii_graphic) {
        return Ok(name);
    }
    match name.chars().find(|c| *c == ' ' || c.is_control()) {
        Some(' ') => Err(NameError::Space),
        Some(_) => Err(NameError::Control),
        None => Ok(name),
    }
}

impl FrameError {
    /// Whether the stream is still in step: a whole frame was consumed and the next one can be read. If not, where the
    /// next frame begins is unknown, and the connection must be closed: bytes that were meant as data would be executed.
    #[must_use]
    pub fn in_step(self) -> bool {
        match self {
            Self::NoSpace | Self::BadName(_) => true,
            Self::NoPlus { .. } | Self::BadLength | Self::OverLimit { .. } => false,
        }
    }
}

fn limit_bytes(max_message_bytes: usize) -> usize {
    max_message_bytes.saturating_add(MAX_NAME_BYTES + 1).min(MAX_LEN)
}

/// The lengths of header and payload. The limit is checked with each digit, so the sum cannot overflow, and as it has
/// eight digits at most, a ninth is always over it.
fn parse_header(bytes: &[u8], limit_bytes: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if first != b'+' {
        return Err(FrameError::NoPlus { looks_like_http: HTTP_INITIALS.contains(&first) });
    }
    let mut len = 0;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            b'0' if at == 0 => return Err(FrameError::BadLength),
            b'0'..=b'9' => len = len * 10 + usize::from(byte - b'0'),
            b' ' if at > 0 => return Ok(Some((at + "+ ".len(), len))),
            _ => return Err(FrameError::BadLength),
        }
        if len > limit_bytes {
            return Err(FrameError::OverLimit { limit_bytes });
        }
    }
    Ok(None)
}

fn split_queue(payload: &Bytes) -> Result<Frame, FrameError> {
    // The first space ends the name; looking further than a name can be long is left to the way of the error.
    let start = &payload[..payload.len().min(MAX_NAME_BYTES + 1)];
    match start.iter().position(|byte| *byte == b' ') {
        Some(at) => Ok(Frame { queue: check_name(&payload[..at])?.to_owned(), json: payload.slice(at + 1..) }),
        None if payload.contains(&b' ') => Err(NameError::TooLong.into()),
        None => Err(FrameError::NoSpace),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_MESSAGE_BYTES: usize = 1000;

    fn decode_all(bytes: &[u8], cuts: &[usize]) -> (Vec<Result<Frame, FrameError>>, usize) {
        let (mut buf, mut results, mut rest) = (BytesMut::new(), Vec::new(), bytes);
        for &cut in cuts.iter().chain([&usize::MAX]) {
            let (read, unread) = rest.split_at(cut.min(rest.len()));
            (buf, rest) = (BytesMut::from_iter(buf.iter().chain(read)), unread);
            while let Some(result) = decode(&mut buf, MAX_MESSAGE_BYTES).transpose() {
                let goes_on = result.as_ref().map_or_else(|error| error.in_step(), |_| true);
                results.push(result);
                if !goes_on {
                    return (results, 0);
                }
            }
        }
        (results, buf.len())
    }

    fn error_of(bytes: &[u8]) -> Option<FrameError> {
        decode(&mut BytesMut::from(bytes), MAX_MESSAGE_BYTES).err()
    }

    #[test]
    fn frames_are_taken_one_by_one_and_the_rest_is_left() {
        let mut buf = BytesMut::from("+9 a {\"b\":1}+5 é {}+9 a".as_bytes());
        // LEN counts bytes: the é is two of them.
        let mut next = || decode(&mut buf, MAX_MESSAGE_BYTES).unwrap();
        assert_eq!(next(), Some(Frame { queue: "a".to_owned(), json: Bytes::from(r#"{"b":1}"#) }));
        assert_eq!(next(), Some(Frame { queue: "é".to_owned(), json: Bytes::from("{}") }));
        assert_eq!(next(), None);
        assert_eq!(&buf[..], b"+9 a");
    }

    #[test]
    fn the_first_frame_is_found_as_decode_finds_it() {
        for whole in ["+9 a {\"b\":1}", "+5 é {}+9 a"] {
            let frame = decode(&mut BytesMut::from(whole), MAX_MESSAGE_BYTES).unwrap().unwrap();
            let First { queue, json, used } = first(whole.as_bytes(), MAX_LEN).unwrap().unwrap();
            assert_eq!((queue, json), (frame.queue.as_bytes(), &frame.json[..]));
            assert!((0..used).all(|cut| first(&whole.as_bytes()[..cut], MAX_LEN) == Ok(None)), "{whole}");
        }
        assert_eq!(first(b"+2 ab", MAX_LEN), Err(FrameError::NoSpace));
        assert_eq!(first(b"+05 ", MAX_LEN), Err(FrameError::BadLength));
    }

    #[test]
    fn the_json_is_not_copied() {
        let mut buf = BytesMut::from(&b"+9 a {\"b\":1}"[..]);
        let at = buf[5..].as_ptr();
        assert_eq!(decode(&mut buf, MAX_MESSAGE_BYTES).unwrap().unwrap().json.as_ptr(), at);
    }

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for bad in
            ["+5,5 ", "+-5 ", "++5 ", "+ 5 ", "+5\t", "+5\r\n", "+05 ", "+0 ", "+0x5 ", "+1e3 ", "+٥ ", "+\0", "+5_0 "]
        {
            assert_eq!(error_of(bad.as_bytes()), Some(FrameError::BadLength), "{bad}");
        }
        assert!(!FrameError::BadLength.in_step());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_at_its_first_digit_too_many() {
        let limit_bytes = MAX_MESSAGE_BYTES + MAX_NAME_BYTES + 1;
        for over in ["+1257", "+12560", "+99999999 ", "+99999999999999999999999999 "] {
            assert_eq!(error_of(over.as_bytes()), Some(FrameError::OverLimit { limit_bytes }), "{over}");
        }
        assert_eq!(error_of(b"+1256 "), None);
        assert!(!FrameError::OverLimit { limit_bytes }.in_step());
        for max_message_bytes in [MAX_LEN, usize::MAX] {
            let mut buf = BytesMut::from("+100000000");
            let refused = decode(&mut buf, max_message_bytes);
            assert_eq!(refused, Err(FrameError::OverLimit { limit_bytes: MAX_LEN }));
        }
    }

    #[test]
    fn nothing_is_reserved_for_an_announced_length() {
        let mut buf = BytesMut::from("+99999999 q ");
        let capacity = buf.capacity();
        assert_eq!(decode(&mut buf, MAX_LEN), Ok(None));
        assert_eq!(buf.capacity(), capacity);
    }

    #[test]
    fn http_at_the_wrong_port_is_told_so() {
        for request in ["GET / HTTP/1.1\r\n", "POST /queue/ HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "DELETE /"] {
            let error = error_of(request.as_bytes()).unwrap();
            assert!(error.to_string().contains("HTTP") && !error.in_step(), "{error}");
        }
        for other in ["{\"a\":1}", "\n+5 q {}", "\x16\x03\x01"] {
            let error = error_of(other.as_bytes()).unwrap();
            assert!(!error.to_string().contains("HTTP") && !error.in_step(), "{error}");
        }
    }

    #[test]
    fn a_whole_frame_with_a_bad_queue_is_consumed() {
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        for (content, expected) in [
            (&b"nospace"[..], FrameError::NoSpace),
            (long.as_bytes(), FrameError::NoSpace),
            (format!("{long} {{}}").as_bytes(), NameError::TooLong.into()),
            (b" {}", NameError::Empty.into()),
            (b"a\tb {}", NameError::Control.into()),
            ("a\u{85} {}".as_bytes(), NameError::Control.into()),
            (b"a\0 {}", NameError::Control.into()),
            (b"\xff {}", NameError::NotUtf8.into()),
        ] {
            let mut stream = format!("+{} ", content.len()).into_bytes();
            stream.extend_from_slice(content);
            stream.extend_from_slice(b"+4 q {}");
            let mut buf = BytesMut::from(&stream[..]);
            let error = decode(&mut buf, MAX_MESSAGE_BYTES).unwrap_err();
            assert_eq!(error, expected);
            assert!(error.in_step());
            assert_eq!(&buf[..], b"+4 q {}");
        }
    }

    #[test]
    fn the_longest_name_with_the_longest_message_fits() {
        let (queue, json) = ("n".repeat(MAX_NAME_BYTES), "j".repeat(MAX_MESSAGE_BYTES));
        let mut buf = BytesMut::from(&encode(&queue, &json).unwrap()[..]);
        assert_eq!(decode(&mut buf, MAX_MESSAGE_BYTES), Ok(Some(Frame { queue, json: json.into() })));
    }

    #[test]
    fn a_frame_never_has_fewer_than_ten_bytes() {
        assert_eq!(encode("q", "{}").unwrap(), "+7 q {}   ");
        assert_eq!(encode("q", r#"{"a":1}"#).unwrap(), r#"+9 q {"a":1}"#);
        assert_eq!(encode("qqq", "{} ").unwrap(), "+7 qqq {} ");
    }

    #[test]
    fn a_frame_over_eight_digits_is_not_written() {
        let json = "x".repeat(MAX_LEN - 2);
        assert_eq!(encode("q", &json).unwrap().len(), MAX_LEN + "+99999999 ".len());
        assert_eq!(encode("qq", &json), None);
    }

    #[test]
    fn the_greatest_message_fits_a_frame_in_ascii_with_stamps() {
        let stamps_bytes = 200;
        assert!(3 * MAX_MESSAGE_BYTES_CEILING + stamps_bytes + MAX_NAME_BYTES < MAX_LEN);
    }

    /// Frames, and now and then something that is none.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let frame = ("[^ \\pC]{1,9}", "[ -~]{0,40}").prop_map(|(queue, json)| encode(&queue, &json).unwrap().to_vec());
        let junk = prop_oneof![
            "\\+[0-9]{1,3} [ -~]{0,20}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..9),
            Just(b"+3  {}+7 nospace".to_vec()),
        ];
        prop::collection::vec(prop_oneof![8 => frame, 1 => junk], 0..9).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_how_the_stream_was_cut(
            bytes in stream(),
            cuts in prop::collection::vec(0_usize..30, 0..40),
        ) {
            let whole = decode_all(&bytes, &[]);
            prop_assert_eq!(&decode_all(&bytes, &cuts), &whole);
            prop_assert_eq!(&decode_all(&bytes, &vec![1; bytes.len()]), &whole);
        }

        #[test]
        fn what_was_encoded_is_decoded(queue in "[^ \\pC]{1,60}", json in "[!-~]{0,99}") {
            let frame = encode(&queue, &json).unwrap();
            prop_assert!(frame.len() >= 10);
            let decoded = decode(&mut BytesMut::from(&frame[..]), MAX_MESSAGE_BYTES).unwrap().unwrap();
            prop_assert_eq!(&decoded.queue, &queue);
            prop_assert_eq!(decoded.json.trim_ascii_end(), json.as_bytes());
        }
    }
}
