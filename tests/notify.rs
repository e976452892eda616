//! What a service manager hears. Goal: it knows when the daemon serves, that it lives, that it stops, and hears nothing more of one
//! that hangs.
//!
//! Method: a socket of this test is the `NOTIFY_SOCKET` of a real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stderr)] // Why a test is skipped.

mod common;

use std::env;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE, Setup, put_message};
use rustix::process::Signal;

/// After which a daemon that says nothing is taken for dead. It speaks three times in it.
const TIMEOUT: Duration = Duration::from_millis(900);
/// How long nothing must be heard of a daemon that hangs.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the disk of the one that hangs does not answer.
const HELD: Duration = Duration::from_secs(5);

/// The ear of a service manager.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Manager { socket, dir }
    }

    /// Starts a daemon that it listens to.
    fn start(&self, setup: impl FnOnce(&mut Setup)) -> Daemon {
        Daemon::start(|all| {
            all.variable("NOTIFY_SOCKET", self.dir.path().join("notify").display());
            all.variable("WATCHDOG_USEC", TIMEOUT.as_micros());
            setup(all);
        })
    }

    /// What is said next; `None` when nothing is for so long.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut said = [0; 4096];
        let length = self.socket.recv(&mut said).ok()?;
        Some(String::from_utf8(said[..length].to_vec()).unwrap())
    }

    /// Hears on until something has this line.
    fn hear_line(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while Instant::now() < deadline {
            match self.hear(PATIENCE) {
                Some(said) if said.lines().any(|said| said == line) => return said,
                said => heard.extend(said),
            }
        }
        panic!("never heard {line}, but {heard:?}");
    }
}

#[test]
fn it_hears_of_the_start_the_life_and_the_end() {
    let manager = Manager::new();
    let daemon = manager.start(|_| {});
    assert_eq!(manager.hear(PATIENCE).unwrap(), "STATUS=checking the stored messages\n");
    let ready = manager.hear(PATIENCE).unwrap();
    assert_eq!(ready, format!("READY=1\nSTATUS=http on {}\n", daemon.address()), "nothing is said between the two");
    assert!(TcpStream::connect(daemon.address()).is_ok() && TcpStream::connect(daemon.tcp_address()).is_ok());

    daemon.connect().put("q", "1");
    let alive = manager.hear_line("STATUS=1 queues, 1 unread messages");
    assert!(alive.starts_with("WATCHDOG=1\n"), "{alive}");
    let began = Instant::now();
    (0..3).for_each(|_| drop(manager.hear_line("WATCHDOG=1")));
    assert!(began.elapsed() < 2 * TIMEOUT, "three in {:?}", began.elapsed());

    let ended = daemon.stop(Signal::TERM);
    assert!(ended.status.success());
    let stopping = manager.hear_line("STOPPING=1");
    assert_eq!(stopping, "STOPPING=1\nSTATUS=finishing what is under way\n");
    assert_eq!(manager.hear(Duration::from_millis(1)), None, "said after the end");
}

#[test]
fn a_refused_start_says_why() {
    let manager = Manager::new();
    let ended = Daemon::try_start(|setup| {
        setup.variable("NOTIFY_SOCKET", manager.dir.path().join("notify").display()).arg("--host=192.0.2.1");
    });
    assert_eq!(ended.err().and_then(|ended| ended.code()), Some(2));
    let said = manager.hear_line("STOPPING=1");
    assert!(said.contains("STATUS=cannot listen on 192.0.2.1:0") && !said.contains("READY=1"), "{said}");
}

#[test]
fn nothing_is_heard_of_a_daemon_whose_commits_hang() {
    let path = env::var_os("PATH").unwrap_or_default();
    let Some(strace) = env::split_paths(&path).map(|dir| dir.join("strace")).find(|path| path.exists()) else {
        return eprintln!("skipped: the watchdog of a service manager, because strace is not installed");
    };
    let manager = Manager::new();
    let daemon = manager.start(|setup| {
        let held = format!("inject=fdatasync:delay_enter={}:when=2", HELD.as_micros());
        let words = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &held];
        setup.under([strace.to_str().unwrap()].into_iter().chain(words).map(str::to_owned));
    });
    let mut client = daemon.connect();
    client.put("q", "0");
    manager.hear_line("STATUS=1 queues, 1 unread messages");

    client.send(put_message("q", "1"));
    // The first look may find the commit before it hangs, the second one not.
    let began = Instant::now();
    while manager.hear(SILENCE).is_some() {
        assert!(began.elapsed() < HELD, "it is said to live while its disk hangs");
    }
    assert!(began.elapsed() < HELD, "the disk was back before");
    manager.hear_line("STATUS=1 queues, 2 unread messages");
}
