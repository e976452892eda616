//! Other queues, as one gets them, made to sync when the daemon does; each under the same load generator, in its own protocol.
//!
//! A request is one message, and its answer one line.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
};

use crate::{answer::Verdict, args::Sync};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// A list: LPUSH, with a log that is appended to (<https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>).
    Redis,
    /// A tube: `put` (<https://github.com/beanstalkd/beanstalkd/blob/master/doc/protocol.txt>).
    Beanstalkd,
}

impl FromStr for Neighbour {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Redis, Self::Beanstalkd];
        let found = all.into_iter().find(|neighbour| neighbour.name() == word);
        found.ok_or_else(|| format!("'{word}' is neither redis nor beanstalkd"))
    }
}

impl Neighbour {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Beanstalkd => "beanstalkd",
        }
    }

    /// What starts it on a port of loopback, with its files in `dir`. It syncs before it answers, about every second, or never.
    pub(crate) fn command(self, port: u16, dir: &Path, sync: Sync) -> Command {
        let port = port.to_string();
        let (program, words): (&str, Vec<&OsStr>) = match self {
            Self::Redis => {
                let fsync = match sync {
                    Sync::Always => "always",
                    Sync::Interval => "everysec",
                    Sync::Never => "no",
                };
                let words = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes"];
                let words = words.into_iter().chain(["--appendfsync", fsync, "--loglevel", "warning", "--dir"]);
                ("redis-server", words.map(OsStr::new).chain([dir.as_os_str()]).collect())
            }
            Self::Beanstalkd => {
                let fsync: &[&str] = match sync {
                    Sync::Always => &["-f", "0"],
                    Sync::Interval => &["-f", "1000"],
                    Sync::Never => &["-F"],
                };
                let words = ["-l", "127.0.0.1", "-p", &port, "-z", "16777216"].into_iter().chain(fsync.iter().copied());
                ("beanstalkd", words.chain(["-b"]).map(OsStr::new).chain([dir.as_os_str()]).collect())
            }
        };
        let mut command = Command::new(program);
        command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The bytes that put a text of this size.
    pub(crate) fn request(self, size: usize) -> Vec<u8> {
        let text = "x".repeat(size);
        match self {
            Self::Redis => format!("*3\r\n$5\r\nLPUSH\r\n$5\r\nbench\r\n${size}\r\n{text}\r\n"),
            Self::Beanstalkd => format!("put 0 0 60 {size}\r\n{text}\r\n"),
        }
        .into_bytes()
    }

    /// What its answer says, if it is whole.
    pub(crate) fn verdict(self, bytes: &[u8]) -> Option<Verdict> {
        let line = bytes.strip_suffix(b"\r\n")?;
        let good: &[u8] = match self {
            Self::Redis => b":",
            Self::Beanstalkd => b"INSERTED ",
        };
        let number = line.strip_prefix(good).filter(|number| !number.is_empty());
        Some(match number {
            Some(number) if number.iter().all(u8::is_ascii_digit) => Verdict::Served,
            _ => Verdict::Wrong(String::from_utf8_lossy(line).into_owned()),
        })
    }
}
