//! The commands that talk to a running daemon.

use std::process::ExitCode;

use crate::args::Command;

/// Runs one command; the exit code is the one that the help lists.
pub fn run(command: Command) -> ExitCode {
    let _ = command;
    ExitCode::FAILURE
}
