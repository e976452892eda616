//! JSON text as pure ASCII.
//!
//! The Python CoreMQ client compares a frame's length in bytes with the number of characters that it decoded. In ASCII
//! the two are the same.

use std::borrow::Cow;

use serde_json::Value;

/// Rewrites valid JSON text as ASCII: a character beyond it, which can only stand in a string, becomes `\uXXXX` (two of
/// them above U+FFFF); everything else stays byte for byte. Text that is ASCII already is not copied.
#[must_use]
pub fn to_ascii(json: &str) -> Cow<'_, str> {
    if json.is_ascii() {
        return Cow::Borrowed(json);
    }
    let mut ascii = String::with_capacity(json.len() * 2);
    push_ascii(&mut ascii, json);
    Cow::Owned(ascii)
}

/// Appends what [`to_ascii`] gives.
pub(crate) fn push_ascii(out: &mut String, json: &str) {
    if json.is_ascii() {
        out.push_str(json);
        return;
    }
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            push_escaped(out, character);
        }
    }
}

/// Appends any text as a JSON string in ASCII.
pub(crate) fn push_string(out: &mut String, text: &str) {
    push_ascii(out, &Value::from(text).to_string());
}

fn push_escaped(out: &mut String, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        for shift in [12, 8, 4, 0] {
            out.push(char::from(HEX[usize::from(*unit >> shift & 0xf)]));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    #[test]
    fn characters_beyond_ascii_become_escapes_and_the_rest_stays() {
        for (json, ascii) in [
            (r#"{"é": "世\u4e16\n\\é"}"#, r#"{"\u00e9": "\u4e16\u4e16\n\\\u00e9"}"#),
            ("\"\u{7f}\u{80}\u{ffff}\"", "\"\u{7f}\\u0080\\uffff\""),
            (r#" ["😀"] "#, r#" ["\ud83d\ude00"] "#),
        ] {
            assert_eq!(to_ascii(json), ascii);
        }
    }

    #[test]
    fn ascii_text_is_not_copied() {
        let json = r#"{"a":"\ud800 half a pair"}"#;
        assert!(matches!(to_ascii(json), Cow::Borrowed(same) if same == json));
    }

    #[test]
    fn any_text_becomes_a_string() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\n\u{1}é");
        assert_eq!(out, r#""a\"\\\n\u0001\u00e9""#);
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(json in arbitrary::json_text()) {
            let ascii = to_ascii(&json);
            prop_assert!(ascii.is_ascii());
            prop_assert!(ascii.len() <= 3 * json.len());
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(value(&ascii), value(&json));
        }
    }
}
