//! The section `auth`, with its tokens: what was said → what it means.

use super::Auth;
use super::check::Keys;
use super::layer::{Layer, TOKEN_KEYS};
use super::value::{Value, Wrong};
use crate::access::{Pattern, Right, Token, token};

pub(super) fn auth(said: &Layer) -> Result<Auth, Wrong> {
    let keys = Keys::of(said, "auth");
    Ok(Auth {
        allow_open: keys.flag("allow_open")?,
        allowed_hosts: keys.hosts("allowed_hosts")?,
        tokens: tokens(said)?,
    })
}

/// Nothing has a default but the rate: what a token may do is said with the token.
fn tokens(said: &Layer) -> Result<Vec<Token>, Wrong> {
    let mut tokens: Vec<Token> = Vec::new();
    for (name, (origin, own)) in &said.tokens {
        let wrong = |message| Err(Wrong { origin: origin.clone(), message });
        if !Token::is_name(name) {
            return wrong("the name of a token must have 1 to 64 letters, digits, `_` or `-`".to_owned());
        }
        if let Some(missing) = TOKEN_KEYS[..3].iter().find(|key| !own.contains_key(**key)) {
            return wrong(format!("the token {name} has no `{missing}`; `httpmq token new` prints all that it needs"));
        }
        let keys = Keys { own: Some(own), section: None };
        let token = Token {
            name: name.clone(),
            sha256: keys.sha256("sha256")?,
            queues: keys.patterns("queues")?,
            rights: keys.rights("rights")?.into_iter().collect(),
            requests_per_s: match own.get("requests_per_s") {
                Some(_) => keys.number("requests_per_s", 0..=1_000_000)?,
                None => 0,
            },
        };
        if let Some(other) = tokens.iter().find(|other| other.sha256 == token.sha256) {
            return wrong(format!("the tokens {} and {name} have the same `sha256`", other.name));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

impl Keys<'_> {
    fn hosts(&self, key: &str) -> Result<Vec<String>, Wrong> {
        let allowed = || "a list of names, each as \"mq.example.org\" (no port, no slash)".into();
        let is_name =
            |host: &String| !host.is_empty() && !host.contains(|c: char| "/:*".contains(c) || !c.is_ascii_graphic());
        self.read(key, allowed, |value| match value {
            Value::Texts(hosts) if hosts.iter().all(is_name) => Some(hosts.clone()),
            _ => None,
        })
    }

    fn sha256(&self, key: &str) -> Result<[u8; 32], Wrong> {
        let allowed = || "the SHA-256 of a secret, 64 hexadecimal digits, as `httpmq token new` prints it".into();
        self.read(key, allowed, |value| match value {
            Value::Text(text) => token::parse_sha256(text),
            _ => None,
        })
    }

    fn patterns(&self, key: &str) -> Result<Vec<Pattern>, Wrong> {
        let allowed =
            || "a list of queue names, in which * stands for any characters, as [\"jobs\", \"mail.*\"]".into();
        self.read(key, allowed, |value| match value {
            Value::Texts(texts) => texts.iter().map(|text| Pattern::parse(text)).collect(),
            _ => None,
        })
    }

    fn rights(&self, key: &str) -> Result<Vec<Right>, Wrong> {
        let allowed = || "a list out of \"read\", \"write\", \"admin\"".into();
        self.read(key, allowed, |value| match value {
            Value::Texts(texts) => texts.iter().map(|text| Right::parse(text)).collect(),
            _ => None,
        })
    }
}
