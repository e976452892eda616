//! The real program as a child process on free ports, in a directory and an environment of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Client, PATIENCE, Process, Wire, wait_for};

/// The line that says that the daemon serves; the address follows.
const LISTENING: &str = "http listening on ";

/// The same for publish/subscribe.
const TCP_LISTENING: &str = "coremq listening on ";

/// How the daemon is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    env: BTreeMap<String, String>,
    args: Vec<String>,
    file: String,
    open_files: Option<u32>,
    user: Option<u32>,
    under: Vec<String>,
}

/// A daemon that serves. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Daemon {
    setup: Setup,
    child: Child,
    log: Log,
    address: SocketAddr,
    /// From the start of the process until it served.
    pub(crate) ready_after: Duration,
    /// The last one to go: the child is in it.
    dir: TempDir,
}

/// A daemon that ended, by itself or because it was told to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
    pub(crate) dir: TempDir,
    setup: Setup,
}

/// What the daemon says on standard error.
#[derive(Debug)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Setup {
    /// A setting, as `HTTP_HEADER_TIMEOUT_S`.
    pub(crate) fn set(&mut self, key: &str, value: impl ToString) -> &mut Setup {
        self.env.insert(format!("HTTPMQ_{key}"), value.to_string());
        self
    }

    /// A variable of the environment that is no setting.
    pub(crate) fn variable(&mut self, name: &str, value: impl ToString) -> &mut Setup {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// A command line argument.
    pub(crate) fn arg(&mut self, arg: impl ToString) -> &mut Setup {
        self.args.push(arg.to_string());
        self
    }

    /// The text of `httpmq.toml`.
    pub(crate) fn file(&mut self, text: &str) -> &mut Setup {
        self.file = text.to_owned();
        self
    }

    /// The most files that may be open, which the daemon cannot raise.
    pub(crate) fn open_files(&mut self, limit: u32) -> &mut Setup {
        self.open_files = Some(limit);
        self
    }

    /// The user to run as; only root can.
    pub(crate) fn user(&mut self, id: u32) -> &mut Setup {
        self.user = Some(id);
        self
    }

    /// The words of a command that runs the program and becomes it, as `strace -D` does; the first is an absolute path.
    pub(crate) fn under(&mut self, words: impl IntoIterator<Item = String>) -> &mut Setup {
        self.under = words.into_iter().collect();
        self
    }

    /// Starts the program in a directory.
    fn spawn(&self, dir: &Path) -> Child {
        fs::write(dir.join("httpmq.toml"), &self.file).unwrap();
        let program = env!("CARGO_BIN_EXE_httpmq");
        let mut command = match (self.open_files, self.under.split_first()) {
            (None, None) => Command::new(program),
            (None, Some((first, words))) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            (Some(limit), _) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let defaults = [("HTTPMQ_PORT", "0"), ("HTTPMQ_TCP_PORT", "0"), ("HTTPMQ_DATA_DIR", "data")];
        command.args(&self.args).current_dir(dir).env_clear().envs(defaults).envs(&self.env);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

impl Daemon {
    /// Starts a daemon in a new directory and waits until it serves.
    pub(crate) fn start(setup: impl FnOnce(&mut Setup)) -> Daemon {
        match Daemon::try_start(setup) {
            Ok(daemon) => daemon,
            Err(ended) => panic!("the daemon does not start: {}\n{}", ended.status, ended.lines.join("\n")),
        }
    }

    /// A daemon whose messages need not survive: the disk is not waited for.
    pub(crate) fn start_fast(setup: impl FnOnce(&mut Setup)) -> Daemon {
        Daemon::start(|all| {
            all.set("STORE_SYNC", "never");
            setup(all);
        })
    }

    /// Starts a daemon that may refuse to.
    pub(crate) fn try_start(setup: impl FnOnce(&mut Setup)) -> Result<Daemon, Box<Ended>> {
        let mut all = Setup::default();
        setup(&mut all);
        Daemon::start_in(tempfile::tempdir().unwrap(), all)
    }

    /// Starts a daemon in a directory; its data are in `data`.
    pub(crate) fn start_in(dir: TempDir, setup: Setup) -> Result<Daemon, Box<Ended>> {
        let began = Instant::now();
        let mut child = setup.spawn(dir.path());
        let (first, listening) = mpsc::channel();
        let log = Log::read(&mut child, first);
        match listening.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Daemon { setup, child, log, address, ready_after: began.elapsed(), dir }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().unwrap();
                Err(Box::new(Ended { status, lines: log.finish(), dir, setup }))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let status = child.wait().unwrap();
                panic!("the daemon neither serves nor ends ({status}):\n{}", log.finish().join("\n"));
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where publish/subscribe listens.
    pub(crate) fn tcp_address(&self) -> SocketAddr {
        let address = |line: &String| address_in(line.split_once(TCP_LISTENING)?.1);
        wait_for("the publish/subscribe listener", || self.lines().iter().find_map(address))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A connection for publish/subscribe.
    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(self.tcp_address())
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Where its messages are.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Replaces its `httpmq.toml`, which it reads again at SIGHUP.
    pub(crate) fn set_file(&self, text: &str) {
        fs::write(self.dir.path().join("httpmq.toml"), text).unwrap();
    }

    /// The directory that it was started in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Tells it to stop and waits until it did.
    pub(crate) fn stop(self, signal: Signal) -> Ended {
        self.process().signal(signal);
        self.ended()
    }

    /// Kills it.
    pub(crate) fn kill(self) -> Ended {
        self.stop(Signal::KILL)
    }

    /// Whether it ends by itself in that time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the daemon does not end:\n{}", self.lines().join("\n"));
            std::thread::sleep(Duration::from_millis(2));
        };
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        let lines = std::mem::take(&mut self.log.thread).map_or_else(Vec::new, |thread| {
            thread.join().unwrap();
            self.log.lines()
        });
        Ended { status, lines, dir, setup: self.setup.clone() }
    }
}

impl Drop for Daemon {
    #[allow(clippy::print_stderr)] // What the daemon said belongs to the failure.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.lines().join("\n"));
        }
    }
}

impl Ended {
    /// A directory in which no daemon was yet.
    pub(crate) fn never_started(setup: impl FnOnce(&mut Setup)) -> Ended {
        let mut all = Setup::default();
        setup(&mut all);
        Ended { status: ExitStatus::default(), lines: Vec::new(), dir: tempfile::tempdir().unwrap(), setup: all }
    }

    /// Changes the settings of the next start.
    pub(crate) fn with(mut self, setup: impl FnOnce(&mut Setup)) -> Ended {
        setup(&mut self.setup);
        self
    }

    /// Starts a daemon on the same directory and kills it after a while, whether it serves by then or not.
    pub(crate) fn start_and_kill(self, after: Duration) -> Ended {
        self.start_and(after, || {})
    }

    /// The same, with something done to it before the kill.
    pub(crate) fn start_and(mut self, after: Duration, fault: impl FnOnce()) -> Ended {
        let mut child = self.setup.spawn(self.dir.path());
        let log = Log::read(&mut child, mpsc::channel().0);
        std::thread::sleep(after);
        fault();
        child.kill().unwrap();
        self.status = child.wait().unwrap();
        self.lines = log.finish();
        self
    }

    /// Starts a daemon on the same directory with the same settings, which may refuse to.
    pub(crate) fn try_start_again(self) -> Result<Daemon, Box<Ended>> {
        Daemon::start_in(self.dir, self.setup)
    }

    /// Starts a daemon on the same directory with the same settings.
    pub(crate) fn start_again(self) -> Daemon {
        match self.try_start_again() {
            Ok(daemon) => daemon,
            Err(ended) => panic!("the daemon does not start again: {}\n{}", ended.status, ended.lines.join("\n")),
        }
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

impl Log {
    /// Reads on in a thread, so that a full pipe never stops the daemon.
    fn read(child: &mut Child, first: mpsc::Sender<SocketAddr>) -> Log {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let thread = std::thread::spawn(move || {
            let mut first = Some(first);
            for line in stderr.lines() {
                let line = line.unwrap();
                let address = line.split_once(LISTENING).and_then(|(_, address)| address_in(address));
                kept.lock().unwrap().push(line);
                if let (Some(address), true) = (address, first.is_some()) {
                    // Whoever waited may have given up.
                    let _ = first.take().map(|first| first.send(address));
                }
            }
        });
        Log { lines, thread: Some(thread) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn finish(mut self) -> Vec<String> {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.lines()
    }
}

/// An address at the end of a line, of a JSON line too.
fn address_in(text: &str) -> Option<SocketAddr> {
    text.trim().trim_end_matches("\"}").parse().ok()
}
