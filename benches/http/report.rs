//! A whole run: as JSON it is kept, [`crate::table`] prints it, [`crate::charts`] draws it.

use serde::{Deserialize, Serialize};

use crate::{
    args::{Args, ENGINE_VARIABLE, SYNC_VARIABLE},
    backlog::Backlog,
    case::Case,
    machine::Machine,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) size_bytes: usize,
    round_s: f64,
    rounds: usize,
    /// Settings of the daemon beside sync and engine, from `--env` and from the environment of the run.
    settings: Vec<String>,
    pub(crate) backlogs: Vec<Backlog>,
    pub(crate) cases: Vec<Case>,
}

impl Report {
    pub(crate) fn new(args: &Args, machine: Machine) -> Self {
        let set_here = [SYNC_VARIABLE, ENGINE_VARIABLE];
        let inherited =
            std::env::vars().filter(|(key, _)| key.starts_with("HTTPMQ_") && !set_here.contains(&key.as_str()));
        let settings = inherited.chain(args.env.iter().cloned()).map(|(key, value)| format!("{key}={value}")).collect();
        let (size_bytes, round_s, rounds) = (args.size, args.seconds.as_secs_f64(), args.rounds);
        Self { machine, size_bytes, round_s, rounds, settings, backlogs: Vec::new(), cases: Vec::new() }
    }

    /// What stands above the table.
    pub(crate) fn head(&self) -> String {
        let Self { machine, size_bytes, round_s, rounds, settings, .. } = self;
        let mut text =
            format!("{machine}\n{size_bytes} B messages, {rounds} rounds of {round_s} s on each server in turn, ");
        text +=
            "closed loop but for what is at half its rate, no pipelining; load generator and server share the cores";
        if machine.in_memory() {
            text += "\nWARNING: the store is in memory, so a sync costs nothing here";
        }
        if !settings.is_empty() {
            text += &format!("\nsettings: {}", settings.join(" "));
        }
        text
    }
}
