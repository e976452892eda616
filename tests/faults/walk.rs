//! A walk through one recovery: a kill at every call that it makes on files, each time from the same unclean directory, and then
//! three starts. Kills at random hardly ever hit what takes a microsecond.

use crate::base::Base;
use crate::common::Ended;
use crate::round::{Outcome, Round, Seen};
use crate::script;
use crate::tools::Tool;
use crate::trace::{self, CALLS, Log};

pub(crate) const NEEDS: &[Tool] = &[Tool::Strace];

const STEPS: usize = 60;
const STARTS: usize = 3;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let base = Base::make(round, STEPS);
    let mut cases = cases(round, &base);
    for at in (1..cases.len()).rev() {
        cases.swap(at, round.random.index(at + 1));
    }
    let all = cases.len();
    let from = round.args.from;
    let tries = round.args.count(12, usize::MAX).min(all - from.min(all));
    let mut seen = Seen::default();
    let mut killed = 0;
    for (call, k) in cases.into_iter().skip(from).take(tries) {
        killed += usize::from(one(round, &base, call, k, &mut seen));
    }
    if all == 0 || killed * 4 < tries * 3 {
        seen.wrong.push(format!("only {killed} of {tries} calls were reached"));
    }
    seen.outcome(&format!("{tries} of {all} calls of a recovery, killed at {killed}"))
}

/// Every call of a recovery.
fn cases(round: &Round, base: &Base) -> Vec<(&'static str, usize)> {
    let (ended, log) = traced(round, base, &CALLS.join(","), None);
    let _ended = ended.start_again().kill();
    let counts = Log::read(&log).counts();
    counts.into_iter().flat_map(|(call, count)| (1..=count).map(move |k| (call, k))).collect()
}

/// Kills a recovery there, and starts three times; says whether it came that far.
fn one(round: &Round, base: &Base, call: &'static str, k: usize, seen: &mut Seen) -> bool {
    let (ended, _) = traced(round, base, call, Some(&format!("signal=SIGKILL:when={k}")));
    let (mut ended, was_killed) = match ended.try_start_again() {
        Ok(daemon) => (daemon.kill(), false),
        Err(ended) => {
            let was_killed = ended.code().is_none();
            (*ended, was_killed)
        }
    };
    ended = ended.with(|setup| {
        setup.under([]);
    });
    let mut ledger = base.ledger.clone();
    for start in 1..=STARTS {
        let Some(daemon) = seen.start(ended, &format!("a kill at {call} {k}, start {start}")) else {
            return was_killed;
        };
        script::check(&daemon, &mut ledger);
        if start == STARTS
            && let Err(why) = script::drain(&daemon, &mut ledger)
        {
            seen.wrong.push(format!("{call} {k}: {why}"));
        }
        ended = daemon.kill();
    }
    seen.verdict.add(ledger.close());
    was_killed
}

fn traced(round: &Round, base: &Base, calls: &str, inject: Option<&str>) -> (Ended, std::path::PathBuf) {
    let copy = base.copy(round, |_, _| {});
    let log = copy.dir.path().join("strace.log");
    let words = trace::strace(&log, calls, inject, &[]);
    let copy = copy.with(|setup| {
        setup.under(words);
    });
    (copy, log)
}
