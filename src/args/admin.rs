//! The words of the commands about queues as a whole: those that list, make, change, empty and delete them.

use std::{path::PathBuf, str::FromStr};

use argh::{ArgsInfo, FromArgs};

use crate::ring::{Kind, Overflow};

/// Forget all messages and positions of a queue; its settings stay.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "reset", help_triggers("-h", "--help"))]
pub struct Reset {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// really do it
    #[argh(switch)]
    pub yes: bool,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// List queues with their unread messages, rates and the age of the oldest unread message.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "queues", help_triggers("-h", "--help"))]
pub struct Queues {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// print a line of the server's JSON for each queue
    #[argh(switch)]
    pub json: bool,
    /// only queues with this text in their name
    #[argh(positional, default = "String::new()")]
    pub text: String,
}

/// Forget all messages of a queue; its positions go on.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "purge", help_triggers("-h", "--help"))]
pub struct Purge {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// really do it
    #[argh(switch)]
    pub yes: bool,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// Make a queue, without a message.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "create",
    note = "A queue is also made by its first message. What is set here is stored with the queue and wins over httpmq.toml; what is
left out comes from there. When the queue is there already, just so, that is fine (exit code 0); when its kind or its own
settings are others, nothing is done (exit code 2).",
    help_triggers("-h", "--help")
)]
pub struct Create {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// work: each message is for one who gets it; topic: the last messages, for subscribers (default work)
    #[argh(option, arg_name = "kind", default = "Kind::Work", from_str_fn(kind))]
    pub kind: Kind,
    /// unread messages that fit
    #[argh(option, arg_name = "n")]
    pub max_len: Option<Given<u64>>,
    /// last messages that are kept, read or not
    #[argh(option, arg_name = "n")]
    pub history: Option<Given<u64>>,
    /// what becomes of a put to the full queue: reject or drop_oldest
    #[argh(option, arg_name = "what")]
    pub overflow: Option<Given<Overflow>>,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// Change settings of a queue, at once and for good.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "set",
    note = "What is set here is stored with the queue and wins over httpmq.toml; default gives a setting back to it.",
    example = "Let the oldest messages go when there are too many, and keep the history as httpmq.toml has it:
  {command_name} --max-len 1000 --overflow drop_oldest --history default jobs",
    help_triggers("-h", "--help")
)]
pub struct Set {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// unread messages that fit; default: as httpmq.toml says
    #[argh(option, arg_name = "n")]
    pub max_len: Option<Given<u64>>,
    /// last messages that are kept, read or not; default: as httpmq.toml says
    #[argh(option, arg_name = "n")]
    pub history: Option<Given<u64>>,
    /// what becomes of a put to the full queue: reject, drop_oldest, or default
    #[argh(option, arg_name = "what")]
    pub overflow: Option<Given<Overflow>>,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// Delete a queue with all its messages, its positions and the settings that it was given.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "delete", help_triggers("-h", "--help"))]
pub struct Delete {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// really do it
    #[argh(switch)]
    pub yes: bool,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// A setting as it is typed: a value, or `default`, which is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given<T>(pub Option<T>);

/// What can be typed for a setting.
trait Typed: Sized {
    const WHAT: &'static str;
    fn typed(text: &str) -> Option<Self>;
}

impl Typed for u64 {
    const WHAT: &'static str = "a whole number";

    fn typed(text: &str) -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }
}

impl Typed for Overflow {
    const WHAT: &'static str = "reject or drop_oldest";

    fn typed(text: &str) -> Option<Overflow> {
        Overflow::ALL.into_iter().find(|overflow| overflow.name() == text)
    }
}

impl<T: Typed> FromStr for Given<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Given<T>, String> {
        if text == "default" {
            return Ok(Given(None));
        }
        T::typed(text).map(|value| Given(Some(value))).ok_or_else(|| format!("{text} is not {} or default", T::WHAT))
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "work" => Ok(Kind::Work),
        "topic" => Ok(Kind::Topic),
        other => Err(format!("{other} is not work or topic")),
    }
}
