//! The commands that work on a data directory while no daemon uses it: `export`, `import` and `repair`.
//!
//! In reading order: [`mod@line`] (the lines of an export), [`export`], [`import`], [`draft`] (a data directory in the making), then
//! [`repair`], with [`scan`] (records of an engine that cannot read all of them), [`survey`] (what of a queue is whole) and
//! [`salvage`] (which goes into a new engine).

mod draft;
mod error;
mod export;
mod import;
mod line;
mod repair;
mod salvage;
mod scan;
mod survey;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use self::error::OfflineError;
use crate::args::Command;
use crate::config::Config;
use crate::store::local::QueueSettings;

/// The exit code of a repair that is done and lists messages that are lost.
const MESSAGES_ARE_LOST: u8 = 7;

/// How much of standard input is read, and of standard output written, with one system call.
const BUFFER_BYTES: usize = 256 * 1024;

/// The data directory that a command names; `None` when it leaves that to the settings.
pub fn data_dir(command: &Command) -> Option<&Path> {
    match command {
        Command::Export(args) => args.data_dir.as_deref(),
        Command::Import(args) => args.data_dir.as_deref(),
        Command::Repair(args) => args.data_dir.as_deref(),
        _ => None,
    }
}

/// Runs one of the commands on the data directory of `config`. Data goes to stdout, talk to stderr, the outcome into the exit code.
#[must_use]
pub fn run(command: &Command, config: &Config) -> ExitCode {
    match dispatch(command, config) {
        Ok(code) => code,
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: &Command, config: &Config) -> Result<ExitCode, OfflineError> {
    let place = &*config.store.data_dir;
    match command {
        Command::Export(args) => {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
            let done = export::export(place, &args.queue, config, &mut out)?;
            say(&format!("exported {done} from {}", place.display()));
        }
        Command::Import(_) => {
            let mut lines = io::BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
            let imported = import::import(place, &mut lines, config)?;
            imported.other_settings.iter().for_each(|toml| say(toml));
            say(&format!("imported {} into {}", imported.count, place.display()));
        }
        _ => {
            let outcome = repair::repair(place, config)?;
            outcome.remarks.iter().for_each(|remark| say(remark));
            // What is done is done, whether anybody reads of it or not.
            let _ = writeln!(io::stdout(), "{}", outcome.summary);
            if outcome.is_lossy {
                return Ok(ExitCode::from(MESSAGES_ARE_LOST));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How much a command has dealt with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    queues: u64,
    messages: u64,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |number| if number == 1 { "" } else { "s" };
        let Count { queues, messages } = *self;
        write!(f, "{queues} queue{} with {messages} message{}", plural(queues), plural(messages))
    }
}

fn settings(config: &Config) -> QueueSettings {
    QueueSettings { defaults: config.queue_defaults, named: config.queues.clone() }
}

/// A line on stderr. That nobody reads it is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "httpmq: {text}");
}

#[cfg(test)]
mod tests;
