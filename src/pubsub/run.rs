//! The publishes that a read buffer begins with, taken together.
//!
//! A program that publishes as fast as it can sends its frames in a row, mostly to one queue. What is done once for all of them, a look
//! for the queue, a lock, the time, the answer, is not done for each.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    command::Command,
    frame,
    message::{self, Form},
};

/// How many publishes are taken together at most. Their answers fit into an outbox that is half full, of the smallest size that can be
/// set; with 128 it is no faster.
const MAX_PUBLISHES: usize = 32;
/// How many bytes of them: they are copied, and wait for no others.
const MAX_BYTES: usize = 64 << 10;

/// Publishes to one queue, in their order; at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) queue: String,
    /// What the ring keeps of each. They share their memory, all of which lives as long as one of them.
    pub(super) bodies: Vec<Bytes>,
}

impl Run {
    /// Takes a run off `buffer`; `None` when that does not begin with a whole publish that can be done, and then it is as it was. What is
    /// no such publish, and what is wrong with a frame, is left to [`frame::decode`] and [`Command::parse`].
    pub(super) fn take(buffer: &mut BytesMut, max_message_bytes: usize) -> Option<Run> {
        let queue = frame::check_name(first(buffer, max_message_bytes)?.queue).ok()?.to_owned();
        let (mut texts, mut ends, mut at) = (BytesMut::new(), Vec::new(), 0);
        while ends.len() < MAX_PUBLISHES
            && let Some(frame) = first(&buffer[at..], max_message_bytes)
            && frame.queue == queue.as_bytes()
            && (at == 0 || at + frame.used <= MAX_BYTES)
            && let Ok(Command::Publish(object)) = Command::parse(frame.json, max_message_bytes)
        {
            texts.extend_from_slice(message::body(&object, Form::Frame).as_bytes());
            ends.push(texts.len());
            at += frame.used;
        }
        buffer.advance(at);
        let texts = texts.freeze();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let bodies: Vec<Bytes> = starts.zip(&ends).map(|(start, end)| texts.slice(start..*end)).collect();
        (!bodies.is_empty()).then_some(Run { queue, bodies })
    }
}

fn first(buffer: &[u8], max_message_bytes: usize) -> Option<frame::First<'_>> {
    frame::first(buffer, max_message_bytes).ok()?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    const MAX_MESSAGE_BYTES: usize = 1000;

    /// What one frame after the other says: publishes with their queues, and how many bytes are left at the first thing that is none.
    fn one_by_one(mut buffer: BytesMut) -> (Vec<(String, Bytes)>, usize) {
        let mut publishes = Vec::new();
        loop {
            let left_bytes = buffer.len();
            let Ok(Some(frame)) = frame::decode(&mut buffer, MAX_MESSAGE_BYTES) else { return (publishes, left_bytes) };
            let Ok(Command::Publish(object)) = Command::parse(&frame.json, MAX_MESSAGE_BYTES) else {
                return (publishes, left_bytes);
            };
            let body = Bytes::copy_from_slice(message::body(&object, Form::Frame).as_bytes());
            publishes.push((frame.queue, body));
        }
    }

    fn by_runs(mut buffer: BytesMut) -> (Vec<(String, Bytes)>, usize) {
        let mut publishes = Vec::new();
        while let Some(Run { queue, bodies }) = Run::take(&mut buffer, MAX_MESSAGE_BYTES) {
            publishes.extend(bodies.into_iter().map(|body| (queue.clone(), body)));
        }
        (publishes, buffer.len())
    }

    fn frame(queue: &str, json: &str) -> Vec<u8> {
        let content = format!("{queue} {json}");
        format!("+{} {content}", content.len()).into_bytes()
    }

    #[test]
    fn a_run_ends_with_its_queue_or_when_it_is_long() {
        let mut buffer = BytesMut::new();
        let publish = frame("q", r#"{"a":1}"#);
        (0..=MAX_PUBLISHES).for_each(|_| buffer.extend_from_slice(&publish));
        let long = frame("r", &format!("{{\"a\":\"{}\"}}", "x".repeat(5000)));
        buffer.extend_from_slice(&long.repeat(20));
        let mut taken = Vec::new();
        while let Some(Run { queue, bodies }) = Run::take(&mut buffer, 10 * MAX_MESSAGE_BYTES) {
            taken.push((queue, bodies.len()));
        }
        let taken: Vec<_> = taken.iter().map(|(queue, count)| (queue.as_str(), *count)).collect();
        let fit = MAX_BYTES / long.len();
        assert_eq!(taken, [("q", MAX_PUBLISHES), ("q", 1), ("r", fit), ("r", 20 - fit)]);
    }

    fn arbitrary_frame() -> impl Strategy<Value = Vec<u8>> {
        let command =
            prop_oneof![Just(r#"{"coremq_status":1}"#), Just(r#"{"coremq_subscribe":"q"}"#), Just("[1]"), Just("{")];
        prop_oneof![
            6 => ("[ab]", arbitrary::object_text()).prop_map(|(queue, json)| frame(&queue, &json)),
            1 => command.prop_map(|json| frame("a", json)),
            1 => prop::collection::vec(any::<u8>(), 0..9),
        ]
    }

    proptest! {
        #[test]
        fn runs_are_what_the_frames_say_one_by_one(frames in prop::collection::vec(arbitrary_frame(), 0..20), cut in 0..9_usize) {
            let mut stream = frames.concat();
            stream.truncate(stream.len().saturating_sub(cut));
            let buffer = BytesMut::from(&stream[..]);
            prop_assert_eq!(by_runs(buffer.clone()), one_by_one(buffer));
        }
    }
}
