//! `httpmq token new NAME`: a secret, and the lines with which a daemon knows it again.

use rustix::rand::{GetRandomFlags, getrandom};

use super::stop::Stop;
use super::{say, show};
use crate::access::{
    Pattern, Right, Secret, Token,
    token::{SECRET_BYTES, hex},
};
use crate::args::TokenNew;

pub(super) fn new(args: &TokenNew) -> Result<(), Stop> {
    let lines = lines(args)?;
    let secret = make()?;
    let sha256 = hex(&secret.sha256());
    show::write(&format!("\n[auth.tokens.{}]\nsha256 = \"{sha256}\"\n{lines}", args.name)).map_err(Stop::output)?;
    say(&format!("the secret of {}, shown only now: {}", args.name, secret.reveal()));
    Ok(())
}

fn make() -> Result<Secret, Stop> {
    let mut random = [0; SECRET_BYTES];
    // So few bytes come whole (getrandom(2)).
    match getrandom(&mut random, GetRandomFlags::empty()) {
        Ok(SECRET_BYTES) => Ok(Secret::of(&random)),
        Ok(_) => Err(Stop::usage("the system has not enough random bytes")),
        Err(error) => Err(Stop::usage(format!("the system gives no random bytes: {error}"))),
    }
}

/// What the file says about the token besides its secret.
fn lines(args: &TokenNew) -> Result<String, Stop> {
    if !Token::is_name(&args.name) {
        return Err(Stop::usage("the name must have 1 to 64 letters, digits, `_` or `-`"));
    }
    if args.queue.is_empty() {
        return Err(Stop::usage("say which queues it is for, with --queue; '*' is for all"));
    }
    if let Some(wrong) = args.queue.iter().find(|queue| Pattern::parse(queue).is_none()) {
        return Err(Stop::usage(format!("no queue can have the name {wrong:?}")));
    }
    if let Some(wrong) = args.right.iter().find(|right| Right::parse(right).is_none()) {
        return Err(Stop::usage(format!("there is no right {wrong:?}; there are read, write, admin")));
    }
    let mut lines = format!("queues = {}\nrights = {}\n", list(&args.queue), list(&args.right));
    if args.requests_per_s > 0 {
        lines.push_str(&format!("requests_per_s = {}\n", args.requests_per_s));
    }
    Ok(lines)
}

/// A list of strings in TOML, which are those of JSON: a name has no control characters, and only there they differ.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| serde_json::Value::from(text.as_str()).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}
