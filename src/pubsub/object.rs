//! A JSON object seen as its top-level members, each in its exact text.
//!
//! Messages travel as the text that came in. What has to be added or taken away is cut and spliced as text, so that
//! numbers, spacing, escapes and double keys of the rest stay what their sender wrote.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem::Finder};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::message::{MAX_DEPTH, is_too_deep};

/// How all keys begin that mean something in this protocol.
const OURS: &str = "coremq_";

/// A valid JSON object, borrowed from the text that it was read from.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a str,
    /// Not found yet where nobody asked; then [`may_have_ours`] is false of the text.
    members: OnceCell<Vec<Member<'a>>>,
}

/// Why some bytes are no message. All of these leave the stream in step: they are about the inside of a whole frame.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// Longer than a message may be.
    #[error("message over the limit of {limit_bytes} bytes")]
    OverLimit {
        /// The setting `max_message_bytes`.
        limit_bytes: usize,
    },
    /// Not UTF-8.
    #[error("message is not UTF-8")]
    NotUtf8,
    /// Not JSON; the inner error says what is wrong and where.
    #[error("message is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON, but no object.
    #[error("message must be a JSON object")]
    NotObject,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// One `"key":value`. Offsets are bytes of the object's text: the key's first quote, and the end of the value.
#[derive(Debug, Clone)]
struct Member<'a> {
    key: &'a str,
    value: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Object<'a> {
    /// Checks that `json` is one object within the limits, and finds its members.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub fn parse(json: &'a [u8], max_message_bytes: usize) -> Result<Self, ObjectError> {
        Self::scan(text_of(json, max_message_bytes)?)?.within_depth()
    }

    /// The same, but that the members are looked for when somebody asks for them, in a text that has nothing of this protocol: that it is
    /// an object is found out in half the time.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub fn parse_lazily(json: &'a [u8], max_message_bytes: usize) -> Result<Self, ObjectError> {
        let text = trim(text_of(json, max_message_bytes)?);
        // What is wrong with a text is better said by who looks at all of it.
        let object =
            if !may_have_ours(text) && text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
                Self { text, members: OnceCell::new() }
            } else {
                Self::scan(text)?
            };
        object.within_depth()
    }

    fn within_depth(self) -> Result<Self, ObjectError> {
        if is_too_deep(self.text) { Err(ObjectError::TooDeep) } else { Ok(self) }
    }

    fn members(&self) -> &[Member<'a>] {
        // What was checked has them.
        self.members.get_or_init(|| find_members(self.text).unwrap_or_default())
    }

    /// The exact text, from brace to brace.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The exact text of the value of `key`; of the last one where the key comes twice, as parsers have it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.members().iter().rfind(|member| member.is(key)).map(|member| member.value)
    }

    /// Whether any key may mean something in this protocol, by one look at each; one that is spelled with escapes may.
    #[must_use]
    pub fn may_have_ours(&self) -> bool {
        let may_be_ours = |key: &str| key[1..].starts_with(OURS) || has_escapes(key);
        self.members.get().is_some_and(|members| members.iter().any(|member| may_be_ours(member.key)))
    }

    /// The exact text of the value of `key` when no other member is there, `ignored` keys aside.
    #[must_use]
    pub fn lone(&self, key: &str, ignored: &[&str]) -> Option<&'a str> {
        let mut counted = self.members().iter().filter(|member| !member.is_any(ignored));
        match (counted.next(), counted.next()) {
            (Some(member), None) if member.is(key) => Some(member.value),
            _ => None,
        }
    }

    /// The text without the members of these keys; the rest stays byte for byte.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Cow<'a, str> {
        let members = self.members();
        let (Some(first), Some(last)) = (members.first(), members.last()) else {
            return Cow::Borrowed(self.text);
        };
        if !members.iter().any(|member| member.is_any(keys)) {
            return Cow::Borrowed(self.text);
        }
        let mut kept = String::with_capacity(self.text.len());
        kept.push_str(&self.text[..first.start]);
        let mut is_first = true;
        for (at, member) in members.iter().enumerate() {
            if member.is_any(keys) {
                continue;
            }
            // Comma and spacing belong to the member after them; the first one that stays leaves its own behind.
            let with_comma = if is_first { member.start } else { members[at - 1].end };
            kept.push_str(&self.text[with_comma..member.end]);
            is_first = false;
        }
        kept.push_str(&self.text[last.end..]);
        Cow::Owned(kept)
    }

    /// Finds the members without a look at the limits, for text that was checked before.
    pub(crate) fn scan(text: &'a str) -> Result<Self, ObjectError> {
        let text = trim(text);
        let members = find_members(text)
            .map_err(|error| if error.is_data() { ObjectError::NotObject } else { ObjectError::NotJson(error) })?;
        Ok(Self { text, members: members.into() })
    }
}

fn text_of(json: &[u8], max_message_bytes: usize) -> Result<&str, ObjectError> {
    if json.len() > max_message_bytes {
        return Err(ObjectError::OverLimit { limit_bytes: max_message_bytes });
    }
    std::str::from_utf8(json).map_err(|_| ObjectError::NotUtf8)
}

fn find_members(text: &str) -> serde_json::Result<Vec<Member<'_>>> {
    let Members(pairs) = serde_json::from_str(text)?;
    // A borrowed RawValue is a slice of the text, so addresses tell where it stands.
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let members = pairs.into_iter();
    Ok(members
        .map(|(key, value)| Member { key, value, start: offset(key), end: offset(value) + value.len() })
        .collect())
}

/// Whether any key in a text may be one of this protocol's: they all begin alike, and an escape could hide one.
pub(super) fn may_have_ours(json: &str) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OURS));
    // Most texts have neither the underscore of our keys nor an escape, which one look shows.
    memchr2(b'_', b'\\', json.as_bytes()).is_some() && (has_escapes(json) || FINDER.find(json.as_bytes()).is_some())
}

