//! Who used the processors: the server, this program, everybody else. From /proc, so on Linux only; elsewhere nothing.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Linux counts processor time for user space in hundredths of a second, whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;
/// A server that uses less than this share of one processor while nobody asks it anything is at rest.
const REST_SHARE: f64 = 0.1;
const REST_WINDOW: Duration = Duration::from_millis(100);
/// Work left over from a round (clean-up in the store) is waited for at most this long.
const REST_TIMEOUT: Duration = Duration::from_secs(10);

/// Processor seconds used up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    at: Instant,
    server_s: f64,
    client_s: f64,
    machine_s: f64,
}

/// How the processors were used between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    pub(crate) server_s: f64,
    pub(crate) client_s: f64,
    /// Share of the whole machine that went to neither of the two, kernel threads and other guests included.
    pub(crate) others: f64,
}

impl Used {
    /// What the server with this process id (if there is one), this process and the machine have used so far.
    pub(crate) fn now(server: Option<u32>) -> Option<Self> {
        let server_s = server.map_or(Some(0.0), |pid| process_s(&pid.to_string()))?;
        Some(Self { at: Instant::now(), server_s, client_s: process_s("self")?, machine_s: machine_s()? })
    }

    /// How the processors have been used since `self`, which was taken for the same server.
    pub(crate) fn shares(&self, server: Option<u32>) -> Option<Shares> {
        let now = Self::now(server)?;
        let (server_s, client_s) = (now.server_s - self.server_s, now.client_s - self.client_s);
        let there_was_s = (now.at - self.at).as_secs_f64() * count() as f64;
        let others_s = now.machine_s - self.machine_s - server_s - client_s;
        Some(Shares { server_s, client_s, others: (others_s / there_was_s).max(0.0) })
    }
}

/// How many processors there are.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Waits until the process `pid` does next to nothing; false when it never came to rest.
pub(crate) fn wait_for_rest(pid: u32) -> bool {
    let started = Instant::now();
    let pid = pid.to_string();
    while let Some(before_s) = process_s(&pid) {
        thread::sleep(REST_WINDOW);
        let used_s = process_s(&pid).unwrap_or(before_s) - before_s;
        if used_s <= REST_SHARE * REST_WINDOW.as_secs_f64() + f64::EPSILON {
            return true;
        }
        if started.elapsed() > REST_TIMEOUT {
            return false;
        }
    }
    true
}

fn process_s(pid: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; utime and stime are the 12th and 13th word behind it.
    let (_, behind) = stat.rsplit_once(')')?;
    ticks(behind.split_whitespace().skip(11).take(2))
}

fn machine_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    // cpu user nice system idle iowait irq softirq steal: all but the two idle ones.
    let words = stat.lines().next()?.split_whitespace().enumerate();
    ticks(words.filter(|(at, _)| matches!(at, 1..=3 | 6..=8)).map(|(_, word)| word))
}

fn ticks<'a>(words: impl Iterator<Item = &'a str>) -> Option<f64> {
    words.map(|word| word.parse::<f64>().ok()).sum::<Option<f64>>().map(|ticks| ticks / TICKS_PER_S)
}
