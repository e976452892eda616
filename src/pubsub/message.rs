//! Messages across the doors: a published object → the body that the ring keeps, and any body → the object that
//! subscribers get. Text is spliced; no value is parsed and printed again.

use std::borrow::Cow;
use std::fmt::Write;

use super::ascii::{push_ascii, push_string};
use super::command::CommandError;
use super::frame;
use super::object::{self, Object};

/// The sender of a message that came in by HTTP.
pub const HTTP_SENDER: &str = "http";

pub(super) const SENDER: &str = "coremq_sender";
pub(super) const SENT: &str = "coremq_sent";
pub(super) const STRING: &str = "coremq_string";
pub(super) const DATA: &str = "coremq_data";
const QUEUE: &str = "queue";

/// Room for the members that are appended: keys, a connection id, a time, a short queue name.
const APPENDED_BYTES: usize = 128;

/// Which of the two forms a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The JSON of a TCP frame, which names the queue outside of the object.
    Frame,
    /// A WebSocket text message, which names the queue by the object's key `queue`.
    WebSocket,
}

impl Form {
    /// To people, and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Form::Frame => "tcp",
            Form::WebSocket => "websocket",
        }
    }
}

/// Who sent a message, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The sender's connection id, or [`HTTP_SENDER`].
    pub sender: &'a str,
    /// Milliseconds since the Unix epoch.
    pub sent_ms: u64,
}

/// The body to keep of a published object: without stamps (they are the server's to give) and without the WebSocket
/// form's `queue`; a `coremq_string` or `coremq_data` that is alone then is unwrapped. Otherwise the text as it is.
///
/// A `coremq_data` around an object or a string, which this server never makes, goes to subscribers without its wrapping.
#[must_use]
pub fn body<'a>(published: &Object<'a>, form: Form) -> Cow<'a, str> {
    let ours = form.keys();
    if form == Form::Frame && !published.may_have_ours() {
        return Cow::Borrowed(published.text());
    }
    let string = published.lone(STRING, ours).filter(|value| value.starts_with('"'));
    match string.or_else(|| published.lone(DATA, ours)) {
        Some(value) => Cow::Borrowed(value),
        None => published.without(ours),
    }
}

/// The queue that a WebSocket message names.
///
/// # Errors
/// The key is there, but holds no queue name.
pub fn queue(message: &Object<'_>) -> Result<Option<String>, CommandError> {
    let Some(value) = message.get(QUEUE) else {
        return Ok(None);
    };
    let name: String = serde_json::from_str(value).map_err(|_| CommandError::QueueNotString)?;
    frame::check_name(name.as_bytes()).map_err(CommandError::BadQueue)?;
    Ok(Some(name))
}

/// The object that TCP subscribers get for a body, which is any JSON value: an object as it is, a string in
/// `coremq_string`, anything else in `coremq_data`; with the stamps at the end, in pure ASCII.
#[must_use]
pub fn for_frame(body: &str, stamp: Stamp<'_>) -> String {
    let mut object = String::with_capacity(body.len() + APPENDED_BYTES);
    push_for_frame(&mut object, body, &end(stamp));
    object
}

/// Appends what [`for_frame`] gives, with the end that [`end`] makes of the stamp.
pub(super) fn push_for_frame(out: &mut String, body: &str, end: &str) {
    push_open(out, body, Form::Frame);
    out.push_str(end);
}

/// The end of an object for subscribers, from the first stamp on.
pub(super) fn end(stamp: Stamp<'_>) -> String {
    let Stamp { sender, sent_ms } = stamp;
    let mut end = String::with_capacity(APPENDED_BYTES);
    push_key(&mut end, SENDER);
    push_string(&mut end, sender);
    end.push(',');
    push_key(&mut end, SENT);
    // Writing to a String cannot fail.
    let _ = write!(end, "{}.{:03}}}", sent_ms / 1000, sent_ms % 1000);
    end
}

/// The object that WebSocket subscribers get: that of [`for_frame`] with the key `queue`.
#[must_use]
pub fn for_websocket(queue: &str, body: &str, stamp: Stamp<'_>) -> String {
    let mut object = String::with_capacity(body.len() + APPENDED_BYTES);
    push_for_websocket(&mut object, queue, body, &end(stamp));
    object
}

/// Appends what [`for_websocket`] gives, with the end that [`end`] makes of the stamp.
pub(super) fn push_for_websocket(out: &mut String, queue: &str, body: &str, end: &str) {
    push_open(out, body, Form::WebSocket);
    push_queue(out, queue);
    out.push(',');
    out.push_str(end);
}

/// One of the server's answers ([`super::response`]) as a WebSocket message to `queue`, the connection's id.
#[must_use]
pub fn answer_for_websocket(queue: &str, answer: &str) -> String {
    let mut object = String::with_capacity(answer.len() + APPENDED_BYTES);
    push_open(&mut object, answer, Form::WebSocket);
    push_queue(&mut object, queue);
    object.push('}');
    object
}

