//! Who may name whom. Goal: dependencies point one way, in the order of `src/lib.rs`, and each foreign library and each
//! protocol has one place.
//!
//! Method: the sources as tokens, so that comments say what they like. What stands behind `#[cfg(test)]` is not looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Libraries that only one place may name: a change of library is a change of that place.
const HOMES: [(&str, &str); 15] = [
    ("hyper", "src/http/"),
    ("hyper_util", "src/http/"),
    ("http_body_util", "src/http/"),
    ("httparse", "src/http/"),
    ("tokio_rustls", "src/tls/"),
    ("rustls_native_certs", "src/tls/"),
    ("x509_cert", "src/tls/"),
    ("sled", "src/engine/sled.rs"),
    ("fjall", "src/engine/fjall.rs"),
    ("lsm_tree", "src/engine/fjall.rs"),
    ("sha2", "src/access/token.rs"),
    ("subtle", "src/access/token.rs"),
    ("prometheus_client", "src/metrics/text.rs"),
    ("sd_notify", "src/notify.rs"),
    ("argh_complete", "src/args/completions.rs"),
];

/// Calls of sled that must not be made: the first hangs under tokio, a slow reader of the second blocks the writer, and the others
/// are untested under power cuts.
const FORBIDDEN_CALLS: [&str; 4] = ["flush_async", "watch_prefix", "drop_tree", "transaction"];

/// The CoreMQ protocol's own keys begin so, and live in one directory.
const COREMQ_KEY: &str = "coremq_";
const COREMQ_HOME: &str = "src/pubsub/";

/// Rules without sockets, clock or locks: the same bytes give the same answer, always. Those that are there are checked.
const PURE: [&str; 30] = [
    "src/route.rs",
    "src/route/form.rs",
    "src/route/put.rs",
    "src/route/v1.rs",
    "src/route/settings.rs",
    "src/ring.rs",
    "src/ring/lost.rs",
    "src/ring/settings.rs",
    "src/key.rs",
    "src/block.rs",
    "src/state.rs",
    "src/message.rs",
    "src/access.rs",
    "src/access/host.rs",
    "src/access/pattern.rs",
    "src/access/rate.rs",
    "src/access/throttle.rs",
    "src/access/token.rs",
    "src/http/client/raw.rs",
    "src/client/bench/text.rs",
    "src/pubsub/frame.rs",
    "src/pubsub/websocket_progress.rs",
    "src/pubsub/object.rs",
    "src/pubsub/command.rs",
    "src/pubsub/message.rs",
    "src/pubsub/response.rs",
    "src/pubsub/run.rs",
    "src/pubsub/ascii.rs",
    "src/pubsub/client/request.rs",
    "src/pubsub/client/incoming.rs",
];
const IMPURE_PATHS: [&str; 8] =
    ["tokio", "std::fs", "std::io", "std::net", "std::time", "std::thread", "std::process", "std::env"];
const IMPURE_WORDS: [&str; 6] = ["Mutex", "RwLock", "Condvar", "Atomic", "Instant", "SystemTime"];

#[test]
fn every_source_keeps_to_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = module_order(&fs::read_to_string(root.join("src/lib.rs")).unwrap());
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    collect(&root.join("src"), &mut sources);
    for path in &sources {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        if !name.ends_with("_tests.rs") {
            findings.extend(check(name, &fs::read_to_string(path).unwrap(), &order));
        }
    }
    assert!(sources.len() > 20 && order.len() > 10, "{} sources, {} modules", sources.len(), order.len());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// The net has no holes: each thing that is forbidden is found, however it is written, and what is allowed is not.