fn has_escapes(json: &str) -> bool {
    memchr(b'\\', json.as_bytes()).is_some()
}

/// Cuts JSON's white space, which is less than Unicode's, off both ends.
pub(crate) fn trim(json: &str) -> &str {
    // Nearly every message.
    if json.starts_with('{') && json.ends_with('}') {
        return json;
    }
    json.trim_matches([' ', '\t', '\n', '\r'])
}

impl Member<'_> {
    fn is(&self, name: &str) -> bool {
        let quoted = self.key;
        // A key may be spelled with escapes, which are longer than what they stand for. One that decodes to no text (half a surrogate
        // pair) is none of ours.
        match quoted.len().cmp(&(name.len() + 2)) {
            Ordering::Less => false,
            Ordering::Equal => quoted[1..].starts_with(name),
            Ordering::Greater => {
                quoted.contains('\\') && serde_json::from_str::<String>(quoted).is_ok_and(|key| key == name)
            }
        }
    }

    fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

/// The raw keys and values, in their order.
struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            pairs.push((key.get(), value.get()));
        }
        Ok(Members(pairs))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test that fails by panic is what is wanted.
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    const ROOM: usize = 10_000_000;

    fn parse(text: &str) -> Result<Object<'_>, ObjectError> {
        Object::parse(text.as_bytes(), ROOM)
    }

    #[test]
    fn the_text_is_from_brace_to_brace() {
        assert_eq!(parse(" \t{ \"a\": 1 }\r\n").unwrap().text(), "{ \"a\": 1 }");
    }

    #[test]
    fn values_keep_their_text_and_the_last_of_two_counts() {
        let object = parse(r#"{"a":1.50, "b" : [ 1 ] ,"a":"\ud800"}"#).unwrap();
        assert_eq!(object.get("b"), Some("[ 1 ]"));
        assert_eq!(object.get("a"), Some(r#""\ud800""#));
        assert_eq!(object.get("c"), None);
    }

    #[test]
    fn a_key_is_known_by_what_its_escapes_mean() {
        let object = parse(r#"{"\u0061b":1,"\ud800":2,"abc":3}"#).unwrap();
        assert_eq!(object.get("ab"), Some("1"));
        assert_eq!(object.without(&["ab"]), r#"{"\ud800":2,"abc":3}"#);
    }

    #[test]
    fn a_key_of_this_protocol_is_seen_and_may_be_hidden_by_escapes() {
        for (text, may) in [
            (r#"{"coremq_c":1}"#, true),
            (r#"{"x":1,"\u0063oremq_c":1}"#, true),
            (r#"{"x":"coremq_","oremq_c":1}"#, false),
            (r#"{"x":1}"#, false),
        ] {
            assert_eq!(parse(text).unwrap().may_have_ours(), may, "{text}");
            assert_eq!(Object::parse_lazily(text.as_bytes(), ROOM).unwrap().may_have_ours(), may, "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(matches!(parse("[]"), Err(ObjectError::NotObject)));
        assert!(matches!(parse("null"), Err(ObjectError::NotObject)));
        for text in ["", "{", r#"{"a":NaN}"#, "{} x", "{1:2}", "{'a':1}", "{\"a\":\"\n\"}", "\u{feff}{}"] {
            assert!(matches!(parse(text), Err(ObjectError::NotJson(_))), "{text}");
        }
        assert!(matches!(Object::parse(b"{\"a\":\"\xff\"}", ROOM), Err(ObjectError::NotUtf8)));
    }

    #[test]
    fn the_limit_is_the_last_size_that_is_taken() {
        assert!(Object::parse(b"{ }", 3).is_ok());
        assert!(matches!(Object::parse(b"{  }", 3), Err(ObjectError::OverLimit { limit_bytes: 3 })));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |arrays: usize| format!(r#"{{"a\"[[":{}{}}}"#, "[".repeat(arrays), "]".repeat(arrays));
        assert!(parse(&nested(126)).is_ok());
        assert!(parse(&nested(127)).is_ok());
        assert!(matches!(parse(&nested(128)), Err(ObjectError::TooDeep)));
        assert!(matches!(parse(&nested(1_000_000)), Err(ObjectError::TooDeep)));
        assert!(matches!(parse(&"[".repeat(1_000_000)), Err(ObjectError::NotObject)));
        assert!(matches!(parse(&format!(r#"{{"a":{}"#, "[".repeat(1_000_000))), Err(ObjectError::NotJson(_))));
    }

    #[test]
    fn many_objects_side_by_side_are_not_deep() {
        assert!(parse(&format!(r#"{{"a":[{}{{}}]}}"#, "{},".repeat(1000))).is_ok());
    }

    /// All that can be known of what was read, the members that nobody asked for included.
    fn shown(read: Result<Object<'_>, ObjectError>) -> String {
        read.map_or_else(
            |error| format!("{error:?}"),
            |object| format!("{} {:?} {:?}", object.may_have_ours(), object.text(), object.members()),
        )
    }

    proptest! {
        #[test]
        fn what_is_read_lazily_is_what_is_read_at_once(
            text in arbitrary::object_text(),
            at in any::<prop::sample::Index>(),
            broken in proptest::option::of("[\\[\\]{}\",:0-9e.\\\\ \n]{0,2}"),
        ) {
            let mut text = text;
            if let Some(broken) = broken {
                let at = (0..=at.index(text.len() + 1)).rfind(|at| text.is_char_boundary(*at)).unwrap();
                text.insert_str(at, &broken);
            }
            prop_assert_eq!(shown(Object::parse_lazily(text.as_bytes(), ROOM)), shown(parse(&text)));
        }
    }
}
