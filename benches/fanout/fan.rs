//! Deliveries per second, and latency, for one number of subscribers.

use std::{error::Error, path::Path, time::Duration};

use serde::Serialize;

use crate::{
    PATIENCE, QUEUE,
    args::{Args, Work},
    daemon::Daemon,
    figures::{at_us, median, thousands},
    publisher::Pace,
    round::{Outcome, Plan},
    syscalls,
};

/// Latency is taken at so many deliveries per second, so that most of the machine is idle.
const CALM_DELIVERIES_PER_S: f64 = 20_000.0;
const CALM_PER_S_MAX: f64 = 1_000.0;
const WARM_UP: Duration = Duration::from_secs(1);

/// The figures of one number of subscribers: medians of rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) work: &'static str,
    pub(crate) subscribers: usize,
    pub(crate) published_per_s: f64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) deliveries_per_s_min: f64,
    pub(crate) deliveries_per_s_max: f64,
    /// Subscribers that the daemon dropped, in all rounds.
    pub(crate) dropped: usize,
    /// Processor time for one delivery.
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) client_cpu_us: Option<f64>,
    pub(crate) syscalls_per_delivery: Option<f64>,
    /// The most memory of the daemon.
    pub(crate) peak_mib: Option<f64>,
    /// Messages per second where the latency was taken.
    pub(crate) calm_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    pub(crate) notes: Vec<String>,
    pub(crate) rounds: Vec<Round>,
}

/// One round, as it was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) published: u64,
    pub(crate) published_per_s: f64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_s: f64,
    pub(crate) elapsed_s: f64,
    /// How many messages each dropped subscriber had got.
    pub(crate) dropped_after: Vec<u64>,
    pub(crate) server_cpu_s: Option<f64>,
    pub(crate) client_cpu_s: Option<f64>,
    /// Share of the machine that neither of the two used.
    pub(crate) others_share: Option<f64>,
}

/// Measures one number of subscribers on a daemon of its own.
///
/// # Errors
/// The daemon fails, or a round is worthless.
pub(crate) fn measure(args: &Args, dir: &Path, work: Work, subscribers: usize) -> Result<Case, Box<dyn Error>> {
    eprintln!("{}, {subscribers} subscribers", work.name());
    let daemon = Daemon::start(args, dir)?;
    let (size, duration, pace) = (args.size, args.seconds, args.pace(0));
    let flood = Plan { queue: QUEUE, subscribers, size, duration, pace, latency: false, patience: PATIENCE };
    let run = |plan: &Plan| {
        if work == Work::Queue {
            daemon.empty_work_queue(QUEUE)?;
        }
        daemon.round(plan)
    };
    run(&Plan { duration: WARM_UP.min(duration), ..flood })?;
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let round = Round::new(&run(&flood)?);
        let per_s = thousands(round.deliveries_per_s);
        eprintln!("  round {number}/{}: {per_s} deliveries/s, {} dropped", args.rounds, round.dropped_after.len());
        rounds.push(round);
    }
    let peak_mib = daemon.memory_mib().map(|(_, peak)| peak);
    let calm_per_s = args.rate.unwrap_or((CALM_DELIVERIES_PER_S / subscribers as f64).min(CALM_PER_S_MAX));
    let calm = run(&Plan { pace: Pace::PerSecond(calm_per_s), latency: true, ..flood })?;
    let mut case = Case::new(work, subscribers, rounds);
    case.peak_mib = peak_mib;
    case.add_latency(calm_per_s, &calm);
    if args.syscalls {
        let (outcome, count) = syscalls::count(daemon.pid(), dir, || run(&flood))?;
        case.add_syscalls(&outcome, &count);
    }
    Ok(case)
}

impl Case {
    fn new(work: Work, subscribers: usize, rounds: Vec<Round>) -> Self {
        let rates: Vec<f64> = rounds.iter().map(|round| round.deliveries_per_s).collect();
        let deliveries: f64 = rounds.iter().map(|round| round.deliveries as f64).sum();
        let per_delivery_us = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e6 / deliveries);
        Self {
            work: work.name(),
            subscribers,
            published_per_s: median(rounds.iter().map(|round| round.published_per_s).collect()),
            deliveries_per_s_min: rates.iter().copied().fold(f64::MAX, f64::min),
            deliveries_per_s_max: rates.iter().copied().fold(0.0, f64::max),
            deliveries_per_s: median(rates),
            dropped: rounds.iter().map(|round| round.dropped_after.len()).sum(),
            server_cpu_us: per_delivery_us(rounds.iter().map(|round| round.server_cpu_s).sum()),
            client_cpu_us: per_delivery_us(rounds.iter().map(|round| round.client_cpu_s).sum()),
            syscalls_per_delivery: None,
            peak_mib: None,
            calm_per_s: 0.0,
            p50_us: 0.0,
            p99_us: 0.0,
            max_us: 0.0,
            notes: notes(&rounds),
            rounds,
        }
    }

    fn add_latency(&mut self, calm_per_s: f64, calm: &Outcome) {
        let latency_ns = &calm.subscribers.latency_ns;
        self.calm_per_s = calm_per_s;
        (self.p50_us, self.p99_us) = (at_us(latency_ns, 0.5), at_us(latency_ns, 0.99));
        self.max_us = latency_ns.max() as f64 / 1e3;
        let reached = calm.publisher.per_s();
        if reached < 0.95 * calm_per_s {
            self.notes.push(format!("latency was taken at {reached:.0} messages/s, not at {calm_per_s:.0}"));
        }
        if !calm.subscribers.dropped.is_empty() {
            self.notes.push(format!("{} dropped while latency was taken", calm.subscribers.dropped.len()));
        }
    }

    fn add_syscalls(&mut self, outcome: &Outcome, count: &syscalls::Count) {
        let deliveries = outcome.subscribers.deliveries as f64;
        self.syscalls_per_delivery = Some(count.total / deliveries);
        let most: Vec<String> = count.most.iter().map(|(name, n)| format!("{name} {:.4}", n / deliveries)).collect();
        let per_s = thousands(outcome.deliveries_per_s());
        self.notes
            .push(format!("system calls per delivery, under strace at {per_s} deliveries/s: {}", most.join(", ")));
    }
}

impl Round {
    fn new(outcome: &Outcome) -> Self {
        Self {
            published: outcome.publisher.sent,
            published_per_s: outcome.publisher.per_s(),
            deliveries: outcome.subscribers.deliveries,
            deliveries_per_s: outcome.deliveries_per_s(),
            elapsed_s: outcome.elapsed().as_secs_f64(),
            dropped_after: outcome.subscribers.dropped.clone(),
            server_cpu_s: outcome.shares.map(|shares| shares.server_s),
            client_cpu_s: outcome.shares.map(|shares| shares.client_s),
            others_share: outcome.shares.map(|shares| shares.others),
        }
    }
}

/// What a reader of the figures must know.
fn notes(rounds: &[Round]) -> Vec<String> {
    let mut notes = Vec::new();
    let dropped: Vec<u64> = rounds.iter().flat_map(|round| round.dropped_after.iter().copied()).collect();
    if let (Some(least), Some(most)) = (dropped.iter().min(), dropped.iter().max()) {
        let published: u64 = rounds.iter().map(|round| round.published).max().unwrap_or(0);
        notes.push(format!("those dropped had got {least} to {most} messages of up to {published}"));
    }
    let others = rounds.iter().filter_map(|round| round.others_share).fold(0.0_f64, f64::max);
    if others > crate::OTHERS_SHARE_MAX {
        notes.push(format!("others used up to {:.0} % of the machine in a round", others * 100.0));
    }
    notes
}
