//! Power cuts: the file system under the data directory is shut down while clients work, mounted again, and opened.
//!
//! What the kernel wrote by itself before the cut survives, so this reports too little rather than too much. What is answered in
//! the very instant of a cut is not owed: ext4 can answer a sync with success then for what is gone, to any program.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, Ended, Ledger, Random};
use crate::disk::{Disk, Power};
use crate::kill_load::{self, Load};
use crate::round::{Outcome, Round, Seen};
use crate::tools::Tool;

pub(crate) const NEEDS: &[Tool] = &[Tool::Root, Tool::Program("python3"), Tool::Program("mkfs.ext4"), Tool::Loop];
pub(crate) const DISK_MIB: u64 = 1024;
/// Each disk survives so many cuts.
const CUTS_OF_A_DISK: usize = 20;
const MAX_LIFE_MS: u64 = 800;
/// How long the daemon goes on without power. It ends by itself as soon as it writes.
const MAX_AFTERLIFE_MS: u64 = 50;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let cuts = round.args.count(10, 200);
    let mut seen = Seen::default();
    let mut power = Power::new();
    let (mut done, mut in_starts, mut acknowledged) = (0, 0, 0);
    while done < cuts && seen.wrong.is_empty() && seen.verdict.is_clean() {
        let options = if round.random.chance(50) { "" } else { "noauto_da_alloc" };
        let disk = Disk::ext4(DISK_MIB, options).unwrap();
        let mut ledger = Ledger::default();
        let cuts_now = CUTS_OF_A_DISK.min(cuts - done);
        let Some(starts) = some(round, cuts_now, &disk, &mut power, &mut ledger, &mut seen) else { break };
        done += cuts_now;
        in_starts += starts;
        acknowledged += ledger.volume().0;
        seen.verdict.add(ledger.close());
    }
    if acknowledged == 0 && done > in_starts {
        seen.wrong.push("there was nothing to lose".into());
    }
    seen.outcome(&format!("{done} power cuts, {in_starts} of them in starts; {acknowledged} acknowledged"))
}

/// Cuts so often, and gets all that is left; says how many cuts came while the daemon started.
fn some(
    round: &mut Round,
    cuts: usize,
    disk: &Disk,
    power: &mut Power,
    ledger: &mut Ledger,
    seen: &mut Seen,
) -> Option<usize> {
    let mut ended = round.never_started(|setup| {
        setup.set("DATA_DIR", disk.data().display());
    });
    let mut load = Load::new(round.random.fork());
    let mut has_begun = false;
    let mut in_starts = 0;
    for cut in 0..cuts {
        if cut % 8 < 2 {
            in_starts += 1;
            ended = ended.start_and(seen.starts.moment(&mut round.random), || disk.cut(power));
        } else {
            let daemon = seen.start(ended, "a power cut")?;
            if !std::mem::replace(&mut has_begun, true) {
                load.begin(&daemon, ledger);
            }
            load.check(&daemon, ledger);
            ended = work_and_cut(daemon, &mut load, ledger, disk, power, &mut round.random);
        }
        disk.remount().unwrap();
    }
    let daemon = seen.start(ended, "a power cut")?;
    load.check(&daemon, ledger);
    kill_load::drain(&daemon, ledger);
    daemon.kill();
    Some(in_starts)
}

/// Lets clients work for a while until the power is cut.
fn work_and_cut(
    daemon: Daemon,
    load: &mut Load,
    ledger: &mut Ledger,
    disk: &Disk,
    power: &mut Power,
    random: &mut Random,
) -> Ended {
    let life = Duration::from_millis(random.below(MAX_LIFE_MS));
    let afterlife = Duration::from_millis(random.below(MAX_AFTERLIFE_MS));
    load.until(daemon, ledger, |daemon| {
        thread::sleep(life);
        let at = Instant::now();
        disk.cut(power);
        thread::sleep(afterlife);
        (daemon.kill(), Some(at))
    })
}
