//! What a client asks for: a message's object → [`Command`].

use serde_json::{Map, Value};
use thiserror::Error;

use super::frame::{self, NameError};
use super::object::{Object, ObjectError};
use crate::access::Secret;

/// How many queues one command may name: as many as the server has room for (`max_queues`).
pub const MAX_NAMES: usize = 10_000;

pub(super) const AUTH: &str = "coremq_auth";
pub(super) const SUBSCRIBE: &str = "coremq_subscribe";
const UNSUBSCRIBE: &str = "coremq_unsubscribe";
const OPTIONS: &str = "coremq_options";
pub(super) const GET_HISTORY: &str = "coremq_gethistory";
const STATUS: &str = "coremq_status";

/// One request of a CoreMQ client.
///
/// An object with several of these keys is one command: the first in this order, which is CoreMQ's order of checks, behind the
/// one that CoreMQ has not. The other keys are not looked at, whatever stands in them.
#[derive(Debug, Clone)]
pub enum Command<'a> {
    /// `coremq_auth`: here is my token. First of all, so that no token is ever published.
    Auth(Secret),
    /// `coremq_subscribe`: from now on send what is published to these queues. An empty list is fine and does nothing.
    Subscribe(Vec<String>),
    /// `coremq_unsubscribe`: no more of these queues.
    Unsubscribe(Vec<String>),
    /// `coremq_options`: set the connection's options; `null` deletes one.
    Options(Map<String, Value>),
    /// `coremq_gethistory`: the last messages of these queues.
    GetHistory(Vec<String>),
    /// `coremq_status`, with any value: how the server is.
    Status,
    /// Any other object is a message.
    Publish(Object<'a>),
}

/// Why an object is no command. The stream is in step and the connection can stay open.
#[derive(Debug, Error)]
pub enum CommandError {
    /// Not even an object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Neither a string nor an array of strings.
    #[error("{key} takes a queue name or a list of queue names")]
    NotNames {
        /// The command.
        key: &'static str,
    },
    /// More than [`MAX_NAMES`].
    #[error("{key} takes at most {MAX_NAMES} queue names at a time")]
    TooManyNames {
        /// The command.
        key: &'static str,
    },
    /// One of the names breaks a rule.
    #[error("{key}: bad queue name at position {position}: {error}")]
    BadName {
        /// The command.
        key: &'static str,
        /// Where in the list, counted from 1.
        position: usize,
        /// The rule.
        error: NameError,
    },
    /// The token is no string, or none that can be one.
    #[error("coremq_auth takes a token, a string of visible ASCII characters")]
    NotToken,
    /// The options are no object.
    #[error("coremq_options takes an object")]
    NotOptions,
    /// WebSocket: the key `queue` is there, and no string.
    #[error("queue must be a string")]
    QueueNotString,
    /// WebSocket: the name in the key `queue` breaks a rule.
    #[error("bad queue name: {0}")]
    BadQueue(NameError),
    /// WebSocket: a message without the key `queue`.
    #[error("a message needs a queue: {{\"queue\": \"name\", …}}")]
    NoQueue,
}

impl<'a> Command<'a> {
    /// Reads the JSON of a frame.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn parse(json: &'a [u8], max_message_bytes: usize) -> Result<Self, CommandError> {
        Self::of(Object::parse_lazily(json, max_message_bytes)?)
    }

    /// The command that an object stands for.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn of(object: Object<'a>) -> Result<Self, CommandError> {
        // Nearly every message.
        if !object.may_have_ours() {
            return Ok(Self::Publish(object));
        }
        if let Some(value) = object.get(AUTH) {
            let secret: Option<String> = serde_json::from_str(value).ok();
            secret.and_then(|secret| Secret::parse(&secret)).map(Self::Auth).ok_or(CommandError::NotToken)
        } else if let Some(value) = object.get(SUBSCRIBE) {
            parse_names(SUBSCRIBE, value).map(Self::Subscribe)
        } else if let Some(value) = object.get(UNSUBSCRIBE) {
            parse_names(UNSUBSCRIBE, value).map(Self::Unsubscribe)
        } else if let Some(value) = object.get(OPTIONS) {
            serde_json::from_str(value).map(Self::Options).map_err(|_| CommandError::NotOptions)
        } else if let Some(value) = object.get(GET_HISTORY) {
            parse_names(GET_HISTORY, value).map(Self::GetHistory)
        } else if object.get(STATUS).is_some() {
            Ok(Self::Status)
        } else {
            Ok(Self::Publish(object))
        }
    }
}

/// What [`Command::Options`] says of `echo`, the one option that means something to this server: whether a sender gets
/// its own messages. Only `true` switches it on; `null` is the default again, off. `None`: not mentioned.
#[must_use]
pub fn echo(options: &Map<String, Value>) -> Option<bool> {
    options.get("echo").map(|value| *value == Value::Bool(true))
}

