//! What was typed: the command line as argh reads it, before any meaning is given to it.
//!
//! [`crate::config`] turns the daemon's part into a checked [`crate::config::Config`]; [`crate::client`] runs the rest.

mod admin;
mod bench;
mod completions;
mod live;
mod man;
mod offline;
mod token;

use std::path::PathBuf;

use argh::{ArgsInfo, EarlyExit, FromArgs};

pub use admin::{Create, Delete, Given, Purge, Queues, Reset, Set};
pub use bench::{Bench, Work};
pub use completions::{Completions, Shell};
pub use live::{Publish, Tail};
pub use man::{Man, man_page};
pub use offline::{Export, Import, Migrate, Repair};
pub use token::{Token, TokenAction, TokenNew};

/// Runs a durable message queue over HTTP and TCP; with a command, talks to one that runs, or works on the messages of one that
/// does not (export, import, migrate, repair).
#[derive(FromArgs, ArgsInfo, Debug, Default)]
#[argh(
    help_triggers("-h", "--help", "help"),
    note = "Without a command {command_name} runs the daemon.

Where a setting comes from, the later one wins:
  built-in default < profile < httpmq.toml < HTTPMQ_* environment < flag.
Environment: HTTPMQ_HOST, HTTPMQ_PORT, HTTPMQ_TCP_PORT, HTTPMQ_DATA_DIR,
HTTPMQ_CONFIG, HTTPMQ_PROFILE, and HTTPMQ_SECTION_KEY for every key of
httpmq.toml (HTTPMQ_STORE_SYNC=interval); HTTPMQ_URL, HTTPMQ_TCP, HTTPMQ_TOKEN and HTTPMQ_CA for the
commands, to which https:// and tls:// mean TLS.",
    example = "Start the daemon, put a message and get it back:
  {command_name} --data-dir ./mail &
  {command_name} put jobs 'resize 17.png'
  {command_name} get jobs",
    error_code(0, "all right; the daemon: stopped when asked to"),
    error_code(1, "wrong usage"),
    error_code(2, "refused: a wrong setting, a data directory in use or damaged, a request the server refused"),
    error_code(3, "the queue is empty or unknown"),
    error_code(4, "the queue or the disk is full"),
    error_code(5, "no connection to the server"),
    error_code(6, "the daemon stopped because a write to its disk failed or took too long"),
    error_code(7, "repair is done, but messages are lost; stderr lists them"),
    error_code(130, "put --lines, publish --lines or bench was interrupted")
)]
pub struct Args {
    /// what to do; nothing: run the daemon
    #[argh(subcommand)]
    pub command: Option<Command>,

    /// daemon: address to listen on (default 127.0.0.1)
    #[argh(option, arg_name = "addr")]
    pub host: Option<String>,
    /// daemon: port for HTTP; 0 picks a free one (default 8200)
    #[argh(option, arg_name = "port")]
    pub port: Option<u16>,
    /// daemon: port for TCP publish and subscribe; 0 picks a free one (default 6747)
    #[argh(option, arg_name = "port")]
    pub tcp_port: Option<u16>,
    /// daemon: where the messages are kept (default ./httpmq-data)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
    /// daemon: the configuration file (default ./httpmq.toml when there is one)
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,
    /// daemon: defaults for a purpose: develop, product or test (default develop)
    #[argh(option, arg_name = "name")]
    pub profile: Option<String>,
    /// daemon: go to the background; writes httpmq.pid and httpmq.log into the data directory
    #[argh(switch)]
    pub daemon: bool,
    /// check the configuration, print the settings in force and exit
    #[argh(switch)]
    pub check: bool,
    /// print the version and exit
    #[argh(switch)]
    pub version: bool,
}

