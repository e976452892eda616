//! A stream of CoreMQ frames, in any pieces.
//!
//! - The verdict is the same whole, byte by byte and in other pieces.
//! - An error comes with the first byte that is wrong: no prefix of the stream has another verdict.
//! - A frame that is taken keeps the rules of names and the limit, and comes back when it is written again.
//! - An announced length takes no memory.
#![no_main]

use bytes::BytesMut;
use httpmq::pubsub::frame::{Frame, FrameError, MAX_NAME_BYTES, check_name, decode, encode};
use httpmq_fuzz::within;
use libfuzzer_sys::fuzz_target;

const MAX_MESSAGE_BYTES: usize = 300;

fuzz_target!(|stream: &[u8]| {
    let whole = read(stream, [stream.len()]);
    let cuts = crc32fast::hash(stream).to_be_bytes();
    assert_eq!(
        read(stream, cuts.iter().cycle().map(|cut| 1 + usize::from(*cut) / 8).take(stream.len())),
        whole,
        "in pieces"
    );
    assert_eq!(read(stream, std::iter::repeat_n(1, stream.len())), whole, "byte by byte");
    for frame in whole.results.iter().flatten() {
        assert_eq!(check_name(frame.queue.as_bytes()), Ok(frame.queue.as_str()));
        assert!(frame.queue.len() + 1 + frame.json.len() <= MAX_MESSAGE_BYTES + MAX_NAME_BYTES + 1);
        check_again(frame);
    }
});

#[derive(Debug, PartialEq)]
struct Verdict {
    results: Vec<Result<Frame, FrameError>>,
    /// What waits for more; `None`: the step is lost.
    waiting_bytes: Option<usize>,
}

/// Reads a stream that comes in pieces; what is left behind the last one comes at once.
fn read(stream: &[u8], pieces: impl IntoIterator<Item = usize>) -> Verdict {
    let mut rest = stream;
    let mut results = Vec::new();
    let mut buf = BytesMut::new();
    for piece in pieces.into_iter().chain([stream.len()]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        buf.extend_from_slice(now);
        loop {
            let before = (buf.len(), buf.capacity());
            // The name is copied, and the buffer becomes one that can be shared.
            match within(1, buf.len().min(MAX_NAME_BYTES), || decode(&mut buf, MAX_MESSAGE_BYTES)) {
                Ok(None) => {
                    assert_eq!((buf.len(), buf.capacity()), before, "nothing is taken or reserved");
                    break;
                }
                Ok(Some(frame)) => results.push(Ok(frame)),
                Err(error) => {
                    results.push(Err(error));
                    if !error.in_step() {
                        assert_eq!(buf.len(), before.0);
                        return Verdict { results, waiting_bytes: None };
                    }
                }
            }
            assert!(buf.len() < before.0, "what was judged is taken");
        }
    }
    Verdict { results, waiting_bytes: Some(buf.len()) }
}

fn check_again(frame: &Frame) {
    let Ok(json) = std::str::from_utf8(&frame.json) else { return };
    let mut written = BytesMut::from(encode(&frame.queue, json).expect("it is short"));
    assert!(written.len() >= 10);
    let again = decode(&mut written, MAX_MESSAGE_BYTES).expect("it was read before").expect("it is whole");
    assert!(written.is_empty() && again.queue == frame.queue);
    // A very short frame is filled up with spaces.
    let padding = again.json.strip_prefix(json.as_bytes()).expect("the JSON comes first");
    assert!(padding.iter().all(|byte| *byte == b' ') && (padding.is_empty() || again.json.len() < 10));
}
