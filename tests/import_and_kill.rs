//! `put --lines` and `get --all` on a large real text, with the daemon killed under them. Goal: what a user is promised who
//! does as the README says: every line that was acknowledged comes out once, in order, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The figures, and why a test is skipped.

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, get};

/// How many lines the text has at least.
const LINES: usize = 100_000;
/// The most lines under way: so many may be stored and not acknowledged when the daemon dies.
const REQUESTS: usize = 64;
/// Larger files than this are tables, of which a few would be all of the text.
const MAX_FILE_BYTES: u64 = 256 << 10;
const QUEUE: &str = "lines";

/// Lines that other programs trip over. Each is one line here: only `\n` ends one.
const ODD_LINES: &str = "\n \n\t\n\r\nends with a return\r\n\"quoted\" \\n \\u0000 \\\n{\"json\": [1, 2.50]}\nnull\n\
    \u{0}\n\u{1b}[2J\u{7f}\n\u{feff}mark\none\u{2028}two\u{85}three\u{b}four\nné 世界 🦀 e\u{301} \u{202e}\n\u{ffff}\u{10ffff}\n";

fn command(daemon: &Daemon, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).env("HTTPMQ_URL", format!("http://{}", daemon.address()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `put --lines` of what a file has from where it stands.
fn import(daemon: &Daemon, text: File) -> Child {
    command(daemon, &["put", QUEUE, "--lines", "--requests", &REQUESTS.to_string()]).stdin(text).spawn().unwrap()
}

fn number(output: &[u8]) -> usize {
    std::str::from_utf8(output).unwrap().trim_end().parse().unwrap()
}

/// A member of the status, as a user asks for it; 0 where there is none yet.
fn status(daemon: &Daemon, member: &str) -> usize {
    let Output { stdout, .. } = command(daemon, &["status", QUEUE, "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&stdout).unwrap_or_default();
    usize::try_from(status[member].as_u64().unwrap_or(0)).unwrap()
}

/// Where a line begins.
fn offset(text: &[u8], line: usize) -> usize {
    text.split_inclusive(|byte| *byte == b'\n').take(line).map(<[u8]>::len).sum()
}

#[test]
fn a_text_survives_a_kill_half_way() {
    let Some(text) = real_text() else { return eprintln!("skipped: no sources of other crates to read") };
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    fs::write(&path, &text).unwrap();
    let began = Instant::now();

    let daemon = Daemon::start(|_| {});
    let first = import(&daemon, File::open(&path).unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    while status(&daemon, "put_pos") < lines / 2 {
        assert!(Instant::now() < deadline, "the import does not get on");
        thread::sleep(Duration::from_millis(20));
    }
    let killed = daemon.kill();
    let said = first.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(5), "{}", String::from_utf8_lossy(&said.stderr));
    let acknowledged = number(&said.stdout);

    // What is to come is not about the disk any more, and one commit for each get would take minutes.
    let daemon = killed.with(|setup| {
        setup.set("STORE_SYNC", "never");
    });
    let daemon = daemon.start_again();
    let ready_after = daemon.ready_after;
    let stored = status(&daemon, "put_pos");
    assert!((acknowledged..=acknowledged + REQUESTS).contains(&stored), "{acknowledged} acknowledged, {stored} stored");
    assert!((lines / 2 - REQUESTS..lines).contains(&acknowledged), "{acknowledged} of {lines} is not half-way");
    let mut rest = File::open(&path).unwrap();
    rest.seek(SeekFrom::Start(offset(&text, stored) as u64)).unwrap();
    let said = import(&daemon, rest).wait_with_output().unwrap();
    assert_eq!((said.status.code(), number(&said.stdout)), (Some(0), lines - stored));
    let daemon = daemon.kill().start_again();
    assert_eq!((status(&daemon, "put_pos"), status(&daemon, "unread")), (lines, lines));
    let imported = began.elapsed();

    check_equal(&get_all(&daemon, lines), &text);
    assert_eq!(status(&daemon, "unread"), 0);
    println!(
        "{lines} lines, {} bytes: killed at {acknowledged} acknowledged, {stored} stored, back after {ready_after:.0?}; \
         in after {imported:.1?}, out after {:.1?}",
        text.len(),
        began.elapsed()
    );
}

/// All lines as they come out. `get` takes one message at a time, which with a program that is not optimised takes a minute for
/// 60,000 of them. So unless `HTTPMQ_BY_COMMAND` is set it gets the first and the last ones, and those between are got over
/// several connections and put together by their positions, each of which must be there once.
fn get_all(daemon: &Daemon, lines: usize) -> Vec<u8> {
    const BY_COMMAND: usize = 10_000;
    let run = |words: &[&str]| {
        let said = command(daemon, words).output().unwrap();
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
        said.stdout
    };
    if std::env::var_os("HTTPMQ_BY_COMMAND").is_some() {
        return run(&["get", QUEUE, "--all"]);
    }
    let mut found = run(&["get", QUEUE, "-n", &BY_COMMAND.to_string()]);
    let between = BY_COMMAND..lines - BY_COMMAND;
    let got = get_side_by_side(daemon, between.len());
    assert!(got.iter().map(|(position, _)| *position).eq(between), "each position between comes once");
    got.iter().for_each(|(_, line)| writeln!(found, "{line}").unwrap());
    found.extend(run(&["get", QUEUE, "--all"]));
    found
}

/// So many messages, ordered by position.
fn get_side_by_side(daemon: &Daemon, count: usize) -> Vec<(usize, String)> {
    let tickets = AtomicUsize::new(0);
    let take = || {
        let mut client = daemon.connect();
        let mut got = Vec::new();
        while tickets.fetch_add(1, Ordering::Relaxed) < count {
            let response = client.ask(get(&format!("/queue/?name={QUEUE}")));
            let position = response.header("Pos").unwrap().parse().unwrap();
            got.push((position, response.json()["data"].as_str().unwrap().to_owned()));
        }
        got
    };
    let mut got: Vec<_> = thread::scope(|scope| {
        let takers: Vec<_> = (0..16).map(|_| scope.spawn(take)).collect();
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    got.sort_unstable();
    got
}

#[test]
fn what_was_printed_before_a_kill_does_not_come_again() {
    const COUNT: usize = 5_000;
    let text: String = (0..COUNT).map(|line| format!("line {line}\n")).collect();
    let daemon = Daemon::start(|_| {});
    let mut put = import_piped(&daemon);
    put.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert_eq!(number(&put.wait_with_output().unwrap().stdout), COUNT);

    let all = ["get", QUEUE, "--all"];
    let mut getting = command(&daemon, &all).spawn().unwrap();
    // The first lines show that it is on its way.
    let mut printed = vec![0; 4_000];
    getting.stdout.as_mut().unwrap().read_exact(&mut printed).unwrap();
    let killed = daemon.kill();
    let said = getting.wait_with_output().unwrap();
    printed.extend(said.stdout);
    assert_eq!(said.status.code(), Some(5));
    let printed = String::from_utf8(printed).unwrap();
    assert!(text.starts_with(&printed) && printed.ends_with('\n'), "a beginning, in whole lines");

    let daemon = killed.with(|setup| {
        setup.set("STORE_SYNC", "never");
    });
    let daemon = daemon.start_again();
    let rest = String::from_utf8(command(&daemon, &all).output().unwrap().stdout).unwrap();
    assert!(text.ends_with(&rest), "what is left is the end");
    let missing = COUNT - printed.lines().count() - rest.lines().count();
    assert!(missing <= 1, "{missing} messages were taken and not printed");
    assert_eq!(
        missing == 1,
        String::from_utf8_lossy(&said.stderr).contains("may have been taken and lost") && missing > 0
    );
}

fn import_piped(daemon: &Daemon) -> Child {
    command(daemon, &["put", QUEUE, "--lines"]).stdin(Stdio::piped()).spawn().unwrap()
}

fn check_equal(found: &[u8], text: &[u8]) {
    if found == text {
        return;
    }
    let (found, text) = (lines(found), lines(text));
    let same = found.iter().zip(&text).take_while(|(found, line)| found == line).count();
    let at = |lines: &[&[u8]]| lines.get(same).map(|line| String::from_utf8_lossy(line).into_owned());
    panic!("{} lines, not {}; line {same} is {:?}, not {:?}", found.len(), text.len(), at(&found), at(&text));
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

// ===== a real text =====

/// The sources of the crates that this one is built with, as many as are needed, and odd lines in the middle. Every line ends.
fn real_text() -> Option<Vec<u8>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let mut files = Vec::new();
    collect(&home.join("registry/src"), &mut files);
    files.sort();
    let (mut text, mut count, mut is_odd) = (String::new(), 0, false);
    for file in files {
        // A line of a file that is not UTF-8 is no message.
        let Ok(part) = fs::read_to_string(file) else { continue };
        count += part.lines().count();
        text += &part;
        if !part.ends_with('\n') {
            text.push('\n');
        }
        if count > LINES / 3 && !is_odd {
            is_odd = true;
            text += ODD_LINES;
            text += &("long ".repeat(50_000) + "\n");
        }
        if count >= LINES {
            return Some(text.into_bytes());
        }
    }
    None
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_text =
            path.extension().is_some_and(|end| ["rs", "md", "toml", "txt", "json"].iter().any(|text| end == *text));
        match entry.metadata() {
            Ok(found) if found.is_dir() => collect(&path, files),
            Ok(found) if is_text && found.len() <= MAX_FILE_BYTES => files.push(path),
            _ => {}
        }
    }
}
