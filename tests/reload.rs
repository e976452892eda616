//! SIGHUP. Goal: what can change without a restart does, and the log says each change; nothing else ever changes, and no SIGHUP
//! ends a daemon that has none but itself to ask.
//!
//! Method: the real program with a file that is written anew, a signal or `httpmq reload`, and the log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use common::{Daemon, put_message, wait_for};
use rustix::process::Signal;

const PUT_OK: &str = "HTTPMQ_PUT_OK";

/// Sends SIGHUP and gives the lines that the daemon says about it.
fn reload(daemon: &Daemon, file: &str) -> Vec<String> {
    let before = daemon.lines().len();
    daemon.set_file(file);
    daemon.process().signal(Signal::HUP);
    said_since(daemon, before)
}

/// The lines behind the first `before`, once the last one of a reload is among them.
fn said_since(daemon: &Daemon, before: usize) -> Vec<String> {
    wait_for("the last line of a reload", || {
        let lines = daemon.lines().split_off(before);
        lines.iter().any(|line| line.contains("SIGHUP: ")).then_some(lines)
    })
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn put(daemon: &Daemon, queue: &str) -> String {
    daemon.connect().ask(put_message(queue, "1")).message()
}

#[test]
fn queue_settings_change_for_queues_that_are_there_and_those_to_come() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.small]\nmax_len = 1");
    });
    assert_eq!([put(&daemon, "small"), put(&daemon, "small"), put(&daemon, "q")], [PUT_OK, "HTTPMQ_FULL", PUT_OK]);
    let said = reload(&daemon, "queue_defaults.max_len = 2\n[queues.small]\nmax_len = 3");
    assert!(has(&said, "changed queue_defaults.max_len: 1000000 → 2"), "{said:?}");
    assert!(has(&said, "changed queues.\"small\".max_len: 1 → 3"), "{said:?}");
    assert_eq!([put(&daemon, "small"), put(&daemon, "small")], [PUT_OK, PUT_OK]);
    for queue in ["q", "new"] {
        let puts: Vec<_> = (0..3).map(|_| put(&daemon, queue)).collect();
        assert_eq!(
            puts.iter().filter(|answer| *answer == PUT_OK).count(),
            if queue == "q" { 1 } else { 2 },
            "{puts:?}"
        );
    }
    // Fewer than there are: none is lost, and it is full until they are got.
    reload(&daemon, "[queues.small]\nmax_len = 1\nhistory = 0");
    assert_eq!(put(&daemon, "small"), "HTTPMQ_FULL");
    let status = daemon.connect().status("small").unwrap();
    assert_eq!((&status["unread"], &status["max_len"]), (&3.into(), &1.into()));
    let mut client = daemon.connect();
    (0..3).for_each(|_| assert!(client.take("small").is_some()));
    assert_eq!(client.put("small", "1"), 0);
}

#[test]
fn the_log_changes_its_level_its_form_and_what_is_in_it() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("log.level = 'warn'");
    });
    put(&daemon, "q");
    let said = reload(&daemon, "log.level = 'debug'\nlog.format = 'json'\nlog.requests = true");
    for change in ["log.level: \"warn\" → \"debug\"", "log.format: \"text\" → \"json\"", "log.requests: false → true"]
    {
        assert!(has(&said, &format!("changed {change}")), "{change}: {said:?}");
    }
    put(&daemon, "later");
    wait_for("the request", || has(&daemon.lines(), "\"queue\":\"later\"").then_some(()));
    let said = reload(&daemon, "");
    assert!(has(&said, "\"changed log.requests: true → false\""), "{said:?}");
    put(&daemon, "last");
    let ended = daemon.stop(Signal::TERM);
    assert!(!ended.said("queue=last") && !ended.said("queue=q") && ended.said(" INFO  stopped"), "{:?}", ended.lines);
}

#[test]
fn mistakes_change_nothing_and_say_where_they_are() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.small]\nmax_len = 1");
    });
    for (file, reason) in [
        ("[queues.small]\nmax_len = 5\n[log]\nlevel = 'loud'", "httpmq.toml:4:9: `level` must be one of"),
        ("[queues.small]\nmax_len = 5\nnonsense", "httpmq.toml:3:9: "),
    ] {
        let said = reload(&daemon, file);
        assert!(has(&said, "SIGHUP: nothing is changed: ") && has(&said, reason), "{said:?}");
    }
    let before = daemon.lines().len();
    fs::remove_file(daemon.dir().join("httpmq.toml")).unwrap();
    daemon.process().signal(Signal::HUP);
    assert!(has(&said_since(&daemon, before), "httpmq.toml is gone"));
    assert_eq!([put(&daemon, "small"), put(&daemon, "small")], [PUT_OK, "HTTPMQ_FULL"]);
}

#[test]
fn what_waits_for_a_restart_is_said_each_time() {
    let daemon = Daemon::start_fast(|_| {});
    for _ in 0..2 {
        let said = reload(&daemon, "http.idle_timeout_s = 9\nstore.engine = 'memory'\nlog.level = 'debug'");
        assert!(has(&said, "needs a restart: http.idle_timeout_s, store.engine"), "{said:?}");
    }
    let said = reload(&daemon, "log.level = 'debug'");
    assert!(has(&said, "0 keys changed") && !has(&said, "restart"), "{said:?}");
    // What the environment says still wins over the file.
    let said = reload(&daemon, "store.sync = 'always'\nlog.level = 'debug'");
    assert!(has(&said, "0 keys changed") && !has(&said, "restart"), "{said:?}");
}

/// The first line is the first sign of life, long before the daemon serves.
#[test]
fn a_signal_that_comes_while_it_starts_is_not_deadly() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(["--port=0", "--tcp-port=0", "--data-dir=data"]).current_dir(dir.path()).env_clear();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    common::Process(child.id()).signal(Signal::HUP);
    let came = lines.any(|line| line.contains("SIGHUP: read the settings again"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(came, "{first}");
}

fn reload_command(daemon: &Daemon, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).current_dir(daemon.dir()).env_clear().output().unwrap()
}

#[test]
fn the_command_finds_the_daemon_by_its_directory() {
    let daemon = Daemon::start_fast(|_| {});
    let before = daemon.lines().len();
    daemon.set_file("log.level = 'debug'");
    let done = reload_command(&daemon, &["reload", "--data-dir", "data"]);
    assert!(done.status.success(), "{done:?}");
    assert!(has(&said_since(&daemon, before), "changed log.level"));
    let before = daemon.lines().len();
    assert!(reload_command(&daemon, &["--data-dir=data", "reload"]).status.success());
    assert!(has(&said_since(&daemon, before), "0 keys changed"));

    let none = reload_command(&daemon, &["reload", "--data-dir", "elsewhere"]);
    assert_eq!(none.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no daemon uses elsewhere"), "{none:?}");
    let before = daemon.lines().len();
    daemon.set_file("log.level = 'loud'");
    let wrong = reload_command(&daemon, &["reload", "--data-dir", "data"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("httpmq.toml:1:13"), "{wrong:?}");
    assert_eq!(daemon.lines().len(), before, "it was left alone");
}
