//! What was typed behind `httpmq bench`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

/// Measure a daemon that runs: how much it does in a second, and how long each answer takes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "bench",
    note = "WORK is one of
  put      put messages
  get      put messages, as many as will be needed, and measure how they are got
  put-get  put one, get one, in turns, on each connection
  pubsub   publish over TCP; measured is each delivery, from the publish to the subscriber
It uses queues of its own, NAME/queue and NAME/topic, and touches no other. They are reset before and after; one that
holds messages of somebody else is refused. Messages are strings of --size bytes.
Each connection sends its next request when its last one is answered (--pipeline 1), so a slow server is asked less
often. With --rate requests come at fixed times instead, and each latency counts from the time when it should have
been sent, whether there was a free connection or not: so what a slow moment holds up is seen.
Every answer and every message is checked. The first line says what is measured, the rest is the result; --json makes
one JSON object of both. Exit code 0: all was as it should be; 2: wrong answers or messages; 4: queue or disk full;
5: connections failed; 130: interrupted. Stderr says more.
Run it on another machine than the daemon, or remember that both share the processors.",
    example = "  {command_name} put
  {command_name} put --rate 20000 --duration 30
  {command_name} pubsub --subscribers 100 --pipeline 1000",
    help_triggers("-h", "--help")
)]
pub struct Bench {
    /// server address (default $HTTPMQ_URL, else http://127.0.0.1:8200)
    #[argh(option, arg_name = "url")]
    pub server: Option<String>,
    /// over TLS: whose certificates to trust, a PEM file (default $HTTPMQ_CA, else as this machine)
    #[argh(option, arg_name = "file")]
    pub ca: Option<PathBuf>,
    /// for pubsub: TCP address, tls://host:port for TLS (default $HTTPMQ_TCP, else 127.0.0.1:6747)
    #[argh(option, arg_name = "host:port")]
    pub tcp: Option<String>,
    /// token to show, or @FILE that has it (default $HTTPMQ_TOKEN, which no list of processes shows)
    #[argh(option, arg_name = "token")]
    pub token: Option<String>,
    /// connections that send (default 64, for pubsub 1)
    #[argh(option, arg_name = "n")]
    pub connections: Option<usize>,
    /// bytes of text in a message (default 200)
    #[argh(option, default = "200", arg_name = "bytes")]
    pub size: usize,
    /// seconds to send (default 10)
    #[argh(option, arg_name = "s", from_str_fn(seconds))]
    pub duration: Option<Duration>,
    /// instead of --duration: how many requests
    #[argh(option, arg_name = "n")]
    pub count: Option<u64>,
    /// requests under way on each connection (default 1)
    #[argh(option, default = "1", arg_name = "n")]
    pub pipeline: usize,
    /// requests per second, at fixed times (default: as fast as they are answered)
    #[argh(option, arg_name = "n")]
    pub rate: Option<f64>,
    /// for pubsub: connections that subscribe (default 10)
    #[argh(option, default = "10", arg_name = "n")]
    pub subscribers: usize,
    /// what the names of the queues begin with (default httpmq-bench)
    #[argh(option, default = "String::from(\"httpmq-bench\")", arg_name = "name")]
    pub queue: String,
    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
    /// put, get, put-get or pubsub
    #[argh(positional)]
    pub work: Work,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Puts.
    Put,
    /// Gets of messages that were put before.
    Get,
    /// Puts and gets in turns.
    PutGet,
    /// Publishes, and their deliveries to subscribers.
    PubSub,
}

impl Work {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Work::Put => "put",
            Work::Get => "get",
            Work::PutGet => "put-get",
            Work::PubSub => "pubsub",
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(word: &str) -> Result<Work, String> {
        let all = [Work::Put, Work::Get, Work::PutGet, Work::PubSub];
        let found = all.into_iter().find(|work| work.name() == word);
        found.ok_or_else(|| format!("'{word}' is not one of put, get, put-get, pubsub"))
    }
}

/// The longest run: times in messages have ten digits of microseconds.
const MAX_SECONDS: f64 = 3600.0;

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse().ok().filter(|seconds: &f64| *seconds > 0.0 && *seconds <= MAX_SECONDS);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("seconds, over 0 and up to {MAX_SECONDS}, are needed"))
}
