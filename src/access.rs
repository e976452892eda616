//! Who may do what: tokens, what each may do with which queues, and why somebody is refused. Pure.
//!
//! A token has queues, which it is for, and rights, which it has there. No right implies another: what is listed is what there
//! is, so that a token that may empty queues need not be able to read them.
//!
//! In reading order: [`pattern`] (which queues), [`token`] (secrets and those who have them), [`rate`] (how often), [`throttle`] (who
//! guesses), [`host`] (by which name somebody came).

pub mod host;
pub mod pattern;
pub mod rate;
pub mod throttle;
pub mod token;

use std::fmt;

pub use self::{
    pattern::Pattern,
    token::{Secret, Token, Tokens},
};

/// What can be done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Get, view, subscribe, and everything that looks at it.
    Read,
    /// Put and publish.
    Write,
    /// Reset and purge, and whatever changes the queue itself.
    Admin,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 3] = [Right::Read, Right::Write, Right::Admin];

    /// As a setting, and to people.
    pub fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Admin => "admin",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// Some rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights([bool; Right::ALL.len()]);

impl Rights {
    /// Whether this one is among them.
    pub fn has(self, right: Right) -> bool {
        self.0[right as usize]
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Rights {
        let mut all = Rights::default();
        rights.into_iter().for_each(|right| all.0[right as usize] = true);
        all
    }
}

/// What a request needs, before it is known which queue it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: everybody may.
    Nothing,
    /// A token, whatever it may do.
    Token,
    /// A token for all queues, whatever it may do there: what is shown names them all.
    AllQueues,
    /// This right, to some queue at least.
    Right(Right),
}

/// Why somebody is refused. Its text is for people, and never has a secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It has no token.
    NoToken,
    /// Nobody has this token.
    WrongToken,
    /// Too many wrong tokens came from its address.
    TooManyWrong {
        /// After so many seconds the next one is looked at.
        wait_s: u64,
    },
    /// The token is not for that.
    NoRight {
        /// The name of the token.
        token: String,
        /// The right that is missing.
        right: Right,
        /// To this queue; `None`: to any.
        queue: Option<String>,
    },
    /// The token is not for all queues.
    NotAllQueues {
        /// The name of the token.
        token: String,
    },
    /// More requests than the token may make in this time.
    TooMany {
        /// The name of the token.
        token: String,
        /// After so many seconds the next one is taken.
        wait_s: u64,
    },
    /// The token of a connection has changed or is gone.
    Replaced,
    /// The name by which it came is not one of ours.
    ForeignHost {
        /// As it was sent.
        host: String,
    },
    /// A page from elsewhere wants to change something.
    ForeignPage,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::NoToken => f.write_str("this server asks for a token, and none came"),
            Denial::WrongToken => f.write_str("nobody has this token"),
            Denial::TooManyWrong { wait_s } => {
                write!(f, "too many wrong tokens came from this address; try again in {wait_s} s")
            }
            Denial::NoRight { token, right, queue: Some(queue) } => {
                write!(f, "the token {token} lacks the right {} for the queue {queue:?}", right.name())
            }
            Denial::NoRight { token, right, queue: None } => {
                write!(f, "the token {token} lacks the right {}", right.name())
            }
            Denial::NotAllQueues { token } => {
                write!(f, "this shows all queues, and the token {token} is not for all of them (queues = [\"*\"])")
            }
            Denial::TooMany { token, wait_s } => {
                write!(f, "more requests than requests_per_s allows the token {token}; try again in {wait_s} s")
            }
            Denial::Replaced => f.write_str("the token of this connection has changed or is gone; connect again"),
            Denial::ForeignHost { host } => write!(
                f,
                "this server does not know that it is called {host:?}; if it is, add that to allowed_hosts under [auth] in httpmq.toml"
            ),
            Denial::ForeignPage => f.write_str(
                "a web page from elsewhere may not do this, see allowed_origins under [pubsub] in httpmq.toml",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_that_are_listed_and_imply_no_other() {
        for right in Right::ALL {
            let alone: Rights = [right].into_iter().collect();
            assert_eq!(Right::ALL.map(|other| alone.has(other)), Right::ALL.map(|other| other == right));
            assert_eq!(Right::parse(right.name()), Some(right));
        }
        assert_eq!(Right::parse("Read"), None);
        assert!(!Rights::default().has(Right::Read));
    }
}
