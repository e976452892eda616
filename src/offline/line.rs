//! The lines of an export. Pure.
//!
//! ```text
//! {"httpmq_export":1}
//! {"queue":"jobs","kind":"work","max_len":1000000,"history":10,"overflow":"reject","epoch":0,"put":5,"get":1,"floor":1,"got":true,"lost":[[2,4]]}
//! {"sequence":1,"position":1,"time_ms":1700000000042,"source":"http","data":{"to":"ann"}}
//! {"sequence":4,"position":4,"time_ms":1700000000043,"source":"1f0c8a52-6a55-4b2e-8f43-0d5b3f7d1c11","text":"{\n}"}
//! {"end":{"queues":1,"messages":2,"crc32":"dae1680a"}}
//! ```
//!
//! `own` are the settings that the queue was given at run time, if any: `"own":{"max_len":5,"history":null,"overflow":null}`.
//! Behind the line of a queue stand its messages, in their order and without gaps but for what is `lost`. `data` is a message's
//! exact text. A text that cannot stand there unchanged, because it has line breaks, is the string `text`; bytes that are no text
//! are `hex`. The check sum covers all lines before the last.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::message::{Content, Message, Source};
use crate::ring::{Kind, Lost, Overflow, Own, Ring, Settings};

/// The version of the lines that this version writes and reads.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Debug)]
pub(super) enum Line {
    Begin(u32),
    Queue(Queue),
    Message(Entry),
    End(End),
}

/// A queue: its name, and its ring with the settings in force when it was exported.
#[derive(Debug, PartialEq)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) ring: Ring,
    pub(super) own: Own,
}

/// A message with its place.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) position: u64,
    pub(super) message: Message,
}

/// What the last line says of those before it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) queues: u64,
    pub(super) messages: u64,
    pub(super) crc32: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginLine {
    httpmq_export: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: End,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueLine {
    queue: String,
    kind: Kind,
    max_len: u64,
    history: u64,
    #[serde(default)]
    overflow: Overflow,
    #[serde(default, skip_serializing_if = "is_default")]
    own: Own,
    epoch: u32,
    put: u64,
    get: u64,
    floor: u64,
    got: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageLine<'a> {
    sequence: u64,
    position: u64,
    time_ms: u64,
    source: String,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Line {
    /// Reads a line without its line break.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
        // Each kind is known by its first key, so no line is read twice.
        if line.starts_with(br#"{"sequence":"#) {
            return read::<MessageLine<'_>>(line)?.into_entry().map(Line::Message);
        }
        if line.starts_with(br#"{"queue":"#) {
            return read::<QueueLine>(line)?.into_queue().map(Line::Queue);
        }
        if line.starts_with(br#"{"end":"#) {
            return Ok(Line::End(read::<EndLine>(line)?.end));
        }
        Ok(Line::Begin(read::<BeginLine>(line)?.httpmq_export))
    }

    /// Writes the line, with its line break.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Line::Begin(version) => write(&BeginLine { httpmq_export: *version }, out),
            Line::Queue(queue) => write(&QueueLine::of(queue), out),
            Line::Message(entry) => write(&MessageLine::of(entry), out),
            Line::End(end) => write(&EndLine { end: end.clone() }, out),
        }
    }
}

impl QueueLine {
    fn of(queue: &Queue) -> QueueLine {
        let Ring { settings, kind, epoch, put, get, floor, got, ref lost } = queue.ring;
        QueueLine {
            queue: queue.name.clone(),
            kind,
            max_len: settings.max_len,
            history: settings.history,
            overflow: settings.overflow,
            own: queue.own,
            epoch,
            put,
            get,
            floor,
            got,
            lost: lost.ranges().iter().map(|range| (range.start, range.end)).collect(),
        }
    }

    fn into_queue(self) -> Result<Queue, String> {
        let QueueLine { queue: name, kind, max_len, history, overflow, own, epoch, put, get, floor, got, lost } = self;
        if !(floor <= get && get <= put) || max_len == 0 {
            return Err("the positions of the queue contradict each other".into());
        }
        if !own.is_valid() {
            return Err("the settings of the queue are out of their range".into());
        }
        let ranges: Vec<Range<u64>> = lost.into_iter().map(|(from, to)| from..to).collect();
        let lost = Lost::new(ranges, floor..put).ok_or("the ranges of lost messages contradict each other")?;
        let settings = Settings { max_len, history, overflow };
        Ok(Queue { name, ring: Ring { settings, kind, epoch, put, get, floor, got, lost }, own })
    }
}

