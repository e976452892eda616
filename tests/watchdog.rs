//! A disk that does not answer. Goal: the daemon does not look alive, it says why it ends, and what it had answered is there
//! afterwards.
//!
//! Method: strace holds one `fdatasync` of a daemon at work back for far longer than its `commit_timeout_s`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stderr)] // Why a test is skipped.

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Client, Daemon, Setup, put_message, wait_for};

/// `commit_timeout_s`.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long the disk does not answer.
const HELD: Duration = Duration::from_secs(10);

#[test]
fn a_daemon_whose_disk_hangs_ends_and_says_why() {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: strace is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("strace");
    // The third of the commit thread: two puts are answered.
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    command.args(["-e", &format!("inject=fdatasync:delay_enter={}:when=3+", HELD.as_micros())]);
    command.arg(env!("CARGO_BIN_EXE_httpmq")).args(["--port=0", "--tcp-port=0", "--data-dir=data"]);
    command.current_dir(dir.path()).env_clear().env("HTTPMQ_STORE_COMMIT_TIMEOUT_S", "1");
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let mut strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(strace.stderr.take().unwrap());
    let address = address(&mut said);
    let mut client = Client::connect(address);

    assert_eq!((client.put("q", "0"), client.put("q", "1")), (0, 1));
    client.send(put_message("q", "2"));
    let began = Instant::now();
    let why = (&mut said).lines().map_while(Result::ok).find(|line| line.contains("longer than commit_timeout_s = 1"));
    let took = began.elapsed();
    assert!(why.is_some() && took >= TIMEOUT && took < HELD / 2, "it said {why:?} after {took:?}");
    wait_for("the listener to close", || Client::try_connect(address).err());
    assert!(began.elapsed() < HELD, "it looks alive until the disk answers");
    // The thread in the system ends when that lets go of it, and with it the process.
    assert_eq!(strace.wait().unwrap().code(), Some(6), "the exit code of the daemon, which strace takes over");

    let daemon = Daemon::start_in(dir, Setup::default()).unwrap();
    let mut client = daemon.connect();
    let found = [client.take("q"), client.take("q")];
    assert_eq!(found, ["0", "1"].map(|text| Some(text.to_owned())), "answered and lost");
}

fn address(said: &mut BufReader<ChildStderr>) -> SocketAddr {
    let mut lines = said.lines().map_while(Result::ok);
    lines.find_map(|line| line.split_once("http listening on ")?.1.parse().ok()).expect("it serves")
}
