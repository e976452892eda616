//! Some subscribers stop reading: what that costs the publisher, the others and the daemon.

use std::{
    error::Error,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    PATIENCE, QUEUE,
    args::Args,
    client::Client,
    daemon::Daemon,
    figures::{median, thousands},
    held::Held,
    processors,
    round::{Outcome, Plan},
};

/// One in so many subscribers is stopped.
const STOPPED_SHARE: usize = 10;
/// How far the publisher may be ahead of those that read: little, so that none of them is dropped.
const AHEAD: u64 = 1_000;
/// How often the daemon is asked how many connections it has; this is how exact the time of a drop is.
const LOOK: Duration = Duration::from_millis(10);

/// Publishing with and without some subscribers that are stopped, medians of alternating rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) subscribers: usize,
    pub(crate) stopped: usize,
    /// Publish rates.
    pub(crate) reading_per_s: f64,
    pub(crate) stopped_per_s: f64,
    /// One minus their ratio.
    pub(crate) loss: f64,
    /// Greatest growth of the daemon's memory in a round.
    pub(crate) reading_growth_mib: Option<f64>,
    pub(crate) stopped_growth_mib: Option<f64>,
    /// Of the rounds with stopped ones: how many of those the daemon dropped, in the worst round; and how long after the
    /// first publish it had dropped them all, median and most. Nothing where it did not.
    pub(crate) dropped_least: usize,
    pub(crate) dropped_after_s: Option<f64>,
    pub(crate) dropped_after_s_max: Option<f64>,
    /// Others that were dropped, in all rounds.
    pub(crate) others_dropped: usize,
    pub(crate) rounds: Vec<Round>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) stopped: bool,
    pub(crate) published: u64,
    pub(crate) published_per_s: f64,
    pub(crate) deliveries: u64,
    pub(crate) growth_mib: Option<f64>,
    /// Of the held ones.
    pub(crate) dropped: usize,
    pub(crate) dropped_after_s: Option<f64>,
    pub(crate) others_dropped: usize,
}

/// Measures with so many subscribers, of which a tenth is in the process that is stopped.
///
/// # Errors
/// The daemon fails, or those that read lose anything.
pub(crate) fn measure(args: &Args, dir: &Path, subscribers: usize) -> Result<Case, Box<dyn Error>> {
    let held = subscribers.div_ceil(STOPPED_SHARE);
    eprintln!("{held} of {subscribers} subscribers stopped");
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        for stopped in if number % 2 == 1 { [false, true] } else { [true, false] } {
            // A daemon of its own for each round: memory that one has left would hide the growth of the next.
            let daemon = Daemon::start(args, dir)?;
            let round = one(args, &daemon, subscribers - held, held, stopped)?;
            let per_s = thousands(round.published_per_s);
            let what = if stopped { "stopped" } else { "all reading" };
            eprintln!("  round {number}/{}, {what}: {per_s} published/s, {} dropped", args.rounds, round.dropped);
            rounds.push(round);
        }
    }
    Ok(Case::new(subscribers, held, rounds))
}

fn one(args: &Args, daemon: &Daemon, reading: usize, held: usize, stopped: bool) -> Result<Round, Box<dyn Error>> {
    let (size, duration, pace) = (args.size, args.seconds, args.pace(AHEAD));
    let plan = Plan { queue: QUEUE, subscribers: reading, size, duration, pace, latency: false, patience: PATIENCE };
    let process = Held::start(daemon.coremq(), held)?;
    let ready = plan.connect(daemon.coremq())?;
    let mut control = Client::connect(daemon.coremq())?;
    let all = control.connections()?;
    processors::wait_for_rest(daemon.pid());
    let before_mib = daemon.memory_mib().map(|(now, _)| now);
    if stopped {
        process.set_stopped(true)?;
    }
    let began = Instant::now();
    let (outcome, dropped_at) = thread::scope(|scope| {
        let running = scope.spawn(|| plan.run(ready, Some(daemon.pid())));
        let mut dropped_at = None;
        while !running.is_finished() {
            thread::sleep(LOOK);
            if stopped && dropped_at.is_none() && control.connections().is_ok_and(|now| now + held as u64 <= all) {
                dropped_at = Some(began.elapsed());
            }
        }
        (running.join(), dropped_at)
    });
    let outcome = outcome.map_err(|_| "the publisher panicked")?.map_err(|error| daemon.explain(&error))?;
    let growth_mib = daemon.memory_mib().zip(before_mib).map(|((_, peak), before)| peak - before);
    process.set_stopped(false)?;
    let seen = process.finish()?;
    if seen.faults > 0 {
        return Err(format!("{} messages lost, doubled or out of order before a drop", seen.faults).into());
    }
    Ok(Round::new(stopped, &outcome, growth_mib, seen.dropped, dropped_at))
}

impl Case {
    fn new(subscribers: usize, held: usize, rounds: Vec<Round>) -> Self {
        let of = |stopped: bool| rounds.iter().filter(move |round| round.stopped == stopped);
        let per_s = |stopped| median(of(stopped).map(|round| round.published_per_s).collect());
        let growth = |stopped| of(stopped).filter_map(|round| round.growth_mib).reduce(f64::max);
        let (reading_per_s, stopped_per_s) = (per_s(false), per_s(true));
        let times: Option<Vec<f64>> = of(true).map(|round| round.dropped_after_s).collect();
        Self {
            subscribers,
            stopped: held,
            reading_per_s,
            stopped_per_s,
            loss: 1.0 - stopped_per_s / reading_per_s,
            reading_growth_mib: growth(false),
            stopped_growth_mib: growth(true),
            dropped_least: of(true).map(|round| round.dropped).min().unwrap_or(0),
            dropped_after_s_max: times.as_ref().and_then(|times| times.iter().copied().reduce(f64::max)),
            dropped_after_s: times.map(median),
            others_dropped: rounds.iter().map(|round| round.others_dropped).sum(),
            rounds,
        }
    }
}

impl Round {
    fn new(
        stopped: bool,
        outcome: &Outcome,
        growth_mib: Option<f64>,
        dropped: usize,
        dropped_at: Option<Duration>,
    ) -> Self {
        Self {
            stopped,
            published: outcome.publisher.sent,
            published_per_s: outcome.publisher.per_s(),
            deliveries: outcome.subscribers.deliveries,
            growth_mib,
            dropped,
            dropped_after_s: dropped_at.map(|after| after.as_secs_f64()),
            others_dropped: outcome.subscribers.dropped.len(),
        }
    }
}
