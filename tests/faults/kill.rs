//! SIGKILL on one data directory that survives all of them, a quarter of them while the daemon starts.

use std::time::Duration;

use crate::common::{Ended, Ledger};
use crate::kill_load::{self, Load};
use crate::round::{Outcome, Round, Seen};

/// Books are closed after so many kills: what is wrong is known soon after it went wrong.
const KILLS_OF_A_BOOK: usize = 50;
const MAX_LIFE_US: u64 = 400_000;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let kills = round.args.count(16, 500);
    let mut seen = Seen::default();
    let mut ended = round.never_started(|_| {});
    let mut load = Load::new(round.random.fork());
    let mut done = 0;
    let (mut acknowledged, mut in_starts) = (0, 0);
    while done < kills {
        let kills_now = KILLS_OF_A_BOOK.min(kills - done);
        let mut ledger = Ledger::default();
        let Some((after, starts)) = some(round, kills_now, ended, &mut load, &mut ledger, &mut seen) else { break };
        ended = after;
        done += kills_now;
        in_starts += starts;
        acknowledged += ledger.volume().0;
        seen.verdict.add(ledger.close());
        if !seen.verdict.is_clean() {
            break;
        }
    }
    if acknowledged == 0 && done > in_starts {
        seen.wrong.push("there was nothing to lose".into());
    }
    seen.outcome(&format!("{done} kills, {in_starts} of them in starts; {acknowledged} acknowledged"))
}

/// Kills so often, then gets all that is left and resets the queues, so that the next books begin with empty ones. Gives what is
/// left of the daemon, and how many kills came while it started.
fn some(
    round: &mut Round,
    kills: usize,
    mut ended: Ended,
    load: &mut Load,
    ledger: &mut Ledger,
    seen: &mut Seen,
) -> Option<(Ended, usize)> {
    let mut has_begun = false;
    let mut in_starts = 0;
    for kill in 0..kills {
        // Two in a row: what the first leaves half done is what the second finds.
        if kill % 8 < 2 {
            in_starts += 1;
            ended = ended.start_and_kill(seen.starts.moment(&mut round.random));
            continue;
        }
        let daemon = seen.start(ended, "a kill")?;
        if !std::mem::replace(&mut has_begun, true) {
            load.begin(&daemon, ledger);
        }
        load.check(&daemon, ledger);
        let time = Duration::from_micros(round.random.below(MAX_LIFE_US));
        ended = load.until_kill(daemon, time, ledger);
    }
    let daemon = seen.start(ended, "a kill")?;
    load.check(&daemon, ledger);
    kill_load::drain(&daemon, ledger);
    kill_load::reset(&daemon);
    Some((daemon.kill(), in_starts))
}
