//! A disk that is full, on small file systems: others fill it, and make room again. Puts are refused and gets go on; the daemon
//! starts on a full one; puts go on within a second of there being room.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, Ended, Ledger};
use crate::disk::Disk;
use crate::round::{HANG, Outcome, READY, Round, Seen};
use crate::script::{self, Script, Told};
use crate::tools::Tool;

pub(crate) const NEEDS: &[Tool] = &[Tool::Root, Tool::Program("mkfs.ext4"), Tool::Loop];

const MIB: u64 = 1 << 20;
/// Several segments of the engine that takes most at once.
const DISK_MIB: u64 = 320;
const RESERVE_BYTES: u64 = 64 * MIB;
const STEPS: usize = 40;
/// How old the daemon's knowledge of the free space may be, and some. Within that a commit can meet a disk that was filled at
/// once, which is tried under load.
const LOOK_AGAIN: Duration = Duration::from_millis(40);
/// A disk that fills this long after the work has begun.
const MAX_BEFORE_FULL_MS: u64 = 150;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let tries = round.args.count(1, 20);
    let mut seen = Seen::default();
    let mut ended_full = 0;
    for number in 0..2 * tries {
        let disk = match number % 2 {
            0 => Disk::memory(DISK_MIB),
            _ => Disk::ext4(DISK_MIB, ""),
        };
        let disk = disk.unwrap();
        let mut ledger = Ledger::default();
        let Some(ended) = fill_and_free(round, &disk, &mut ledger, &mut seen) else { continue };
        let Some((ended, died)) = fill_under_load(round, &disk, ended, &mut ledger, &mut seen) else { continue };
        ended_full += usize::from(died);
        let Some(daemon) = seen.start(ended, "everything") else { continue };
        script::check(&daemon, &mut ledger);
        seen.wrong.extend(script::drain(&daemon, &mut ledger).err());
        seen.verdict.add(ledger.close());
    }
    seen.outcome(&format!("{} disks filled five times; {ended_full} daemons ended on a full one", 2 * tries))
}

/// Refused, drained, started full, and served again: in that order.
fn fill_and_free(round: &mut Round, disk: &Disk, ledger: &mut Ledger, seen: &mut Seen) -> Option<Ended> {
    let mut script = Script::new(round.random.fork());
    let ended = round.never_started(|setup| {
        setup.set("DATA_DIR", disk.data().display()).set("STORE_DISK_RESERVE_BYTES", RESERVE_BYTES);
    });
    let daemon = ended.start_again();
    note(script.run(&daemon, ledger, STEPS), Room::Enough, seen);

    let filler = disk.fill_up_to(RESERVE_BYTES / 2 + MIB);
    thread::sleep(LOOK_AGAIN);
    note(script.run(&daemon, ledger, STEPS), Room::None, seen);
    fs::remove_file(filler).unwrap();
    goes_on(&daemon, &mut script, ledger, seen);

    // To the last byte, and a start on that.
    let filler = disk.fill_up_to(0);
    thread::sleep(LOOK_AGAIN);
    note(script.run(&daemon, ledger, STEPS), Room::None, seen);
    let daemon = seen.start(daemon.kill(), "a kill on a full disk")?;
    script::check(&daemon, ledger);
    note(script.run(&daemon, ledger, STEPS), Room::None, seen);
    fs::remove_file(filler).unwrap();
    goes_on(&daemon, &mut script, ledger, seen);
    note(script.run(&daemon, ledger, STEPS), Room::Enough, seen);

    // Filled while it is down.
    let ended = daemon.kill();
    let filler = disk.fill_up_to(0);
    let daemon = seen.start(ended, "a kill, on a disk that was filled since")?;
    script::check(&daemon, ledger);
    note(script.run(&daemon, ledger, STEPS), Room::None, seen);
    fs::remove_file(filler).unwrap();
    goes_on(&daemon, &mut script, ledger, seen);
    Some(daemon.kill())
}

/// Another program takes everything at once, while puts are under way. The daemon may go on or end; what it promised is there.
fn fill_under_load(
    round: &mut Round,
    disk: &Disk,
    ended: Ended,
    ledger: &mut Ledger,
    seen: &mut Seen,
) -> Option<(Ended, bool)> {
    let daemon = seen.start(ended, "a kill with room")?;
    script::check(&daemon, ledger);
    // Numbers of its own: these messages are not those of the other client.
    let mut script = Script::other(round.random.fork());
    let before = Duration::from_millis(round.random.below(MAX_BEFORE_FULL_MS));
    let (filler, told) = thread::scope(|scope| {
        let filler = scope.spawn(|| {
            thread::sleep(before);
            disk.fill_up_to(0)
        });
        let told = script.run(&daemon, ledger, STEPS * 4);
        (filler.join().unwrap(), told)
    });
    if told.slowest > HANG {
        seen.wrong.push(format!("a request took {:?} on a full disk", told.slowest));
    }
    if told.done_after_failure > 0 {
        seen.wrong.push("something was done after a failure".into());
    }
    let died = told.failed > 0;
    let ended = if died { daemon.ended() } else { daemon.kill() };
    // It must start even now.
    let daemon = seen.start(ended, "a disk that was filled under load")?;
    script::check(&daemon, ledger);
    fs::remove_file(filler).unwrap();
    goes_on(&daemon, &mut script, ledger, seen);
    Some((daemon.kill(), died))
}

/// Whether puts are expected to find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    None,
}

fn note(told: Told, room: Room, seen: &mut Seen) {
    let was_refused = told.refused_puts > 0;
    if told.failed > 0 || told.slowest > HANG || was_refused != (room == Room::None) {
        seen.wrong.push(format!("with room {room:?}: {told:?}"));
    }
}

/// Puts go on within a second.
fn goes_on(daemon: &Daemon, script: &mut Script, ledger: &mut Ledger, seen: &mut Seen) {
    let began = Instant::now();
    let told = script.run_while(daemon, ledger, |told| told.puts == 0 && began.elapsed() < READY * 2);
    if told.puts == 0 || began.elapsed() > READY || told.failed > 0 {
        seen.wrong.push(format!("there is room for {:?}, and: {told:?}", began.elapsed()));
    }
}
