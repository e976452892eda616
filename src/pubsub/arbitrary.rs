//! Random JSON for the property tests, with this protocol's own keys among the others.

use proptest::prelude::*;
use serde_json::{Map, Value};

const KEYS: &[&str] = &["coremq_sender", "coremq_sent", "coremq_string", "coremq_data", "queue", "a"];

/// The text of any JSON value.
pub(super) fn json_text() -> impl Strategy<Value = String> {
    text_of(value())
}

/// The text of any JSON object.
pub(super) fn object_text() -> impl Strategy<Value = String> {
    text_of(object(value()).prop_map(Value::Object))
}

/// Compact or spread over lines, as both kinds of spacing have to be kept.
fn text_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = String> {
    (values, any::<bool>()).prop_map(|(value, spread)| if spread { format!("{value:#}") } else { value.to_string() })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(KEYS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![prop::sample::select(KEYS).prop_map(str::to_owned), any::<String>()];
    prop::collection::vec((key, values), 0..5).prop_map(|members| members.into_iter().collect())
}