#[test]
fn what_is_forbidden_is_found() {
    let order = ["http", "store", "ring"].map(str::to_owned);
    for (file, source, expected) in [
        ("src/store/mod.rs", "use hyper::Request;", "hyper"),
        ("src/store/mod.rs", "fn f() { let _ = http_body_util::Full::new(b); }", "http_body_util"),
        ("src/store/mod.rs", "use {std::fs, hyper_util::rt};", "hyper_util"),
        ("src/engine/memory.rs", "struct E { db: sled::Db }", "sled"),
        ("src/engine/sled.rs", "fn f(db: &sled::Db) { db.flush_async(); }", "flush_async"),
        ("src/engine/sled.rs", "use fjall::Database;", "fjall"),
        ("src/engine/mod.rs", "fn f(db: ::fjall::Database) {}", "fjall"),
        ("src/http/answer.rs", r#"const KEY: &str = "coremq_sent";"#, "coremq_"),
        ("src/ring.rs", "use std::sync::{Arc, Mutex};", "Mutex"),
        ("src/ring.rs", "use std::{fmt, net::TcpStream};", "std::net"),
        ("src/ring.rs", "fn f() { log::info!(\"{:?}\", std::time::Duration::ZERO); }", "std::time"),
        ("src/pubsub/frame.rs", "async fn f() { tokio::task::yield_now().await }", "tokio"),
        ("src/store/local/mod.rs", "use crate::{ring::Ring, http::{self, Door}};", "names http"),
        ("src/store/mod.rs", "use super::http;", "names http"),
        ("src/store/local/queue.rs", "fn f() -> super::super::super::http::Door {}", "names http"),
        ("src/ring.rs", "fn f() { crate::store::open() }", "names store"),
        ("src/ring.rs", "mod a { fn f() { crate::lost::f() } }", "not in src/lib.rs"),
    ] {
        let findings = check(file, source, &order);
        assert_eq!(findings.len(), 1, "{file}: {source}: {findings:?}");
        assert!(findings[0].contains(expected) && findings[0].contains(file), "{source}: {findings:?}");
    }
    for (file, source) in [
        ("src/http/mod.rs", "use hyper::Request; use crate::{store::Store, ring};"),
        ("src/engine/sled.rs", "use sled::Db;"),
        ("src/engine/mod.rs", "pub mod sled; // flush_async is not called, crate::http is not named"),
        ("src/pubsub/command.rs", r#"const KEY: &str = "coremq_sent";"#),
        (
            "src/ring.rs",
            "/// Not [`crate::http`], not std::fs.\n fn f() {} #[cfg(test)] mod tests { use std::fs; use crate::http; }",
        ),
        ("src/ring.rs", "#[cfg(test)] #[path = \"x.rs\"] mod tests; fn f() {}"),
        ("src/store/local/mod.rs", "use super::View; use crate::ring::{self, Ring};"),
    ] {
        assert_eq!(check(file, source, &order), [""; 0], "{file}: {source}");
    }
}

// ===== the rules =====

/// What in a source breaks a rule, a line each.
fn check(file: &str, source: &str, order: &[String]) -> Vec<String> {
    let tokens = source.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut seen = Seen::default();
    seen.read(tokens, &mut Vec::new());
    let paths = seen.paths.iter().map(|path| absolute(file, path));
    let mut findings: Vec<String> = paths.filter_map(|path| wrong_path(file, &path, order)).collect();
    findings.extend(seen.words.iter().filter_map(|word| wrong_word(file, word)));
    findings.sort();
    findings.dedup();
    findings
}

fn wrong_path(file: &str, path: &[String], order: &[String]) -> Option<String> {
    if let Some((library, home)) = HOMES.iter().find(|(library, _)| path[0] == *library)
        && !file.starts_with(home)
    {
        return Some(format!("{file} names {library}, which belongs to {home}"));
    }
    let text = path.join("::");
    if PURE.contains(&file)
        && let Some(impure) = IMPURE_PATHS.iter().find(|impure| format!("{text}::").starts_with(&format!("{impure}::")))
    {
        return Some(format!("{file} is pure and names {impure}"));
    }
    let [root, named, ..] = path else { return None };
    let own = module(file);
    if root != "crate" || named == own || own == "main" || own == "lib" {
        return None;
    }
    let place = |name: &str| order.iter().position(|module| module == name);
    match (place(own), place(named)) {
        (_, None) if named.starts_with(char::is_lowercase) => Some(format!("{file}: {named} is not in src/lib.rs")),
        (Some(own_place), Some(named_place)) if named_place < own_place => {
            Some(format!("{file} names {named}, which stands above {own} in src/lib.rs"))
        }
        _ => None,
    }
}

fn wrong_word(file: &str, word: &str) -> Option<String> {
    let forbidden = FORBIDDEN_CALLS.contains(&word);
    let impure = PURE.contains(&file) && IMPURE_WORDS.iter().any(|impure| word.starts_with(impure));
    let coremq = word.contains(COREMQ_KEY) && !file.starts_with(COREMQ_HOME);
    (forbidden || impure || coremq).then(|| format!("{file} has {word}"))
}

// ===== the sources =====

fn collect(dir: &Path, sources: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

/// The modules of `src/lib.rs` as they stand there.
fn module_order(lib: &str) -> Vec<String> {
    let modules = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

/// The module of `src/lib.rs` that a file belongs to.
fn module(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    inside.split(['/', '.']).next().unwrap_or(inside)
}

/// A path with its `super::` and `self::` resolved, as far as a file's place says it.
fn absolute(file: &str, path: &[String]) -> Vec<String> {
    let inside = file.strip_prefix("src/").and_then(|name| name.strip_suffix(".rs")).unwrap_or(file);
    let mut at: Vec<&str> = inside.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).collect();
    match path[0].as_str() {
        "super" | "self" => {}
        _ => return path.to_vec(),
    }
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        match first.as_str() {
            "super" => drop(at.pop()),
            "self" => {}
            _ => break,
        }
        rest = behind;
    }
    ["crate"].into_iter().chain(at).map(str::to_owned).chain(rest.iter().cloned()).collect()
}

/// The paths and the single words of a source.
#[derive(Default)]
struct Seen {
    paths: Vec<Vec<String>>,
    words: Vec<String>,
}

impl Seen {
    /// Reads tokens; `prefix` is the path in front of a group, as in `std::{fs, io}`.
    fn read(&mut self, tokens: TokenStream, prefix: &mut Vec<String>) {
        let tokens = without_tests(tokens);
        let mut path = prefix.clone();
        let mut at = 0;
        while at < tokens.len() {
            let joined = is_double_colon(tokens.get(at + 1..).unwrap_or_default());
            match &tokens[at] {
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    // `mod sled;` makes a name, it does not use one.
                    if self.words.last().is_none_or(|before| before != "mod") {
                        path.push(word.clone());
                    }
                    self.words.push(word);
                    if !joined {
                        self.end(&mut path, prefix);
                    }
                }
                TokenTree::Literal(literal) => self.words.push(literal.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && path.len() > prefix.len() => {
                    self.read(group.stream(), &mut path);
                    path.clone_from(prefix);
                }
                // The head of `use {a, b::c}` or of a block: nothing in front of it, so what is inside stands for itself.
                TokenTree::Group(group) => self.read(group.stream(), prefix),
                TokenTree::Punct(_) => self.end(&mut path, prefix),
            }
            at += if joined { 3 } else { 1 };
        }
    }

    fn end(&mut self, path: &mut Vec<String>, prefix: &[String]) {
        if path.len() > prefix.len() {
            self.paths.push(path.clone());
        }
        path.truncate(prefix.len());
    }
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == ':' && b.as_char() == ':')
}

/// The tokens without doc comments and without the items behind `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match attribute(&tokens[at..]) {
            Some((text, length)) if text.starts_with("cfg(test)") => at = end_of_item(&tokens, at + length),
            Some((text, length)) if text.starts_with("doc=") => at += length,
            _ => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// The text of an attribute without spaces, and how many tokens it takes.
fn attribute(tokens: &[TokenTree]) -> Option<(String, usize)> {
    let (group, length) = match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(group), ..] if hash.as_char() == '#' => (group, 2),
        [TokenTree::Punct(hash), TokenTree::Punct(inner), TokenTree::Group(group), ..]
            if hash.as_char() == '#' && inner.as_char() == '!' =>
        {
            (group, 3)
        }
        _ => return None,
    };
    Some((group.stream().to_string().replace(' ', ""), length))
}

/// The place behind an item: behind its `;` or its braces.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    tokens.iter().skip(from).position(ends).map_or(tokens.len(), |place| from + place + 1)
}
