//! One kind of fault on one engine: its settings, its numbers at random, and what it gives.

use std::fmt;
use std::time::Duration;

use crate::args::Args;
use crate::common::{Daemon, Ended, Random, Setup, Verdict};

/// What an operator is promised about a start.
pub(crate) const READY: Duration = Duration::from_secs(1);
/// What a start may take on a machine of which nothing is known yet.
const FIRST_START: Duration = Duration::from_millis(50);
/// No request may take longer, whatever happens.
pub(crate) const HANG: Duration = Duration::from_secs(5);

/// The settings.
pub(crate) struct Round<'a> {
    pub(crate) args: &'a Args,
    engine: &'a str,
    seed: u64,
    pub(crate) random: Random,
}

/// What a kind of fault gives.
pub(crate) enum Outcome {
    /// What was seen.
    Passed(String),
    /// What was seen, and what should not have been.
    Failed(String),
    /// Why it was not tried.
    Skipped(String),
}

/// The times of all starts.
#[derive(Debug, Default)]
pub(crate) struct Starts(Vec<(Duration, f64)>);

/// What is seen while one kind of fault is tried again and again.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    pub(crate) starts: Starts,
    /// Everything that should not be, beside what the verdict has.
    pub(crate) wrong: Vec<String>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(args: &'a Args, engine: &'a str, seed: u64, name: &str) -> Round<'a> {
        let seed = seed ^ u64::from(crc32fast::hash(name.as_bytes()));
        Round { args, engine, seed, random: Random::new(seed) }
    }

    /// A source of numbers for the fault with that number, so that it can be tried alone.
    pub(crate) fn random_of(&self, number: usize) -> Random {
        Random::new(self.seed.wrapping_mul(31).wrapping_add(number as u64)).fork()
    }

    /// The settings that every daemon gets.
    pub(crate) fn setup(&self, setup: &mut Setup) {
        setup.set("STORE_ENGINE", self.engine).set("STORE_LOG_BYTES", self.args.log_bytes);
    }

    /// A directory in which no daemon was yet.
    pub(crate) fn never_started(&self, more: impl FnOnce(&mut Setup)) -> Ended {
        Ended::never_started(|setup| {
            self.setup(setup);
            more(setup);
        })
    }

    pub(crate) fn engine(&self) -> &str {
        self.engine
    }
}

impl Seen {
    /// Starts the daemon again. One that does not start is something wrong.
    pub(crate) fn start(&mut self, ended: Ended, after: &str) -> Option<Daemon> {
        match ended.try_start_again() {
            Ok(daemon) => {
                self.starts.note(&daemon);
                Some(daemon)
            }
            Err(ended) => {
                self.wrong.push(format!("does not start after {after}: {}\n{}", ended.status, ended.lines.join("\n")));
                None
            }
        }
    }

    /// Passed, if nothing was lost, doubled, reordered or invented, and nothing else was wrong.
    pub(crate) fn outcome(mut self, what: &str) -> Outcome {
        self.starts.check(&mut self.wrong);
        let text = format!("   {what}: {}\n   {}", self.verdict, self.starts);
        match self.wrong.is_empty() && self.verdict.is_clean() {
            true => Outcome::Passed(text),
            false => Outcome::Failed(format!("{text}\n{}", self.wrong.join("\n"))),
        }
    }
}

impl Starts {
    pub(crate) fn note(&mut self, daemon: &Daemon) {
        self.0.push((daemon.ready_after, daemon.process().cpu_s()));
    }

    /// A moment of a start, at random.
    pub(crate) fn moment(&self, random: &mut Random) -> Duration {
        let longest = self.0.iter().map(|(time, _)| *time).max().unwrap_or(FIRST_START);
        Duration::from_micros(random.below(u64::try_from(longest.as_micros()).unwrap()))
    }

    /// Others use this machine too: one start may take its time by the clock, but none may need more of a processor, nor may it be
    /// the rule.
    fn check(&mut self, wrong: &mut Vec<String>) {
        self.0.sort_unstable_by_key(|(time, _)| *time);
        let Some((middle, _)) = self.0.get(self.0.len() / 2) else { return };
        let cpu_s = self.0.iter().map(|(_, cpu_s)| *cpu_s).fold(0.0, f64::max);
        if *middle > READY || cpu_s > READY.as_secs_f64() {
            wrong.push(format!("a start takes too long: {self}"));
        }
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = || self.0.iter().map(|(time, _)| *time);
        let (Some(last), number) = (times().max(), self.0.len()) else { return f.write_str("no starts") };
        let mut sorted: Vec<_> = times().collect();
        sorted.sort_unstable();
        let cpu_s = self.0.iter().map(|(_, cpu_s)| *cpu_s).fold(0.0, f64::max);
        let middle = sorted[number / 2];
        write!(f, "{number} starts: ready after {middle:.0?}, at most {last:.0?}, at most {cpu_s:.2} s of a processor")
    }
}
