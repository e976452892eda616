//! What another set of tokens has changed.

use std::fmt;

use crate::access::Tokens;

/// The names of tokens that changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaced {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are the same no more.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

impl Replaced {
    pub(super) fn between(before: &Tokens, after: &Tokens) -> Replaced {
        let named = |all: &Tokens, name: &str| all.all().iter().find(|token| token.name == name).cloned();
        let mut replaced = Replaced::default();
        for token in after.all() {
            match named(before, &token.name) {
                None => replaced.added.push(token.name.clone()),
                Some(old) if old != *token => replaced.changed.push(token.name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.all().iter().filter(|token| named(after, &token.name).is_none());
        replaced.removed = gone.map(|token| token.name.clone()).collect();
        replaced
    }

    /// Whether nothing has.
    pub fn is_empty(&self) -> bool {
        *self == Replaced::default()
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("new", &self.added), ("changed", &self.changed), ("gone", &self.removed)];
        let said: Vec<String> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if said.is_empty() { f.write_str("no token has changed") } else { write!(f, "tokens {}", said.join("; ")) }
    }
}
