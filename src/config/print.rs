//! The settings in force, as a file that says the same.

use std::fmt::Write as _;

use super::layer::{Layer, TOKEN_KEYS};
use super::value::{Origin, Said, quoted};

/// Prints `said` as TOML in the order of the `shipped` text. A line that is not the default names who said it.
pub(crate) fn toml(said: &Layer, shipped_text: &str, shipped: &Layer) -> String {
    let mut out = String::new();
    let mut section = "";
    for line in shipped_text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            let _ = writeln!(out, "\n[{section}]");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let default = shipped.get(section, key);
            if let Some(value) = said.get(section, key) {
                line_of(&mut out, key, value, default);
            }
        }
    }
    let defaults = said.sections.get("queue_defaults");
    for (name, (_, own)) in &said.queues {
        let _ = writeln!(out, "\n[queues.{}]", quoted(name));
        for (key, default) in defaults.into_iter().flatten() {
            line_of(&mut out, key, own.get(key).unwrap_or(default), Some(default));
        }
    }
    for (name, (_, own)) in &said.tokens {
        let _ = writeln!(out, "\n[auth.tokens.{name}]");
        for (key, said) in TOKEN_KEYS.iter().filter_map(|key| Some((key, own.get(*key)?))) {
            line_of(&mut out, key, said, None);
        }
    }
    out
}

fn line_of(out: &mut String, key: &str, said: &Said, default: Option<&Said>) {
    let _ = write!(out, "{key} = {}", said.value);
    if default.is_none_or(|default| default.value != said.value) {
        let who = match &said.origin {
            Origin::Shipped => "built in",
            Origin::Profile => "profile",
            Origin::File(_) => "file",
            Origin::Named(name) => name,
        };
        let _ = write!(out, " # {who}");
    }
    out.push('\n');
}