fn parse_names(key: &'static str, value: &str) -> Result<Vec<String>, CommandError> {
    let names: Vec<String> = if value.starts_with('"') {
        serde_json::from_str(value).map(|name| vec![name])
    } else {
        serde_json::from_str(value)
    }
    .map_err(|_| CommandError::NotNames { key })?;
    if names.len() > MAX_NAMES {
        return Err(CommandError::TooManyNames { key });
    }
    for (at, name) in names.iter().enumerate() {
        frame::check_name(name.as_bytes()).map_err(|error| CommandError::BadName { key, position: at + 1, error })?;
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // A test that fails by panic is what is wanted.
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(json: &str) -> Result<Command<'_>, CommandError> {
        Command::parse(json.as_bytes(), 1000)
    }

    fn error_of(json: &str) -> String {
        parse(json).map(|command| panic!("{json} is {command:?}")).unwrap_err().to_string()
    }

    #[test]
    fn names_come_alone_or_in_a_list() {
        for (json, expected) in [
            (r#"{"coremq_subscribe":"q"}"#, vec!["q"]),
            (r#"{"coremq_subscribe": ["a", "\u00e9"] }"#, vec!["a", "é"]),
            (r#"{"coremq_subscribe":[]}"#, vec![]),
            (r#"{"coremq\u005fsubscribe":"q"}"#, vec!["q"]),
        ] {
            assert!(matches!(parse(json), Ok(Command::Subscribe(names)) if names == expected), "{json}");
        }
        assert!(matches!(parse(r#"{"coremq_unsubscribe":"q"}"#), Ok(Command::Unsubscribe(names)) if names == ["q"]));
        assert!(matches!(parse(r#"{"coremq_gethistory":"qr"}"#), Ok(Command::GetHistory(names)) if names == ["qr"]));
    }

    #[test]
    fn options_keep_null_which_deletes() {
        let Ok(Command::Options(options)) = parse(r#"{"coremq_options":{"echo":true,"other":null}}"#) else {
            panic!("no options");
        };
        assert_eq!(Value::Object(options), json!({ "echo": true, "other": null }));
    }

    #[test]
    fn a_token_is_read_before_all_else_and_not_printed() {
        for json in [r#"{"coremq_auth":"hmq_1"}"#, r#"{"coremq_subscribe":"q","coremq_auth":"hmq_1","a":1}"#] {
            let Ok(Command::Auth(secret)) = parse(json) else { panic!("{json}") };
            assert_eq!(secret.reveal(), "hmq_1");
            assert!(!format!("{:?}", parse(json)).contains("hmq_1"));
        }
        for json in
            [r#"{"coremq_auth":5}"#, r#"{"coremq_auth":""}"#, r#"{"coremq_auth":"a b"}"#, r#"{"coremq_auth":"é"}"#]
        {
            assert!(matches!(parse(json), Err(CommandError::NotToken)), "{json}");
        }
    }

    #[test]
    fn only_true_switches_echo_on() {
        for (value, on) in [(json!(true), true), (json!(false), false), (json!(null), false), (json!("true"), false)] {
            assert_eq!(echo(json!({ "echo": value }).as_object().unwrap()), Some(on));
        }
        assert_eq!(echo(json!({ "other": 1 }).as_object().unwrap()), None);
    }

    #[test]
    fn status_has_any_value() {
        for json in [r#"{"coremq_status":null}"#, r#"{"coremq_status":[1]}"#] {
            assert!(matches!(parse(json), Ok(Command::Status)));
        }
    }

    #[test]
    fn of_several_commands_the_first_in_the_order_of_checks_counts() {
        let all = [STATUS, GET_HISTORY, OPTIONS, UNSUBSCRIBE, SUBSCRIBE];
        let json = |keys: &[&str]| keys.iter().map(|key| (key.to_string(), json!("q"))).collect::<Map<_, _>>();
        let command = |keys| Value::Object(json(keys)).to_string();
        assert!(matches!(parse(&command(&all)), Ok(Command::Subscribe(_))));
        assert!(matches!(parse(&command(&all[..4])), Ok(Command::Unsubscribe(_))));
        assert!(matches!(parse(&command(&all[..3])), Err(CommandError::NotOptions)));
        assert!(matches!(parse(&command(&all[..2])), Ok(Command::GetHistory(_))));
        assert!(matches!(parse(&command(&all[..1])), Ok(Command::Status)));
    }

    #[test]
    fn anything_else_is_published_in_its_exact_text() {
        for json in ["{}", r#"{ "a" : 1.0 }"#, r#"{"coremq_replicant":"x"}"#, r#"{"a":{"coremq_subscribe":"q"}}"#] {
            assert!(matches!(parse(json), Ok(Command::Publish(object)) if object.text() == json), "{json}");
        }
    }

    #[test]
    fn wrong_shapes_are_told_apart() {
        for (json, text) in [
            (r#"{"coremq_subscribe":5}"#, "coremq_subscribe takes a queue name or a list of queue names"),
            (r#"{"coremq_subscribe":null}"#, "coremq_subscribe takes a queue name or a list of queue names"),
            (r#"{"coremq_unsubscribe":["a",5]}"#, "coremq_unsubscribe takes a queue name or a list of queue names"),
            (r#"{"coremq_gethistory":{}}"#, "coremq_gethistory takes a queue name or a list of queue names"),
            (r#"{"coremq_subscribe":["a","b c"]}"#, "coremq_subscribe: bad queue name at position 2: it has a space"),
            (r#"{"coremq_subscribe":""}"#, "coremq_subscribe: bad queue name at position 1: it is empty"),
            (r#"{"coremq_options":["echo"]}"#, "coremq_options takes an object"),
            ("[1]", "message must be a JSON object"),
            ("5 q", "message must be a JSON object"),
            (r#"{"a":1}{}"#, "message is not JSON: trailing characters at line 1 column 8"),
        ] {
            assert_eq!(error_of(json), text);
        }
    }

    #[test]
    fn the_number_of_names_has_a_limit() {
        let names = |count| format!(r#"{{"coremq_subscribe":{}}}"#, json!(vec!["q"; count]));
        let parse = |json: String| Command::parse(json.as_bytes(), usize::MAX).map(|_| ());
        assert!(parse(names(MAX_NAMES)).is_ok());
        assert!(matches!(parse(names(MAX_NAMES + 1)), Err(CommandError::TooManyNames { .. })));
    }
}
