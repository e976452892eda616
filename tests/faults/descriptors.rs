//! No descriptors left: more clients than the daemon may have files. Who is connected is served, the others wait, and the daemon
//! neither spins nor fills its log.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Ended, Ledger};
use crate::round::{Outcome, READY, Round, Seen};
use crate::script::{self, Script};

/// What a daemon gets.
const OPEN_FILES: u32 = 64;
const CLIENTS: usize = 200;
const STEPS: usize = 40;
/// How long the clients stay.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(10);
/// Of a processor, while nobody asks for anything.
const MAX_CPU: f64 = 0.05;
const MAX_LINES_PER_S: f64 = 2.0;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let time = if round.args.long { LONG } else { SHORT };
    let mut seen = Seen::default();
    let mut ledger = Ledger::default();
    let ended = round.never_started(|setup| {
        setup.open_files(OPEN_FILES);
    });
    let (ended, told) = crowd(round, ended, time, &mut ledger, &mut seen);
    if let Some(daemon) = seen.start(ended, "no descriptors") {
        script::check(&daemon, &mut ledger);
        seen.wrong.extend(script::drain(&daemon, &mut ledger).err());
    }
    seen.verdict.add(ledger.close());
    seen.outcome(&format!("{CLIENTS} clients of a daemon with {OPEN_FILES} files, {told}"))
}

fn crowd(round: &mut Round, ended: Ended, time: Duration, ledger: &mut Ledger, seen: &mut Seen) -> (Ended, String) {
    let daemon = ended.start_again();
    let mut script = Script::new(round.random.fork());
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut cpu = 0.0;
    let mut lines = 0;
    // One client that was there before all others, and stays.
    let told = script.run_while(&daemon, ledger, |told| {
        if told.done == STEPS && clients.is_empty() {
            clients = (0..CLIENTS).map(|_| TcpStream::connect(daemon.address()).unwrap()).collect();
            let (cpu_before, lines_before) = (daemon.process().cpu_s(), daemon.lines().len());
            thread::sleep(time);
            cpu = (daemon.process().cpu_s() - cpu_before) / time.as_secs_f64();
            lines = daemon.lines().len() - lines_before;
            // Of those that are left it may keep one or two for itself.
            assert!(daemon.process().open_files() + 2 >= OPEN_FILES as usize, "it has files left");
        }
        told.done < 2 * STEPS
    });
    if told.failed > 0 {
        seen.wrong.push(format!("who is connected is not served: {told:?}\n{}", daemon.lines().join("\n")));
    }
    let lines_per_s = lines as f64 / time.as_secs_f64();
    if cpu > MAX_CPU || lines_per_s > MAX_LINES_PER_S {
        seen.wrong.push(format!("it takes {cpu:.2} of a processor and logs {lines_per_s:.1} lines a second"));
    }
    drop(clients);
    let began = Instant::now();
    let after = script.run(&daemon, ledger, 1);
    if after.done != 1 || began.elapsed() > READY {
        seen.wrong.push(format!("a new client is served after {:?}: {after:?}", began.elapsed()));
    }
    let told = format!("{cpu:.3} of a processor, {lines} log lines in {time:?}, served {:.0?} after", began.elapsed());
    (daemon.kill(), told)
}
