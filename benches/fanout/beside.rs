//! HTTP puts to another queue, with a publisher at a steady rate beside them and without.

use std::{error::Error, path::Path, thread, time::Duration};

use serde::Serialize;

use crate::{
    PATIENCE, QUEUE, answer,
    args::Args,
    daemon::Daemon,
    figures::{at_us, median, thousands},
    load::{self, Load, Until},
    processors::{self, Shares, Used},
    publisher::Pace,
    queue::{Queues, Work},
    round::{self, Plan},
};

const PUT_QUEUE: &str = "puts";
const PUT_CONNECTIONS: usize = 64;
const PUBLISHED_PER_S: f64 = 2_000.0;
/// The publisher is at work so long before the puts begin and after they end.
const MARGIN: Duration = Duration::from_millis(300);

/// Put rates with and without a publisher, medians of alternating rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) subscribers: usize,
    pub(crate) published_per_s: f64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) alone: Puts,
    pub(crate) beside: Puts,
    /// Median rate beside the publisher over median rate without it.
    pub(crate) ratio: f64,
    /// Least and greatest ratio of two rounds that were neighbours.
    pub(crate) ratio_min: f64,
    pub(crate) ratio_max: f64,
    pub(crate) dropped: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Puts {
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// How many processors the daemon used on average, and the load generator; nothing where that is unknown.
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: Option<f64>,
    rounds_per_s: Vec<f64>,
}

/// One round of puts, and who used the processors meanwhile.
struct Round {
    puts: load::Outcome,
    shares: Option<Shares>,
}

/// Measures with so many subscribers, which are there in all rounds.
///
/// # Errors
/// The daemon fails, or answers anything wrong.
pub(crate) fn measure(args: &Args, dir: &Path, subscribers: usize) -> Result<Case, Box<dyn Error>> {
    let per_s = args.rate.unwrap_or(PUBLISHED_PER_S);
    eprintln!("puts beside {per_s} messages/s to {subscribers} subscribers of a work queue");
    let daemon = Daemon::start(args, dir)?;
    let (size, duration, pace) = (args.size, args.seconds + 2 * MARGIN, Pace::PerSecond(per_s));
    let plan = Plan { queue: QUEUE, subscribers, size, duration, pace, latency: false, patience: PATIENCE };
    let (mut alone, mut beside, mut published) = (Vec::new(), Vec::new(), Vec::new());
    one(args, &daemon, &plan, false)?;
    for number in 1..=args.rounds {
        // A, B, B, A …: a drift of the machine favours neither.
        for publishing in if number % 2 == 1 { [false, true] } else { [true, false] } {
            let (puts, outcome) = one(args, &daemon, &plan, publishing)?;
            if publishing {
                beside.push(puts)
            } else {
                alone.push(puts)
            }
            published.extend(outcome);
        }
        let last = |rounds: &[Round]| rounds.last().map_or(0.0, |round| round.puts.per_s());
        let rates = [last(&alone), last(&beside)].map(thousands);
        eprintln!("  round {number}/{}: {} puts/s alone, {} beside", args.rounds, rates[0], rates[1]);
    }
    Ok(Case::new(subscribers, &alone, &beside, &published))
}

/// One round of puts, beside a publisher or not.
fn one(
    args: &Args,
    daemon: &Daemon,
    plan: &Plan,
    publishing: bool,
) -> Result<(Round, Option<round::Outcome>), Box<dyn Error>> {
    daemon.empty_work_queue(QUEUE)?;
    let addr = daemon.http();
    // There must be a queue before it can be reset.
    daemon.empty_work_queue(PUT_QUEUE)?;
    let queue = Queues::one(addr, PUT_QUEUE, args.size);
    queue.reset()?;
    let ready = plan.connect(daemon.coremq())?;
    processors::wait_for_rest(daemon.pid());
    let load = Load {
        addr,
        judge: &answer::verdict,
        connections: PUT_CONNECTIONS,
        requests: &queue.requests(Work::Put),
        per_s: None,
        until: Until::Time(args.seconds),
        answer_timeout: PATIENCE,
    };
    thread::scope(|scope| {
        let publisher = if publishing {
            let running = scope.spawn(|| plan.run(ready, None));
            thread::sleep(MARGIN);
            Ok(running)
        } else {
            Err(ready)
        };
        let used = Used::now(Some(daemon.pid()));
        let puts = load.run();
        let shares = used.and_then(|used| used.shares(Some(daemon.pid())));
        // The connections of a round without a publisher have been open until here.
        let published = match publisher {
            Ok(running) => Some(running.join().map_err(|_| "the publisher panicked")?),
            Err(_ready) => None,
        };
        let published = published.transpose().map_err(|error| daemon.explain(&error))?;
        Ok((Round { puts: puts?.checked()?, shares }, published))
    })
}

impl Case {
    fn new(subscribers: usize, alone: &[Round], beside: &[Round], published: &[round::Outcome]) -> Self {
        let pairs = alone.iter().zip(beside).map(|(alone, beside)| beside.puts.per_s() / alone.puts.per_s());
        let (ratio_min, ratio_max) = pairs.fold((f64::MAX, 0.0_f64), |(min, max), r| (min.min(r), max.max(r)));
        let (alone, beside) = (Puts::new(alone), Puts::new(beside));
        Self {
            subscribers,
            published_per_s: median(published.iter().map(|outcome| outcome.publisher.per_s()).collect()),
            deliveries_per_s: median(published.iter().map(round::Outcome::deliveries_per_s).collect()),
            ratio: beside.per_s / alone.per_s,
            alone,
            beside,
            ratio_min,
            ratio_max,
            dropped: published.iter().map(|outcome| outcome.subscribers.dropped.len()).sum(),
        }
    }
}

impl Puts {
    fn new(rounds: &[Round]) -> Self {
        let rounds_per_s: Vec<f64> = rounds.iter().map(|round| round.puts.per_s()).collect();
        let mut latency = rounds[0].puts.latency_ns.clone();
        for round in &rounds[1..] {
            latency.add(&round.puts.latency_ns).ok();
        }
        let (p50_us, p99_us) = (at_us(&latency, 0.5), at_us(&latency, 0.99));
        let elapsed_s: f64 = rounds.iter().map(|round| round.puts.elapsed.as_secs_f64()).sum();
        let cores = |seconds: fn(&Shares) -> f64| -> Option<f64> {
            let used_s: Option<f64> = rounds.iter().map(|round| round.shares.as_ref().map(seconds)).sum();
            used_s.map(|used_s| used_s / elapsed_s)
        };
        let (server_cores, client_cores) = (cores(|shares| shares.server_s), cores(|shares| shares.client_s));
        Self { per_s: median(rounds_per_s.clone()), p50_us, p99_us, server_cores, client_cores, rounds_per_s }
    }
}
