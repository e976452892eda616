//! Figures out of the rounds of one load, and what a reader must know about them.

use serde::{Deserialize, Serialize};

use crate::{
    figures::{at_us, median},
    rounds::{Plan, Round, Rounds, Subject},
};

/// Beyond this share of the machine in other hands, a note says so.
const OTHERS_SHARE_MAX: f64 = 0.1;
/// Beyond this share of one processor the load generator itself may be what limits a rate.
const CLIENT_SHARE_MAX: f64 = 0.95;
/// A server that answers less than this share of what was due in time cannot keep up.
const KEPT_UP_MIN: f64 = 0.98;
/// Which latencies are kept, in percent.
const PERCENTILES: [f64; 13] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99];

/// The comparison of servers under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) work: String,
    /// At half of the rate that each server reached, at fixed times; otherwise as fast as each can.
    pub(crate) at_half: bool,
    pub(crate) sync: String,
    pub(crate) connections: usize,
    /// What the disk alone did in the same rounds.
    pub(crate) disk: Option<Side>,
    /// The first is the one that the others are compared with.
    pub(crate) sides: Vec<Side>,
    pub(crate) notes: Vec<String>,
}

/// One server's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    /// Median over the rounds.
    pub(crate) per_s: f64,
    pub(crate) latency: Vec<Latency>,
    max_us: f64,
    /// Processor time of the server for one request, in all its threads; of the load generator likewise.
    pub(crate) server_cpu_us: Option<f64>,
    client_cpu_us: Option<f64>,
    /// To the first server, and to the disk.
    pub(crate) ratio: Option<Ratio>,
    pub(crate) disk_ratio: Option<Ratio>,
    pub(crate) rounds: Vec<RoundFigures>,
}

/// So many percent of the answers came within this time: the median over the rounds, the least and the most of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) percent: f64,
    pub(crate) us: f64,
    pub(crate) us_min: f64,
    pub(crate) us_max: f64,
}

/// Median rate over median rate, and the least and the greatest ratio of two rounds that were neighbours.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) of_medians: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoundFigures {
    answers: u64,
    elapsed_s: f64,
    pub(crate) per_s: f64,
    /// Share of the machine that neither the server nor the load generator used.
    others_share: Option<f64>,
}

impl Case {
    pub(crate) fn new(plan: &Plan, sync: &str, subjects: &[Subject], rounds: &Rounds) -> Self {
        let disk = (!rounds.disk.is_empty()).then(|| Side::new("disk", &rounds.disk));
        let sides = subjects.iter().zip(&rounds.of).map(|(subject, list)| Side::new(&subject.name, list));
        let mut sides: Vec<Side> = sides.collect();
        let at_half = subjects.iter().any(|subject| subject.per_s.is_some());
        // A rate that was asked for says nothing beside another.
        let first = sides.first().cloned().filter(|_| !at_half);
        for (at, side) in sides.iter_mut().enumerate() {
            side.ratio = first.as_ref().filter(|_| at > 0).map(|first| side.over(first));
            side.disk_ratio = disk.as_ref().map(|disk| side.over(disk));
        }
        let mut notes = rounds.notes.clone();
        notes.extend(behind(subjects, &sides));
        notes.extend(ended_early(rounds));
        notes.extend(disturbed(rounds));
        notes.extend(limited_by_client(rounds));
        let (work, sync, connections) = (plan.work.name().to_owned(), sync.to_owned(), plan.connections);
        Self { work, at_half, sync, connections, disk, sides, notes }
    }

    /// What was asked of the servers, in words.
    pub(crate) fn load(&self) -> String {
        if self.at_half { format!("{} at half its rate", self.work) } else { self.work.clone() }
    }
}

impl Side {
    fn new(name: &str, rounds: &[Round]) -> Self {
        let figures: Vec<RoundFigures> = rounds.iter().map(RoundFigures::new).collect();
        let answers: u64 = rounds.iter().map(|round| round.outcome.answers).sum();
        // Not every processor second is known everywhere: one that is missing leaves the sum unknown.
        let server_s: Option<f64> = rounds.iter().map(|round| round.shares.map(|s| s.server_s)).sum();
        let client_s: Option<f64> = rounds.iter().map(|round| round.shares.map(|s| s.client_s)).sum();
        Self {
            name: name.to_owned(),
            per_s: median(figures.iter().map(|figures| figures.per_s).collect()),
            latency: PERCENTILES.map(|percent| Latency::new(percent, rounds)).to_vec(),
            max_us: rounds.iter().map(|round| at_us(&round.outcome.latency_ns, 1.0)).fold(0.0, f64::max),
            server_cpu_us: server_s.map(|s| s * 1e6 / answers as f64),
            client_cpu_us: client_s.map(|s| s * 1e6 / answers as f64),
            ratio: None,
            disk_ratio: None,
            rounds: figures,
        }
    }

    fn over(&self, other: &Self) -> Ratio {
        let pairs = self.rounds.iter().zip(&other.rounds).map(|(this, other)| this.per_s / other.per_s);
        let (min, max) = pairs.fold((f64::MAX, 0.0_f64), |(min, max), ratio| (min.min(ratio), max.max(ratio)));
        Ratio { of_medians: self.per_s / other.per_s, min, max }
    }

    /// The latency of a percentile, which must be one that is kept.
    pub(crate) fn latency(&self, percent: f64) -> Option<&Latency> {
        self.latency.iter().find(|latency| latency.percent == percent)
    }
}

impl Latency {
    fn new(percent: f64, rounds: &[Round]) -> Self {
        let of_rounds = || rounds.iter().map(|round| at_us(&round.outcome.latency_ns, percent / 100.0));
        let (us_min, us_max) = (of_rounds().fold(f64::MAX, f64::min), of_rounds().fold(0.0, f64::max));
        Self { percent, us: median(of_rounds().collect()), us_min, us_max }
    }
}

impl RoundFigures {
    fn new(round: &Round) -> Self {
        let outcome = &round.outcome;
        Self {
            answers: outcome.answers,
            elapsed_s: outcome.elapsed.as_secs_f64(),
            per_s: outcome.per_s(),
            others_share: round.shares.map(|shares| shares.others),
        }
    }
}

fn behind(subjects: &[Subject], sides: &[Side]) -> Vec<String> {
    let pairs = subjects.iter().zip(sides).filter_map(|(subject, side)| Some((side, subject.per_s?)));
    let behind = pairs.filter(|(side, due_per_s)| side.per_s < KEPT_UP_MIN * due_per_s);
    behind.map(|(side, due_per_s)| format!("{} did not keep up with {due_per_s:.0}/s", side.name)).collect()
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
