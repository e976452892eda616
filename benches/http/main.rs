//! The daemon end to end over loopback, beside a bare hyper server (the floor), in alternating rounds:
//! `cargo bench --bench http -- --help`.
//!
//! Read in this order: [`rounds`] is the method, [`subjects`], [`neighbours`] and [`backlog`] what is compared, [`load`] the load generator,
//! [`case`] the figures, [`charts`] their pictures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table goes to standard output, the progress beside")]
#![allow(clippy::cast_possible_truncation, reason = "rates and counts, far from any limit")]

#[path = "../common/answer.rs"]
mod answer;
mod args;
mod backlog;
mod case;
mod charts;
mod check;
#[path = "../common/connection.rs"]
mod connection;
#[path = "../common/disk.rs"]
mod disk;
#[path = "../common/figures.rs"]
mod figures;
mod floor;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/machine.rs"]
mod machine;
mod neighbours;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/processors.rs"]
mod processors;
#[path = "../common/queue.rs"]
mod queue;
mod report;
mod rounds;
#[path = "../common/schedule.rs"]
mod schedule;
#[path = "../common/server.rs"]
mod server;
#[path = "../common/stop.rs"]
mod stop;
mod subjects;
mod svg;
mod table;

use std::{error::Error, fs, path::Path, process::ExitCode, time::Duration};

use crate::{
    args::{Args, Sync},
    case::Case,
    machine::Machine,
    queue::Work,
    report::Report,
    rounds::{Disk, Plan, Subject},
};

/// What a record of the disk reference has beside the text of a message: the envelope that a daemon would store with it.
const ENVELOPE_BYTES: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
/// The self-check compares equals, so its rounds need not be long; many make it steady beside other work on the machine.
const CHECK_ROUND: Duration = Duration::from_millis(200);
const CHECK_ROUNDS: usize = 10;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        // cargo bench says --bench; without it this is cargo test --all-targets, which wants a test.
        return check::quick();
    }
    let args: Args = options::parse("http", &words);
    args.check()?;
    if let Some(port) = args.floor {
        return Ok(floor::run(port, args.size, args.single, args.synced.as_deref())?);
    }
    if let Some(dir) = &args.plot {
        return charts::draw(dir, &args.reports);
    }
    stop::listen()?;
    if args.self_check {
        check::quick()?;
        let cases = check::equals(CHECK_ROUNDS, CHECK_ROUND, args.size)?;
        println!("ok: the floor equals itself, under both names:\n\n{}", table::table(&cases, args.size)?);
        return Ok(());
    }
    measure(&args)
}

/// All that was asked for, and the report on it.
fn measure(args: &Args) -> Result<(), Box<dyn Error>> {
    let json = args.json.as_ref().map(fs::File::create).transpose()?;
    // In target/, because a temporary directory may be in memory, where a sync costs nothing.
    let dir = tempfile::Builder::new().prefix("bench-http-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::new(args, Machine::look(dir.path()));
    println!("{}", report.head());
    for sync in &args.sync.0 {
        match args.backlog {
            Some(messages) => measure_backlogs(args, dir.path(), *sync, messages, &mut report)?,
            None => measure_loads(args, dir.path(), *sync, &mut report)?,
        }
    }
    println!("\n{}", table::table(&report.cases, args.size)?);
    if let Some(json) = json {
        serde_json::to_writer_pretty(json, &report)?;
    }
    Ok(())
}

/// Each load on stores of its own, so that none pays for what another left behind.
fn measure_loads(args: &Args, dir: &Path, sync: Sync, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for (work, connections) in args.loads() {
        let Some(queues) = args.queues else {
            let mut subjects = subjects::floor_and_others(args, dir, sync, work)?;
            report.cases.extend(cases(args, dir, sync, work, connections, &mut subjects)?);
            continue;
        };
        for engine in &args.engines.0 {
            let mut subjects = subjects::one_and_many(args, dir, sync, engine, queues)?;
            report.cases.extend(cases(args, dir, sync, work, connections, &mut subjects)?);
        }
    }
    Ok(())
}

/// All loads on the same stores: to put a backlog takes minutes.
fn measure_backlogs(
    args: &Args,
    dir: &Path,
    sync: Sync,
    messages: u64,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    for engine in &args.engines.0 {
        let (mut subjects, backlog) = backlog::measure(args, dir, sync, engine, messages)?;
        println!("{backlog}");
        report.backlogs.push(backlog);
        for (work, connections) in args.loads() {
            report.cases.extend(cases(args, dir, sync, work, connections, &mut subjects)?);
        }
    }
    Ok(())
}

/// One load as fast as the servers can, and at half of that if it is asked for.
fn cases(
    args: &Args,
    dir: &Path,
    sync: Sync,
    work: Work,
    connections: usize,
    subjects: &mut [Subject],
) -> Result<Vec<Case>, Box<dyn Error>> {
    eprintln!("{}, sync {}, {connections} connections", work.name(), sync.name());
    let Args { size, rounds, seconds: round, .. } = *args;
    // Where nobody waits for the disk, it is no reference.
    let disk = Disk { dir: dir.to_owned(), record_bytes: size + ENVELOPE_BYTES };
    let disk = (sync == Sync::Always).then_some(disk);
    let mut plan = Plan { work, connections, size, rounds, round, warm_up: WARM_UP.min(round), disk };
    let mut cases = vec![Case::new(&plan, sync.name(), subjects, &rounds::alternate(&plan, subjects)?)];
    if args.half {
        for (subject, side) in subjects.iter_mut().zip(&cases[0].sides) {
            subject.per_s = Some(side.per_s / 2.0);
        }
        eprintln!("  at half the rate");
        plan.disk = None;
        cases.push(Case::new(&plan, sync.name(), subjects, &rounds::alternate(&plan, subjects)?));
        subjects.iter_mut().for_each(|subject| subject.per_s = None);
    }
    Ok(cases)
}
