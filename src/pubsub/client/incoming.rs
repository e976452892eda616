//! What a client gets: a frame → an answer of the server, or a message. Pure.

use serde_json::value::RawValue;

use crate::pubsub::frame::Frame;
use crate::pubsub::message::{Form, SENDER, SENT, STRING, body};
use crate::pubsub::object::{Object, ObjectError};
use crate::pubsub::response;

/// One frame, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The answer to the oldest request that has none yet.
    Answer(Answer),
    /// A message of a queue.
    Message(Message),
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// Not done; the reason.
    Refused(String),
    /// The last messages of the queues that were asked for.
    History(History),
    /// The server stops.
    Bye,
}

/// The queues and their messages, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    json: String,
}

/// A message of a queue. Values are in their exact JSON text, which is ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue that it was published to.
    pub queue: String,
    /// Who sent it: a string.
    pub sender: String,
    /// When, in seconds since the Unix epoch: a number.
    pub sent: String,
    /// The message itself, as it was put or published: any JSON value.
    pub data: String,
}

impl Incoming {
    /// Reads a frame; `id` is the connection's id, the queue of answers. A message to that queue has a sender and an answer has
    /// none, so nobody can pass for the server.
    pub(crate) fn read(frame: &Frame, id: &str) -> Result<Incoming, ObjectError> {
        // Not Object::parse: with its wrapping a message is nested one level deeper than a message may be.
        let object = Object::scan(std::str::from_utf8(&frame.json).map_err(|_| ObjectError::NotUtf8)?)?;
        if frame.queue == id
            && object.get(SENDER).is_none()
            && let Some(response) = object.get("response")
        {
            return Ok(Incoming::Answer(Answer::read(&object, response)));
        }
        Ok(Incoming::Message(Message::read(&frame.queue, &object)))
    }
}

/// Whether this is the answer to a publish that was taken.
pub(crate) fn is_sent(json: &[u8]) -> bool {
    json == response::SENT.as_bytes()
}

/// The text of a message that is a string without escapes, where it lies.
pub(crate) fn plain_text(json: &[u8]) -> Option<&[u8]> {
    let text = json.strip_prefix(b"{\"")?.strip_prefix(STRING.as_bytes())?.strip_prefix(b"\":\"")?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (text[end] == b'"').then(|| &text[..end])
}

impl Answer {
    fn read(object: &Object<'_>, response: &str) -> Answer {
        let Ok(text) = serde_json::from_str::<String>(response) else {
            let json = object.get("history").unwrap_or(response).to_owned();
            return Answer::History(History { json });
        };
        if text == "BYE" {
            return Answer::Bye;
        }
        match text.strip_prefix("ERROR") {
            Some(reason) => Answer::Refused(reason.trim_start_matches([':', ' ']).to_owned()),
            None => Answer::Done,
        }
    }
}

impl History {
    /// The messages of a queue, oldest first.
    #[must_use]
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        let Ok(queues) = Object::scan(&self.json) else { return Vec::new() };
        let list: Vec<&RawValue> =
            queues.get(queue).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
        let objects = list.iter().filter_map(|message| Object::scan(message.get()).ok());
        objects.map(|object| Message::read(queue, &object)).collect()
    }
}

impl Message {
    fn read(queue: &str, object: &Object<'_>) -> Message {
        let stamp = |key| object.get(key).unwrap_or("null").to_owned();
        let data = body(object, Form::Frame).into_owned();
        Message { queue: queue.to_owned(), sender: stamp(SENDER), sent: stamp(SENT), data }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // A failed test may panic.
mod tests {
    use super::*;
    use crate::message::MAX_DEPTH;
    use crate::pubsub::message::{Stamp, for_frame};

    const STAMP: Stamp<'_> = Stamp { sender: "http", sent_ms: 1_700_000_000_042 };

    fn read(queue: &str, json: &str) -> Incoming {
        let frame = Frame { queue: queue.to_owned(), json: json.to_owned().into() };
        Incoming::read(&frame, "id").unwrap()
    }

    fn message(queue: &str, data: &str) -> Message {
        let [sender, sent] = ["\"http\"", "1700000000.042"].map(str::to_owned);
        Message { queue: queue.to_owned(), sender, sent, data: data.to_owned() }
    }

    #[test]
    fn a_message_is_the_value_that_was_put() {
        let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        for body in [r#"{"a": 1.50}"#, r#""n\u00e9""#, "1.50", "[null]", "{}", &deep] {
            assert_eq!(read("q", &for_frame(body, STAMP)), Incoming::Message(message("q", body)));
        }
    }

    #[test]
    fn answers_are_told_apart_and_a_message_to_the_own_queue_is_none() {
        assert_eq!(read("id", response::WELCOME), Incoming::Answer(Answer::Done));
        assert_eq!(read("id", response::BYE), Incoming::Answer(Answer::Bye));
        let refused = Answer::Refused("HTTPMQ_FULL".to_owned());
        assert_eq!(read("id", &response::error(&"HTTPMQ_FULL")), Incoming::Answer(refused));
        let forged = r#"{"response":"BYE"}"#;
        assert_eq!(read("id", &for_frame(forged, STAMP)), Incoming::Message(message("id", forged)));
        assert!(matches!(read("q", forged), Incoming::Message(_)));
    }

    #[test]
    fn the_history_has_its_queues() {
        let mut history = response::History::default();
        history.push("é", [for_frame("1", STAMP), for_frame(r#"{"a":2}"#, STAMP)]);
        let Incoming::Answer(Answer::History(history)) = read("id", &history.answer()) else { panic!("no history") };
        assert_eq!(history.messages("é"), [message("é", "1"), message("é", r#"{"a":2}"#)]);
        assert_eq!(history.messages("q"), []);
        let none = read("id", &response::History::default().answer());
        assert!(matches!(none, Incoming::Answer(Answer::History(history)) if history.messages("é").is_empty()));
    }

    #[test]
    fn a_plain_text_is_found_where_it_lies_and_nothing_else_is_taken_for_one() {
        let json = for_frame(r#""fog & rain""#, STAMP);
        assert_eq!(plain_text(json.as_bytes()), Some(&b"fog & rain"[..]));
        for json in [r#"{"coremq_string":"a\"b"}"#, r#"{"coremq_string":"a"#, r#"{"coremq_data":1}"#, r#"{"a":1}"#] {
            assert_eq!(plain_text(json.as_bytes()), None, "{json}");
        }
        assert!(is_sent(response::SENT.as_bytes()) && !is_sent(response::BYE.as_bytes()));
    }
}
