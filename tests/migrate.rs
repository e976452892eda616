//! `httpmq migrate`: from each engine to each other one, and killed at its system calls. Goal: all that was there is there,
//! exactly, in one engine, whatever happens.
//!
//! Method: a daemon fills a directory; what it shows of its queues (positions, and every unread message) is noted. After
//! each migration, or each kill and what comes after it, a daemon on that directory must show the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The figures, and why a test is skipped.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Client, Daemon, Ended, Random, Setup, forget_log, get};
use rustix::process::Signal;
use tempfile::TempDir;

const ENGINES: [&str; 2] = ["sled", "fjall"];
const QUEUES: [&str; 4] = ["jobs", "mail", "done", "nobody"];
/// What changes files, and what makes the changes durable.
const CALLS: [&str; 12] = [
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "rename",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "sync_file_range",
];
/// Of a call that is made more often than this, the first and the last are tried, and some between them.
const ALL_UP_TO: usize = 12;

#[test]
fn everything_moves_from_each_engine_to_each_other_one() {
    for from in ENGINES {
        let (full, expected) = filled(from);
        for to in ENGINES.into_iter().filter(|to| *to != from) {
            let dir = copy_of(full.path());
            let moved = migrate(dir.path(), to);
            assert_eq!(moved.status.code(), Some(0), "{moved:?}");
            let said = text(&moved.stdout);
            assert!(said.starts_with(&format!("moved data from {from} to {to}: 3 queues, ")), "{said}");
            assert!(text(&moved.stderr).contains("set [store] engine") == (to != "sled"), "{moved:?}");
            assert_eq!(engines_in(dir.path()), [to]);

            let refused = Daemon::start_in(dir, setup(from)).expect_err("the other engine has the messages");
            assert_eq!(refused.code(), Some(2));
            assert!(refused.said(&format!("httpmq migrate --to {from}")), "{:?}", refused.lines);
            let dir = check(refused.dir, to, &expected);

            let again = migrate(dir.path(), to);
            assert_eq!(
                (again.status.code(), text(&again.stdout)),
                (Some(0), format!("data has its messages in {to} already\n"))
            );
        }
    }
}

#[test]
fn what_cannot_be_moved_is_left_as_it_is() {
    let (full, expected) = filled("fjall");
    for (to, reason) in [("rocks", "there is no engine rocks"), ("memory", "there is no engine memory")] {
        refused(full.path(), to, reason);
    }
    let daemon = Daemon::start_in(full, setup("fjall")).unwrap();
    refused(daemon.data_dir().parent().unwrap(), "sled", "is in use by another httpmq");
    let full = daemon.stop(Signal::TERM).dir;

    let empty = tempfile::tempdir().unwrap();
    refused(empty.path(), "sled", "data is no data directory of httpmq");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);

    let mark = full.path().join("data/COMMIT");
    let good = fs::read(&mark).unwrap();
    fs::write(&mark, [0; 12]).unwrap();
    refused(full.path(), "sled", "is damaged");
    fs::write(&mark, good).unwrap();

    let file = fs::OpenOptions::new().write(true).open(full.path().join("data/fjall/0.jnl")).unwrap();
    let whole = fs::read(full.path().join("data/fjall/0.jnl")).unwrap();
    forget_log(&full.path().join("data"), "fjall");
    file.set_len(whole.len() as u64 / 2).unwrap();
    refused(full.path(), "sled", "the engine fjall");
    fs::write(full.path().join("data/fjall/0.jnl"), whole).unwrap();

    refused_with(full.path(), "sled", &[("HTTPMQ_STORE_DISK_RESERVE_BYTES", "1024 GiB")], "must be free for the copy");
    assert_eq!(engines_in(full.path()), ["fjall"]);
    check(full, "fjall", &expected);
}

#[test]
fn every_call_from_sled_to_fjall_may_be_the_last() {
    walk("sled", "fjall");
}

#[test]
fn every_call_from_fjall_to_sled_may_be_the_last() {
    walk("fjall", "sled");
}

// ===== kills =====

fn walk(from: &str, to: &str) {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: strace is not installed");
    }
    let mut random = Random::from_env("HTTPMQ_SEED");
    let (full, expected) = filled(from);
    let counts = calls(full.path(), to);
    let (mut kills, mut moved) = (0, 0);
    for (call, count) in counts {
        for k in tries(count, &mut random) {
            let dir = copy_of(full.path());
            let inject = format!("inject={call}:signal=SIGKILL:when={k}");
            strace(dir.path(), to, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            kills += 1;
            let format = fs::read_to_string(dir.path().join("data/FORMAT")).unwrap();
            let named = format.trim().strip_prefix("httpmq 1 ").unwrap().to_owned();
            assert!([from, to].contains(&named.as_str()), "{format}");
            moved += usize::from(named == to);
            println!("{from} to {to}, {call} {k} of {count}: {named}");
            // Every other time it is tried again before a daemon cleans up.
            if k % 2 == 0 {
                let again = migrate(dir.path(), to);
                assert_eq!(again.status.code(), Some(0), "{again:?}");
                check(dir, to, &expected);
            } else {
                check(dir, &named, &expected);
            }
        }
    }
    println!("{from} to {to}: {kills} kills, {moved} of them behind the switch");
    assert!(moved > 0 && moved < kills);
}

