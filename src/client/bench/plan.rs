//! What was typed, checked: what a run is.

use std::time::Duration;

use super::load::{Amount, whole};
use super::text::{MAX_MESSAGES, MIN_BYTES};
use crate::args::{Bench, Work};
use crate::client::check_tcp_name;
use crate::client::lines::MAX_MESSAGE_BYTES;
use crate::client::stop::Stop;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// As many connections as keep a daemon busy whose puts share a sync.
const DEFAULT_CONNECTIONS: usize = 64;
/// A listener of httpmq takes 10,000 unless told otherwise.
const MAX_CONNECTIONS: usize = 10_000;
/// More than this under way on one connection only waits in buffers.
const MAX_PIPELINE: usize = 10_000;

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) work: Work,
    pub(super) connections: usize,
    /// None but for publish and subscribe.
    pub(super) subscribers: usize,
    pub(super) pipeline: usize,
    pub(super) size: usize,
    pub(super) amount: Amount,
    pub(super) queue: String,
}

impl Plan {
    /// Checks what was typed.
    pub(super) fn new(args: &Bench) -> Result<Plan, Stop> {
        let is_live = args.work == Work::PubSub;
        let connections = args.connections.unwrap_or(if is_live { 1 } else { DEFAULT_CONNECTIONS });
        let between = |name: &str, value: usize, least: usize, most: usize| match value {
            value if (least..=most).contains(&value) => Ok(()),
            _ => Err(Stop::usage(format!("--{name} must be {least} to {most}"))),
        };
        between("connections", connections, 1, MAX_CONNECTIONS)?;
        between("subscribers", args.subscribers, 1, MAX_CONNECTIONS)?;
        between("pipeline", args.pipeline, 1, MAX_PIPELINE)?;
        between("size", args.size, MIN_BYTES, MAX_MESSAGE_BYTES)?;
        if args.rate.is_some_and(|rate| !(0.001..=1e7).contains(&rate)) {
            return Err(Stop::usage("--rate must be 0.001 to 10000000 requests per second"));
        }
        if args.duration.is_some() && args.count.is_some() {
            return Err(Stop::usage("either --duration or --count, not both"));
        }
        if args.count.is_some_and(|count| !(1..MAX_MESSAGES).contains(&count)) {
            return Err(Stop::usage(format!("--count must be 1 to {}", MAX_MESSAGES - 1)));
        }
        let duration = args.count.is_none().then(|| args.duration.unwrap_or(DEFAULT_DURATION));
        let queue = format!("{}/{}", args.queue, if is_live { "topic" } else { "queue" });
        check_tcp_name(&queue)?;
        Ok(Plan {
            work: args.work,
            connections,
            subscribers: if is_live { args.subscribers } else { 0 },
            pipeline: args.pipeline,
            size: args.size,
            amount: Amount { duration, count: args.count.unwrap_or(MAX_MESSAGES - 1), rate: args.rate },
            queue,
        })
    }

    /// The puts in front of a run that gets: as many as it can need. Without a count or a rate that is what can be put in the same
    /// time, and it ends when they are got.
    pub(super) fn filling(&self) -> Plan {
        let Amount { duration, count, rate } = self.amount;
        let amount = match (duration, rate) {
            (Some(duration), Some(rate)) => {
                Amount { duration: None, count: whole((duration.as_secs_f64() * rate).ceil()).min(count), rate: None }
            }
            _ => Amount { duration, count, rate: None },
        };
        Plan { work: Work::Put, connections: self.connections.max(DEFAULT_CONNECTIONS), amount, ..self.clone() }
    }
}
