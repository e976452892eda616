//! SIGSTOP and SIGCONT under load: a daemon that stood still loses nothing, and goes on at once.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::Ledger;
use crate::kill_load::{self, Load};
use crate::round::{Outcome, Round, Seen};

const SHORT: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(10);
const MAX_LIFE_MS: u64 = 300;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let pauses = round.args.count(2, 10);
    let time = if round.args.long { LONG } else { SHORT };
    let mut seen = Seen::default();
    let mut ledger = Ledger::default();
    let mut load = Load::new(round.random.fork());
    let mut daemon = round.never_started(|_| {}).start_again();
    load.begin(&daemon, &mut ledger);
    for _ in 0..pauses {
        let lives = [0; 2].map(|_| Duration::from_millis(round.random.below(MAX_LIFE_MS)));
        let ended = load.until(daemon, &mut ledger, |daemon| {
            thread::sleep(lives[0]);
            daemon.process().signal(Signal::STOP);
            thread::sleep(time);
            daemon.process().signal(Signal::CONT);
            thread::sleep(lives[1]);
            (daemon.kill(), None)
        });
        let Some(next) = seen.start(ended, "a pause and a kill") else { return seen.outcome("not all pauses") };
        daemon = next;
        load.check(&daemon, &mut ledger);
    }
    kill_load::drain(&daemon, &mut ledger);
    let acknowledged = ledger.volume().0;
    seen.verdict.add(ledger.close());
    seen.outcome(&format!("{pauses} pauses of {time:?}; {acknowledged} acknowledged"))
}
