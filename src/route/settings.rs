//! The JSON of a queue that is to be made or changed → its kind and settings. Pure.
//!
//! A field that is not known is refused, so that a mistyped one does not silently leave a queue as it was.

use serde_json::{Map, Value};

use super::Refusal;
use crate::ring::{Change, HISTORY, Kind, MAX_LEN, Overflow, Own};

/// What a queue is made with.
///
/// # Errors
/// The body is not such an object.
pub fn create(body: &[u8]) -> Result<(Kind, Own), Refusal> {
    let mut fields = object(body)?;
    let kind = match fields.remove("kind") {
        None => Kind::Work,
        Some(Value::String(kind)) if kind == "work" => Kind::Work,
        Some(Value::String(kind)) if kind == "topic" => Kind::Topic,
        Some(other) => return Err(wrong("kind", "work or topic", &other)),
    };
    change(fields, "kind, max_len, history and overflow").map(|change| (kind, change.of(Own::default())))
}

/// What of a queue's settings shall change.
///
/// # Errors
/// The body is not such an object, or changes nothing.
pub fn set(body: &[u8]) -> Result<Change, Refusal> {
    let fields = object(body)?;
    if fields.contains_key("kind") {
        return Err(bad("the kind of a queue cannot be set: a topic becomes a work queue with the first put or get"));
    }
    let change = change(fields, "max_len, history and overflow")?;
    if change == Change::default() {
        return Err(bad("nothing is to be set; there are max_len, history and overflow"));
    }
    Ok(change)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    // A queue without any settings of its own.
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(bad("the body is no JSON object")),
        Err(error) => Err(bad(format!("the body is no JSON: {error}"))),
    }
}

fn change(fields: Map<String, Value>, known: &str) -> Result<Change, Refusal> {
    let mut change = Change::default();
    for (field, value) in fields {
        match field.as_str() {
            "max_len" => change.max_len = Some(number("max_len", &value, &MAX_LEN)?),
            "history" => change.history = Some(number("history", &value, &HISTORY)?),
            "overflow" => change.overflow = Some(overflow(&value)?),
            unknown => return Err(bad(format!("there is no field {unknown:?}; there are {known}"))),
        }
    }
    Ok(change)
}

fn number(field: &str, value: &Value, range: &std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
    match whole(value) {
        _ if value.is_null() => Ok(None),
        Some(number) if range.contains(&number) => Ok(Some(number)),
        _ => {
            let allowed = format!("a whole number from {} to {}, or null", range.start(), range.end());
            Err(wrong(field, &allowed, value))
        }
    }
}

/// A whole number, also where it is written as `5.0`: in JavaScript and in JSON Schema they are the same.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within what a float has exactly")]
fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && (0.0..EXACT).contains(float));
    value.as_u64().or_else(|| float().map(|float| float as u64))
}

fn overflow(value: &Value) -> Result<Option<Overflow>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let found = Overflow::ALL.into_iter().find(|overflow| value.as_str() == Some(overflow.name()));
    found.map(Some).ok_or_else(|| wrong("overflow", "reject, drop_oldest or null", value))
}

fn wrong(field: &str, allowed: &str, value: &Value) -> Refusal {
    const LONGEST: usize = 60;
    let text = value.to_string();
    let is = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    bad(format!("{field} must be {allowed}, not {is}"))
}

fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::BadRequest(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_null_gives_one_back() {
        let none = Own::default();
        for body in ["", "{}", " {\"kind\":\"work\",\"max_len\":null} "] {
            assert_eq!(create(body.as_bytes()), Ok((Kind::Work, none)), "{body}");
        }
        let own = Own { max_len: Some(5), history: Some(0), overflow: Some(Overflow::DropOldest) };
        let body = br#"{"kind":"topic","max_len":5,"history":0,"overflow":"drop_oldest"}"#;
        assert_eq!(create(body), Ok((Kind::Topic, own)));
        let float = Own { max_len: Some(403), history: Some(0), overflow: None };
        assert_eq!(create(br#"{"max_len":403.0,"history":0e0}"#), Ok((Kind::Work, float)));
        let change = Change { max_len: Some(None), overflow: Some(Some(Overflow::Reject)), history: None };
        assert_eq!(set(br#"{"overflow":"reject","max_len":null}"#), Ok(change));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, words) in [
            ("[1]", "no JSON object"),
            ("{", "no JSON"),
            (r#"{"maxlen":5}"#, r#"there is no field "maxlen"; there are"#),
            (r#"{"max_len":0}"#, "max_len must be a whole number from 1 to 1000000000000, or null, not 0"),
            (r#"{"max_len":-1}"#, "not -1"),
            (r#"{"max_len":1.5}"#, "not 1.5"),
            (r#"{"max_len":1e300}"#, "max_len must be"),
            (r#"{"max_len":"5"}"#, "not \"5\""),
            (r#"{"max_len":99999999999999999999}"#, "max_len must be"),
            (r#"{"history":10001}"#, "history must be a whole number from 0 to 10000, or null, not 10001"),
            (r#"{"overflow":"drop"}"#, "overflow must be reject, drop_oldest or null, not \"drop\""),
            (r#"{"overflow":true}"#, "not true"),
        ] {
            for refused in [create(body.as_bytes()).map(|_| ()), set(body.as_bytes()).map(|_| ())] {
                let Err(Refusal::BadRequest(text)) = refused else { panic!("{body}: {refused:?}") };
                assert!(text.contains(words), "{body}: {text}");
            }
        }
        for body in ["", "{}", r#"{"kind":"work"}"#] {
            assert!(matches!(set(body.as_bytes()), Err(Refusal::BadRequest(_))), "{body}");
        }
        let long = format!(r#"{{"kind":"{}"}}"#, "é".repeat(500));
        assert!(matches!(create(long.as_bytes()), Err(Refusal::BadRequest(text)) if text.len() < 200));
    }
}