/// The commands: most talk to a running daemon, some work on a data directory that no daemon uses.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Command {
    /// Write all messages to stdout.
    Export(Export),
    /// Make a data directory.
    Import(Import),
    /// Save what a damaged data directory has.
    Repair(Repair),
    /// Put messages.
    Put(Put),
    /// Get messages.
    Get(Get),
    /// Show a queue's positions.
    Status(Status),
    /// Look at an unread message.
    View(View),
    /// Forget a queue's messages and positions.
    Reset(Reset),
    /// List queues.
    Queues(Queues),
    /// Forget a queue's messages.
    Purge(Purge),
    /// Make a queue.
    Create(Create),
    /// Change a queue's settings.
    Set(Set),
    /// Delete a queue.
    Delete(Delete),
    /// Publish messages over TCP.
    Publish(Publish),
    /// Print messages as they come in.
    Tail(Tail),
    /// Have a daemon read its settings again.
    Reload(Reload),
    /// Move all messages to another engine.
    Migrate(Migrate),
    /// Measure a daemon that runs.
    Bench(Bench),
    /// Teach a shell to complete.
    Completions(Completions),
    /// Print the manual page.
    Man(Man),
    /// Make a token.
    Token(Token),
}

/// The address that the commands talk to when neither `--server` nor `HTTPMQ_URL` says otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8200";

/// The address that `publish` and `tail` talk to when neither `--tcp` nor `HTTPMQ_TCP` says otherwise.
pub const DEFAULT_TCP: &str = "127.0.0.1:6747";

/// Put one message, or one for each line of standard input.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "put",
    note = "DATA goes in as a JSON string, whatever it looks like; with --json it is JSON itself.
A put that was answered is on the server's disk. With --lines the messages are stored in the order
of the lines; when something fails, the lines that were stored are the first ones. Stdout gets just
their number, n, whether all went well or not, so that a script can go on behind them:
tail -n +$((n + 1)) FILE. Lines that were sent and not answered (stderr says how many) may come twice then.",
    help_triggers("-h", "--help")
)]
pub struct Put {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// data is JSON as it stands, not text to be made a JSON string
    #[argh(switch)]
    pub json: bool,
    /// each line of standard input is one message
    #[argh(switch)]
    pub lines: bool,
    /// with --lines: how many requests are under way at a time (default 64, at most 1000)
    #[argh(option, default = "64")]
    pub requests: usize,
    /// the queue
    #[argh(positional, from_str_fn(dash))]
    pub queue: String,
    /// the message; - or nothing: all of standard input
    #[argh(positional, from_str_fn(dash))]
    pub data: Option<String>,
}

/// Get the next message, or several.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "get",
    note = "A message that is a string is printed as its text, any other as its JSON; --json prints both as JSON.
One message a line: line breaks between JSON tokens become spaces. Exit code 3 when there was none.",
    help_triggers("-h", "--help")
)]
pub struct Get {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// print strings as JSON too, so that a line break inside a message stays visible
    #[argh(switch)]
    pub json: bool,
    /// how many messages at most (default 1)
    #[argh(option, short = 'n', default = "1")]
    pub number: u64,
    /// all messages that are waiting, whatever -n says
    #[argh(switch)]
    pub all: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
}

/// Show a queue's positions and how many messages are unread, or whether the daemon is ready.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "status",
    note = "With --health it asks /readyz and needs no queue: exit code 0 and \"ready\" when puts are taken, 1 otherwise, with the
reason on stderr. Where neither --server nor HTTPMQ_URL says where the daemon is, its own settings do (httpmq.toml,
HTTPMQ_*): so it is the health check of a container.",
    help_triggers("-h", "--help")
)]
pub struct Status {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// print the server's JSON
    #[argh(switch)]
    pub json: bool,
    /// whether the daemon is ready, instead of a queue's positions
    #[argh(switch)]
    pub health: bool,
    /// the queue
    #[argh(positional)]
    pub queue: Option<String>,
}

/// Look at the unread message at a position without taking it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "view", help_triggers("-h", "--help"))]
pub struct View {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// for https: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// print a string as JSON too
    #[argh(switch)]
    pub json: bool,
    /// the queue
    #[argh(positional)]
    pub queue: String,
    /// the position, as put and status show it
    #[argh(positional)]
    pub position: u64,
}

/// Have a daemon on this machine read its settings again (SIGHUP).
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "reload",
    note = "The settings come from where they came from when the daemon was started. They are checked before; when they are wrong,
