//! The server as an unmodified Python client meets it. The client is `tests/python_client.py`, run by a real Python: what its
//! reads give is decided by a real socket, and what its JSON is by a real `json`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use common::Daemon;
use rustix::process::Signal;

const SCRIPT: &str = include_str!("python_client.py");

/// Killed when the test fails before it ends.
struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_python_client_is_served() {
    let python = Command::new("python3").args(["-c", "import json, socket, urllib.request"]).status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("skipped: the test with a Python client needs python3");
        return;
    }
    let daemon = Daemon::start(|_| ());
    let (tcp, http) = (daemon.tcp_address(), daemon.address());
    let mut client = Command::new("python3");
    client.args(["-c", SCRIPT, &tcp.ip().to_string(), &tcp.port().to_string(), &http.port().to_string()]);
    client.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut client = Python(client.spawn().unwrap());
    let mut output = BufReader::new(client.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "the client says on standard error what is wrong");
    let ended = daemon.stop(Signal::TERM);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "done\n");
    assert!(client.0.wait().unwrap().success());
    assert_eq!(ended.code(), Some(0));
}
