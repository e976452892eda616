//! The control: a disk that lies. The same clients, books and power cut must report loss when what makes changes durable does
//! nothing, or they would not notice it in a daemon that forgets to call it.

use std::thread;
use std::time::Duration;

use crate::common::{Ended, Ledger};
use crate::disk::{Disk, Power};
use crate::power_cut;
use crate::round::{Outcome, Round, Seen};
use crate::script::{self, Script};
use crate::tools::Tool;
use crate::trace;

pub(crate) const NEEDS: &[Tool] =
    &[Tool::Root, Tool::Program("python3"), Tool::Program("mkfs.ext4"), Tool::Loop, Tool::Strace];

/// What lies: everything, after an honest life; and the last step alone, from the beginning. That step is what sled's own `flush`
/// leaves out: without it, what was written to blocks that are new to the file is gone.
const LIES: [(&str, &str, bool); 2] = [
    ("every sync lies", "fsync,fdatasync,sync_file_range,syncfs,sync,msync", true),
    ("fdatasync lies", "fdatasync", false),
];
const STEPS: usize = 60;
/// The kernel writes everything by itself when other programs of the machine have much to write, and then a lie does no harm. Not three
/// times in a row.
const ATTEMPTS: usize = 3;
/// After the last answer. Far less than the kernel waits before it writes by itself.
const BEFORE_THE_CUT: Duration = Duration::from_millis(100);

pub(crate) fn run(round: &mut Round) -> Outcome {
    let tries = round.args.count(1, 10);
    let mut power = Power::new();
    let mut told = Vec::new();
    let mut unnoticed = false;
    for (name, calls, has_honest_life) in LIES {
        for number in 0..tries {
            let mut lies = (0..ATTEMPTS).map(|_| lie(round, calls, has_honest_life, &mut power));
            let mut why = String::new();
            let loss = lies.find_map(|lie| lie.map_err(|not_reported| why = not_reported).ok());
            match loss {
                Some(loss) => told.push(format!("   {name}: reported: {loss}")),
                None => {
                    unnoticed = true;
                    told.push(format!("   {name}, try {number}, {ATTEMPTS} times: NOT REPORTED: {why}"));
                }
            }
        }
    }
    let text = told.join("\n");
    if unnoticed { Outcome::Failed(text) } else { Outcome::Passed(text) }
}

/// A life with a disk that is honest, if there is one, one with a disk that lies, and a power cut. Gives the loss that was reported.
fn lie(round: &mut Round, calls: &str, has_honest_life: bool, power: &mut Power) -> Result<String, String> {
    let disk = Disk::ext4(power_cut::DISK_MIB, "").unwrap();
    let mut ledger = Ledger::default();
    let mut script = Script::new(round.random.fork());
    let mut ended = round.never_started(|setup| {
        setup.set("DATA_DIR", disk.data().display());
    });
    if has_honest_life {
        let daemon = ended.start_again();
        assert_eq!(script.run(&daemon, &mut ledger, STEPS).failed, 0);
        ended = daemon.kill();
    }
    let log = ended.dir.path().join("strace.log");
    let ended = ended.with(|setup| {
        setup.under(trace::strace(&log, calls, Some("retval=0"), &[]));
    });
    let daemon = ended.start_again();
    script::check(&daemon, &mut ledger);
    let done = script.run(&daemon, &mut ledger, STEPS).done;
    thread::sleep(BEFORE_THE_CUT);
    disk.cut(power);
    let ended = daemon.kill();
    disk.remount().unwrap();
    assert!(done > 0, "nothing was promised");
    reported(
        ended.with(|setup| {
            setup.under([]);
        }),
        ledger,
    )
}

/// What the books, or the daemon, say after the power cut.
fn reported(ended: Ended, mut ledger: Ledger) -> Result<String, String> {
    let daemon = match ended.try_start_again() {
        Ok(daemon) => daemon,
        Err(ended) => return Ok(format!("refused: {}", ended.lines.last().map_or("", String::as_str))),
    };
    script::check(&daemon, &mut ledger);
    let drained = script::drain(&daemon, &mut ledger);
    let mut seen = Seen::default();
    seen.verdict.add(ledger.close());
    if let Err(why) = drained {
        return Ok(why);
    }
    seen.verdict.told.clear();
    if seen.verdict.lost > 0 { Ok(seen.verdict.to_string()) } else { Err(seen.verdict.to_string()) }
}