/// How often the main thread of a migration makes each call.
fn calls(full: &Path, to: &str) -> Vec<(&'static str, usize)> {
    let dir = copy_of(full);
    let trace = dir.path().join("trace");
    strace(dir.path(), to, &["-o", trace.to_str().unwrap(), "-e", &format!("trace={}", CALLS.join(","))]);
    assert_eq!(engines_in(dir.path()), [to]);
    let trace = fs::read_to_string(trace).unwrap();
    let main = trace.split(' ').next().unwrap();
    let made = |call: &str| {
        trace
            .lines()
            .filter_map(|line| line.strip_prefix(main)?.trim_start().strip_prefix(call))
            .filter(|rest| rest.starts_with('('))
            .count()
    };
    CALLS.map(|call| (call, made(call))).to_vec()
}

fn tries(count: usize, random: &mut Random) -> Vec<usize> {
    if count <= ALL_UP_TO {
        return (1..=count).collect();
    }
    let between = (0..ALL_UP_TO / 3).map(|_| usize::try_from(random.below(count as u64)).unwrap() + 1);
    let mut all: Vec<usize> = (1..=ALL_UP_TO / 3).chain(between).chain(count + 1 - ALL_UP_TO / 3..=count).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn strace(dir: &Path, to: &str, args: &[&str]) {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(args).arg(env!("CARGO_BIN_EXE_httpmq"));
    command.args(["migrate", "--to", to, "--data-dir=data"]).current_dir(dir);
    // Cargo's library path would have the loader open dozens of files that are not there.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

// ===== directories and what is in them =====

fn setup(engine: &str) -> Setup {
    let mut setup = Setup::default();
    setup.set("STORE_ENGINE", engine);
    setup
}

/// A directory with queues of all kinds, and what a daemon shows of them.
fn filled(engine: &str) -> (TempDir, Vec<String>) {
    let daemon = Ended::never_started(|all| {
        all.set("STORE_ENGINE", engine);
    });
    let daemon = daemon.start_again();
    let mut client = daemon.connect();
    for number in 0..60 {
        let bytes = if number % 20 == 7 { 300_000 } else { 100 * number };
        client.put("jobs", &format!("\"{number} {}\"", "x".repeat(bytes)));
        client.put("mail", &format!("{{\"n\": {number}.50}}"));
    }
    for _ in 0..13 {
        client.take("jobs").unwrap();
    }
    client.ask(get("/reset/?name=mail"));
    client.put("mail", "[1,  2]");
    client.put("done", "null_is_no_message".len().to_string().as_str());
    client.take("done").unwrap();
    let shown = contents(&mut client);
    assert!(shown.len() > 45, "{}", shown.len());
    (daemon.stop(Signal::TERM).dir, shown)
}

/// Positions and every unread message of all queues, in its exact text.
fn contents(client: &mut Client) -> Vec<String> {
    let mut shown = Vec::new();
    for queue in QUEUES {
        let Some(status) = client.status(queue) else { continue };
        shown.push(status.to_string());
        let first = status["get_pos"].as_u64().unwrap_or(0);
        for position in first..first + status["unread"].as_u64().unwrap() {
            shown.push(client.ask(get(&format!("/view/?name={queue}&position={position}"))).text().to_owned());
        }
    }
    shown
}

/// Starts a daemon with the engine, which must show what is expected and leave no other engine's files; stops it.
fn check(dir: TempDir, engine: &str, expected: &[String]) -> TempDir {
    let daemon = match Daemon::start_in(dir, setup(engine)) {
        Ok(daemon) => daemon,
        Err(ended) => panic!("does not start with {engine}: {}", ended.lines.join("\n")),
    };
    assert!(contents(&mut daemon.connect()) == expected, "the messages are not the same");
    assert_eq!(engines_in(daemon.data_dir().parent().unwrap()), [engine]);
    daemon.stop(Signal::TERM).dir
}

/// The directories in the data directory, of which each is an engine's.
fn engines_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("data")).unwrap().map(Result::unwrap);
    let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    // What is in front of an engine is a part of it.
    let names = dirs.map(|entry| entry.file_name().into_string().unwrap());
    let engines = names.map(|name| name.trim_end_matches(".wal").trim_end_matches(".blobs").to_owned());
    engines.collect::<BTreeSet<String>>().into_iter().collect()
}

fn copy_of(full: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    // The ballast, and most of sled's segments, are nothing.
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(full.join("data")).arg(dir.path()).status();
    assert!(copied.unwrap().success());
    let _ = fs::remove_file(dir.path().join("data/BALLAST"));
    dir
}

fn migrate(dir: &Path, to: &str) -> Output {
    migrate_with(dir, to, &[])
}

fn migrate_with(dir: &Path, to: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(["migrate", "--to", to, "--data-dir", "data"]).current_dir(dir);
    command.env_clear().envs(env.iter().copied()).output().unwrap()
}

fn refused(dir: &Path, to: &str, reason: &str) {
    refused_with(dir, to, &[], reason);
}

fn refused_with(dir: &Path, to: &str, env: &[(&str, &str)], reason: &str) {
    let refused = migrate_with(dir, to, env);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains(reason) && refused.stdout.is_empty(), "{refused:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
