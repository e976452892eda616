//! How a record looks as a line.

use std::io::{self, Write};

use log::{
    Record,
    kv::{Error, Key, Value, VisitSource, VisitValue},
};
use serde::{Serialize, Serializer};

use crate::config::LogFormat;

/// A line as a program reads it, in the order of its keys.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: &'a str,
    level: &'a str,
    target: &'a str,
    message: &'a str,
    /// The key-values of the record. Their names are those of our own sources, none of which is one of the above.
    #[serde(flatten)]
    fields: &'a Fields,
}

/// One record, one line, whatever it holds: an escape sequence or a line break that came in over the network must not
/// reach the terminal or look like a record of its own.
pub(super) fn write(out: &mut impl Write, format: LogFormat, time: &str, record: &Record<'_>) -> io::Result<()> {
    let message = record.args().to_string();
    let mut fields = Fields::default();
    // Our own visitor never fails.
    let _ = record.key_values().visit(&mut fields);
    match format {
        LogFormat::Text => {
            let mut text = message;
            fields.0.iter().for_each(|(key, value)| text += &format!(" {key}={}", bare(value)));
            writeln!(out, "{time} {:<5} {}", record.level(), escape(&text, |c| c.escape_default().to_string()))
        }
        LogFormat::Json => {
            let (level, target) = (record.level().as_str(), record.target());
            let line = serde_json::to_string(&JsonLine { time, level, target, message: &message, fields: &fields })?;
            // JSON itself leaves DEL and the C1 controls as they are.
            writeln!(out, "{}", escape(&line, |c| format!("\\u{:04x}", u32::from(c))))
        }
    }
}

/// The key-values of a record, in their order.
#[derive(Default)]
struct Fields(Vec<(String, serde_json::Value)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut json = Json(serde_json::Value::Null);
        value.visit(&mut json)?;
        if !json.0.is_null() {
            self.0.push((key.to_string(), json.0));
        }
        Ok(())
    }
}

/// A value as JSON has it: numbers stay numbers.
struct Json(serde_json::Value);

impl<'v> VisitValue<'v> for Json {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

/// A value in a line for people: a text that could be taken for something else stands in quotes.
fn bare(value: &serde_json::Value) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !['"', '='].contains(&c);
    match value {
        serde_json::Value::String(text) if !text.is_empty() && text.chars().all(is_plain) => text.clone(),
        other => other.to_string(),
    }
}

fn escape(text: &str, escaped: impl Fn(char) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.push_str(&escaped(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    fn line(format: LogFormat, message: &str, fields: &[(&str, Value<'_>)]) -> String {
        let mut out = Vec::new();
        let mut record = Record::builder();
        record.level(log::Level::Warn).target("t").key_values(&fields);
        write(&mut out, format, "T", &record.args(format_args!("{message}")).build()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_stays_one_line_without_controls() {
        let hostile = "a\nb\r\u{1b}[2J\u{7f}\u{9b}\té\"";
        assert_eq!(line(LogFormat::Text, hostile, &[]), "T WARN  a\\nb\\r\\u{1b}[2J\\u{7f}\\u{9b}\\té\"\n");
        let json = line(LogFormat::Json, hostile, &[]);
        assert!(!json.trim_end_matches('\n').contains(char::is_control), "{json}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed, serde_json::json!({"time": "T", "level": "WARN", "target": "t", "message": hostile}));
    }

    #[test]
    fn key_values_are_keys_of_their_own_and_cannot_forge_others() {
        let fields = [
            ("path", Value::from("/a b=c\n\u{9b}")),
            ("queue", Value::from("jobs")),
            ("none", Value::from("")),
            ("status", Value::from(200_u16)),
        ];
        let text = line(LogFormat::Text, "request", &fields);
        assert_eq!(text, "T WARN  request path=\"/a b=c\\n\\u{9b}\" queue=jobs none=\"\" status=200\n");
        let parsed: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, "request", &fields)).unwrap();
        assert_eq!((&parsed["path"], &parsed["status"]), (&"/a b=c\n\u{9b}".into(), &200.into()), "{parsed}");
    }
}
