//! Where and when a table was made: what must stand above it to be worth anything later.

use std::{fmt, fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::processors;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    version: String,
    commit: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    memory_mib: u64,
    /// Type of the file system that the stores are on.
    file_system: String,
}

impl Machine {
    /// Looks at this machine; what cannot be found out is "unknown".
    pub(crate) fn look(store_dir: &Path) -> Self {
        Self {
            date: printed_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: printed_by("git", &["describe", "--always", "--dirty", "--abbrev=9"]),
            cpu: value_in("/proc/cpuinfo", "model name"),
            cores: processors::count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |s| s.trim().to_owned()),
            memory_mib: kib(&value_in("/proc/meminfo", "MemTotal")) / 1024,
            file_system: file_system(store_dir),
        }
    }
}

impl Machine {
    /// Whether the stores are on a file system without a disk.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "httpmq {} ({}), {}", self.version, self.commit, self.date)?;
        let Self { cores, cpu, memory_mib, kernel, file_system, .. } = self;
        write!(f, "{cores} cores {cpu}, {memory_mib} MiB, Linux {kernel}, store on {file_system}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn printed_by(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success());
    output.map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The value of the first line `key : value` in a file.
fn value_in(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
    line.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

fn kib(value: &str) -> u64 {
    value.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The file system of the mount that `dir` is under: the longest mount point that `dir` begins with.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?)).filter(|(mount, _)| dir.starts_with(mount))
    });
    under.max_by_key(|(mount, _)| mount.len()).map_or_else(unknown, |(_, kind)| kind.to_owned())
}
