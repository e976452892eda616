//! A daemon in which many messages wait: how long it takes to start again, and one without any to compare it with.

use std::{error::Error, fmt, path::Path, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    args::{Args, Sync},
    figures::{median, thousands},
    rounds::{Holds, Subject},
    stop, subjects,
};

/// The progress of filling is told after so many messages.
const STEP: u64 = 1_000_000;
/// So many messages are put before a daemon is killed: there is something in its log that it has not put in order.
const BURST: u64 = 20_000;

/// What was seen of starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Backlog {
    engine: String,
    messages: u64,
    fill_s: f64,
    /// From the start of the process to the answer that all messages are there.
    ready_after_kill_s: Vec<f64>,
    ready_after_stop_s: Vec<f64>,
    /// From SIGTERM to the end of the process.
    stop_s: Vec<f64>,
}

/// Fills a daemon with `messages`, kills, stops and starts it some times; gives an empty one and this one.
///
/// # Errors
/// A daemon does not start, or has not all messages that it said it stored.
pub(crate) fn measure(
    args: &Args,
    dir: &Path,
    sync: Sync,
    engine: &str,
    messages: u64,
) -> Result<(Vec<Subject>, Backlog), Box<dyn Error>> {
    let mut full = subjects::one(args, dir, sync, engine)?;
    full.name = format!("{engine}, {} waiting", thousands(messages as f64));
    full.holds = Holds::Backlog(messages);
    let started = Instant::now();
    for target in (1..=messages.div_ceil(STEP)).map(|step| messages.min(step * STEP)) {
        full.queues.fill(target)?;
        eprintln!("  {engine}: {} messages in {:.0?}", thousands(target as f64), started.elapsed());
    }
    let fill_s = started.elapsed().as_secs_f64();
    let mut seen = Backlog { engine: engine.to_owned(), messages, fill_s, ..Backlog::default() };
    for round in 1..=args.rounds {
        stop::check()?;
        let unread = messages + round as u64 * BURST;
        full.queues.fill(unread)?;
        full.server.kill()?;
        seen.ready_after_kill_s.push(start(&mut full, unread, args, sync, engine)?);
        let asked = Instant::now();
        full.server.stop();
        seen.stop_s.push(asked.elapsed().as_secs_f64());
        seen.ready_after_stop_s.push(start(&mut full, unread, args, sync, engine)?);
    }
    Ok((vec![subjects::one(args, dir, sync, engine)?, full], seen))
}

/// Seconds until the daemon, started again, answers that it has `unread` messages.
fn start(full: &mut Subject, unread: u64, args: &Args, sync: Sync, engine: &str) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    full.start_again(args, sync, engine)?;
    let there = full.queues.unread()?;
    let took_s = started.elapsed().as_secs_f64();
    if there == unread { Ok(took_s) } else { Err(format!("{there} messages are there, {unread} were stored").into()) }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, messages, fill_s, .. } = self;
        let (messages, per_s) = (thousands(*messages as f64), thousands(*messages as f64 / fill_s));
        write!(f, "{engine}: {messages} messages put in {fill_s:.0} s ({per_s}/s); all there again ")?;
        let (kill, stop) = (Seconds(&self.ready_after_kill_s), Seconds(&self.ready_after_stop_s));
        write!(f, "{kill} after SIGKILL, {stop} after a stop, which took {}", Seconds(&self.stop_s))
    }
}

/// The median, the least and the most of some times.
struct Seconds<'a>(&'a [f64]);

impl fmt::Display for Seconds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        write!(f, "{:.2} s ({least:.2}–{most:.2})", median(self.0.to_vec()))
    }
}
