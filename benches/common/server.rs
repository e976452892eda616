//! The servers under load, each in a process of its own, ended with the value that stands for it.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::stop;

/// A daemon that is not up by then has hung; even a big store opens faster.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A daemon that drains and flushes longer than this after SIGTERM is killed, with a note.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of what a server printed is kept for an error message.
const LAST_LINES: usize = 20;

/// A running server.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Where its doors listen, in the order in which they were asked for.
    pub(crate) addrs: Vec<SocketAddr>,
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts the floor: this program with `--floor 0`, for messages of `size` bytes; with a directory, the synced one.
    ///
    /// # Errors
    /// It does not start or does not listen.
    pub(crate) fn floor(size: usize, synced: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--floor", "0", "--size", &size.to_string()]).stdout(Stdio::piped()).stderr(Stdio::inherit());
        if let Some(dir) = synced {
            command.arg("--synced").arg(dir);
        }
        let mut child = command.spawn()?;
        let output = child.stdout.take();
        Self::when_listening("floor", child, output, &[""])
    }

    /// Starts `program` on free ports with its store in `dir`, settings given by `environment`, and waits for its `doors`,
    /// which are the words before `listening on` in its log.
    ///
    /// # Errors
    /// It does not start, ends, or does not listen in time; the last lines of its log are in the message.
    pub(crate) fn daemon(
        program: &Path,
        dir: &Path,
        environment: &[(String, String)],
        doors: &'static [&'static str],
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(program);
        command.args(["--port", "0", "--tcp-port", "0", "--data-dir"]).arg(dir.join("data"));
        // Not in the project's directory: the httpmq.toml there would be read.
        command.current_dir(dir).envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let log = child.stderr.take();
        Self::when_listening("httpmq", child, log, doors)
    }

    /// Starts a program that is told its port, one that was free a moment before, and waits until it listens there.
    ///
    /// # Errors
    /// It does not start, ends, or does not listen in time.
    #[allow(dead_code, reason = "only one of the benchmarks has other servers")]
    pub(crate) fn on_port(name: &'static str, command: impl FnOnce(u16) -> Command) -> Result<Self, Box<dyn Error>> {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = command(addr.port());
        let program = command.get_program().display().to_string();
        let child = command.spawn().map_err(|e| format!("{program}, which has to be installed: {e}"))?;
        let mut server = Self { name, addrs: vec![addr], child, printed: Arc::default() };
        let started = Instant::now();
        while TcpStream::connect(addr).is_err() {
            stop::check()?;
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{name} ended before it listened ({status})").into());
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(format!("{name} does not listen on {addr} after {START_TIMEOUT:?}").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines the server printed, for the message of an error.
    pub(crate) fn last_lines(&self) -> String {
        self.printed.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// SIGTERM to this process id alone, so that a daemon can flush; killed when it does not end.
    pub(crate) fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            // Its id may be that of another process by now.
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} did not end within {STOP_TIMEOUT:?} of SIGTERM: killed", self.name);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGKILL: nothing is flushed.
    ///
    /// # Errors
    /// It cannot be killed.
    #[allow(dead_code, reason = "only one of the benchmarks kills")]
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    fn when_listening(
        name: &'static str,
        child: Child,
        output: Option<impl Read + Send + 'static>,
        doors: &'static [&'static str],
    ) -> Result<Self, Box<dyn Error>> {
        let mut server = Self { name, addrs: Vec::new(), child, printed: Arc::default() };
        let (found, listening) = mpsc::channel();
        let printed = Arc::clone(&server.printed);
        if let Some(output) = output {
            thread::spawn(move || drain(output, doors, &found, &printed));
        }
        let started = Instant::now();
        loop {
            stop::check()?;
            match listening.recv_timeout(Duration::from_millis(50)) {
                Ok(addrs) => {
                    server.addrs = addrs;
                    return Ok(server);
                }
                Err(mpsc::RecvTimeoutError::Timeout) if started.elapsed() < START_TIMEOUT => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let lines = server.last_lines();
                    return Err(format!("{name} did not say 'listening on' within {START_TIMEOUT:?}\n{lines}").into());
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = server.child.wait()?;
                    let lines = server.last_lines();
                    return Err(format!("{name} ended before it listened ({status})\n{lines}").into());
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads all that a server prints, so that it never waits for a full pipe; sends the addresses once all doors are open.
fn drain(output: impl Read, doors: &[&str], found: &mpsc::Sender<Vec<SocketAddr>>, printed: &Mutex<Vec<String>>) {
    let mut addrs = vec![None; doors.len()];
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((door, addr)) = door_in(&line, doors) {
            addrs[door] = Some(addr);
            if let Some(addrs) = addrs.iter().copied().collect() {
                // Nobody listens any more after the first: that is all right.
                let _ = found.send(addrs);
            }
        }
        if let Ok(mut lines) = printed.lock() {
            lines.push(line);
            let surplus = lines.len().saturating_sub(LAST_LINES);
            lines.drain(..surplus);
        }
    }
}

/// Which door a line says to be open, and where.
fn door_in(line: &str, doors: &[&str]) -> Option<(usize, SocketAddr)> {
    let (before, behind) = line.split_once("listening on ")?;
    let addr = behind.split_whitespace().next()?.parse().ok()?;
    let door = doors.iter().position(|door| before.trim_end().ends_with(door))?;
    Some((door, addr))
}
