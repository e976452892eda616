//! Requests: a query, a form, or the body of a put.
//!
//! - A put keeps the limits; its data is JSON that stands in the body as it is, and is no null. Written again by itself it is the
//!   same put. What `serde_json` reads as such an object is a put, with the same name and the same data.
//! - A query and a form of the same bytes have one verdict; where both are given the query wins. Encoded again, name and position
//!   are the same.
//! - Memory is in proportion to the request.
#![no_main]

use std::borrow::Cow;

use httpmq::message::MAX_DEPTH;
use httpmq::route::{Limits, Operation, Refusal, Target, operation};
use httpmq_fuzz::within;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const LIMITS: Limits = Limits { max_name_bytes: 20, max_message_bytes: 400 };
/// How many times its bytes a request may take. Measured up to 5: a body that is refused is read a second time for the reason.
const TIMES: usize = 8;

fuzz_target!(|input: &[u8]| {
    // The first byte, a letter in the seeds, says which.
    match input.split_first() {
        Some((b'B', body)) => put(body),
        Some((_, text)) => get(text),
        None => {}
    }
});

fn put(body: &[u8]) {
    let outcome = within(TIMES, body.len(), || operation(Target::Put, "", body, LIMITS));
    let read = serde_json::from_slice::<Value>(body);
    if let Ok(Operation::Put { queue, data }) = &outcome {
        check_name(queue);
        assert!(data.len() <= LIMITS.max_message_bytes && depth(data) <= MAX_DEPTH && *data != "null");
        assert!(body.windows(data.len()).any(|window| window == data.as_bytes()));
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(data).is_ok(), "{data}");
        let again = format!(r#"{{"name":{},"data":{data}}}"#, Value::from(&**queue));
        let again = again.into_bytes();
        assert_eq!(operation(Target::Put, "", &again, LIMITS).as_ref(), outcome.as_ref());
    }
    // What it cannot read may be JSON that no value can hold: 1e999, half a surrogate pair.
    let Ok(value) = read else { return };
    match (&value["name"], &value["data"], &outcome) {
        (Value::String(name), data, Ok(Operation::Put { queue, data: text })) => {
            assert_eq!(name, queue);
            assert_eq!(*data, serde_json::from_str::<Value>(text).expect("it is part of what was read"));
        }
        (Value::String(name), data, Err(refusal)) => {
            let is_name = (1..=LIMITS.max_name_bytes).contains(&name.len()) && !name.contains(char::is_control);
            let fits = body.len() <= LIMITS.max_message_bytes;
            assert!(!is_name || data.is_null() || !fits, "refused: {refusal:?}");
        }
        (_, _, outcome) => assert!(outcome.is_err(), "{outcome:?}"),
    }
}

fn get(text: &[u8]) {
    for target in [Target::Get, Target::Status, Target::View, Target::Reset] {
        let form = within(TIMES, text.len(), || operation(target, "", text, LIMITS));
        if let Ok(query) = std::str::from_utf8(text) {
            assert_eq!(operation(target, query, b"", LIMITS), form);
            if let Ok(known) = &form {
                assert_eq!(operation(target, query, b"name=other&position=77", LIMITS).as_ref(), Ok(known));
            }
        }
        match &form {
            Ok(operation) => encoded_again(target, operation),
            Err(Refusal::Parameter(_) | Refusal::BadRequest(_)) => {}
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

fn encoded_again(target: Target, known: &Operation<'_>) {
    let (queue, position) = match known {
        Operation::Get { queue } | Operation::Status { queue } | Operation::Reset { queue } => (queue, &0),
        Operation::View { queue, position } => (queue, position),
        Operation::Put { .. } => panic!("{known:?}"),
    };
    check_name(queue);
    let query = format!("name={}&position={position}", utf8_percent_encode(queue, NON_ALPHANUMERIC));
    assert_eq!(operation(target, &query, b"", LIMITS).as_ref(), Ok(known));
}

fn check_name(name: &Cow<'_, str>) {
    assert!((1..=LIMITS.max_name_bytes).contains(&name.len()) && !name.contains(char::is_control), "{name:?}");
}

/// The nesting of valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut bytes, mut in_string) = (0_usize, 0, json.bytes(), false);
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
