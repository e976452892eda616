//! SIGKILL at every system call that changes a file, one after the other. Goal: there is no moment at which a kill leaves a
//! directory that the daemon does not start on, or one that holds anything but what was promised.
//!
//! Method: strace kills the daemon where it makes a call of one kind for the k-th time in a thread. One client, which
//! knows what its queue must hold, works until then; a plain start is checked against it. Kills at random hardly ever hit
//! what takes a microsecond.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The figures, and why a test is skipped.

mod common;
mod kill_load;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Ended, Random};
use kill_load::Resets;
use rustix::process::{Pid, Signal, kill_process};

/// What changes files, and what makes the changes durable.
const CALLS: [&str; 12] = [
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "fallocate",
    "rename",
    "unlink",
    "unlinkat",
    "fsync",
    "fdatasync",
    "sync_file_range",
];
/// The calls of a daemon at work have no end; those of a start have come to theirs by then.
const MAX_CALLS: u32 = 8;
const MAX_CALLS_OF_A_START: u32 = 80;
/// A life that is not killed by then makes no such call that often.
const REQUESTS: usize = 30;

#[test]
fn every_call_of_a_first_start_may_be_the_last() {
    first_start("sled");
}

#[test]
fn every_call_of_a_first_start_may_be_the_last_with_fjall() {
    first_start("fjall");
}

#[test]
fn every_call_of_a_restart_and_of_the_work_after_it_may_be_the_last() {
    restart_and_work("sled");
}

#[test]
fn every_call_of_a_restart_and_of_the_work_after_it_may_be_the_last_with_fjall() {
    restart_and_work("fjall");
}

fn first_start(engine: &str) {
    walk(&format!("{engine}, first start"), |call, k, random| {
        let ended = never_started(engine);
        let mut client = Resets::new(random);
        let was_killed = live_and_die(engine, ended.dir.path(), call, k, &mut client, 1);
        check(ended, &mut client);
        was_killed && k < MAX_CALLS_OF_A_START
    });
}

fn restart_and_work(engine: &str) {
    let mut state = None;
    walk(&format!("{engine}, restart and work"), |call, k, random| {
        let (ended, mut client) = state.take().unwrap_or_else(|| (never_started(engine), Resets::new(random)));
        let was_killed = live_and_die(engine, ended.dir.path(), call, k, &mut client, REQUESTS);
        let ended = check(ended, &mut client);
        state = Some((ended, client));
        was_killed && k < MAX_CALLS
    });
}

fn never_started(engine: &str) -> Ended {
    Ended::never_started(|setup| {
        setup.set("STORE_ENGINE", engine);
    })
}

/// Tries each call for the first time, the second time and so on while `life` says so.
fn walk(what: &str, mut life: impl FnMut(&str, u32, Random) -> bool) {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: strace is not installed");
    }
    let mut random = Random::from_env("HTTPMQ_SEED");
    let mut walked = Vec::new();
    for call in CALLS {
        let kills = (1..).find(|k| !life(call, *k, random.fork())).unwrap();
        walked.push(format!("{call} {kills}"));
    }
    println!("{what}: {}", walked.join(", "));
}

/// Starts, checks, and kills, so that the next start has something to recover from.
fn check(ended: Ended, client: &mut Resets) -> Ended {
    let daemon = ended.start_again();
    client.check(&mut daemon.connect());
    client.until_kill(daemon.address(), 2);
    daemon.kill()
}

/// A daemon under strace.
struct Traced(Child);

impl Drop for Traced {
    /// strace ends when the daemon has; a strace that is killed would leave the daemon alone.
    fn drop(&mut self) {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // It may be gone by now, which is as well.
            let _ = kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), Signal::KILL);
        }
        self.0.wait().unwrap();
    }
}

/// Starts a daemon that is killed where it makes a call for the k-th time, and works on it; says whether it was.
fn live_and_die(engine: &str, dir: &Path, call: &str, k: u32, client: &mut Resets, requests: usize) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={k}"), env!("CARGO_BIN_EXE_httpmq")]);
    command.args(["--port=0", "--tcp-port=0", "--data-dir=data"]).current_dir(dir);
    // Cargo's library path would have the loader open dozens of files that are not there.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HTTPMQ_STORE_ENGINE", engine);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut traced = Traced(command.spawn().unwrap());
    let said = BufReader::new(traced.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = said.filter_map(|line| line.split_once("http listening on ")?.1.parse().ok()).next();
    address.is_none_or(|address| client.until_kill(address, requests))
}
