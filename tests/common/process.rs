//! What the system knows about a process.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The unit of processor time in /proc, on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// A process by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The processor time used so far, in seconds.
    pub(crate) fn cpu_s(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // The name of the program stands in brackets and may hold anything; user and system time are 12 fields behind it.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: f64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        ticks / TICKS_PER_S
    }

    /// The memory in use, in bytes.
    pub(crate) fn rss_bytes(self) -> u64 {
        self.status_kib("VmRSS:") << 10
    }

    /// The most memory that was ever in use, in bytes.
    pub(crate) fn peak_rss_bytes(self) -> u64 {
        self.status_kib("VmHWM:") << 10
    }

    /// The address space in use, in bytes: also what was only reserved.
    pub(crate) fn virtual_bytes(self) -> u64 {
        self.status_kib("VmSize:") << 10
    }

    /// How many file descriptors are open.
    pub(crate) fn open_files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// How many connections are established at a port of 127.0.0.1 that this process listens on, half-closed ones too.
    pub(crate) fn established(self, port: u16) -> usize {
        let local = format!("0100007F:{port:04X}");
        let open = ["01", "08"]; // ESTABLISHED and CLOSE_WAIT
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.0)).unwrap();
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.get(1) == Some(&local.as_str()) && row.get(3).is_some_and(|state| open.contains(state)))
            .count()
    }

    fn status_kib(self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}
