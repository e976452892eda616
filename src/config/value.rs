//! One setting as it was said, and how it is read as a type.

use std::fmt;
use std::ops::RangeInclusive;

use toml::de::DeValue;

/// What a setting may be before it is known whether that is right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
    Bool(bool),
    /// An array that holds strings only.
    Texts(Vec<String>),
    /// The TOML type of something that no setting is; kept so that a message can name it.
    Other(&'static str),
}

/// Where a setting was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    Shipped,
    Profile,
    /// The operator's file, and how many bytes into it.
    File(usize),
    /// An environment variable or a flag.
    Named(String),
}

/// A setting and where it was said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What is wrong (and what is allowed), and where it was said.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

impl Value {
    pub(crate) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number this long"), Self::Integer),
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Boolean(flag) => Self::Bool(*flag),
            DeValue::Float(_) => Self::Other("a decimal number"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(values) => values
                .iter()
                .map(|value| value.get_ref().as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map_or(Self::Other("an array"), Self::Texts),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// Text of a flag or an environment variable, taken as the type that the setting's default has, a list with commas
    /// between. What cannot be taken so stays text, for the check to refuse with the same message as in a file.
    pub(crate) fn from_text(text: &str, default: &Self) -> Self {
        let typed = match default {
            Self::Integer(_) => text.parse().ok().map(Self::Integer),
            Self::Bool(_) => text.parse().ok().map(Self::Bool),
            Self::Texts(_) => Some(Self::Texts(text.split(',').map(|text| text.trim().to_owned()).collect())),
            Self::Text(_) | Self::Other(_) => None,
        };
        typed.unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

/// As TOML. A JSON string is a TOML basic string too, but for DEL, which TOML wants escaped.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Texts(texts) => {
                write!(f, "[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
            }
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// Reads from `number` or text such as `64 MiB`, both being bytes.
pub(crate) fn bytes(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Integer(number) => return u64::try_from(*number).ok(),
        Value::Text(text) => text.trim(),
        Value::Bool(_) | Value::Texts(_) | Value::Other(_) => return None,
    };
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let scale = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, scale)| *scale)?;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A range of sizes as an operator reads it: each end in the largest unit that divides it.
pub(crate) fn show_bytes(range: &RangeInclusive<u64>) -> String {
    let show = |size: u64| {
        let (unit, scale) =
            UNITS.iter().find(|(_, scale)| size >= *scale && size.is_multiple_of(*scale)).unwrap_or(&("bytes", 1));
        format!("{} {}", size / scale, if unit.is_empty() { "bytes" } else { unit })
    };
    format!("{} to {}", show(*range.start()), show(*range.end()))
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_or_text_with_a_unit() {
        let text = |text: &str| bytes(&Value::Text(text.into()));
        assert_eq!(bytes(&Value::Integer(5)), Some(5));
        assert_eq!(
            [text("5"), text("5 KiB"), text("2MiB"), text(" 1 GiB ")].map(Option::unwrap),
            [5, 5120, 2 << 20, 1 << 30]
        );
        for wrong in ["", "KiB", "5 KB", "5 kib", "-5", "+5", "1.5 MiB", "99999999999999999999", "99999999999 GiB"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
        assert_eq!(bytes(&Value::Integer(-1)), None);
        assert_eq!(show_bytes(&(0..=8192)), "0 bytes to 8 KiB");
    }

    #[test]
    fn a_value_is_printed_as_toml_reads_it() {
        for text in ["", "a\"b\\c", "tab\t line\n bell\u{7} del\u{7f} nul\0", "é 世"] {
            let printed = format!("k = {}", Value::Text(text.into()));
            let table = toml::de::DeTable::parse(&printed).unwrap().into_inner();
            assert_eq!(Value::from_toml(table.values().next().unwrap().get_ref()), Value::Text(text.into()));
        }
    }
}
