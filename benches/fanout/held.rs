//! Subscribers in a process of their own, which can be stopped as a whole: nobody reads what is sent to them then.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{
    PATIENCE, QUEUE, client,
    publisher::Pace,
    round::{Plan, Shared},
    subscribers,
};

const READY: &str = "ready";

/// What the process saw, on one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// How many of its connections the server closed.
    pub(crate) dropped: usize,
    pub(crate) deliveries: u64,
    /// Lost before the connection was closed, doubled or out of order.
    pub(crate) faults: u64,
}

/// The process; killed when it is dropped.
pub(crate) struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Held {
    /// Starts it and waits until all its subscribers are subscribed.
    ///
    /// # Errors
    /// It does not start, or cannot subscribe.
    pub(crate) fn start(addr: SocketAddr, subscribers: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--hold", &addr.to_string(), "--subscribers", &subscribers.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut held = Self { child, stdin, stdout };
        let line = held.line()?;
        if line.trim_end() == READY { Ok(held) } else { Err(format!("the held subscribers said '{line}'").into()) }
    }

    /// Stops it, or lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn set_stopped(&self, stopped: bool) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        Ok(kill_process(pid, if stopped { Signal::STOP } else { Signal::CONT })?)
    }

    /// Ends it, and gives what it saw.
    ///
    /// # Errors
    /// It failed.
    pub(crate) fn finish(mut self) -> Result<Seen, Box<dyn Error>> {
        self.stdin.take();
        let line = self.line()?;
        Ok(serde_json::from_str(&line).map_err(|error| format!("{error} in '{line}'"))?)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does: subscribes, reads, and says at the end of its standard input what it saw.
///
/// # Errors
/// No connection, or bytes that are no frames.
pub(crate) fn run(addr: SocketAddr, subscribers: usize) -> Result<(), Box<dyn Error>> {
    let sockets = client::subscribers(addr, QUEUE, subscribers)?;
    println!("{READY}");
    let shared = Shared::new();
    let (size, duration, pace) = (0, PATIENCE, Pace::Flood);
    let plan = Plan { queue: QUEUE, subscribers, size, duration, pace, latency: false, patience: PATIENCE };
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            // Nothing is ever written to it: this waits for the end.
            let _ = io::stdin().read(&mut [0]);
            shared.set_total(0);
        });
        subscribers::run(sockets, &plan, &shared)
    })?;
    let faults = outcome.faults;
    let faults = faults.lost + faults.doubled + faults.reordered;
    let seen = Seen { dropped: outcome.dropped.len(), deliveries: outcome.deliveries, faults };
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
