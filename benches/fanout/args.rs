//! What was typed behind `cargo bench --bench fanout --`.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use argh::FromArgs;

use crate::{
    frame::SIZE_MIN,
    incoming::BUFFER_BYTES,
    options::{List, rounds, seconds},
    publisher::Pace,
};

/// Measures publish/subscribe over TCP: one publisher, many subscribers of one queue.
#[derive(FromArgs, Debug)]
#[argh(note = "Lists are separated by commas: --work topic,queue --subscribers 1,100")]
pub(crate) struct Args {
    /// what to measure: topic, queue (a work queue instead of a topic), beside (HTTP puts beside publishing), stopped
    /// (some subscribers stop reading); default topic
    #[argh(option, default = "List(vec![Work::Topic])", arg_name = "list")]
    pub(crate) work: List<Work>,
    /// numbers of subscribers (default 1,10,100,1000; beside and stopped: 100)
    #[argh(option, arg_name = "list")]
    pub(crate) subscribers: Option<List<Subscribers>>,
    /// bytes of JSON in a message (default 200)
    #[argh(option, default = "200", arg_name = "bytes", from_str_fn(size))]
    pub(crate) size: usize,
    /// rounds of each kind (default 5)
    #[argh(option, default = "5", arg_name = "n", from_str_fn(rounds))]
    pub(crate) rounds: usize,
    /// seconds that are published in a round (default 3)
    #[argh(option, default = "Duration::from_secs(3)", arg_name = "s", from_str_fn(seconds))]
    pub(crate) seconds: Duration,
    /// messages per second where latency is taken (default: 20,000 deliveries per second, 1,000 messages at most); with
    /// --work beside: beside the puts (default 2,000)
    #[argh(option, arg_name = "n", from_str_fn(rate))]
    pub(crate) rate: Option<f64>,
    /// let the publisher be at most so many messages ahead of the slowest subscriber; 0: no limit, which is the default
    /// but with --work stopped (1,000)
    #[argh(option, arg_name = "n")]
    pub(crate) ahead: Option<u64>,
    /// count the system calls of the daemon in one more round, with strace
    #[argh(switch)]
    pub(crate) syscalls: bool,
    /// a setting for the daemon, as environment, such as HTTPMQ_STORE_SYNC=never; may be repeated
    #[argh(option, arg_name = "k=v", from_str_fn(setting))]
    pub(crate) env: Vec<(String, String)>,
    /// measure this httpmq instead of the one just built
    #[argh(option, arg_name = "file")]
    pub(crate) daemon: Option<PathBuf>,
    /// write all figures into this file
    #[argh(option, arg_name = "file")]
    pub(crate) json: Option<PathBuf>,
    /// test this harness instead of httpmq
    #[argh(switch)]
    pub(crate) self_check: bool,
    /// be the subscribers that are stopped, of the broker at this address
    #[argh(option, arg_name = "addr", hidden_help)]
    pub(crate) hold: Option<SocketAddr>,
}

/// Both ends of a connection are in this machine, and a listener of httpmq takes 10,000, the publisher's included.
const SUBSCRIBERS_MAX: usize = 9_000;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Topic,
    Queue,
    Beside,
    Stopped,
}

/// A number of subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscribers(pub(crate) usize);

impl Args {
    /// The numbers of subscribers, or `default` when none were given.
    pub(crate) fn subscribers(&self, default: &[usize]) -> Vec<usize> {
        self.subscribers
            .as_ref()
            .map_or_else(|| default.to_vec(), |list| list.0.iter().map(|number| number.0).collect())
    }

    /// As fast as it goes, within the limit that was given or else `default_ahead`.
    pub(crate) fn pace(&self, default_ahead: u64) -> Pace {
        match self.ahead.unwrap_or(default_ahead) {
            0 => Pace::Flood,
            ahead => Pace::Ahead(ahead),
        }
    }
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Queue => "queue",
            Self::Beside => "beside",
            Self::Stopped => "stopped",
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Topic, Self::Queue, Self::Beside, Self::Stopped];
        let found = all.into_iter().find(|work| work.name() == word);
        found.ok_or_else(|| format!("'{word}' is not one of topic, queue, beside, stopped"))
    }
}

impl FromStr for Subscribers {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let number = word.parse().ok().filter(|number| (1..=SUBSCRIBERS_MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("a number from 1 to {SUBSCRIBERS_MAX} is needed"))
    }
}

fn size(word: &str) -> Result<usize, String> {
    // A frame has to fit the buffer that all subscribers share.
    let (least, most) = (SIZE_MIN, BUFFER_BYTES / 2);
    let size = word.parse().ok().filter(|size| (least..=most).contains(size));
    size.ok_or_else(|| format!("a number from {least} to {most} is needed"))
}

fn rate(word: &str) -> Result<f64, String> {
    let rate = word.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a number above 0 is needed".to_owned())
}

fn setting(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((key.to_owned(), value.to_owned()))
}