impl<'a> MessageLine<'a> {
    fn of(entry: &'a Entry) -> MessageLine<'a> {
        let Message { time_ms, source, content: Content::Json, body } = &entry.message;
        let text = std::str::from_utf8(body).ok();
        let data = text.and_then(as_it_stands);
        MessageLine {
            sequence: entry.sequence,
            position: entry.position,
            time_ms: *time_ms,
            source: match source {
                Source::Http => HTTP.to_owned(),
                Source::Connection(id) => Uuid::from_bytes(*id).hyphenated().to_string(),
            },
            data,
            text: text.filter(|_| data.is_none()).map(str::to_owned),
            hex: text.is_none().then(|| to_hex(body)),
        }
    }

    fn into_entry(self) -> Result<Entry, String> {
        let body = match (self.data, self.text, self.hex) {
            (Some(data), None, None) => Bytes::copy_from_slice(data.get().as_bytes()),
            (None, Some(text), None) => Bytes::from(text),
            (None, None, Some(hex)) => Bytes::from(from_hex(&hex).ok_or("hex is not an even number of hex digits")?),
            _ => return Err("a message has one of data, text and hex".into()),
        };
        let source = match self.source.as_str() {
            HTTP => Source::Http,
            id => Source::Connection(Uuid::try_parse(id).map_err(|e| format!("source: {e}"))?.into_bytes()),
        };
        let message = Message { time_ms: self.time_ms, source, content: Content::Json, body };
        Ok(Entry { sequence: self.sequence, position: self.position, message })
    }
}

fn is_default(own: &Own) -> bool {
    *own == Own::default()
}

const HTTP: &str = "http";

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn write(line: &impl Serialize, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(&mut *out, line).map_err(|error| error.to_string())?;
    out.push(b'\n');
    Ok(())
}

/// The text as one JSON value in one line that a reader gets back unchanged; `None` when it is not that.
fn as_it_stands(text: &str) -> Option<&RawValue> {
    let value: &RawValue = serde_json::from_str(text).ok()?;
    let is_line = !text.contains(['\n', '\r']);
    // White space around a value would not come back, and `null` would come back as nothing.
    (is_line && value.get() == text && text != "null").then_some(value)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)] // A failed test may panic.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_body_comes_back_byte_for_byte(
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                r#"[ \t\n\r]{0,2}(null|true|-?1\.50e1|"[a-zé\\/😀]{0,9}"|\[1, *[0-9]\]|\{"a":\n?1\})[ \t\n\r]{0,2}"#.prop_map(String::into_bytes),
            ],
            sequence in any::<u64>(), time_ms in any::<u64>(), id in any::<Option<[u8; 16]>>(),
        ) {
            let source = id.map_or(Source::Http, Source::Connection);
            let message = Message { time_ms, source, content: Content::Json, body: body.into() };
            let entry = Entry { sequence, position: sequence % 7, message };
            let mut line = Vec::new();
            Line::Message(Entry { message: entry.message.clone(), ..entry }).write(&mut line).unwrap();
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
            let Line::Message(read) = Line::parse(&line[..line.len() - 1]).unwrap() else { panic!("a message") };
            prop_assert_eq!(read.message, entry.message);
        }
    }

    #[test]
    fn json_text_stands_in_the_line_as_it_is() {
        let written = |body: &'static str| {
            let message = Message { time_ms: 5, source: Source::Http, content: Content::Json, body: body.into() };
            let mut line = Vec::new();
            Line::Message(Entry { sequence: 9, position: 2, message }).write(&mut line).unwrap();
            String::from_utf8(line).unwrap()
        };
        let head = r#"{"sequence":9,"position":2,"time_ms":5,"source":"http","#;
        assert_eq!(written(r#"{"a": 1.50}"#), format!("{head}\"data\":{{\"a\": 1.50}}}}\n"));
        assert_eq!(written("[1,\n2]"), format!("{head}\"text\":\"[1,\\n2]\"}}\n"));
    }
}
