//! What settings that were read again say differently from those in force.

use std::collections::BTreeSet;
use std::fmt;

use super::layer::Layer;
use super::value::{Value, bytes, quoted};

/// One setting that has another value now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The section that it stands in; `queues` for the settings of a single queue.
    pub section: String,
    /// Its name with its section, as `log.level` or `queues."jobs".max_len`.
    pub key: String,
    /// As TOML, what is in force.
    pub old: String,
    /// As TOML, what is wanted.
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.key, self.old, self.new)
    }
}

/// All changes, in the order of their keys. The settings of a queue are those in force for it, wherever they stand.
pub(crate) fn between(old: &Layer, new: &Layer) -> Vec<Change> {
    let mut changes = Vec::new();
    for (section, keys) in &new.sections {
        for (key, said) in keys {
            let was = old.get(section, key).map(|was| &was.value);
            changes.extend(change(section, format!("{section}.{key}"), was, Some(&said.value)));
        }
    }
    let names: BTreeSet<_> = old.queues.keys().chain(new.queues.keys()).collect();
    for name in names {
        for key in new.sections.get("queue_defaults").into_iter().flat_map(|keys| keys.keys()) {
            let full = format!("queues.{}.{key}", quoted(name));
            changes.extend(change("queues", full, of_queue(old, name, key), of_queue(new, name, key)));
        }
    }
    changes
}

fn of_queue<'a>(said: &'a Layer, queue: &str, key: &str) -> Option<&'a Value> {
    let own = said.queues.get(queue).and_then(|(_, own)| own.get(key));
    own.or_else(|| said.get("queue_defaults", key)).map(|said| &said.value)
}

fn change(section: &str, key: String, old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    let is_same = match (old, new) {
        // "1 MiB" is 1048576.
        (Some(old), Some(new)) if key.ends_with("_bytes") => bytes(old) == bytes(new),
        (old, new) => old == new,
    };
    let shown = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
    (!is_same).then(|| Change { section: section.to_owned(), key, old: shown(old), new: shown(new) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::super::{load, value::Origin};
    use super::*;

    fn said(text: &str) -> Layer {
        let mut said = load::shipped().unwrap();
        said.overlay(Layer::from_toml(text, Some(&said), Origin::File).map_err(|wrong| wrong.message).unwrap());
        said
    }

    fn shown(old: &str, new: &str) -> Vec<String> {
        between(&said(old), &said(new)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_change_says_what_was_and_what_is_wanted() {
        assert_eq!(shown("", ""), [""; 0]);
        assert_eq!(shown("limits.max_message_bytes = '1 MiB'", "limits.max_message_bytes = 1048576"), [""; 0]);
        assert_eq!(
            shown("http.port = 1", "http.port = 2\nlog.level = 'debug'"),
            ["http.port: 1 → 2", "log.level: \"info\" → \"debug\""]
        );
    }

    #[test]
    fn a_queue_changes_with_its_own_settings_and_with_the_defaults() {
        let old = "queues.a.max_len = 5\nqueues.b.history = 1";
        let new = "queue_defaults.max_len = 7\nqueues.b.history = 1\nqueues.'c d'.max_len = 9";
        assert_eq!(
            shown(old, new),
            [
                "queue_defaults.max_len: 1000000 → 7",
                "queues.\"a\".max_len: 5 → 7",
                "queues.\"b\".max_len: 1000000 → 7",
                "queues.\"c d\".max_len: 1000000 → 9",
            ]
        );
    }
}
