//! Publish and subscribe over TCP, end to end over loopback: `cargo bench --bench fanout -- --help`.
//!
//! Read in this order: [`round`] is one round, [`publisher`] and [`subscribers`] its two threads; [`fan`], [`beside`] and
//! [`stopped`] are what is measured with rounds.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table goes to standard output, the progress beside")]
#![allow(clippy::cast_possible_truncation, reason = "rates and counts, far from any limit")]

#[path = "../common/answer.rs"]
mod answer;
mod args;
mod beside;
mod check;
mod client;
#[path = "../common/connection.rs"]
mod connection;
mod daemon;
mod fake;
mod fan;
#[path = "../common/figures.rs"]
mod figures;
mod frame;
mod held;
mod incoming;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/processors.rs"]
mod processors;
mod publisher;
#[allow(dead_code, reason = "only the other benchmark has many queues and gets from them")]
#[path = "../common/queue.rs"]
mod queue;
mod round;
#[path = "../common/schedule.rs"]
mod schedule;
#[allow(dead_code, reason = "only the other benchmark has a floor")]
#[path = "../common/server.rs"]
mod server;
#[path = "../common/stop.rs"]
mod stop;
mod stopped;
mod subscribers;
mod syscalls;
mod table;
mod tally;

use std::{error::Error, fs, io, path::Path, process::ExitCode, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::{
    args::{Args, Work},
    machine::Machine,
};

/// The queue that is published to.
const QUEUE: &str = "fan";
/// What takes longer than this without any progress is given up: nothing in a benchmark may.
const PATIENCE: Duration = Duration::from_secs(10);
/// Beyond this share of the machine in other hands, a note says so.
const OTHERS_SHARE_MAX: f64 = 0.1;

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    size_bytes: usize,
    round_s: f64,
    rounds: usize,
    pace: String,
    /// Settings of the daemon, from `--env` and from the environment of the run.
    settings: Vec<String>,
    fan: Vec<fan::Case>,
    beside: Vec<beside::Case>,
    stopped: Vec<stopped::Case>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        // cargo bench says --bench; without it this is cargo test --all-targets, which wants a test.
        return check::run();
    }
    let args: Args = options::parse("fanout", &words);
    if let Some(addr) = args.hold {
        return held::run(addr, args.subscribers(&[1])[0]);
    }
    stop::listen()?;
    if args.self_check {
        return check::run();
    }
    allow_many_connections();
    measure(&args)
}

/// All that was asked for, and the report on it.
fn measure(args: &Args) -> Result<(), Box<dyn Error>> {
    let json = args.json.as_ref().map(fs::File::create).transpose()?;
    // In target/, because a temporary directory may be in memory, where a sync costs nothing.
    let dir = tempfile::Builder::new().prefix("bench-fanout-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::new(args, Machine::look(dir.path()));
    println!("{}", report.head());
    let failed = report.measure(args, dir.path())?;
    if !report.fan.is_empty() {
        println!("\n{}", table::fan(&report.fan)?);
    }
    if !report.beside.is_empty() {
        println!("\n{}", table::beside(&report.beside)?);
    }
    if !report.stopped.is_empty() {
        println!("\n{}", table::stopped(&report.stopped)?);
    }
    if let Some(json) = json {
        serde_json::to_writer_pretty(json, &report)?;
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of the measurements failed, see above").into()) }
}

/// Two open files for each subscriber, one here and one in the daemon, which inherits the limit.
fn allow_many_connections() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is not allowed, connecting says why it fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Report {
    fn new(args: &Args, machine: Machine) -> Self {
        let inherited = std::env::vars().filter(|(key, _)| key.starts_with("HTTPMQ_"));
        let settings = inherited.chain(args.env.iter().cloned()).map(|(key, value)| format!("{key}={value}")).collect();
        let (size_bytes, round_s, rounds) = (args.size, args.seconds.as_secs_f64(), args.rounds);
        let pace = match args.ahead {
            None => "as fast as TCP takes it (stopped: 1,000 messages ahead of the slowest reader at most)".to_owned(),
            Some(0) => "as fast as TCP takes it".to_owned(),
            Some(ahead) => format!("{ahead} messages ahead of the slowest subscriber at most"),
        };
        let (fan, beside, stopped) = (Vec::new(), Vec::new(), Vec::new());
        Self { machine, size_bytes, round_s, rounds, pace, settings, fan, beside, stopped }
    }

    /// Measures all that was asked for, and says how much of it failed: that leaves the rest worth reading.
    ///
    /// # Errors
    /// Ctrl-C.
    fn measure(&mut self, args: &Args, dir: &Path) -> io::Result<usize> {
        let mut failed = 0;
        for work in &args.work.0 {
            let default: &[usize] =
                if matches!(work, Work::Topic | Work::Queue) { &[1, 10, 100, 1000] } else { &[100] };
            for subscribers in args.subscribers(default) {
                let outcome = match work {
                    Work::Topic | Work::Queue => {
                        fan::measure(args, dir, *work, subscribers).map(|case| self.fan.push(case))
                    }
                    Work::Beside => beside::measure(args, dir, subscribers).map(|case| self.beside.push(case)),
                    Work::Stopped => stopped::measure(args, dir, subscribers).map(|case| self.stopped.push(case)),
                };
                stop::check()?;
                if let Err(error) = outcome {
                    println!("FAILED: {} with {subscribers} subscribers: {error}", work.name());
                    failed += 1;
                }
            }
        }
        Ok(failed)
    }

    /// What stands above the tables.
    fn head(&self) -> String {
        let Self { machine, size_bytes, round_s, rounds, pace, settings, .. } = self;
        let mut text =
            format!("{machine}\n{size_bytes} B messages, {rounds} rounds of {round_s} s, one publisher, pipelined, ");
        text += &format!("{pace}; load generator (two threads) and daemon share the cores");
        if machine.in_memory() {
            text += "\nWARNING: the store is in memory, so a sync costs nothing here";
        }
        if !settings.is_empty() {
            text += &format!("\nsettings: {}", settings.join(" "));
        }
        text
    }
}
