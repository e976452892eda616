//! System calls that fail, one after the other: the first call of a kind, the second, and so on through a fixed script, each with
//! an I/O error, with a full disk, and as the last call before a kill.
//!
//! After a failed one nothing may be answered OK, but for what the log of commits has taken by the time that the engine behind it says
//! that it failed. The daemon must end by itself within a second and not with success, nothing may hang, and what was promised must be
//! there afterwards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::base::{self, Base};
use crate::common::{Daemon, Ended, Ledger, Setup};
use crate::round::{HANG, Outcome, Round, Seen};
use crate::script::{self, Told};
use crate::tools::Tool;
use crate::trace::{self, Injected, Log};

pub(crate) const NEEDS: &[Tool] = &[Tool::Strace];

/// What an engine's promise hangs on. `write` also serves sockets and the log: only that on files of the data directory is meant.
const CALLS: [&str; 7] = ["fsync", "fdatasync", "sync_file_range", "pwrite64", "write", "ftruncate", "rename"];
const EFFECTS: [&str; 3] = ["error=EIO", "error=ENOSPC", "signal=SIGKILL"];
/// What the daemon can do without: who has the lock, the ballast, and another file for the log.
const NOT_NEEDED: [&str; 3] = ["/LOCK>", "/BALLAST>", ".new>"];
const STEPS_OF_BASE: usize = 30;
const STEPS: usize = 12;
const LONG_STEPS: usize = 30;
/// From a failed call of the engine behind the log, in the background, until commits know of it.
const IN_FLIGHT_S: f64 = 0.01;
/// From the failure to the end of the process.
const MAX_END_S: f64 = 1.0;

/// One case: the call, which one of them, and what happens to it.
struct Case {
    call: &'static str,
    k: usize,
    effect: &'static str,
    is_last: bool,
}

pub(crate) fn run(round: &mut Round) -> Outcome {
    let base = Base::make(round, STEPS_OF_BASE);
    let steps = if round.args.long { LONG_STEPS } else { STEPS };
    let cases = cases(round, &base, steps);
    let all = cases.len();
    let from = round.args.from;
    let tries = round.args.count(24, usize::MAX).min(all - from.min(all));
    let mut seen = Seen::default();
    let (mut hit, mut promised) = (0, 0);
    for case in cases.iter().skip(from).take(tries) {
        let mut ledger = base.ledger.clone();
        hit += usize::from(one(round, &base, case, steps, &mut ledger, &mut seen));
        promised += ledger.volume().0;
        seen.verdict.add(ledger.close());
    }
    if all == 0 || hit * 2 < tries {
        seen.wrong.push(format!("only {hit} of {tries} calls were reached"));
    }
    seen.outcome(&format!("{tries} of {all} cases, {hit} reached; {promised} acknowledged"))
}

/// All cases of the script: what the last calls of each kind are, which is at the stop for some, then the others at random.
fn cases(round: &mut Round, base: &Base, steps: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for call in CALLS {
        let (ended, log) = live(round, base, call, None, steps, &mut base.ledger.clone());
        assert_eq!(ended.ended.code(), Some(0), "{}", ended.ended.lines.join("\n"));
        let count = log.counts().get(call).copied().unwrap_or(0);
        cases.extend((1..=count).flat_map(|k| EFFECTS.map(|effect| Case { call, k, effect, is_last: k == count })));
    }
    for at in (1..cases.len()).rev() {
        cases.swap(at, round.random.index(at + 1));
    }
    cases.sort_by_key(|case| !(case.is_last && case.effect == EFFECTS[0]));
    cases
}

/// A life that was seen to its end.
struct Lived {
    ended: Ended,
    told: Told,
    /// When it was told to stop, which is after all requests were answered.
    stopped: Option<SystemTime>,
    hung: bool,
}

/// One case; says whether the call was reached.
fn one(round: &Round, base: &Base, case: &Case, steps: usize, ledger: &mut Ledger, seen: &mut Seen) -> bool {
    let Case { call, k, effect, .. } = case;
    let inject = format!("{effect}:when={k}");
    let (lived, log) = live(round, base, call, Some(&inject), steps, ledger);
    let mut wrong = Vec::new();
    let Lived { ended, told, stopped, hung } = lived;
    if hung || told.slowest > HANG {
        wrong.push(format!("it hangs: {:?}", told.slowest));
    }
    if told.done_after_failure > 0 {
        wrong.push(format!("{} requests were done after one had failed", told.done_after_failure));
    }
    let is_kill = effect.starts_with("signal");
    let reached = if is_kill { ended.code().is_none() } else { log.injected().next().is_some() };
    let is_needed = |injected: &Injected| !is_kill && !NOT_NEEDED.iter().any(|name| injected.text.contains(name));
    if let Some(injected) = log.injected().find(is_needed) {
        // All was on the disk when it was told to stop: an engine may pass over what fails while it is closed.
        let is_closing = stopped.is_some_and(|stopped| injected.at > seconds(stopped));
        let said_so = matches!(ended.code(), Some(2 | 6));
        let closed = is_closing && ended.code() == Some(0);
        if !said_so && !closed {
            wrong.push(format!("it ends with {} after {}", ended.status, injected.text));
        }
        let late = told.last_done.map_or(0.0, seconds) - injected.at;
        let in_flight_s = if injected.text.contains(".wal/") { 0.0 } else { IN_FLIGHT_S };
        if late > in_flight_s {
            wrong.push(format!("something was done {late:.6} s after {}", injected.text));
        }
        let end_s = log.end().unwrap_or(f64::MAX) - injected.at;
        if end_s > MAX_END_S {
            wrong.push(format!("it ends {end_s:.3} s after {}", injected.text));
        }
    }
    let lines = ended.lines.join("\n");
    let after = format!("{call} {k} {effect}");
    if let Some(daemon) = seen.start(
        ended.with(|setup| {
            setup.under([]);
        }),
        &after,
    ) {
        script::check(&daemon, ledger);
        wrong.extend(script::drain(&daemon, ledger).err());
    }
    seen.wrong.extend(wrong.into_iter().map(|what| format!("{after}: {what}\n{lines}")));
    reached
}

/// Starts a copy under strace and works on it until the end of the script, or its own.
fn live(
    round: &Round,
    base: &Base,
    call: &str,
    inject: Option<&str>,
    steps: usize,
    ledger: &mut Ledger,
) -> (Lived, Log) {
    let copy = base.copy(round, |_, _| {});
    let log = copy.dir.path().join("strace.log");
    let only = if call == "write" { base::files(&copy.dir.path().join("data")) } else { Vec::new() };
    let copy = copy.with(|setup: &mut Setup| {
        setup.under(trace::strace(&log, call, inject, &only));
    });
    let lived = match copy.try_start_again() {
        Err(ended) => Lived { ended: *ended, told: Told::default(), stopped: None, hung: false },
        Ok(daemon) => {
            let told = match script::check_if_there(&daemon, ledger) {
                Some(()) => base.script.clone().run(&daemon, ledger, steps),
                None => Told { failed: 1, ..Told::default() },
            };
            end(daemon, told)
        }
    };
    (lived, Log::read(&log))
}

fn end(mut daemon: Daemon, told: Told) -> Lived {
    let mut stopped = None;
    if told.failed == 0 && !daemon.ends_within(Duration::ZERO) {
        stopped = Some(SystemTime::now());
        daemon.process().signal(Signal::TERM);
    }
    let hung = !daemon.ends_within(HANG);
    Lived { ended: if hung { daemon.kill() } else { daemon.ended() }, told, stopped, hung }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
