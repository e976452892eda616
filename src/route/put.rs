//! The body of a put → its queue and the exact text of its message. Pure.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Limits, Operation, Refusal, name};
use crate::message::{MAX_DEPTH, is_too_deep};

pub(super) fn put(body: &[u8], limits: Limits) -> Result<Operation<'_>, Refusal> {
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
