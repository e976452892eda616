//! Bad input, whole and in pieces.
//!
//! Goal: each input of `tests/bad_input/` gets its verdict from one real daemon, the same wherever it is cut in two; what stands
//! behind it is done exactly when the verdict says so; the daemon never panics, takes little memory, and serves the next client.
//!
//! Method: each case is sent whole, and once for each cut, over a connection of its own, with the requests of a probe behind it.
//! Cases up to 400 bytes are cut at every byte, longer ones at every byte of their first and last 200 and at 16 places between.
//! That the first piece was read before the second is sent is seen in the system's table of sockets. Every connection is read to
//! its end: either the input ends it, or the probe does, or the client closes its side where nothing stands behind the input.
//! `tests/bad_input/cases.rs` has the format of the files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;
#[path = "bad_input/cases.rs"]
mod cases;
#[path = "bad_input/doors.rs"]
mod doors;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cases::{Case, escape};
use common::{Client, Daemon, Process, get, wait_for};
use doors::{Door, Script};
use rustix::process::Signal;
use socket2::SockRef;

const FILES: [(Door, &str); 7] = [
    (Door::Http, include_str!("bad_input/http.txt")),
    (Door::Query, include_str!("bad_input/query.txt")),
    (Door::Form, include_str!("bad_input/query.txt")),
    (Door::Body, include_str!("bad_input/body.txt")),
    (Door::CoreMq, include_str!("bad_input/coremq.txt")),
    (Door::Frame, include_str!("bad_input/frame.txt")),
    (Door::WebSocket, include_str!("bad_input/websocket.txt")),
];
/// Fewer cases than this are a mistake in how they are found.
const FEWEST_CASES: usize = 300;
/// Below a message's default limit, so that what is over it is short.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Cases up to this length are cut everywhere.
const SHORT_BYTES: usize = 400;
/// How much of both ends of a longer case is cut everywhere, and how often it is cut between.
const END_BYTES: usize = SHORT_BYTES / 2;
const CUTS_BETWEEN: usize = 16;
/// As many connections at a time, and bytes on them: enough that nobody waits for one, and bounded.
const BATCH: usize = 300;
const BATCH_BYTES: usize = 8 << 20;
const THREADS: usize = 2;
/// What the daemon may take at most, in any of this.
const MAX_RSS_BYTES: u64 = 256 << 20;

/// One connection to be made.
struct Attempt<'a> {
    door: Door,
    case: &'a Case,
    /// How much is sent first; `None`: all at once.
    cut: Option<usize>,
    script: Arc<Script>,
}

#[test]
fn every_bad_input_has_its_verdict_wherever_it_is_cut() {
    let files = FILES.map(|(door, text)| (door, cases::parse(text)));
    let count: usize = files.iter().map(|(_, cases)| cases.len()).sum();
    assert!(count >= FEWEST_CASES, "only {count} cases");
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", MAX_MESSAGE_BYTES);
        // Who waits here for the other pieces of a batch is not slow.
        setup.set("HTTP_HEADER_TIMEOUT_S", 60).set("HTTP_BODY_TIMEOUT_S", 60);
    });
    daemon.connect().put("known", "\"value\"");
    let whole = |door: Door, case| Attempt { door, case, cut: None, script: Arc::new(door.script(case)) };
    let wholes = files.iter().flat_map(|(door, cases)| cases.iter().map(move |case| whole(*door, case)));
    let (mut wrong, mut opened) = (Vec::new(), HashMap::new());
    let mut verdicts = HashMap::new();
    for (attempt, seen) in run(&daemon, wholes.collect()) {
        note_open(&mut opened, &attempt, &seen);
        if !attempt.case.expects(&seen) {
            wrong.push(format!("{}\n{}", attempt.about(), lines(&seen)));
        }
        verdicts.insert((attempt.door as usize, &attempt.case.name), seen);
    }
    let cuts = files.iter().flat_map(|(door, cases)| cases.iter().flat_map(|case| cuts(*door, case)));
    for (attempt, seen) in run(&daemon, cuts.collect()) {
        note_open(&mut opened, &attempt, &seen);
        let whole = &verdicts[&(attempt.door as usize, &attempt.case.name)];
        if seen != *whole {
            wrong.push(format!("{}\n{}but whole\n{}", attempt.about(), lines(&seen), lines(whole)));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases and their cuts:\n\n{}", wrong.len(), wrong.join("\n"));
    check_what_was_done(&daemon, &opened);
    check_the_daemon(daemon);
}

/// What stands behind a case was done as often as the verdict says: never more, and never unseen.
fn check_what_was_done(daemon: &Daemon, opened: &HashMap<String, u64>) {
    let mut client = daemon.connect();
    for (door, _) in FILES {
        let queue = door.probe_queue();
        assert_eq!(client.status(&queue).unwrap()["put_pos"], opened[&queue], "{queue}");
    }
    assert_eq!(client.status("smuggled"), None, "what is inside of a case is data");
}

#[allow(clippy::print_stdout)] // It belongs to the test's report.
fn check_the_daemon(daemon: Daemon) {
    let rss_bytes = daemon.process().peak_rss_bytes();
    println!("the daemon took {} MiB at most", rss_bytes >> 20);
    assert!(rss_bytes < MAX_RSS_BYTES, "the daemon took {rss_bytes} bytes");
    let ended = daemon.stop(Signal::TERM);
    assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
    assert!(!ended.said("panicked"), "{:?}", ended.lines);
}

// ===== what is sent =====

impl Attempt<'_> {
    fn about(&self) -> String {
        let bytes = match self.cut {
            None => escape(&self.case.bytes),
            Some(cut) => format!("cut at {cut}: {}", escape(&self.script.bytes)),
        };
        format!("{:?}: {}\n  {bytes}", self.door, self.case.name)
    }

    fn pieces(&self) -> (&[u8], &[u8]) {
        self.script.bytes.split_at(self.cut.unwrap_or(self.script.bytes.len()))
    }
}

