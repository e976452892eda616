//! The examples of a page of documentation, done as its reader would do them: the page's files are written, each `$` line of its
//! ```` ```console ```` blocks is run by a shell, in order, against the real daemon on free ports, and what it prints must be the lines
//! below it, byte for byte but for space at the ends of lines and for times.
//!
//! - A block whose first line is a comment with nothing but a file name is that file: `# worker.py`, `// tail.mjs`,
//!   `<!-- page.html -->`.
//! - Any other ```` ```toml ```` block is a part of the daemon's `httpmq.toml`.
//! - `sudo -u USER` does nothing; `sudo systemctl start`, `stop` and `restart` of httpmq do it to the daemon of the test.

#![allow(dead_code)] // Each file in tests/ is a crate of its own and uses a part of this.

mod daemon;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) use daemon::Daemon;

/// Programs that a machine may not have; what needs one is skipped there.
const OPTIONAL: [&str; 4] = ["curl", "python3", "node", "promtool"];
/// What a program says that needs the WebSocket of a newer node.
const NODE_SOCKET: &str = "new WebSocket(";

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// Runs all examples of a page, which has at least so many.
#[allow(clippy::print_stderr)] // What is skipped is said where the test harness shows it.
pub(crate) fn check(page: &str, fewest: usize) {
    let blocks = blocks(&read(page));
    let examples = examples(&blocks);
    assert!(examples.len() >= fewest, "only {} examples in {page}", examples.len());
    let mut daemon = Daemon::start(&config(&blocks), files(&blocks));
    let mut differences = Vec::new();
    for Example { command, output } in &examples {
        if let Some(missing) = missing(command, &blocks) {
            eprintln!("skipped: an example of {page}, because there is no {missing}: {command}");
            continue;
        }
        let printed = trimmed(&daemon.run(command));
        if printed != *output {
            differences.push(format!("$ {command}\n{page}: {output}\nreally: {printed}\n"));
        }
    }
    let (wrong, all) = (differences.len(), examples.len());
    assert!(differences.is_empty(), "{wrong} of {all} examples:\n{}", differences.join("\n"));
}

/// A file of the repository.
pub(crate) fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(fence) = lines.by_ref().find(|line| line.trim_start().starts_with("```")) {
        // In a list a block is indented.
        let (indent, fence) = fence.split_once("```").unwrap();
        let inside =
            lines.by_ref().map(|line| line.strip_prefix(indent).unwrap_or(line)).take_while(|line| *line != "```");
        let text = inside.map(|line| format!("{line}\n")).collect();
        blocks.push(Block { language: fence.to_owned(), text });
    }
    blocks
}

pub(crate) fn examples(blocks: &[Block]) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in blocks.iter().filter(|block| block.language == "console").flat_map(|block| block.text.lines()) {
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
    for example in &mut examples {
        example.output = trimmed(&example.output);
    }
    examples
}

/// The files of a page, by name.
pub(crate) fn files(blocks: &[Block]) -> Vec<(String, String)> {
    blocks.iter().filter_map(|block| Some((block.file_name()?.to_owned(), block.text.clone()))).collect()
}

fn config(blocks: &[Block]) -> String {
    let settings = blocks.iter().filter(|block| block.language == "toml" && block.file_name().is_none());
    settings.map(|block| block.text.as_str()).collect()
}

impl Block {
    pub(crate) fn file_name(&self) -> Option<&str> {
        let line = self.text.lines().next()?;
        let comment = ["# ", "// ", "<!-- "].iter().find_map(|mark| line.strip_prefix(mark))?;
        let name = comment.strip_suffix(" -->").unwrap_or(comment);
        let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        name.split_once('.').filter(|(stem, end)| is_word(stem) && is_word(end)).map(|_| name)
    }
}

/// What this machine would need for a command and has not.
fn missing(command: &str, blocks: &[Block]) -> Option<&'static str> {
    let program = OPTIONAL.into_iter().find(|program| names(command, program) && !has(program));
    let needs_socket = names(command, "node")
        && files(blocks).iter().any(|(name, text)| names(command, name) && text.contains(NODE_SOCKET));
    program.or((needs_socket && daemon::node_options().is_none()).then_some("node with a WebSocket"))
}

fn names(command: &str, program: &str) -> bool {
    command.split([' ', '|', ';', '(']).any(|word| word == program)
}

pub(crate) fn has(program: &str) -> bool {
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_ok_and(|status| status.success())
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
