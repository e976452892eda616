//! docs/secure.md against the real daemon: what a reader copies prints what stands there.
//!
//! Its `shell-session` blocks are run in order. The daemon has the token that the first of them makes; its secret is in the environment, in
//! `worker.secret`, and as a header in `worker.header`, as the text tells its reader to arrange.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::Daemon;

/// The address that the document shows.
const SHOWN: &str = "127.0.0.1:8200";

#[test]
fn every_example_of_the_document_prints_what_it_says() {
    let is_there = |program| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there("curl") {
        eprintln!("skipped: the examples of docs/secure.md, because there is no curl");
        return;
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/secure.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut secret = String::new();
    let mut daemon = None;
    let examples = examples(&text);
    assert!(examples.len() >= 10, "{} examples", examples.len());
    for (command, expected) in examples {
        let mut shell = Command::new("sh");
        let programs = Path::new(env!("CARGO_BIN_EXE_httpmq")).parent().unwrap();
        shell.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())).env("no_proxy", "*");
        let at = daemon.as_ref().map_or(SHOWN.to_owned(), |daemon: &Daemon| daemon.address().to_string());
        shell.args(["-c", &command.replace(SHOWN, &at)]).current_dir(dir.path());
        shell.env("HTTPMQ_URL", format!("http://{at}")).env("HTTPMQ_TOKEN", &secret);
        let done = shell.output().unwrap();
        let printed = String::from_utf8(done.stdout).unwrap().replace(&at, SHOWN);
        assert_eq!(printed.trim_end(), expected.trim_end(), "{command}");
        if daemon.is_none() {
            let said = String::from_utf8(done.stderr).unwrap();
            secret = said.trim().rsplit(' ').next().unwrap().to_owned();
            fs::write(dir.path().join("worker.secret"), &secret).unwrap();
            fs::write(dir.path().join("worker.header"), format!("Authorization: Bearer {secret}\n")).unwrap();
            let lines = fs::read_to_string(dir.path().join("worker.toml")).unwrap();
            daemon = Some(Daemon::start_fast(|setup| {
                setup.set("STORE_ENGINE", "memory").file(&lines);
            }));
        }
    }
}

/// Commands, each with what it prints.
fn examples(text: &str) -> Vec<(String, String)> {
    let mut examples: Vec<(String, String)> = Vec::new();
    let blocks = text.split("```shell-session\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command.to_owned(), String::new())),
            None => {
                let (_, output) = examples.last_mut().unwrap();
                *output += line;
                output.push('\n');
            }
        }
    }
    examples
}
