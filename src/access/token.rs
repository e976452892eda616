//! Tokens: who has one, and what it is for. Pure.
//!
//! Of a secret only its SHA-256 is kept. One round of it is enough: a secret has 256 random bits, which nobody tries through.

use std::{fmt, fmt::Write};

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{Denial, Need, Pattern, Right, Rights};

/// What every secret that this program makes begins with, so that it is known for one where it should not be.
pub const PREFIX: &str = "hmq_";
/// How many random bytes a secret has.
pub const SECRET_BYTES: usize = 32;
/// The longest name of a token.
const MAX_NAME_BYTES: usize = 64;

/// The text that somebody shows. It is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// How people call it; it is in answers and in the log.
    pub name: String,
    /// The SHA-256 of its secret.
    pub sha256: [u8; 32],
    /// The queues that it is for.
    pub queues: Vec<Pattern>,
    /// What it may do there.
    pub rights: Rights,
    /// How many requests a second it may make; 0 for any number.
    pub requests_per_s: u32,
}

/// All tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens(Vec<Token>);

impl Secret {
    /// Takes a text as a secret; `None` when it could not be sent in a header: only visible ASCII can.
    pub fn parse(text: &str) -> Option<Secret> {
        let is_fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_fine.then(|| Secret(text.to_owned()))
    }

    /// Makes one of random bytes.
    pub fn of(random: &[u8; SECRET_BYTES]) -> Secret {
        Secret(format!("{PREFIX}{}", hex(random)))
    }

    /// The secret itself, to be sent or shown to whom it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Token {
    /// Whether a text can be the name of a token: so that it needs quotes neither in a file nor in a log.
    pub fn is_name(text: &str) -> bool {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_fine)
    }

    /// Whether it may do this to a queue.
    ///
    /// # Errors
    /// [`Denial::NoRight`].
    pub fn may(&self, right: Right, queue: &str) -> Result<(), Denial> {
        let may = self.rights.has(right) && self.queues.iter().any(|pattern| pattern.fits(queue));
        if may { Ok(()) } else { Err(self.no_right(right, Some(queue))) }
    }

    /// Whether it may do this to some queue at least.
    ///
    /// # Errors
    /// [`Denial::NoRight`] and [`Denial::NotAllQueues`].
    pub fn meets(&self, need: Need) -> Result<(), Denial> {
        match need {
            Need::Nothing | Need::Token => Ok(()),
            Need::AllQueues if self.is_for_all() => Ok(()),
            Need::AllQueues => Err(Denial::NotAllQueues { token: self.name.clone() }),
            Need::Right(right) if self.rights.has(right) && !self.queues.is_empty() => Ok(()),
            Need::Right(right) => Err(self.no_right(right, None)),
        }
    }

    /// Whether it is for every queue.
    pub fn is_for_all(&self) -> bool {
        self.queues.iter().any(Pattern::is_all)
    }

    fn no_right(&self, right: Right, queue: Option<&str>) -> Denial {
        Denial::NoRight { token: self.name.clone(), right, queue: queue.map(str::to_owned) }
    }
}

impl Tokens {
    /// Takes them; their names and their secrets differ.
    pub fn new(tokens: Vec<Token>) -> Tokens {
        Tokens(tokens)
    }

    /// All of them.
    pub fn all(&self) -> &[Token] {
        &self.0
    }

    /// Where among [`Tokens::all`] the one with this secret is. How long that takes depends on the length of the secret and on how many
    /// tokens there are, and on nothing else.
    pub fn find(&self, secret: &[u8]) -> Option<usize> {
        let sha256 = sha256(secret);
        let mut found = u64::MAX;
        for (at, token) in self.0.iter().enumerate() {
            found.conditional_assign(&(at as u64), token.sha256[..].ct_eq(&sha256[..]));
        }
        usize::try_from(found).ok().filter(|at| *at < self.0.len())
    }
}

/// Reads a SHA-256 as people write it: 64 hexadecimal digits.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn sha256(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(name: &str, secret: &str, queues: &[&str], rights: &[Right]) -> Token {
        Token {
            name: name.into(),
            sha256: Secret::parse(secret).unwrap().sha256(),
            queues: queues.iter().map(|queue| Pattern::parse(queue).unwrap()).collect(),
            rights: rights.iter().copied().collect(),
            requests_per_s: 0,
        }
    }

    /// The first test vector of FIPS 180-4, and what `printf %s abc | sha256sum` prints.
    #[test]
    fn what_is_kept_is_the_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&Secret::parse("abc").unwrap().sha256()), known);
        assert_eq!(parse_sha256(known), Some(Secret::parse("abc").unwrap().sha256()));
        assert_eq!(parse_sha256(&known.to_uppercase()), parse_sha256(known));
        for wrong in ["", "ba78", &format!("{known}0"), &known.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(parse_sha256(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_what_a_header_can_have_and_is_not_printed() {
        let secret = Secret::of(&[0xab; SECRET_BYTES]);
        assert_eq!(secret.reveal(), format!("hmq_{}", "ab".repeat(SECRET_BYTES)));
        assert!(!format!("{secret:?}").contains("ab"));
        for wrong in ["", "a b", "é", "a\n"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_may_what_it_lists_and_nothing_else() {
        let worker = token("worker", "s", &["jobs", "mail.*"], &[Right::Read, Right::Admin]);
        assert_eq!(worker.may(Right::Read, "mail.in"), Ok(()));
        let why = worker.may(Right::Write, "jobs").unwrap_err().to_string();
        assert_eq!(why, r#"the token worker lacks the right write for the queue "jobs""#);
        assert!(worker.may(Right::Read, "other").is_err());
        assert_eq!(worker.meets(Need::Right(Right::Admin)), Ok(()));
        assert!(worker.meets(Need::Right(Right::Write)).is_err() && worker.meets(Need::AllQueues).is_err());
        let scraper = token("scraper", "s", &["*"], &[]);
        assert_eq!((scraper.meets(Need::AllQueues), scraper.meets(Need::Token)), (Ok(()), Ok(())));
        assert!(Right::ALL.into_iter().all(|right| scraper.may(right, "q").is_err()));
        assert!(token("nothing", "s", &[], &Right::ALL).meets(Need::Right(Right::Read)).is_err());
    }

    #[test]
    fn a_name_needs_no_quotes() {
        assert!(Token::is_name("Worker_1-b") && Token::is_name(&"a".repeat(64)));
        for wrong in ["", "a b", "a.b", "é", "a\"", &"a".repeat(65)] {
            assert!(!Token::is_name(wrong), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_token_is_found_by_its_secret_alone(secrets in proptest::collection::hash_set("[!-~]{1,40}", 0..9), other in "[!-~]{1,40}") {
            let secrets: Vec<String> = secrets.into_iter().collect();
            let tokens = secrets.iter().map(|secret| token("t", secret, &[], &[])).collect();
            let tokens = Tokens::new(tokens);
            for (at, secret) in secrets.iter().enumerate() {
                prop_assert_eq!(tokens.find(secret.as_bytes()), Some(at));
            }
            prop_assert_eq!(tokens.find(other.as_bytes()), secrets.iter().position(|secret| *secret == other));
            prop_assert_eq!(tokens.find(b""), None);
        }
    }
}
