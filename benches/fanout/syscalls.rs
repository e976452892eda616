//! The system calls of a process, counted by strace while something happens. It slows the process down a lot.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// How many kinds are named.
const NAMED: usize = 5;

#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) total: f64,
    /// The most frequent kinds with their numbers.
    pub(crate) most: Vec<(String, f64)>,
}

/// Counts while `work` runs; gives its result beside the count. `dir` takes strace's report.
///
/// # Errors
/// strace is missing or may not attach, or the work fails.
pub(crate) fn count<T>(
    pid: u32,
    dir: &Path,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<(T, Count), Box<dyn Error>> {
    let report = dir.join("strace");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-p", &pid.to_string(), "-o"]).arg(&report);
    let mut strace = command.stderr(Stdio::piped()).spawn().map_err(|error| format!("strace: {error}"))?;
    // Kept open to the end: strace says a line for each new thread, and would die of a closed pipe.
    let mut stderr = BufReader::new(strace.stderr.take().ok_or("no standard error")?);
    let mut said = String::new();
    stderr.read_line(&mut said)?;
    let result =
        if said.contains("attached") { work() } else { Err(format!("strace said: {}", said.trim_end()).into()) };
    // It lets the process go and writes its report.
    if let Some(pid) = i32::try_from(strace.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::INT);
    }
    strace.wait()?;
    Ok((result?, parse(&std::fs::read_to_string(report)?)))
}

/// Reads the table of `strace -c`: time share, seconds, time per call, calls, perhaps errors, name.
fn parse(report: &str) -> Count {
    let mut count = Count::default();
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(Ok(calls))) = (words.last(), words.get(3).map(|word| word.parse::<f64>())) else {
            continue;
        };
        match *name {
            "total" => count.total = calls,
            name => count.most.push((name.to_owned(), calls)),
        }
    }
    count.most.sort_by(|one, other| other.1.total_cmp(&one.1));
    count.most.truncate(NAMED);
    count
}
