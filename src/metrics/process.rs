//! What the system says about this process.

use std::{fs, time::Duration};

/// Memory, descriptors and time of this process. What the system does not say is `None`: all of it comes from `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Process {
    /// Memory that is resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_fds: Option<u64>,
    /// Descriptors that may be open.
    pub max_fds: Option<u64>,
    /// Processor time of all threads.
    pub cpu: Option<Duration>,
}

impl Process {
    /// As it is now.
    pub fn now() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Process {
            resident_bytes: kib(&status, "VmRSS:"),
            virtual_bytes: kib(&status, "VmSize:"),
            // The one that is open for looking is among them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            cpu: Duration::try_from(cpu).ok(),
        }
    }
}

/// A line of `/proc/self/status`, as `VmRSS:      7068 kB`, in bytes.
fn kib(status: &str, key: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
    rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_something_about_this_process() {
        assert_eq!(kib("VmPeak:\t 9 kB\nVmRSS:\t    7068 kB\n", "VmRSS:"), Some(7068 << 10));
        assert_eq!((kib("VmRSS:\t x kB", "VmRSS:"), kib("", "VmRSS:")), (None, None));
        if cfg!(target_os = "linux") {
            let now = Process::now();
            assert!(now.resident_bytes > Some(1 << 20) && now.virtual_bytes > now.resident_bytes, "{now:?}");
            assert!(now.open_fds > Some(2) && now.max_fds >= now.open_fds && now.cpu.is_some(), "{now:?}");
        }
    }
}
