//! Messages as the user sees them.

use std::io::{self, Write};

/// A message as one line: a string as its text, unless it is to be shown as JSON; anything else as its JSON.
pub(super) fn line(data: &str, as_json: bool) -> String {
    if !as_json && let Some(text) = text(data) {
        return text + "\n";
    }
    one_line(data) + "\n"
}

/// JSON without line breaks: between tokens one means as much as a space (inside strings there is none), and a script that reads
/// line by line must find one message in each.
pub(super) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// Writes to stdout, through to whoever reads it.
pub(super) fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// The text of a JSON string; `None` for other values, and for a string with half a surrogate pair, which is no text.
pub(super) fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_text_and_the_rest_is_exact_json_on_one_line() {
        for (json, plain, as_json) in [
            (r#""a\n\u00e9""#, "a\né\n", "\"a\\n\\u00e9\"\n"),
            (r#""""#, "\n", "\"\"\n"),
            (r#""\ud800""#, "\"\\ud800\"\n", "\"\\ud800\"\n"),
            ("1.0", "1.0\n", "1.0\n"),
            ("{\"a\":\r\n [\"b c\"]}", "{\"a\":   [\"b c\"]}\n", "{\"a\":   [\"b c\"]}\n"),
        ] {
            assert_eq!((line(json, false).as_str(), line(json, true).as_str()), (plain, as_json), "{json}");
        }
    }
}
