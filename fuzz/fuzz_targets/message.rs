//! A published object, from either form of CoreMQ, to the body that is kept and back to what subscribers get.
//!
//! - What is kept is JSON; what subscribers get is an ASCII object that says once who sent it and when, and that is the server's word,
//!   whatever the publisher wrote.
//! - What subscribers get is, published again, the same body.
//! - Memory is in proportion to the message.
#![no_main]

use std::fmt;

use httpmq::pubsub::{
    command::Command,
    message::{Form, Stamp, body, for_frame, for_websocket},
    object::Object,
};
use httpmq_fuzz::within;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, de::Deserializer, value::RawValue};

const MAX_MESSAGE_BYTES: usize = 1000;
const STAMP: Stamp<'_> = Stamp { sender: "the sender", sent_ms: 1_700_000_000_042 };
/// How many times its bytes a message may take: an object of keys and values of one byte each is a list of places in it.
const TIMES: usize = 40;

fuzz_target!(|input: &[u8]| {
    let Some((form, json)) = input.split_first() else { return };
    let form = if *form < 128 { Form::Frame } else { Form::WebSocket };
    let _ = within(TIMES, json.len(), || Command::parse(json, MAX_MESSAGE_BYTES).map(drop));
    let Ok(object) = Object::parse(json, MAX_MESSAGE_BYTES) else { return };
    let kept = body(&object, form);
    assert!(serde_json::from_str::<&RawValue>(&kept).is_ok(), "{kept}");

    let sent = within(8, kept.len(), || for_frame(&kept, STAMP));
    check_stamped(&sent, &["coremq_sender", "coremq_sent"]);
    let to_socket = for_websocket("é q", &kept, STAMP);
    check_stamped(&to_socket, &["coremq_sender", "coremq_sent", "queue"]);

    // An object that looks like a wrapped value was wrapped itself, which no subscriber sees.
    let looks_wrapped =
        kept.starts_with('{') && Object::parse(kept.as_bytes(), usize::MAX).is_ok_and(|kept| is_wrapping(&kept));
    if !looks_wrapped {
        let again = Object::parse(sent.as_bytes(), usize::MAX).expect("it is an object");
        assert_eq!(value(&body(&again, Form::Frame)), value(&kept));
    }
});

fn is_wrapping(object: &Object<'_>) -> bool {
    let stamps = ["coremq_sender", "coremq_sent"];
    ["coremq_string", "coremq_data"].iter().any(|key| object.lone(key, &stamps).is_some())
}

/// The object has each of these keys once, and with the server's value.
fn check_stamped(sent: &str, ours: &[&str]) {
    assert!(sent.is_ascii());
    let object = Object::parse(sent.as_bytes(), usize::MAX).expect("it is an object");
    let mut deserializer = Deserializer::from_str(sent);
    let Keys(keys) = serde::Deserialize::deserialize(&mut deserializer).expect("it is an object");
    for key in ours {
        assert_eq!(keys.iter().filter(|found| found == key).count(), 1, "{key} in {sent}");
    }
    assert_eq!(object.get("coremq_sender"), Some("\"the sender\""));
    assert_eq!(object.get("coremq_sent"), Some("1700000000.042"));
}

/// The value, where there is one: not of 1e999, nor of half a surrogate pair.
fn value(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}

/// The keys of an object as they are meant, without those that are no text.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<&RawValue, &RawValue>()? {
                    keys.extend(serde_json::from_str(key.get()));
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
