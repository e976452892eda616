//! The server's answers: JSON objects in pure ASCII, sent to the queue that is the connection's id.

use std::fmt::Display;

use serde_json::json;

use super::ascii::{push_string, to_ascii};
use super::frame::MAX_NAME_BYTES;

/// The first frame of a connection. Its queue tells the client its connection id.
pub const WELCOME: &str = r#"{"response":"OK: Welcome from CoreMQ!"}"#;
/// After a `coremq_auth` with a token that somebody has, and where nobody needs one.
pub const AUTHENTICATED: &str = r#"{"response":"OK: Authentication successful"}"#;
/// After a `coremq_subscribe`.
pub const SUBSCRIBED: &str = r#"{"response":"OK: Subscribe successful"}"#;
/// After a `coremq_unsubscribe`.
pub const UNSUBSCRIBED: &str = r#"{"response":"OK: Unsubscribe successful"}"#;
/// After a `coremq_options`.
pub const OPTIONS_SET: &str = r#"{"response":"OK: Options set"}"#;
/// To the publisher of a message.
pub const SENT: &str = r#"{"response":"OK: Message sent"}"#;
/// The last frame, when the server closes the connection in good order.
pub const BYE: &str = r#"{"response":"BYE"}"#;

/// The answer to what could not be done: `ERROR: ` and the reason.
#[must_use]
pub fn error(reason: &impl Display) -> String {
    let mut answer = String::from(r#"{"response":"#);
    push_string(&mut answer, &format!("ERROR: {reason}"));
    answer.push('}');
    answer
}

/// The answer to `coremq_gethistory`, built queue by queue, so that its size can be watched while it grows.
///
/// The queues stand under `response` and again under `history`: the two CoreMQ servers disagree on the key.
#[derive(Debug, Default)]
pub struct History {
    queues: String,
}

/// How the server is, for `coremq_status`.
#[derive(Debug, Clone, Copy)]
pub struct Status<'a> {
    /// The name of this machine: a server without replicants is its own master.
    pub master: &'a str,
    /// Clients connected to this door, the asking one included.
    pub connections: usize,
    /// Connections that were ended since the start because they did not take what they were sent.
    pub dropped: u64,
    /// Queues in the store.
    pub queues: usize,
    /// The durability setting in force (`always`, `interval`, `never`).
    pub sync: &'a str,
    /// Whole seconds since the server started.
    pub uptime_s: u64,
}

impl History {
    const FRONT: &str = r#"{"response":{"#;
    const MIDDLE: &str = r#"},"history":{"#;
    const BACK: &str = "}}";

    /// Adds a queue with its messages as subscribers got them ([`super::message::for_frame`]), oldest first. A queue
    /// without messages is left out of the answer.
    pub fn push<M: AsRef<str>>(&mut self, queue: &str, messages: impl IntoIterator<Item = M>) {
        let mut messages = messages.into_iter().peekable();
        if messages.peek().is_none() {
            return;
        }
        if !self.queues.is_empty() {
            self.queues.push(',');
        }
        push_string(&mut self.queues, queue);
        let mut before = ":[";
        for message in messages {
            self.queues.push_str(before);
            self.queues.push_str(message.as_ref());
            before = ",";
        }
        self.queues.push(']');
    }

    /// The length of the answer as it is now, in bytes.
    #[must_use]
    pub fn answer_bytes(&self) -> usize {
        Self::FRONT.len() + Self::MIDDLE.len() + Self::BACK.len() + 2 * self.queues.len()
    }

    /// How many bytes of messages of one more queue fit into so many bytes of answer, their commas included.
    #[must_use]
    pub fn message_bytes(answer_bytes: usize) -> usize {
        // In each of the two copies, a name is written in up to six bytes for one, and it has some punctuation.
        (answer_bytes / 2).saturating_sub(6 * MAX_NAME_BYTES + ",\"\":[]".len())
    }

    /// The finished answer.
    #[must_use]
    pub fn answer(&self) -> String {
        [Self::FRONT, &self.queues, Self::MIDDLE, &self.queues, Self::BACK].concat()
    }
}

impl Status<'_> {
    /// The answer: CoreMQ's three keys, then what this server has to say beyond them.
    #[must_use]
    pub fn answer(&self) -> String {
        let status = json!({
            "master": self.master,
            "replicants": [],
            "connections": self.connections,
            "server": concat!("httpmq/", env!("CARGO_PKG_VERSION")),
            "dropped": self.dropped,
            "queues": self.queues,
            "sync": self.sync,
            "uptime_s": self.uptime_s,
        });
        to_ascii(&status.to_string()).into_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use serde_json::Value;

    use super::*;

    fn parse(answer: &str) -> Value {
        assert!(answer.is_ascii(), "{answer}");
        serde_json::from_str(answer).unwrap()
    }

    #[test]
    fn fixed_answers_are_objects_with_a_response() {
        for (answer, text) in [
            (WELCOME, "OK: Welcome from CoreMQ!"),
            (AUTHENTICATED, "OK: Authentication successful"),
            (SUBSCRIBED, "OK: Subscribe successful"),
            (UNSUBSCRIBED, "OK: Unsubscribe successful"),
            (OPTIONS_SET, "OK: Options set"),
            (SENT, "OK: Message sent"),
            (BYE, "BYE"),
        ] {
            assert_eq!(parse(answer), json!({ "response": text }));
        }
    }

    #[test]
    fn an_error_says_so_whatever_its_reason_is_made_of() {
        assert_eq!(parse(&error(&"bad \"é\"\n")), json!({ "response": "ERROR: bad \"é\"\n" }));
    }

    #[test]
    fn history_stands_under_both_keys_without_the_queues_that_have_none() {
        let mut history = History::default();
        history.push("é", [r#"{"a":1.50}"#, "{}"]);
        history.push("empty", Vec::<String>::new());
        history.push("q", [r#"{"b":2}"#.to_owned()]);
        let queues = r#"{"\u00e9":[{"a":1.50},{}],"q":[{"b":2}]}"#;
        let answer = history.answer();
        assert_eq!(answer, format!(r#"{{"response":{queues},"history":{queues}}}"#));
        assert_eq!(answer.len(), history.answer_bytes());
    }

    #[test]
    fn no_history_at_all_is_an_answer_too() {
        assert_eq!(parse(&History::default().answer()), json!({ "response": {}, "history": {} }));
    }

    #[test]
    fn status_has_the_keys_of_coremq() {
        let status = Status { master: "höst", connections: 3, dropped: 1, queues: 2, sync: "always", uptime_s: 5 };
        let answer = parse(&status.answer());
        assert_eq!(answer["master"], "höst");
        assert_eq!(answer["replicants"], json!([]));
        assert_eq!(answer["connections"], 3);
        assert_eq!(answer["sync"], "always");
    }
}
