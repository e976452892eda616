//! The README against the real daemon. Goal: what a reader copies works, and prints what is printed there.
//!
//! Method: the ```` ```toml ```` blocks of the README are the daemon's `httpmq.toml`, and each `$` line of its
//! ```` ```console ```` blocks is run by a shell, in order, against the real program on a free port. What it prints must be
//! the lines below it, byte for byte but for space at the ends of lines and for the time in `sent`. The ```` ```python ````
//! block is `example.py` to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// The addresses that the README shows.
const SHOWN: &str = "127.0.0.1:8200";
const SHOWN_TCP: &str = "127.0.0.1:6747";
/// How the Python example says its port.
const SHOWN_TCP_PORT: &str = "port=6747";
/// What stands in front of a time, which no two runs share, and the time that the README shows.
const TIME_KEY: &str = "\"sent\":";
const SHOWN_TIME: &str = "1700000000.042";
/// Fewer examples than this are a mistake in how they are found.
const FEWEST_EXAMPLES: usize = 20;

#[test]
fn every_example_prints_what_the_readme_says() {
    if !has("curl") {
        eprintln!("skipped: the examples of the README, because there is no curl");
        return;
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let examples = examples(&readme);
    assert!(examples.len() >= FEWEST_EXAMPLES, "only {} examples", examples.len());
    let daemon = Daemon::start(&blocks(&readme, "toml").concat());
    daemon.write_python(&blocks(&readme, "python").concat());
    let mut differences = Vec::new();
    for example in &examples {
        if example.command.starts_with("python3 ") && !has("python3") {
            eprintln!("skipped: the Python example of the README, because there is no python3");
            continue;
        }
        let printed = trimmed(&daemon.run(&example.command));
        if printed != example.output {
            differences.push(format!("$ {}\nREADME: {}\nreally: {printed}\n", example.command, example.output));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} examples:\n{}",
        differences.len(),
        examples.len(),
        differences.join("\n")
    );
}

#[test]
fn an_example_is_a_command_and_the_lines_below_it() {
    let text = "x\n```console\n$ curl a \\\n    -d b\n1\n2 \n$ curl c\n```\n```sh\n$ rm d\n```\n```console\n$ curl e\n3\n```\n";
    let found: Vec<_> = examples(text).into_iter().map(|example| (example.command, example.output)).collect();
    let expected = [("curl a \\\n    -d b", "1\n2"), ("curl c", ""), ("curl e", "3")];
    assert_eq!(found, expected.map(|(command, output)| (command.to_owned(), output.to_owned())));
}

// ===== the README =====

struct Example {
    command: String,
    output: String,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in blocks(readme, "console") {
        for line in block.lines() {
            let open = examples.last_mut().filter(|example| example.command.ends_with('\\'));
            match (line.strip_prefix("$ "), open) {
                (Some(command), _) => examples.push(Example { command: command.to_owned(), output: String::new() }),
                (None, Some(example)) => example.command = format!("{}\n{line}", example.command),
                (None, None) => {
                    let example = examples.last_mut().unwrap_or_else(|| panic!("{line} stands before any command"));
                    example.output = format!("{}{line}\n", example.output);
                }
            }
        }
    }
    for example in &mut examples {
        example.output = trimmed(&example.output);
    }
    examples
}

/// The insides of the fenced blocks of one language.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while lines.by_ref().any(|line| line == fence) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect());
    }
    blocks
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// The text with the README's time in place of each other one.
fn with_shown_time(text: &str) -> String {
    let mut parts = text.split(TIME_KEY);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let time = if behind == part { "" } else { SHOWN_TIME };
        shown = [&shown, TIME_KEY, time, behind].concat();
    }
    shown
}

// ===== the daemon =====

fn has(program: &str) -> bool {
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_ok_and(|status| status.success())
}

/// The real program in a directory of its own, on a free port; killed when dropped.
struct Daemon {
    child: Child,
    address: String,
    tcp_address: String,
    dir: tempfile::TempDir,
    /// Held so that the daemon can go on logging.
    _log: BufReader<ChildStderr>,
}

impl Daemon {
    fn start(config: &str) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("httpmq.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
        command.args(["--port=0", "--tcp-port=0", "--data-dir=data"]).env_clear();
        let mut child = command.current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let (mut address, mut tcp_address) = (None, None);
        while address.is_none() || tcp_address.is_none() {
            let from = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                child.kill().ok();
                child.wait().unwrap();
                panic!("the daemon ended:\n{said}");
            }
            let listens = |at: &str| said[from..].split_once(at).map(|(_, address)| address.trim().to_owned());
            address = address.or_else(|| listens("http listening on "));
            tcp_address = tcp_address.or_else(|| listens("coremq listening on "));
        }
        let (address, tcp_address) = (address.unwrap(), tcp_address.unwrap());
        Daemon { child, address, tcp_address, dir, _log: log }
    }

    fn write_python(&self, example: &str) {
        let (_, port) = self.tcp_address.rsplit_once(':').unwrap();
        assert!(example.contains(SHOWN_TCP_PORT), "the Python example does not say its port:\n{example}");
        let example = example.replace(SHOWN_TCP_PORT, &format!("port={port}"));
        fs::write(self.dir.path().join("example.py"), example).unwrap();
    }

    /// What a command prints to standard output. `httpmq` is the program under test.
    fn run(&self, command: &str) -> String {
        let programs = Path::new(env!("CARGO_BIN_EXE_httpmq")).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)).collect::<Vec<PathBuf>>());
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command.replace(SHOWN, &self.address).replace(SHOWN_TCP, &self.tcp_address))
            .current_dir(self.dir.path());
        // A proxy of the machine is not asked for loopback.
        shell.env("PATH", path.unwrap()).env("HTTPMQ_URL", format!("http://{}", self.address)).env("no_proxy", "*");
        shell.env("HTTPMQ_TCP", &self.tcp_address);
        let done = shell.stdin(Stdio::null()).output().unwrap();
        with_shown_time(&String::from_utf8(done.stdout).unwrap().replace(&self.address, SHOWN))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