/// An attempt for each place where a case is cut.
fn cuts(door: Door, case: &Case) -> impl Iterator<Item = Attempt<'_>> {
    let script = Arc::new(door.script(case));
    let (from, to) = script.own;
    let length = to - from;
    let between = (1..=CUTS_BETWEEN).map(|n| from + n * length / (CUTS_BETWEEN + 1));
    let is_long = length > SHORT_BYTES;
    let ends = (from..=to).filter(move |at| !is_long || at - from <= END_BYTES || to - at <= END_BYTES);
    let places: HashSet<usize> = ends.chain(between.filter(|_| is_long)).filter(|at| *at > 0).collect();
    places.into_iter().map(move |cut| Attempt { door, case, cut: Some(cut), script: script.clone() })
}

fn note_open(opened: &mut HashMap<String, u64>, attempt: &Attempt<'_>, seen: &[String]) {
    *opened.entry(attempt.door.probe_queue()).or_default() += u64::from(seen.last().is_some_and(|line| line == "open"));
}

fn lines(verdict: &[String]) -> String {
    verdict.iter().map(|line| format!("= {line}\n")).collect()
}

// ===== how it is sent =====

/// Makes all attempts, some hundreds at a time; gives what was seen.
#[allow(clippy::print_stdout)] // It belongs to the test's report.
fn run<'a>(daemon: &Daemon, attempts: Vec<Attempt<'a>>) -> Vec<(Attempt<'a>, Vec<String>)> {
    println!("{} connections", attempts.len());
    let (left, seen) = (Mutex::new(attempts), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let batch = take_batch(&mut left.lock().unwrap());
                    if batch.is_empty() {
                        break;
                    }
                    let done = run_batch(daemon, batch);
                    seen.lock().unwrap().extend(done);
                    // The next client.
                    assert_eq!(daemon.connect().ask(get("/queue/?name=none")).message(), "HTTPMQ_EMPTY");
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

fn take_batch<'a>(left: &mut Vec<Attempt<'a>>) -> Vec<Attempt<'a>> {
    let mut bytes = 0;
    let fits = |attempt: &&Attempt<'_>| {
        bytes += attempt.script.bytes.len();
        bytes <= BATCH_BYTES
    };
    let count = left.iter().rev().take(BATCH).take_while(fits).count();
    left.split_off(left.len() - count)
}

fn run_batch<'a>(daemon: &Daemon, batch: Vec<Attempt<'a>>) -> Vec<(Attempt<'a>, Vec<String>)> {
    let mut clients: Vec<_> = batch.iter().map(|attempt| Client::connect(attempt.door.address(daemon))).collect();
    clients.iter_mut().zip(&batch).for_each(|(client, attempt)| client.send(&attempt.script.greeting));
    // What is sent whole does not wait for the answer to its greeting.
    let waiting = clients.iter().zip(&batch).filter(|(_, a)| a.cut.is_some() && !a.script.greeting.is_empty());
    waiting.for_each(|(client, _)| wait_for("the greeting", || has_head(&client.stream).then_some(())));
    let mut ports = HashSet::new();
    for (client, attempt) in clients.iter_mut().zip(&batch) {
        client.send_if_open(attempt.pieces().0);
        ports.insert(client.stream.local_addr().unwrap().port());
    }
    wait_for("the daemon to read the first pieces", || all_read(daemon.process(), &ports).then_some(()));
    for (client, attempt) in clients.iter_mut().zip(&batch) {
        client.send_if_open(attempt.pieces().1);
        if attempt.case.is_last {
            // It may be closed already.
            let _ = client.stream.shutdown(Shutdown::Write);
        }
    }
    let read = |(client, attempt): (Client, Attempt<'a>)| {
        // Closed by a reset when all is read, a connection is gone from the system's table, which would be slow to read otherwise.
        let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        let seen = attempt.door.verdict(client, attempt.case);
        (attempt, seen)
    };
    clients.into_iter().zip(batch).map(read).collect()
}

/// Whether the head of an answer has come; it stays to be read.
fn has_head(stream: &TcpStream) -> bool {
    let mut head = [0; 1024];
    let length = stream.peek(&mut head).unwrap();
    head[..length].windows(4).any(|four| four == b"\r\n\r\n")
}

/// Whether the daemon has read all that came from these ports of ours, or closed. The system's table has a row for each socket:
/// number, own address, the other's address, state, and what waits to be sent and to be read, in hexadecimal.
fn all_read(daemon: Process, ports: &HashSet<u16>) -> bool {
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", daemon.0)).unwrap();
    table.lines().skip(1).all(|row| {
        let mut fields = row.split_ascii_whitespace().skip(2);
        let (other, state, waiting) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        let port = u16::from_str_radix(other.rsplit(':').next().unwrap(), 16).unwrap();
        !["01", "08"].contains(&state) || !ports.contains(&port) || waiting.ends_with(":00000000")
    })
}