the daemon is left alone (exit code 2). What it can change without a restart it does: [log], [queue_defaults], [queues], [auth]
and the files of [tls]. Its log says what was changed, and what waits for a restart. The daemon is found by its data directory.",
    help_triggers("-h", "--help")
)]
pub struct Reload {
    /// the daemon's data directory (default: as for the daemon)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
    /// the daemon's configuration file (default: as for the daemon)
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,
}

impl Args {
    /// The command, if there is one. What stands in front of `migrate` or `reload` about the daemon is for it too.
    pub fn take_command(&mut self) -> Option<Command> {
        let mut command = self.command.take();
        let (data_dir, config) = match &mut command {
            Some(Command::Migrate(Migrate { data_dir, config, .. })) => (data_dir, config),
            Some(Command::Reload(Reload { data_dir, config })) => (data_dir, config),
            _ => return command,
        };
        *data_dir = data_dir.take().or_else(|| self.data_dir.take());
        *config = config.take().or_else(|| self.config.take());
        command
    }
}

/// Parses a command line, `words` being what stands after the program's name.
///
/// # Errors
/// An [`EarlyExit`] holds the text to print: help (`status` is `Ok`) or what is wrong with the words.
pub fn parse(program: &str, words: &[String]) -> Result<Args, EarlyExit> {
    let words = for_argh(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&[program], &words)
}

/// Stands for a lone `-` among the words of put and publish, which argh takes for an option. No word that was typed has a NUL in it.
const DASH: &str = "\0";

/// The words in the forms that argh knows: `--opt=value` becomes `--opt value`, and such a `-` becomes [`DASH`]. Nothing
/// behind `--` is touched.
fn for_argh(words: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len() + 1);
    let (mut options, mut put) = (true, false);
    for word in words {
        options &= word != "--";
        put |= word == "put" || word == "publish";
        match word.split_once('=') {
            Some((name, value)) if options && is_long_option(name) => out.extend([name.to_owned(), value.to_owned()]),
            _ if options && put && word == "-" => out.push(DASH.to_owned()),
            _ => out.push(word.clone()),
        }
    }
    out
}

fn dash(word: &str) -> Result<String, String> {
    Ok(if word == DASH { "-" } else { word }.to_owned())
}

fn is_long_option(name: &str) -> bool {
    name.strip_prefix("--")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)] // A failed test may panic.
mod tests {
    use super::*;

    fn typed(line: &str) -> Args {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse("httpmq", &words).expect("parses")
    }

    #[test]
    fn an_option_takes_its_value_behind_a_space_or_an_equals_sign() {
        for line in ["--port 9000 --data-dir /x=y", "--port=9000 --data-dir=/x=y"] {
            let args = typed(line);
            assert_eq!((args.port, args.data_dir), (Some(9000), Some(PathBuf::from("/x=y"))), "{line}");
        }
    }

    #[test]
    fn data_that_looks_like_something_else_stays_whole() {
        for (line, data) in [
            ("put q a=b", "a=b"),
            ("put q -- --a=b", "--a=b"),
            ("put q - --json", "-"),
            ("put q -- -", "-"),
            ("put q help", "help"),
        ] {
            let Some(Command::Put(put)) = typed(line).command else { panic!("{line} is a put") };
            assert_eq!(put.data.as_deref(), Some(data), "{line}");
        }
    }

    #[test]
    fn migrate_gets_the_place_of_the_messages_from_either_side() {
        for line in ["--data-dir /x --config /y migrate --to fjall", "migrate --to=fjall --data-dir=/x --config=/y"] {
            let Some(Command::Migrate(migrate)) = typed(line).take_command() else { panic!("{line} is a migrate") };
            let (dir, config) = (migrate.data_dir.expect("a directory"), migrate.config.expect("a file"));
            assert_eq!((migrate.to.as_str(), dir, config), ("fjall", "/x".into(), "/y".into()), "{line}");
        }
    }

    #[test]
    fn a_wrong_word_is_an_error_and_help_is_not() {
        assert!(parse("httpmq", &["--prot".into()]).expect_err("unknown option").status.is_err());
        let help = parse("httpmq", &["--help".into()]).expect_err("help exits");
        assert!(help.status.is_ok() && help.output.contains("environment < flag"), "{}", help.output);
    }
}