impl Form {
    /// The keys of an object that the server writes itself.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Frame => &[SENDER, SENT],
            Self::WebSocket => &[SENDER, SENT, QUEUE],
        }
    }
}

/// The outgoing object up to where the next key goes.
fn push_open(out: &mut String, body: &str, form: Form) {
    let body = object::trim(body);
    out.push('{');
    if body.starts_with('{') {
        let object = without_ours(body, form);
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if object::trim(members).is_empty() {
            return;
        }
        push_ascii(out, members);
    } else {
        push_key(out, if body.starts_with('"') { STRING } else { DATA });
        push_ascii(out, body);
    }
    out.push(',');
}

/// A body from HTTP can have our keys too. Twice the same key would let its sender pass for another one, since some
/// parsers take the first. Nearly always a plain search shows that there is none; an escape could hide one.
fn without_ours(body: &str, form: Form) -> Cow<'_, str> {
    let names_queue = form == Form::WebSocket && body.contains(QUEUE);
    if !names_queue && !object::may_have_ours(body) {
        return Cow::Borrowed(body);
    }
    match Object::scan(body) {
        Ok(object) => object.without(form.keys()),
        // Bodies were checked when they came in, so this is out of reach; the text as it is would be the best answer.
        Err(_) => Cow::Borrowed(body),
    }
}

fn push_queue(out: &mut String, queue: &str) {
    push_key(out, QUEUE);
    push_string(out, queue);
}

