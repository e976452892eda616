//! What a client sends, as JSON. Pure.

use serde_json::json;

use crate::access::Secret;
use crate::pubsub::command::{AUTH, Command, GET_HISTORY, SUBSCRIBE};
use crate::pubsub::message::{DATA, STRING};
use crate::pubsub::object::{self, Object};

/// The JSON is an object that the server would take for a command and not publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this object would be a command to the server, because of a key that begins with coremq_")]
pub struct IsCommand;

/// Here is my token.
#[must_use]
pub fn auth(secret: &Secret) -> String {
    json!({ AUTH: secret.reveal() }).to_string()
}

/// From now on send what is published to this queue.
#[must_use]
pub fn subscribe(queue: &str) -> String {
    json!({ SUBSCRIBE: queue }).to_string()
}

/// The last messages of a queue.
#[must_use]
pub fn history(queue: &str) -> String {
    json!({ GET_HISTORY: [queue] }).to_string()
}

/// A message, which is given as JSON text: an object goes as it is, a string as CoreMQ sends strings, and anything else in an
/// object with one key. The text of the value stays what it is.
///
/// # Errors
/// [`IsCommand`].
pub fn message(json: &str) -> Result<String, IsCommand> {
    let json = object::trim(json);
    if !json.starts_with('{') {
        let key = if json.starts_with('"') { STRING } else { DATA };
        return Ok(format!("{{\"{key}\":{json}}}"));
    }
    match Object::scan(json).map(Command::of) {
        Ok(Ok(Command::Publish(_))) => Ok(json.to_owned()),
        _ => Err(IsCommand),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;
    use crate::pubsub::message::{Form, body};

    #[test]
    fn every_json_value_is_a_message_that_the_server_keeps_as_it_is() {
        for (json, sent) in [
            (r#""n\u00e9""#, r#"{"coremq_string":"n\u00e9"}"#),
            (" 1.50\n", r#"{"coremq_data":1.50}"#),
            ("[1, 2]", r#"{"coremq_data":[1, 2]}"#),
            ("null", r#"{"coremq_data":null}"#),
            (r#"{ "a":1e400, "é":2 }"#, r#"{ "a":1e400, "é":2 }"#),
        ] {
            assert_eq!(message(json).unwrap(), sent);
            let kept = Object::parse(sent.as_bytes(), usize::MAX).map(|object| body(&object, Form::Frame).into_owned());
            assert_eq!(kept.unwrap(), json.trim());
        }
    }

    #[test]
    fn commands_are_no_messages() {
        for json in [r#"{"coremq_subscribe":"q"}"#, r#"{"a":1,"coremq\u005fstatus":null}"#, r#"{"coremq_options":5}"#] {
            assert_eq!(message(json), Err(IsCommand), "{json}");
        }
        assert!(message(r#"{"a":{"coremq_subscribe":"q"}}"#).is_ok());
    }

    #[test]
    fn requests_are_read_by_the_server() {
        let read = |json: &str| match Command::parse(json.as_bytes(), usize::MAX).unwrap() {
            Command::Subscribe(names) | Command::GetHistory(names) => names,
            other => vec![format!("{other:?}")],
        };
        assert_eq!(read(&subscribe("é\"")), ["é\""]);
        assert_eq!(read(&history("q")), ["q"]);
        let secret = Secret::parse("hmq_\"\\").unwrap();
        let auth = auth(&secret);
        assert!(matches!(Command::parse(auth.as_bytes(), 99), Ok(Command::Auth(read)) if read == secret), "{auth}");
    }
}
