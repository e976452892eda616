//! The program: what was typed decides what runs, and what it returns becomes the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use httpmq::args::Command;
use httpmq::{args, client, config, daemon, logging, notify, offline, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WRONG_USAGE: u8 = 1;
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect();
    let words = match words {
        Ok(words) => words,
        Err(word) => return fail(format!("{word:?} is not UTF-8 text"), WRONG_USAGE),
    };
    let mut args = match args::parse("httpmq", &words) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => return print(&exit.output),
        Err(exit) => {
            return fail(format!("{}\nhttpmq --help says what there is.", exit.output.trim_end()), WRONG_USAGE);
        }
    };
    if args.version {
        return print(concat!("httpmq ", env!("CARGO_PKG_VERSION")));
    }
    match args.command {
        Some(Command::Export(_) | Command::Import(_) | Command::Repair(_)) => run_offline(args),
        Some(Command::Completions(completions)) => print(&completions.script()),
        Some(Command::Man(_)) => print(&args::man_page()),
        Some(_) => args.take_command().map_or(ExitCode::SUCCESS, client::run),
        None => run(args),
    }
}

/// The daemon, or what is to be done instead of it.
fn run(args: args::Args) -> ExitCode {
    let loaded = match config::load(&args, config::variables()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(error, REFUSED),
    };
    if args.check {
        for warning in &loaded.warnings {
            let _ = writeln!(io::stderr(), "httpmq: {warning}");
        }
        let is_fine = server::check(&loaded.config);
        return is_fine.map_or_else(|error| fail(error, REFUSED), |()| print(&loaded.to_toml()));
    }
    if args.daemon {
        return daemon::detach(&loaded.config.store.data_dir).unwrap_or_else(|error| fail(error, REFUSED));
    }
    if let Err(error) = daemon::leave_terminal() {
        return fail(error, REFUSED);
    }
    logging::start(&loaded.config.log);
    for warning in &loaded.warnings {
        log::warn!(target: logging::LIFE, "{warning}");
    }
    let ended = server::run(loaded, Box::new(move || config::load(&args, config::variables())));
    log::logger().flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!(target: logging::LIFE, "{error}");
            notify::stopping(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A command on a data directory, with the settings of the daemon that it belongs to.
fn run_offline(mut args: args::Args) -> ExitCode {
    let Some(command) = args.command.take() else { return ExitCode::SUCCESS };
    if let Some(dir) = offline::data_dir(&command) {
        args.data_dir = Some(dir.to_owned());
    }
    match config::load(&args, config::variables()) {
        Ok(loaded) => offline::run(&command, &loaded.config),
        Err(error) => fail(error, REFUSED),
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error, REFUSED),
    }
}

fn fail(why: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "httpmq: {why}");
    ExitCode::from(code)
}
