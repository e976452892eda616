//! `httpmq put QUEUE DATA`: one message.

use std::io::Read;

use serde_json::value::RawValue;

use super::lines::MAX_MESSAGE_BYTES;
use super::stop::Stop;
use super::{connect, remark};
use crate::args::Put;
use crate::http::client::Server;

pub(super) async fn put(args: &Put, server: &Server) -> Result<(), Stop> {
    let data = to_json(text(args.data.as_deref())?, args.json).map_err(Stop::usage)?;
    let answer = connect(server).await?.put(&args.queue, &data, None).await?;
    if answer.code != 1 {
        return Err(Stop::refusal(&args.queue, &answer));
    }
    if let Some(position) = answer.position {
        remark(&format!("stored at position {position}"));
    }
    Ok(())
}

/// The text of a message, from the command line or from standard input.
pub(super) fn text(typed: Option<&str>) -> Result<String, Stop> {
    match typed {
        Some("-") | None => read_stdin(),
        Some(data) => Ok(data.to_owned()),
    }
}

/// The JSON text of a message: `text` itself when it is JSON already, else a JSON string that holds it.
///
/// The error says why a text that should be JSON is none. It is found here so that nothing is sent in vain.
pub(super) fn to_json(text: String, is_json: bool) -> Result<String, String> {
    if !is_json {
        return Ok(serde_json::Value::from(text).to_string());
    }
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(json) => Ok(json.get().to_owned()),
        Err(e) => Err(format!("the message is not JSON: {e}")),
    }
}

fn read_stdin() -> Result<String, Stop> {
    let mut bytes = Vec::new();
    let limit = MAX_MESSAGE_BYTES as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| Stop::usage(format!("cannot read standard input: {e}")))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(Stop::usage(format!("the message is longer than {MAX_MESSAGE_BYTES} bytes")));
    }
    // The line break that every text file and `echo` end with is not meant to be a part of the message.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|e| Stop::usage(format!("the message is not UTF-8: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_json_string_and_json_stays_as_it_stands() {
        for (text, json) in [("1", r#""1""#), ("say \"é\"\n\u{1}", r#""say \"é\"\n\u0001""#), ("", r#""""#)] {
            assert_eq!(to_json(text.to_owned(), false).unwrap(), json);
        }
        assert_eq!(to_json(" {\"b\": 1.0, \"a\":1e400}\r".to_owned(), true).unwrap(), r#"{"b": 1.0, "a":1e400}"#);
        for text in ["", "hello", "{\"a\":1} x", "[1,"] {
            let error = to_json(text.to_owned(), true).expect_err(text);
            assert!(error.contains("the message is not JSON"), "{text}: {error}");
        }
    }
}
