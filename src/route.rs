//! Request → operation. Pure: bytes in, an [`Operation`] or a [`Refusal`] out.
//!
//! The parameters of the four GETs come from the query string or from a form sent as the body; where both give one, the query
//! wins. Of a parameter that is given twice, the last one counts, as it does in a JSON object.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The deepest nesting of a message. Many JSON readers recurse; serde_json stops here too.
pub const MAX_DEPTH: usize = 128;

/// A path that is served, with what its method asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `PUT /queue/`
    Put,
    /// `GET /queue/`
    Get,
    /// `GET /status/`
    Status,
    /// `GET /view/`
    View,
    /// `GET /reset/`
    Reset,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Append a message.
    Put {
        /// The queue's name.
        queue: Cow<'a, str>,
        /// The exact JSON text of the message.
        data: &'a str,
    },
    /// Take the oldest unread message.
    Get {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
    /// Show the positions.
    Status {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
    /// Look at an unread message.
    View {
        /// The queue's name.
        queue: Cow<'a, str>,
        /// Its position.
        position: u64,
    },
    /// Forget all messages.
    Reset {
        /// The queue's name.
        queue: Cow<'a, str>,
    },
}

/// Why a request is not an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is served at this path: 404.
    UnknownPath,
    /// The path knows only these methods: 405.
    WrongMethod {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// A parameter error that the original answers as JSON: 200.
    Parameter(Cow<'static, str>),
    /// A parameter error where the original fails: 400.
    BadRequest(Cow<'static, str>),
    /// The message is too long: 413.
    TooLong(String),
}

/// What is asked of a path, before the body is read.
///
/// # Errors
/// The path is unknown or has no such method.
pub fn target(method: &str, path: &str) -> Result<Target, Refusal> {
    let (get, allow) = match path.strip_suffix('/').unwrap_or(path) {
        "/queue" => (Target::Get, "GET, PUT"),
        "/status" => (Target::Status, "GET"),
        "/view" => (Target::View, "GET"),
        "/reset" => (Target::Reset, "GET"),
        _ => return Err(Refusal::UnknownPath),
    };
    match (method, get) {
        ("GET", _) => Ok(get),
        ("PUT", Target::Get) => Ok(Target::Put),
        _ => Err(Refusal::WrongMethod { allow }),
    }
}

/// What the limits of names and messages are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest queue name, in bytes.
    pub max_name_bytes: usize,
    /// The longest message, in bytes of JSON.
    pub max_message_bytes: usize,
}

/// The operation that a whole request asks for.
///
/// # Errors
/// A parameter is missing, wrong, or over a limit.
pub fn operation<'a>(target: Target, query: &'a str, body: &'a [u8], limits: Limits) -> Result<Operation<'a>, Refusal> {
    if target == Target::Put {
        return put(body, limits);
    }
    let mut parameters = Parameters::default();
    // The later one wins, and the query shall.
    parameters.read(body)?;
    parameters.read(query.as_bytes())?;
    let Some(queue) = parameters.name else {
        return Err(Refusal::BadRequest("the parameter name is missing".into()));
    };
    let queue = name(queue, limits)?;
    Ok(match target {
        Target::View => Operation::View { queue, position: position(parameters.position)? },
        Target::Status => Operation::Status { queue },
        Target::Reset => Operation::Reset { queue },
        Target::Get | Target::Put => Operation::Get { queue },
    })
}

// ===== the body of a put =====

fn put(body: &[u8], limits: Limits) -> Result<Operation<'_>, Refusal> {
    // JSON is UTF-8 all over, also where a reader of bytes would not look: in keys and values that are not kept.
    let body =
        std::str::from_utf8(body).map_err(|_| Refusal::Parameter("the body is not JSON: it is not UTF-8".into()))?;
    let body: PutBody<'_> = serde_json::from_str(body).map_err(|error| not_an_object(body, &error))?;
    let queue = match body.name {
        Some(Name::Text(queue)) => name(queue, limits)?,
        Some(Name::Other) => return Err(Refusal::BadRequest("name is not a string".into())),
        None => return Err(Refusal::Parameter("name is missing".into())),
    };
    let data = match body.data.map(RawValue::get) {
        None | Some("null") => return Err(Refusal::Parameter("data is missing or null".into())),
        Some(data) => data,
    };
    if data.len() > limits.max_message_bytes {
        let (is, most) = (data.len(), limits.max_message_bytes);
        return Err(Refusal::TooLong(format!("data is {is} bytes long, at most {most} are allowed")));
    }
    if is_too_deep(data) {
        return Err(Refusal::Parameter(format!("data is nested more than {MAX_DEPTH} levels deep").into()));
    }
    Ok(Operation::Put { queue, data })
}

/// JSON that is no object is told from what is no JSON: the original fails on the one and answers the other.
fn not_an_object(body: &str, error: &serde_json::Error) -> Refusal {
    match serde_json::from_str::<&RawValue>(body) {
        Ok(_) if error.is_data() => Refusal::BadRequest("the body is not a JSON object".into()),
        _ => Refusal::Parameter(format!("the body is not JSON: {error}").into()),
    }
}

/// Counts brackets outside strings. Only a text that is long enough to be too deep is looked at.
fn is_too_deep(json: &str) -> bool {
    if json.len() < 2 * MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// The object of a put. Other keys are ignored.
#[derive(Default)]
struct PutBody<'a> {
    name: Option<Name<'a>>,
    data: Option<&'a RawValue>,
}

enum Name<'a> {
    Text(Cow<'a, str>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for PutBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = PutBody<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PutBody<'de>, A::Error> {
                let mut body = PutBody::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key.0 {
                        "name" => body.name = Some(read_name(map.next_value()?)),
                        "data" => body.data = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(body)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_name(value: &RawValue) -> Name<'_> {
    match serde_json::from_str(value.get()) {
        Ok(Text(name)) => Name::Text(name),
        Err(_) => Name::Other,
    }
}

// ===== parameters =====

#[derive(Default)]
struct Parameters<'a> {
    name: Option<Cow<'a, str>>,
    position: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    /// Reads `application/x-www-form-urlencoded` text.
    fn read(&mut self, form: &'a [u8]) -> Result<(), Refusal> {
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            match &*decode(&pair[..at])? {
                "name" => self.name = Some(decode(value)?),
                "position" => self.position = Some(decode(value)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Decodes percent-encoding and `+`, strictly: what is not well-formed is an error, never another name.
fn decode(text: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let wrong = || Refusal::BadRequest("a parameter is not percent-encoded UTF-8".into());
    if text.iter().all(|byte| !matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| wrong());
    }
    let is_escape = |rest: &[u8]| rest.len() >= 3 && rest[1..3].iter().all(u8::is_ascii_hexdigit);
    if (0..text.len()).any(|at| text[at] == b'%' && !is_escape(&text[at..])) {
        return Err(wrong());
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().map_err(|_| wrong())?;
    Ok(Cow::Owned(decoded.into_owned()))
}

fn name(name: Cow<'_, str>, limits: Limits) -> Result<Cow<'_, str>, Refusal> {
    let wrong = match name.len() {
        0 => "name is empty".into(),
        is if is > limits.max_name_bytes => {
            format!("name is {is} bytes long, at most {} are allowed", limits.max_name_bytes).into()
        }
        _ if name.chars().any(char::is_control) => "name has a control character".into(),
        _ => return Ok(name),
    };
    Err(Refusal::Parameter(wrong))
}

fn position(position: Option<Cow<'_, str>>) -> Result<u64, Refusal> {
    match position.as_deref().map(|text| (text, text.parse())) {
        Some((_, Ok(position))) => Ok(position),
        Some((_, Err(_))) => Err(Refusal::Parameter("position is not a whole number from 0 on".into())),
        None => Err(Refusal::BadRequest("the parameter position is missing".into())),
    }
}

#[cfg(test)]
mod tests;
