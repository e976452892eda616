//! Figures out of rounds, and what a reader must know about them; as JSON they are kept, [`crate::table`] prints them.

use serde::Serialize;

use crate::{
    DISK_RECORD_BYTES,
    args::{Args, SYNC_VARIABLE},
    disk::DiskRate,
    figures::{at_us, duration, median, thousands},
    machine::Machine,
    rounds::{Plan, Round, Rounds},
};

/// Beyond this share of the machine in other hands, a note says so.
const OTHERS_SHARE_MAX: f64 = 0.1;
/// Beyond this share of one processor the load generator itself may be what limits a rate.
const CLIENT_SHARE_MAX: f64 = 0.95;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    size_bytes: usize,
    round_s: f64,
    rounds: usize,
    /// Settings of the daemon beside `sync`, from `--env` and from the environment of the run.
    settings: Vec<String>,
    /// The disk reference before all cases and after them.
    pub(crate) disk: Vec<DiskReference>,
    pub(crate) cases: Vec<Case>,
}

/// What the disk gave, and whether it was left in peace meanwhile: a sync that returns to a busy machine looks slow.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiskReference {
    #[serde(flatten)]
    pub(crate) rate: DiskRate,
    /// Share of the machine that others used.
    pub(crate) others_share: Option<f64>,
}

/// The comparison of two servers under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) work: &'static str,
    pub(crate) sync: String,
    pub(crate) connections: usize,
    pub(crate) floor: Side,
    pub(crate) httpmq: Side,
    /// Median rate of httpmq over median rate of the floor.
    pub(crate) ratio: f64,
    /// Least and greatest ratio of two rounds that were neighbours.
    pub(crate) ratio_min: f64,
    pub(crate) ratio_max: f64,
    pub(crate) notes: Vec<String>,
}

/// One server's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Side {
    /// Median over the rounds.
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    max_us: f64,
    /// Processor time of the server for one request, in all its threads; of the load generator likewise.
    pub(crate) server_cpu_us: Option<f64>,
    client_cpu_us: Option<f64>,
    rounds: Vec<RoundFigures>,
}

#[derive(Clone, Debug, Serialize)]
struct RoundFigures {
    answers: u64,
    elapsed_s: f64,
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// Share of the machine that neither the server nor the load generator used.
    others_share: Option<f64>,
}

impl Report {
    pub(crate) fn new(args: &Args, machine: Machine) -> Self {
        let inherited = std::env::vars().filter(|(key, _)| key.starts_with("HTTPMQ_") && key != SYNC_VARIABLE);
        let settings = inherited.chain(args.env.iter().cloned()).map(|(key, value)| format!("{key}={value}")).collect();
        let (size_bytes, round_s, rounds) = (args.size, args.seconds.as_secs_f64(), args.rounds);
        Self { machine, size_bytes, round_s, rounds, settings, disk: Vec::new(), cases: Vec::new() }
    }

    /// What stands above the table.
    pub(crate) fn head(&self) -> String {
        let Self { machine, size_bytes, round_s, rounds, settings, .. } = self;
        let mut text =
            format!("{machine}\n{size_bytes} B messages, {rounds} rounds of {round_s} s on each server in turn, ");
        text += "closed loop, no pipelining; load generator and server share the cores";
        if machine.in_memory() {
            text += "\nWARNING: the store is in memory, so a sync costs nothing here";
        }
        if !settings.is_empty() {
            text += &format!("\nsettings: {}", settings.join(" "));
        }
        text
    }

    pub(crate) fn disk_line(&self) -> String {
        let figures =
            self.disk.iter().map(|DiskReference { rate: DiskRate { per_s, p50_us, p99_us }, others_share }| {
                let others = others_share.filter(|share| *share > OTHERS_SHARE_MAX);
                let others = others.map_or_else(String::new, |share| format!(", others used {:.0} %", share * 100.0));
                format!("{}/s (p50 {}, p99 {}{others})", thousands(*per_s), duration(*p50_us), duration(*p99_us))
            });
        let figures = figures.collect::<Vec<_>>().join(" before, ");
        format!("Disk alone, {DISK_RECORD_BYTES} B appended and synced at a time: {figures} after the rounds")
    }
}

