//! A daemon under strace, which can make its system calls fail, lie, or be the last ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::tools;

/// What changes files, and what makes changes durable.
pub(crate) const CALLS: [&str; 11] = [
    "fsync",
    "fdatasync",
    "sync_file_range",
    "pwrite64",
    "write",
    "ftruncate",
    "rename",
    "fallocate",
    "unlink",
    "mkdir",
    "openat",
];

/// How long strace may take to write its last line.
const LAST_LINE: Duration = Duration::from_secs(3);

/// What strace wrote down of one life.
pub(crate) struct Log {
    lines: Vec<Line>,
}

struct Line {
    thread: u32,
    /// Seconds since 1970.
    at: f64,
    text: String,
}

/// The call that was tampered with.
#[derive(Debug)]
pub(crate) struct Injected {
    pub(crate) text: String,
    pub(crate) at: f64,
}

/// The words of a command that runs the daemon under strace. `calls` is a list with commas; `inject` what to do to them, as strace
/// takes it. With `only`, calls on other files are left alone.
pub(crate) fn strace(log: &Path, calls: &str, inject: Option<&str>, only: &[PathBuf]) -> Vec<String> {
    let strace = tools::find("strace").unwrap();
    // -D: the daemon stays our child. -y: with the paths of descriptors. The counts of injections are for each thread.
    let mut words = vec![strace.display().to_string()];
    words.extend(["-D", "-f", "-q", "-ttt", "-y", "-o"].map(str::to_owned));
    words.extend([log.display().to_string(), "-e".into(), format!("trace={calls}"), "-e".into(), "signal=none".into()]);
    // Other calls cost nothing then; but signals that are injected do not arrive.
    if !inject.is_some_and(|inject| inject.starts_with("signal")) {
        words.push("--seccomp-bpf".to_owned());
    }
    words.extend(inject.into_iter().flat_map(|inject| ["-e".to_owned(), format!("inject={calls}:{inject}")]));
    words.extend(only.iter().flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
    words
}

impl Log {
    /// Reads it when the daemon has ended. strace is a process of its own, and may need a moment more.
    pub(crate) fn read(path: &Path) -> Log {
        let deadline = Instant::now() + LAST_LINE;
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<Line> = text.lines().filter_map(Line::parse).collect();
            let main = lines.first().map(|line| line.thread);
            let is_over = lines.iter().any(|line| Some(line.thread) == main && line.is_end());
            if is_over || Instant::now() > deadline {
                return Log { lines };
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How often a thread made each call, the busiest thread for each.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<(&str, u32), usize> = BTreeMap::new();
        for line in &self.lines {
            let call =
                CALLS.into_iter().find(|call| line.text.strip_prefix(call).is_some_and(|rest| rest.starts_with('(')));
            if let Some(call) = call {
                *counts.entry((call, line.thread)).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((call, _), count) in counts {
            let most: &mut usize = most.entry(call).or_default();
            *most = count.max(*most);
        }
        most
    }

    /// The calls that were made to fail, one in each thread that came so far.
    pub(crate) fn injected(&self) -> impl Iterator<Item = Injected> {
        let is_injected = |(_, line): &(usize, &Line)| line.text.ends_with("(INJECTED)");
        self.lines.iter().enumerate().filter(is_injected).map(|(end, line)| self.whole(end, line))
    }

    /// A call that ends in a line.
    fn whole(&self, end: usize, line: &Line) -> Injected {
        // When others had the word meanwhile, its beginning is further up.
        let is_whole = !line.text.starts_with('<');
        let begin = self.lines[..end].iter().rfind(|begin| begin.thread == line.thread).filter(|_| !is_whole);
        let text = begin.map_or(String::new(), |begin| format!("{} ", begin.text));
        Injected { text: text + &line.text, at: line.at }
    }

    /// When the last thread ended.
    pub(crate) fn end(&self) -> Option<f64> {
        self.lines.iter().filter(|line| line.is_end()).map(|line| line.at).reduce(f64::max)
    }
}

impl Line {
    fn parse(line: &str) -> Option<Line> {
        let (thread, rest) = line.split_once(char::is_whitespace)?;
        let (at, text) = rest.trim_start().split_once(' ')?;
        Some(Line { thread: thread.parse().ok()?, at: at.parse().ok()?, text: text.to_owned() })
    }

    fn is_end(&self) -> bool {
        self.text.starts_with("+++ ")
    }
}
