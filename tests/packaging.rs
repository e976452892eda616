//! What is shipped beside the program. Goal: a service manager, a shell and `man` take what they are given, and it says what the program
//! does.
//!
//! Method: systemd's own checks, the shells themselves, and `--help` of every command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stderr)] // Why a test is skipped.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Daemon;

const PROGRAM: &str = env!("CARGO_BIN_EXE_httpmq");
/// The program in the unit.
const INSTALLED: &str = "/usr/bin/httpmq";
/// What systemd calls the exposure of a service: 0 is none, 10 is all. Times ten, as it wants it.
const MAX_EXPOSURE: &str = "--threshold=15";

fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).unwrap()
}

/// What httpmq prints.
fn httpmq(words: &[&str]) -> String {
    let done = Command::new(PROGRAM).args(words).env_clear().stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// What a tool makes of an input. `None` where there is no such tool, and says that this is skipped.
fn run(tool: &str, words: &[&str], input: &str) -> Option<Output> {
    let child = Command::new(tool)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("TERM", "dumb")
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: what {tool} thinks of what is packaged, because it is not installed");
        return None;
    };
    // A tool that has seen enough may close it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Some(child.wait_with_output().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The names of all commands, as `--help` lists them.
fn commands() -> Vec<String> {
    let help = httpmq(&["--help"]);
    let list = help.split_once("\nCommands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The flags that a help text has, such as `--port`.
fn flags(help: &str) -> Vec<String> {
    let options = help.split_once("\nOptions:\n").unwrap().1.split("\n\n").next().unwrap();
    let words = options.lines().flat_map(|line| line.trim_start().split([' ', ',']).take(3));
    let mut flags: Vec<String> = words.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    flags.dedup();
    flags
}

// ===== systemd =====

#[test]
fn systemd_takes_the_unit_and_finds_it_locked_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("httpmq.service");
    let unit = packaged("httpmq.service");
    assert!(unit.contains(INSTALLED));
    fs::write(&path, unit.replace(INSTALLED, PROGRAM)).unwrap();
    let path = path.to_str().unwrap();
    let Some(verified) = run("systemd-analyze", &["verify", "--man=no", path], "") else { return };
    assert!(verified.status.success() && said(&verified).is_empty(), "{}", said(&verified));
    let Some(rated) = run("systemd-analyze", &["security", "--offline=true", MAX_EXPOSURE, path], "") else { return };
    assert!(rated.status.success(), "{}", said(&rated));
}

#[test]
fn the_command_line_of_the_unit_is_one() {
    let unit = packaged("httpmq.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
    let args = httpmq::args::parse("httpmq", &words).unwrap();
    assert_eq!(args.config.as_deref(), Some(Path::new("/etc/httpmq/httpmq.toml")));
    let loaded = httpmq::config::load(
        &httpmq::args::Args { config: None, ..args },
        [("HTTPMQ_CONFIG".to_owned(), packaged_path("debian/httpmq.toml"))].into_iter(),
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.store.data_dir, Path::new("/var/lib/httpmq"), "where the unit lets it write");
    let watchdog_s: u64 = unit.lines().find_map(|line| line.strip_prefix("WatchdogSec=")).unwrap().parse().unwrap();
    assert!(config.store.commit_timeout_s < watchdog_s, "the daemon could not say why it ends");
}

fn packaged_path(name: &str) -> String {
    format!("{}/packaging/{name}", env!("CARGO_MANIFEST_DIR"))
}

// ===== the manual =====

#[test]
fn the_manual_has_every_command_and_every_flag() {
    let page = httpmq(&["man"]);
    let commands = commands();
    assert!(commands.len() >= 14 && commands.contains(&"bench".to_owned()), "{commands:?}");
    for command in &commands {
        let (_, section) = page.split_once(&format!("\n.SS {command}")).unwrap_or_else(|| panic!("no {command}"));
        let section = section.split("\n.SS ").next().unwrap();
        let help = httpmq(&[command, "--help"]);
        let flags = flags(&help);
        assert!(flags.contains(&"--help".to_owned()), "{help}");
        for flag in flags {
            assert!(section.contains(&format!("{}\\fR", flag.replace('-', "\\-"))), "{command} {flag}:\n{section}");
        }
    }
    for flag in flags(&httpmq(&["--help"])) {
        assert!(page.contains(&format!("\\fB{}\\fR", flag.replace('-', "\\-"))), "{flag}");
    }
    assert!(!page.contains("{command_name}") && !page.contains("{{"), "{page}");
}

#[test]
fn man_reads_the_manual_without_complaint() {
    let Some(read) = run("man", &["--local-file", "--warnings=w", "-"], &httpmq(&["man"])) else { return };
    assert!(read.status.success() && read.stderr.is_empty(), "{}", said(&read));
    let text = said(&read);
    for shown in ["HTTPMQ(1)", "httpmq put", "--data-dir", "EXIT STATUS", r#"{"queue":"news","sender":"http""#] {
        assert!(text.contains(shown), "{shown} is not in:\n{text}");
    }
}

// ===== shells =====

#[test]
fn bash_completes_commands_and_flags() {
    let script = httpmq(&["completions", "bash"]);
    let complete = |line: &[&str]| {
        let words = line.join("' '");
        let last = line.len() - 1;
        let line = format!("COMP_WORDS=('{words}'); COMP_CWORD={last}; _httpmq; printf '%s\\n' \"${{COMPREPLY[@]}}\"");
        let ask = format!("{script}\n{line}");
        run("bash", &["--norc", "-s"], &ask).map(|done| said(&done))
    };
    let Some(commands) = complete(&["httpmq", "pu"]) else { return };
    assert_eq!(commands, "put\npurge\npublish\n");
    assert_eq!(complete(&["httpmq", "--data"]).unwrap(), "--data-dir\n");
    assert_eq!(complete(&["httpmq", "put", "--li"]).unwrap(), "--lines\n");
    assert_eq!(complete(&["httpmq", "--config", ""]).unwrap(), "\n", "files, which bash does itself");
}

#[test]
fn fish_completes_commands_and_flags() {
    let script = httpmq(&["completions", "fish"]);
    let ask = format!("{script}\ncomplete --do-complete 'httpmq pur'\ncomplete --do-complete 'httpmq put --li'\n");
    let Some(done) = run("fish", &["--no-config"], &ask) else { return };
    let expected = [
        "purge\tForget all messages of a queue; its positions go on.",
        "--lines\teach line of standard input is one message",
    ];
    assert_eq!(said(&done).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn zsh_can_load_its_script() {
    let script = httpmq(&["completions", "zsh"]);
    let show = "print -l ${(k)functions[(I)_httpmq*]} | sort | head -3; print $_comps[httpmq]";
    let ask = format!("autoload -U compinit; compinit -D -u\n{script}\n{show}\n");
    let Some(done) = run("zsh", &["-f", "-s"], &ask) else { return };
    assert_eq!(said(&done), "_httpmq\n_httpmq_bench\n_httpmq_completions\n_httpmq\n");
}

#[test]
fn other_shells_are_an_error() {
    let done = Command::new(PROGRAM).args(["completions", "cmd"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("not one of bash, zsh, fish, nushell"), "{}", said(&done));
    assert!(httpmq(&["completions", "nushell"]).contains("export extern \"httpmq put\""));
}

// ===== the health check =====

#[test]
fn health_is_an_exit_code() {
    let daemon = Daemon::start_fast(|_| {});
    let dir = tempfile::tempdir().unwrap();
    let port = daemon.address().port().to_string();
    let ask = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["status", "--health"]).args(words).env_clear().envs(variables.iter().copied());
        let done = command.current_dir(dir.path()).stdin(Stdio::null()).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let healthy = (Some(0), "ready\n".to_owned(), String::new());
    let server = format!("--server=http://{}", daemon.address());
    assert_eq!(ask(&[], &[&server]), healthy);
    assert_eq!(ask(&[("HTTPMQ_HOST", "0.0.0.0"), ("HTTPMQ_PORT", &port)], &[]), healthy, "by the daemon's settings");
    fs::write(dir.path().join("httpmq.toml"), format!("[http]\nport = {port}\n")).unwrap();
    assert_eq!(ask(&[], &[]), healthy, "by the daemon's file");
    let (code, _, why) = ask(&[], &["jobs"]);
    assert!(code == Some(1) && why.contains("name no queue"), "{why}");

    daemon.kill();
    let (code, printed, why) = ask(&[], &[]);
    assert!(code == Some(1) && printed.is_empty() && why.contains("no connection to"), "{why}");
}

#[test]
fn a_daemon_that_refuses_puts_is_not_healthy() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_DISK_RESERVE_BYTES", "1024 GiB");
    });
    let server = format!("--server=http://{}", daemon.address());
    let done = Command::new(PROGRAM).args(["status", "--health", &server]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("not ready, storage_full: the disk has less free space"), "{}", said(&done));
}