impl Case {
    pub(crate) fn new(plan: &Plan, sync: &str, rounds: &Rounds) -> Self {
        let [floor, httpmq] = rounds.of.each_ref().map(|list| Side::new(list));
        let pairs = floor.rounds.iter().zip(&httpmq.rounds).map(|(floor, httpmq)| httpmq.per_s / floor.per_s);
        let (ratio_min, ratio_max) = pairs.fold((f64::MAX, 0.0_f64), |(min, max), r| (min.min(r), max.max(r)));
        let ratio = httpmq.per_s / floor.per_s;
        let mut notes = rounds.notes.clone();
        notes.extend(ended_early(rounds));
        notes.extend(disturbed(rounds));
        notes.extend(limited_by_client(rounds));
        let (work, sync, connections) = (plan.work.name(), sync.to_owned(), plan.connections);
        Self { work, sync, connections, floor, httpmq, ratio, ratio_min, ratio_max, notes }
    }
}

impl Side {
    fn new(rounds: &[Round]) -> Self {
        let figures: Vec<RoundFigures> = rounds.iter().map(RoundFigures::new).collect();
        let answers: u64 = rounds.iter().map(|round| round.outcome.answers).sum();
        // Not every processor second is known everywhere: one that is missing leaves the sum unknown.
        let server_s: Option<f64> = rounds.iter().map(|round| round.shares.map(|s| s.server_s)).sum();
        let client_s: Option<f64> = rounds.iter().map(|round| round.shares.map(|s| s.client_s)).sum();
        let mut latency = rounds[0].outcome.latency_ns.clone();
        for round in &rounds[1..] {
            latency.add(&round.outcome.latency_ns).ok();
        }
        Self {
            per_s: median(figures.iter().map(|figures| figures.per_s).collect()),
            p50_us: at_us(&latency, 0.5),
            p99_us: at_us(&latency, 0.99),
            max_us: latency.max() as f64 / 1e3,
            server_cpu_us: server_s.map(|s| s * 1e6 / answers as f64),
            client_cpu_us: client_s.map(|s| s * 1e6 / answers as f64),
            rounds: figures,
        }
    }
}

impl RoundFigures {
    fn new(round: &Round) -> Self {
        let outcome = &round.outcome;
        Self {
            answers: outcome.answers,
            elapsed_s: outcome.elapsed.as_secs_f64(),
            per_s: outcome.per_s(),
            p50_us: at_us(&outcome.latency_ns, 0.5),
            p99_us: at_us(&outcome.latency_ns, 0.99),
            others_share: round.shares.map(|shares| shares.others),
        }
    }
}

fn ended_early(rounds: &Rounds) -> Option<String> {
    let early: Vec<&Round> = rounds.of.iter().flatten().filter(|round| round.outcome.refused.is_some()).collect();
    let answer = early.first()?.outcome.refused.as_deref()?;
    let shortest = early.iter().map(|round| round.outcome.elapsed).min()?;
    Some(format!("{} rounds ended early, one after {shortest:.1?}: the queue answered {answer}", early.len()))
}

fn disturbed(rounds: &Rounds) -> Option<String> {
    let shares = rounds.of.iter().flatten().filter_map(|round| round.shares);
    let worst = shares.map(|shares| shares.others).fold(0.0_f64, f64::max);
    (worst > OTHERS_SHARE_MAX).then(|| format!("others used up to {:.0} % of the machine in a round", worst * 100.0))
}

fn limited_by_client(rounds: &Rounds) -> Option<String> {
    let busiest = rounds
        .of
        .iter()
        .flatten()
        .filter_map(|round| round.shares.map(|shares| shares.client_s / round.outcome.elapsed.as_secs_f64()));
    let limited = busiest.fold(0.0_f64, f64::max) > CLIENT_SHARE_MAX;
    limited.then(|| "the load generator used a whole processor: the servers could do more".to_owned())
}
