//! The commands, which talk to a running daemon (all but migrate and token): data goes to stdout, talk to stderr, the outcome into the exit code.

mod admin;
mod bench;
mod get;
mod health;
mod import;
mod lines;
mod migrate;
mod progress;
mod publish;
mod publish_lines;
mod purge;
mod put;
mod queues;
mod reload;
mod reset;
mod seam;
mod show;
mod status;
mod stop;
mod stream;
mod tail;
mod tally;
mod token;
mod view;

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime;

use crate::access::Secret;
use crate::args::{Command, DEFAULT_SERVER, DEFAULT_TCP, Token, TokenAction};
use crate::http::client::{Connection, Server};
use crate::pubsub::{client as coremq, frame};
use stop::{Exit, Stop};

/// How long to wait for an answer over TCP: as long as for one over HTTP.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs one command against the server that `--server`, else `HTTPMQ_URL`, else [`DEFAULT_SERVER`] names; `tail` and `publish`
/// talk to `--tcp`, else `HTTPMQ_TCP`, else [`DEFAULT_TCP`]. Over TLS, whom `--ca` or `HTTPMQ_CA` names is trusted, else whom this
/// machine trusts.
///
/// The exit code is 0 when it is done, 1 wrong usage or local trouble, 2 refused by the server, 3 queue empty or unknown,
/// 4 queue or disk full, 5 no connection or lost, 130 interrupted; whatever is not 0 is explained on stderr, except
/// that `get` is silent about an empty queue unless a person watches.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    // One thread: everything waits on sockets, and no line has to cross from one thread to another.
    let result = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(&command));
            // A read of stdin that waits for input cannot be called back; it must not hold up the end.
            runtime.shutdown_background();
            result
        }
        Err(e) => Err(Stop::new(Exit::Usage, format!("cannot start: {e}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if !stop.text.is_empty() {
                say(&stop.text);
            }
            stop.exit.into()
        }
    }
}

/// argh has no arguments that commands share; each has these under the same names.
macro_rules! server {
    ($args:expr) => {
        server($args.server.as_deref(), $args.ca.as_deref(), $args.token.as_deref())?
    };
}

/// The same for the TCP side.
macro_rules! tcp {
    ($args:expr) => {
        tcp($args.tcp.as_deref(), $args.ca.as_deref(), $args.token.as_deref())?
    };
}

async fn dispatch(command: &Command) -> Result<(), Stop> {
    match command {
        Command::Put(args) if args.lines => import::import(args, &server!(args)).await,
        Command::Put(args) => put::put(args, &server!(args)).await,
        Command::Get(args) => get::get(args, &server!(args)).await,
        Command::Status(args) if args.health => health::health(args).await,
        Command::Status(args) => status::status(args, &server!(args)).await,
        Command::View(args) => view::view(args, &server!(args)).await,
        Command::Reset(args) => reset::reset(args, &server!(args)).await,
        Command::Queues(args) => queues::queues(args, &server!(args)).await,
        Command::Purge(args) => purge::purge(args, &server!(args)).await,
        Command::Create(args) => admin::create(args, &server!(args)).await,
        Command::Set(args) => admin::set(args, &server!(args)).await,
        Command::Delete(args) => admin::delete(args, &server!(args)).await,
        Command::Publish(args) if args.lines => publish_lines::publish(args, &tcp!(args)).await,
        Command::Publish(args) => publish::publish(args, &tcp!(args)).await,
        // Nothing else is to be done meanwhile.
        Command::Migrate(args) => migrate::migrate(args),
        Command::Token(Token { action: TokenAction::New(args) }) => token::new(args),
        Command::Reload(args) => reload::reload(args),
        Command::Bench(args) => bench::bench(args, &server!(args), &tcp!(args)).await,
        Command::Tail(args) => tail::tail(args, &tcp!(args)).await,
        Command::Export(_) | Command::Import(_) | Command::Repair(_) | Command::Completions(_) | Command::Man(_) => {
            Err(Stop::usage("this is not for a daemon that runs"))
        }
    }
}

fn server(typed: Option<&str>, ca: Option<&Path>, token: Option<&str>) -> Result<Server, Stop> {
    let url = typed.map(str::to_owned).or_else(|| variable("HTTPMQ_URL"));
    let server = Server::parse(url.as_deref().unwrap_or(DEFAULT_SERVER), authorities(ca).as_deref());
    Ok(server.map_err(|e| Stop::usage(e.to_string()))?.with_token(secret(token)?.as_ref()))
}

fn tcp(typed: Option<&str>, ca: Option<&Path>, token: Option<&str>) -> Result<coremq::Server, Stop> {
    let address = typed.map(str::to_owned).or_else(|| variable("HTTPMQ_TCP"));
    let server = coremq::Server::parse(address.as_deref().unwrap_or(DEFAULT_TCP), authorities(ca).as_deref());
    Ok(server.map_err(|e| Stop::usage(e.to_string()))?.with_token(secret(token)?.as_ref()))
}

/// The file that says whom to trust over TLS.
fn authorities(typed: Option<&Path>) -> Option<PathBuf> {
    typed.map(Path::to_owned).or_else(|| variable("HTTPMQ_CA").map(PathBuf::from))
}

/// The token to show: what was typed, else what `HTTPMQ_TOKEN` has, either itself or as `@FILE`. It is in no message.
fn secret(typed: Option<&str>) -> Result<Option<Secret>, Stop> {
    let Some(said) = typed.map(str::to_owned).or_else(|| variable("HTTPMQ_TOKEN")) else { return Ok(None) };
    let text = match said.strip_prefix('@') {
        None => said,
        Some(path) => {
            fs::read_to_string(path).map_err(|e| Stop::usage(format!("cannot read the token from {path}: {e}")))?
        }
    };
    let secret = Secret::parse(text.trim());
    secret.map(Some).ok_or_else(|| Stop::usage("the token is empty, or has a character that no token has"))
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// A name with a space would end in the middle of its frame, and the message would go to another queue.
fn check_tcp_name(queue: &str) -> Result<(), Stop> {
    frame::check_name(queue.as_bytes()).map(|_| ()).map_err(|e| Stop::usage(format!("bad queue name `{queue}`: {e}")))
}

async fn connect(server: &Server) -> Result<Connection, Stop> {
    Connection::open(server).await.map_err(Stop::from)
}

/// One line on stderr. That nobody reads it is no reason to fail.
fn say(text: &str) {
    writeln!(io::stderr(), "httpmq: {text}").ok();
}

/// One line on stderr when a person watches: scripts stay quiet.
fn remark(text: &str) {
    if io::stderr().is_terminal() {
        say(text);
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
