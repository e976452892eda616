//! What was typed behind `cargo bench --bench http --`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use argh::FromArgs;

use crate::{
    neighbours::Neighbour,
    options::{List, rounds, seconds},
    queue::Work,
};

/// Measures httpmq over loopback beside a bare hyper server, in alternating rounds.
#[derive(FromArgs, Debug)]
#[argh(
    note = "Lists are separated by commas: --work put,get --connections 1,64 --sync always,interval --engines sled,fjall"
)]
pub(crate) struct Args {
    /// what to ask for: put, get (default both)
    #[argh(option, default = "List(vec![Work::Put, Work::Get])", arg_name = "list")]
    pub(crate) work: List<Work>,
    /// when the store syncs: always, interval, never (default always)
    #[argh(option, default = "List(vec![Sync::Always])", arg_name = "list")]
    pub(crate) sync: List<Sync>,
    /// engines of httpmq, measured side by side: sled, fjall, memory (default sled)
    #[argh(option, default = "List(vec![\"sled\".to_owned()])", arg_name = "list")]
    pub(crate) engines: List<String>,
    /// numbers of connections (default 1,64,256)
    #[argh(option, default = "List([1, 64, 256].map(Connections).to_vec())", arg_name = "list")]
    pub(crate) connections: List<Connections>,
    /// bytes of text in a message (default 200)
    #[argh(option, default = "200", arg_name = "bytes")]
    pub(crate) size: usize,
    /// after each load also half of the rate that each server reached, at fixed times; latency counts from those
    #[argh(switch)]
    pub(crate) half: bool,
    /// beside the floor one that has what it must not lose on the disk before it answers, and does nothing else with it
    #[argh(switch)]
    pub(crate) synced_floor: bool,
    /// other queues beside them, for puts, if they are installed: redis, beanstalkd
    #[argh(option, arg_name = "list")]
    pub(crate) neighbours: Option<List<Neighbour>>,
    /// instead of the floor: one queue beside so many, which are touched at random
    #[argh(option, arg_name = "n", from_str_fn(several))]
    pub(crate) queues: Option<usize>,
    /// instead of the floor: an empty queue beside one in which so many messages wait, and how long a start takes with those
    #[argh(option, arg_name = "n")]
    pub(crate) backlog: Option<u64>,
    /// rounds on each server (default 5)
    #[argh(option, default = "5", arg_name = "n", from_str_fn(rounds))]
    pub(crate) rounds: usize,
    /// seconds that a round lasts (default 3)
    #[argh(option, default = "Duration::from_secs(3)", arg_name = "s", from_str_fn(seconds))]
    pub(crate) seconds: Duration,
    /// a setting for the daemon, as environment, such as HTTPMQ_LOG_LEVEL=off; may be repeated
    #[argh(option, arg_name = "k=v", from_str_fn(setting))]
    pub(crate) env: Vec<(String, String)>,
    /// measure this httpmq instead of the one just built
    #[argh(option, arg_name = "file")]
    pub(crate) daemon: Option<PathBuf>,
    /// write all figures into this file
    #[argh(option, arg_name = "file")]
    pub(crate) json: Option<PathBuf>,
    /// draw what --json kept, one report or several, as SVG into this directory, and measure nothing
    #[argh(option, arg_name = "dir")]
    pub(crate) plot: Option<PathBuf>,
    /// with --plot: the kept reports; of the same figure the last one counts
    #[argh(positional)]
    pub(crate) reports: Vec<PathBuf>,
    /// only serve as the floor, on this port of loopback; 0 picks a free one
    #[argh(option, arg_name = "port")]
    pub(crate) floor: Option<u16>,
    /// with --floor: on one thread
    #[argh(switch)]
    pub(crate) single: bool,
    /// with --floor: as the synced one, with its file in this directory
    #[argh(option, arg_name = "dir")]
    pub(crate) synced: Option<PathBuf>,
    /// test this harness instead of httpmq
    #[argh(switch)]
    pub(crate) self_check: bool,
}

/// Both ends of a connection are in this machine, and a listener of httpmq takes 10,000.
const CONNECTIONS_MAX: usize = 10_000;

/// How the daemon is told when to sync, and which engine to use.
pub(crate) const SYNC_VARIABLE: &str = "HTTPMQ_STORE_SYNC";
pub(crate) const ENGINE_VARIABLE: &str = "HTTPMQ_STORE_ENGINE";

/// When the store syncs, as its settings name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    Always,
    Interval,
    Never,
}

/// A number of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections(pub(crate) usize);

impl Args {
    /// What cannot go together, in words.
    ///
    /// # Errors
    /// What was typed has no meaning.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match (self.queues, self.backlog, &self.plot, self.reports.is_empty()) {
            (Some(_), Some(_), ..) => Err("--queues and --backlog are measured one after the other"),
            (Some(_), ..) | (_, Some(_), ..) if self.synced_floor || self.neighbours.is_some() => {
                Err("--queues and --backlog are measured beside the daemon itself and nothing else")
            }
            (.., None, false) => Err("a report is for --plot"),
            (.., Some(_), true) => Err("--plot needs a report, which --json keeps"),
            _ => Ok(()),
        }
    }

    /// Each work on each number of connections.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (Work, usize)> {
        self.work.0.iter().flat_map(|work| self.connections.0.iter().map(|connections| (*work, connections.0)))
    }
}

impl Sync {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::Never => "never",
        }
    }
}

impl FromStr for Sync {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Always, Self::Interval, Self::Never];
        let found = all.into_iter().find(|sync| sync.name() == word);
        found.ok_or_else(|| format!("'{word}' is not one of always, interval, never"))
    }
}

impl FromStr for Connections {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let number = word.parse().ok().filter(|number| (1..=CONNECTIONS_MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("a number from 1 to {CONNECTIONS_MAX} is needed"))
    }
}

fn setting(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or("NAME=VALUE is needed")?;
    match key {
        SYNC_VARIABLE => return Err("--sync sets this one".to_owned()),
        ENGINE_VARIABLE => return Err("--engines sets this one".to_owned()),
        _ => {}
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn several(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|number| *number > 1).ok_or_else(|| "a number above 1 is needed".to_owned())
}
