//! Why a command ends without having done its work, and what the shell gets to know about it.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use crate::http::client::{Answer, ClientError};
use crate::pubsub::client as coremq;

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// As it should be, although there is something to say.
    Fine = 0,
    /// Wrong usage, or trouble on this side: unreadable input, an output that takes nothing.
    Usage = 1,
    /// The server refused the request.
    Refused = 2,
    /// The queue is empty or unknown.
    Nothing = 3,
    /// The queue or the server's disk is full.
    Full = 4,
    /// There is no connection, or it broke.
    NoConnection = 5,
    /// Ctrl-C, by the shells' convention 128 + the signal's number.
    Interrupted = 130,
}

/// The end of a command: the exit code and what to say on stderr (nothing when empty).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Stop {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> Stop {
        Stop { exit, text: text.into() }
    }

    pub(super) fn usage(text: impl Into<String>) -> Stop {
        Stop::new(Exit::Usage, text)
    }

    /// Stdout does not take what was asked for.
    pub(super) fn output(error: io::Error) -> Stop {
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::Fine } else { Exit::Usage };
        Stop::new(exit, format!("cannot write to standard output: {error}"))
    }

    /// What an answer that is not code 1 means for a command on `queue`.
    pub(super) fn refusal(queue: &str, answer: &Answer) -> Stop {
        let message = answer.message.as_str();
        let reason = answer.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        match message {
            "HTTPMQ_FULL" => Stop::new(Exit::Full, format!("the queue {queue} is full{reason}")),
            "HTTPMQ_STORAGE_FULL" => Stop::new(Exit::Full, format!("the server's disk is full{reason}")),
            "HTTPMQ_EMPTY" => Stop::new(Exit::Nothing, format!("the queue {queue} has no unread messages{reason}")),
            "HTTPMQ_NOT_EXISTS" => Stop::new(Exit::Nothing, format!("there is no queue {queue}{reason}")),
            "HTTPMQ_FAILED" => Stop::new(Exit::Nothing, format!("no unread message of {queue} is there{reason}")),
            _ => Stop::new(Exit::Refused, format!("the server refused it, {message} (code {}){reason}", answer.code)),
        }
    }

    /// What a problem of an answer below `/v1` means.
    pub(super) fn problem(code: &str, detail: &str) -> Stop {
        match code {
            "queue_not_found" => Stop::new(Exit::Nothing, detail),
            "storage_full" => Stop::new(Exit::Full, format!("the server's disk is full: {detail}")),
            _ => Stop::new(Exit::Refused, format!("the server refused it, {code}: {detail}")),
        }
    }

    /// What an `ERROR` of the TCP side means for a command on `queue`.
    pub(super) fn refused(queue: &str, reason: &str) -> Stop {
        match reason {
            "HTTPMQ_FULL" => Stop::new(Exit::Full, format!("the queue {queue} is full")),
            "HTTPMQ_STORAGE_FULL" => Stop::new(Exit::Full, "the server's disk is full"),
            _ => Stop::new(Exit::Refused, format!("the server refused it: {reason}")),
        }
    }
}

impl From<coremq::ClientError> for Stop {
    fn from(error: coremq::ClientError) -> Stop {
        let advice = match error {
            coremq::ClientError::NoConnection { .. } => {
                "\nIs the daemon running? `httpmq --data-dir DIR` starts one; --tcp or HTTPMQ_TCP name another address."
            }
            _ => "",
        };
        Stop::new(Exit::NoConnection, format!("{error}{advice}"))
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Stop {
        let advice = match error {
            ClientError::NoConnection { .. } => {
                "\nIs the daemon running? `httpmq --data-dir DIR` starts one; --server or HTTPMQ_URL name another address."
            }
            _ => "",
        };
        Stop::new(Exit::NoConnection, format!("{error}{advice}"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
