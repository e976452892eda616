//! The log: lines on standard error, for people or for programs.

use std::io::{self, Write};

use env_logger::Builder;
use log::{LevelFilter, Record};
use serde::Serialize;

use crate::config::{Log, LogFormat};

/// The target of what an operator wants to see in every log: start, stop, and why.
pub const LIFE: &str = "httpmq::life";

/// Installs the log. Records with the target [`LIFE`] are written from level info on even when the level is a lower
/// one; only `off` silences them.
pub fn start(settings: &Log) {
    let mut builder = Builder::new();
    builder.filter_level(settings.level);
    // What an engine says at level info is about its own files, at each start and while it works.
    for engine in ["fjall", "lsm_tree"] {
        let level = if settings.level == LevelFilter::Info { LevelFilter::Warn } else { settings.level };
        builder.filter_module(engine, level);
    }
    // At level trace it prints what it reads, in which there are messages and tokens.
    builder.filter_module("tungstenite", settings.level.min(LevelFilter::Debug));
    if settings.level != LevelFilter::Off {
        builder.filter_module(LIFE, settings.level.max(LevelFilter::Info));
    }
    let format = settings.format;
    builder.format(move |out, record| {
        let time = out.timestamp_millis().to_string();
        write_line(out, format, &time, record)
    });
    // A log that is already there was installed by whoever runs this code inside of a test.
    let _ = builder.try_init();
}

/// A line as a program reads it, in the order of its keys.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: &'a str,
    level: &'a str,
    target: &'a str,
    message: &'a str,
}

/// One record, one line, whatever the message holds: an escape sequence or a line break that came in over the network
/// must not reach the terminal or look like a record of its own.
fn write_line(out: &mut impl Write, format: LogFormat, time: &str, record: &Record<'_>) -> io::Result<()> {
    let message = record.args().to_string();
    match format {
        LogFormat::Text => {
            writeln!(out, "{time} {:<5} {}", record.level(), escape(&message, |c| c.escape_default().to_string()))
        }
        LogFormat::Json => {
            let (level, target) = (record.level().as_str(), record.target());
            let line = serde_json::to_string(&JsonLine { time, level, target, message: &message })?;
            // JSON itself leaves DEL and the C1 controls as they are.
            writeln!(out, "{}", escape(&line, |c| format!("\\u{:04x}", u32::from(c))))
        }
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

    fn line(format: LogFormat, message: &str) -> String {
        let mut out = Vec::new();
        let mut record = Record::builder();
        record.level(log::Level::Warn).target("t");
        write_line(&mut out, format, "T", &record.args(format_args!("{message}")).build()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_stays_one_line_without_controls() {
        let hostile = "a\nb\r\u{1b}[2J\u{7f}\u{9b}\té\"";
        assert_eq!(line(LogFormat::Text, hostile), "T WARN  a\\nb\\r\\u{1b}[2J\\u{7f}\\u{9b}\\té\"\n");
        let json = line(LogFormat::Json, hostile);
        assert!(!json.trim_end_matches('\n').contains(char::is_control), "{json}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed, serde_json::json!({"time": "T", "level": "WARN", "target": "t", "message": hostile}));
    }
}