/// The keys of this protocol need no escapes.
fn push_key(out: &mut String, key: &str) {
    for part in ["\"", key, "\":"] {
        out.push_str(part);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that fails by panic is what is wanted.
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::arbitrary;
    use super::*;

    const STAMP: Stamp<'_> = Stamp { sender: "http", sent_ms: 1_700_000_000_042 };

    fn body_of(text: &str, form: Form) -> String {
        body(&Object::parse(text.as_bytes(), usize::MAX).unwrap(), form).into_owned()
    }

    #[test]
    fn a_published_object_is_kept_in_its_exact_text() {
        for text in [r#"{ "a" : 1.50e+3,"a":2, "é":"\ud800\/" }"#, "{}", r#"{"coremq_string":"s","b":1}"#] {
            assert_eq!(body_of(&format!(" {text}\n"), Form::Frame), text);
        }
    }

    #[test]
    fn stamps_of_the_publisher_are_taken_out_wherever_they_stand() {
        for (text, kept) in [
            (r#"{"coremq_sender":"x","a":1, "b":2}"#, r#"{"a":1, "b":2}"#),
            (r#"{"a":1,"coremq_sent":5, "b":2}"#, r#"{"a":1, "b":2}"#),
            (r#"{ "a":1, "b":{"coremq_sent":1} , "coremq_sent":5 }"#, r#"{ "a":1, "b":{"coremq_sent":1} }"#),
            (r#"{"coremq_sender":{"c":[]},"coremq_sent":5,"a":1,"coremq_sent":6}"#, r#"{"a":1}"#),
            (r#"{"coremq_sender":"x","coremq_sent":5}"#, "{}"),
            (r#"{"coremq\u005fsender":"x","a":"coremq_sender"}"#, r#"{"a":"coremq_sender"}"#),
        ] {
            assert_eq!(body_of(text, Form::Frame), kept, "{text}");
        }
    }

    #[test]
    fn a_lone_wrapping_is_taken_off() {
        for (text, kept) in [
            (r#"{"coremq_string":"h\u00e9"}"#, r#""h\u00e9""#),
            (r#"{"coremq_sent":1,"coremq_string":"h","coremq_sender":"x"}"#, r#""h""#),
            (r#"{"coremq_data": [1, 2] }"#, "[1, 2]"),
            (r#"{"coremq_data":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"coremq_data":null}"#, "null"),
            // These are not what this protocol means by a wrapping, so they stay whole.
            (r#"{"coremq_string":5}"#, r#"{"coremq_string":5}"#),
            (r#"{"coremq_string":"a","coremq_string":"b"}"#, r#"{"coremq_string":"a","coremq_string":"b"}"#),
            (r#"{"coremq_string":"a","coremq_data":1}"#, r#"{"coremq_string":"a","coremq_data":1}"#),
        ] {
            assert_eq!(body_of(text, Form::Frame), kept, "{text}");
        }
    }

    #[test]
    fn queue_is_part_of_the_form_only_over_websocket() {
        let text = r#"{"queue":"q","a":1}"#;
        assert_eq!(body_of(text, Form::Frame), text);
        assert_eq!(body_of(text, Form::WebSocket), r#"{"a":1}"#);
        assert_eq!(body_of(r#"{"queue":"q","coremq_string":"s"}"#, Form::WebSocket), r#""s""#);
    }

    #[test]
    fn the_queue_of_a_websocket_message_is_read_by_the_rules_of_frames() {
        let queue_of = |text: &str| queue(&Object::parse(text.as_bytes(), usize::MAX).unwrap());
        assert_eq!(queue_of(r#"{"queue":"a\u00e9"}"#).unwrap().as_deref(), Some("aé"));
        assert_eq!(queue_of(r#"{"coremq_subscribe":"q"}"#).unwrap(), None);
        assert!(matches!(queue_of(r#"{"queue":5}"#), Err(CommandError::QueueNotString)));
        assert!(matches!(queue_of(r#"{"queue":"a b"}"#), Err(CommandError::BadQueue(frame::NameError::Space))));
        assert!(matches!(queue_of(r#"{"queue":""}"#), Err(CommandError::BadQueue(frame::NameError::Empty))));
    }

    #[test]
    fn every_kind_of_body_leaves_as_an_object_with_stamps() {
        let stamps = r#""coremq_sender":"http","coremq_sent":1700000000.042}"#;
        for (body, front) in [
            (r#"{"a":1.50}"#, r#"{"a":1.50,"#),
            ("{}", "{"),
            ("{ \n}", "{"),
            (r#"{"coremq_sender":"forged"}"#, "{"),
            (r#"{"coremq_sender":"forged","b":1}"#, r#"{"b":1,"#),
            (r#"{"\u0063oremq_sender":"forged","b":1}"#, r#"{"b":1,"#),
            (r#""né""#, r#"{"coremq_string":"n\u00e9","#),
            (" 1.50 ", r#"{"coremq_data":1.50,"#),
            (r#"[{"coremq_sent":1}]"#, r#"{"coremq_data":[{"coremq_sent":1}],"#),
            ("null", r#"{"coremq_data":null,"#),
        ] {
            assert_eq!(for_frame(body, STAMP), format!("{front}{stamps}"), "{body}");
        }
    }

    #[test]
    fn a_websocket_message_names_its_queue_once() {
        let stamps = r#""coremq_sender":"http","coremq_sent":1700000000.042}"#;
        assert_eq!(for_websocket("q", "{}", STAMP), format!(r#"{{"queue":"q",{stamps}"#));
        let own_queue = r#"{"queue":[1],"a":1}"#;
        assert_eq!(for_websocket("é\"", own_queue, STAMP), format!(r#"{{"a":1,"queue":"\u00e9\"",{stamps}"#));
        assert_eq!(for_frame(own_queue, STAMP), format!(r#"{{"queue":[1],"a":1,{stamps}"#));
    }

    #[test]
    fn an_answer_over_websocket_goes_to_the_connection_id() {
        assert_eq!(answer_for_websocket("id", r#"{"response":"BYE"}"#), r#"{"response":"BYE","queue":"id"}"#);
    }

    /// What [`body`] does, said with values instead of text.
    fn model_body(mut object: serde_json::Map<String, Value>, form: Form) -> Value {
        form.keys().iter().for_each(|key| drop(object.remove(*key)));
        let string = object.get(STRING).filter(|value| value.is_string());
        match string.or_else(|| object.get(DATA)) {
            Some(value) if object.len() == 1 => value.clone(),
            _ => Value::Object(object),
        }
    }

    /// What [`for_frame`] and [`for_websocket`] do, said with values.
    fn model_outgoing(body: Value, queue: Option<&str>) -> Value {
        let mut object = match body {
            Value::Object(object) => object,
            Value::String(text) => serde_json::Map::from_iter([(STRING.to_owned(), json!(text))]),
            other => serde_json::Map::from_iter([(DATA.to_owned(), other)]),
        };
        object.insert(SENDER.to_owned(), json!("http"));
        object.insert(SENT.to_owned(), json!(1_700_000_000.042));
        if let Some(queue) = queue {
            object.insert(QUEUE.to_owned(), json!(queue));
        }
        Value::Object(object)
    }

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    proptest! {
        #[test]
        fn bodies_are_what_the_model_says(text in arbitrary::object_text()) {
            let Value::Object(object) = parse(&text) else { panic!("not an object: {text}") };
            for form in [Form::Frame, Form::WebSocket] {
                prop_assert_eq!(parse(&body_of(&text, form)), model_body(object.clone(), form));
            }
        }

        #[test]
        fn outgoing_objects_are_what_the_model_says(body in arbitrary::json_text(), queue in "[^ \\pC]{1,9}") {
            let (frame, websocket) = (for_frame(&body, STAMP), for_websocket(&queue, &body, STAMP));
            prop_assert!(frame.is_ascii() && websocket.is_ascii());
            prop_assert_eq!(parse(&frame), model_outgoing(parse(&body), None));
            prop_assert_eq!(parse(&websocket), model_outgoing(parse(&body), Some(&queue)));
        }

        #[test]
        fn what_came_by_http_comes_back_from_a_subscriber(value in arbitrary::json_text()) {
            let returned = body_of(&for_frame(&value, STAMP), Form::Frame);
            let expected = match parse(&value) {
                Value::Object(object) => model_body(object, Form::Frame),
                other => other,
            };
            prop_assert_eq!(parse(&returned), expected);
        }
    }
}
