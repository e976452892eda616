//! The daemon end to end over loopback, beside a bare hyper server (the floor), in alternating rounds:
//! `cargo bench --bench http -- --help`.
//!
//! Read in this order: [`rounds`] is the method, [`load`] the load generator, [`report`] the figures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table goes to standard output, the progress beside")]
#![allow(clippy::cast_possible_truncation, reason = "rates and counts, far from any limit")]

#[path = "../common/answer.rs"]
mod answer;
mod args;
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
#[path = "../common/options.rs"]
mod options;
#[path = "../common/processors.rs"]
mod processors;
#[path = "../common/queue.rs"]
mod queue;
mod report;
mod rounds;
#[path = "../common/server.rs"]
mod server;
#[path = "../common/stop.rs"]
mod stop;
mod table;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{
    args::{Args, SYNC_VARIABLE, Sync},
    machine::Machine,
    processors::Used,
    queue::{Queue, Work},
    report::{Case, DiskReference, Report},
    rounds::{Plan, Subject},
    server::Server,
};

/// The queue that the load goes to.
const QUEUE: &str = "bench";
/// A record of the disk reference: a message of 200 bytes in an envelope.
const DISK_RECORD_BYTES: usize = 220;
const DISK_TIME: Duration = Duration::from_secs(2);
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
    if let Some(port) = args.floor {
        return Ok(floor::run(port, args.single)?);
    }
    stop::listen()?;
    if args.self_check {
        check::quick()?;
        let cases = check::equals(CHECK_ROUNDS, CHECK_ROUND, args.size)?;
        println!("ok: the floor equals itself, under both names:\n\n{}", table::table(&cases)?);
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
    report.disk.push(disk(dir.path())?);
    for sync in &args.sync.0 {
        for work in &args.work.0 {
            for connections in &args.connections.0 {
                report.cases.push(case(args, dir.path(), *sync, *work, connections.0)?);
            }
        }
    }
    report.disk.push(disk(dir.path())?);
    println!("{}", report.disk_line());
    println!("\n{}", table::table(&report.cases)?);
    if let Some(json) = json {
        serde_json::to_writer_pretty(json, &report)?;
    }
    Ok(())
}

/// One load, on a daemon with a store of its own, so that no case pays for what another left behind.
fn case(args: &Args, dir: &Path, sync: Sync, work: Work, connections: usize) -> Result<Case, Box<dyn Error>> {
    eprintln!("{}, sync {}, {connections} connections", work.name(), sync.name());
    let dir = tempfile::tempdir_in(dir)?;
    let mut environment = vec![(SYNC_VARIABLE.to_owned(), sync.name().to_owned())];
    environment.extend(args.env.iter().cloned());
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_httpmq"));
    let program = args.daemon.clone().unwrap_or_else(built);
    let floor = Server::floor()?;
    let daemon = Server::daemon(&program, dir.path(), &environment, &["http"])?;
    let queue = Queue { addr: daemon.addrs[0], name: QUEUE, size: args.size };
    let Args { size, rounds, seconds: round, .. } = *args;
    let plan = Plan { work, connections, size, rounds, round, warm_up: WARM_UP.min(round) };
    let subjects = [Subject { server: &floor, queue: None }, Subject { server: &daemon, queue: Some(queue) }];
    Ok(Case::new(&plan, sync.name(), &rounds::alternate(&plan, &subjects)?))
}

fn disk(dir: &Path) -> Result<DiskReference, Box<dyn Error>> {
    let used = Used::now(None);
    let rate = disk::append_and_sync(dir, DISK_RECORD_BYTES, DISK_TIME)?;
    let others_share = used.and_then(|used| used.shares(None)).map(|shares| shares.others);
    Ok(DiskReference { rate, others_share })
}
