//! What an engine has, for the tests of those in front of others.

#![allow(clippy::unwrap_used)] // A failed test may panic.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Engine, Next};
use crate::key::{self, Key};

/// What a test expects, by the number of a key.
pub(super) type Model = BTreeMap<u64, Bytes>;

/// The key with a number.
pub(super) fn at(number: u64) -> Key {
    key::block(1, 0, number, 0)
}

/// All records, where all keys have numbers.
pub(super) fn contents(engine: &dyn Engine) -> Model {
    records(engine).into_iter().map(|(key, value)| (key::first_sequence(&key), value)).collect()
}

/// All records.
pub(super) fn records(engine: &dyn Engine) -> Vec<(Key, Bytes)> {
    let mut found = Vec::new();
    let visit = &mut |key: &Key, value: &[u8]| {
        found.push((*key, Bytes::copy_from_slice(value)));
        Next::Continue
    };
    engine.range([0; 19]..=[255; 19], visit).unwrap();
    assert!(found.is_sorted());
    found
}
