//! `--daemon`: the parent returns when the daemon serves, or says why it does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getsid, kill_process};

fn start(dir: &Path, port: u16) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(["--daemon", "--tcp-port=0", "--data-dir", "data", "--port", &port.to_string()]);
    command.current_dir(dir).env_clear().env("HTTPMQ_PROFILE", "product").output().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_daemon_outlives_its_parent_and_goes_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let started = start(dir.path(), 0);
    let printed = String::from_utf8(started.stdout).unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let pid = Pid::from_raw(printed.trim().parse().unwrap()).unwrap();

    let pid_file = data.join("httpmq.pid");
    let in_file = fs::read_to_string(&pid_file);
    let session = getsid(Some(pid));
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(in_file.unwrap(), printed);
    assert_eq!(session.unwrap(), pid, "it leads a session of its own");

    let deadline = Instant::now() + Duration::from_secs(10);
    while pid_file.exists() {
        assert!(Instant::now() < deadline, "{} is still there", pid_file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((mode(&data), mode(&data.join("httpmq.log"))), (0o700, 0o600));
    // The profile logs from warn on, the life of the daemon nevertheless.
    assert!(fs::read_to_string(data.join("httpmq.log")).unwrap().contains("http listening on 127.0.0.1:"));
}

#[test]
fn a_port_in_use_is_seen_by_who_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = start(dir.path(), taken.local_addr().unwrap().port());
    assert_eq!(started.status.code(), Some(2));
    let message = String::from_utf8_lossy(&started.stderr);
    assert!(message.contains("in use"), "{message}");
    assert!(!dir.path().join("data/httpmq.pid").exists());
}

#[test]
fn a_data_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), "a file").unwrap();
    let started = start(dir.path(), 0);
    assert_eq!(started.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&started.stderr).contains("cannot create data"), "{started:?}");
}
