//! The promise of `put --lines` together with the daemon: whatever dies, what is stored is a beginning of the input, and
//! all that was acknowledged is in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what goes wrong must end the test

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const REQUESTS: usize = 32;

/// A daemon on a free port; killed when it goes out of scope.
struct Daemon {
    child: Child,
    url: String,
    _log: BufReader<ChildStderr>,
}

impl Daemon {
    fn start(data_dir: &Path, sync: &str) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
        command.args(["--port=0", "--tcp-port=0"]).arg("--data-dir").arg(data_dir).current_dir(data_dir);
        let mut child = command.env("HTTPMQ_STORE_SYNC", sync).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let port: u16 = loop {
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "the daemon ended: {said}");
            if let Some((_, address)) = said.split_once("http listening on 127.0.0.1:") {
                break address.trim_end().parse().unwrap();
            }
        };
        Daemon { child, url: format!("http://127.0.0.1:{port}"), _log: log }
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
        command.args(words).env("HTTPMQ_URL", &self.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok(); // SIGKILL: it is not asked
        self.child.wait().ok();
    }
}

#[test]
fn what_is_stored_when_the_daemon_is_killed_is_a_beginning_of_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "always");
    let mut import = daemon.command(&["put", "q", "--lines", "--requests", &REQUESTS.to_string()]).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    // Lines without end, until nobody reads them any more.
    let feeder = thread::spawn(move || (0u64..).take_while(|line| writeln!(input, "line {line}").is_ok()).count());
    let deadline = Instant::now() + Duration::from_secs(60);
    while unread(&daemon) < 500 {
        assert!(Instant::now() < deadline, "nothing is stored");
    }
    drop(daemon);

    let said = import.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(said.status.code(), Some(5));
    let acknowledged: usize = String::from_utf8(said.stdout).unwrap().trim_end().parse().unwrap();
    assert!(acknowledged > 0, "some were acknowledged before the kill");

    let daemon = Daemon::start(dir.path(), "never");
    let found = String::from_utf8(daemon.run(&["get", "q", "--all"]).stdout).unwrap();
    let stored = found.lines().count();
    assert!(found.lines().eq((0..stored).map(|line| format!("line {line}"))), "a beginning, in order");
    assert!((acknowledged..=acknowledged + REQUESTS).contains(&stored), "{acknowledged} acknowledged, {stored} stored");
}

fn unread(daemon: &Daemon) -> u64 {
    let status = daemon.run(&["status", "q", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
    status["unread"].as_u64().unwrap_or(0)
}
