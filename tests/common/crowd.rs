//! Many connections that one thread drives, each with the same bytes to send: what a crowd does, or one attacker.
#![allow(dead_code)] // Every test file that includes this one uses its own part of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the test itself has open beside its crowd, at most.
const OTHER_FILES: u64 = 200;

/// The connections.
pub(crate) struct Crowd {
    pub(crate) members: Vec<Member>,
    script: Vec<u8>,
    dribble: Option<u8>,
}

/// One of them.
pub(crate) struct Member {
    stream: TcpStream,
    sent: usize,
    began: Instant,
    /// What it read.
    pub(crate) read: Vec<u8>,
    /// How long it was open after it began to send, once it was closed from the other side.
    pub(crate) open_for: Option<Duration>,
}

/// Ends what runs beside a test, also when that fails.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One test of a file at a time: each looks at time and memory, and has many files open.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the system let this process open as many connections; `false`, with the reason printed, when it does not.
#[allow(clippy::print_stderr)] // Why a test is skipped.
pub(crate) fn may_open(count: usize) -> bool {
    let limit = getrlimit(Resource::Nofile);
    // The daemon has its own limit, which is as high.
    let needed = count as u64 + OTHER_FILES;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        eprintln!("skipped: {needed} open files are needed, and the system allows {:?}", limit.maximum);
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok()
}

impl Crowd {
    /// Connects as many; nothing is sent.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Crowd {
        let members = (0..count).map(|_| Member::connect(address)).collect();
        Crowd { members, script: Vec::new(), dribble: None }
    }

    /// From now on every member sends these bytes, and behind them one byte again and again, if there is one.
    pub(crate) fn begin(&mut self, script: impl Into<Vec<u8>>, dribble: Option<u8>) {
        (self.script, self.dribble) = (script.into(), dribble);
        for member in &mut self.members {
            (member.sent, member.began) = (0, Instant::now());
            member.read.clear();
        }
    }

    /// Has every member send and read what it can, at a pace, until all are as they should be.
    pub(crate) fn until(&mut self, what: &str, pace: Duration, mut is_so: impl FnMut(&Member) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.step();
            let missing = self.members.iter().filter(|member| !is_so(member)).count();
            if missing == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{missing} of {} are not {what}", self.members.len());
            std::thread::sleep(pace);
        }
    }

    /// The same, until every member has sent what it has to.
    pub(crate) fn until_sent(&mut self) {
        let length = self.script.len();
        self.until("done sending", Duration::from_millis(5), |member| member.sent >= length);
    }

    /// The same, until every member was closed.
    pub(crate) fn until_closed(&mut self, pace: Duration) {
        self.until("closed", pace, |member| member.open_for.is_some());
    }

    /// The same, until every member has read this text.
    pub(crate) fn until_told(&mut self, text: &str) {
        self.until(&format!("told {text:?}"), Duration::from_millis(5), |member| member.has_read(text));
    }

    fn step(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.open_for.is_none()) {
            let is_open = member.send(&self.script, self.dribble) & member.receive();
            if !is_open {
                member.open_for = Some(member.began.elapsed());
            }
        }
    }
}

impl Member {
    fn connect(address: SocketAddr) -> Member {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        // Closed by a reset: ten thousand ports would otherwise be in use for a minute.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        Member { stream, sent: 0, began: Instant::now(), read: Vec::new(), open_for: None }
    }

    pub(crate) fn has_read(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    /// How often it has read this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.read.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    }

    /// Whether it can still send; what it was told before that stays to be read.
    fn send(&mut self, script: &[u8], dribble: Option<u8>) -> bool {
        while self.sent < script.len() {
            match self.stream.write(&script[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        let Some(byte) = dribble else { return true };
        match self.stream.write(&[byte]) {
            Ok(written) => written == 1,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn receive(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => self.read.extend_from_slice(&piece[..length]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
