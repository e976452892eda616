//! The daemon under load, with a store of its own, and what can be seen of it from outside.

use std::{error::Error, fs, net::SocketAddr, path::Path, path::PathBuf};

use tempfile::TempDir;

use crate::{
    args::Args,
    processors,
    queue::Queues,
    round::{Outcome, Plan},
    server::Server,
};

/// Unread messages fill a work queue, and nobody reads them here.
const MAX_LEN: (&str, &str) = ("HTTPMQ_QUEUE_DEFAULTS_MAX_LEN", "100000000");
const DOORS: &[&str] = &["http", "coremq"];

pub(crate) struct Daemon {
    // Fields are dropped in this order: the daemon ends before its directory goes.
    server: Server,
    _dir: TempDir,
}

impl Daemon {
    /// Starts the daemon that the options name on a new store in `dir`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(args: &Args, dir: &Path) -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir_in(dir)?;
        let mut environment = vec![(MAX_LEN.0.to_owned(), MAX_LEN.1.to_owned())];
        environment.extend(args.env.iter().cloned());
        let program = args.daemon.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_httpmq")));
        Ok(Self { server: Server::daemon(&program, dir.path(), &environment, DOORS)?, _dir: dir })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.addrs[0]
    }

    pub(crate) fn coremq(&self) -> SocketAddr {
        self.server.addrs[1]
    }

    /// Connects, waits until the daemon has nothing left to do, and runs one round.
    ///
    /// # Errors
    /// As [`Plan::run`], with the last lines of the daemon's log.
    pub(crate) fn round(&self, plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
        let ready = plan.connect(self.coremq())?;
        processors::wait_for_rest(self.pid());
        plan.run(ready, Some(self.pid())).map_err(|error| self.explain(&error).into())
    }

    /// An error with the last lines of the daemon's log.
    pub(crate) fn explain(&self, error: &str) -> String {
        format!("{error}\n{}", self.server.last_lines())
    }

    /// Sees to it that `name` is an empty work queue: it gets a message by HTTP, which is forgotten again.
    ///
    /// # Errors
    /// The daemon does not take the message.
    pub(crate) fn empty_work_queue(&self, name: &'static str) -> Result<(), Box<dyn Error>> {
        let queue = Queues::one(self.http(), name, 1);
        queue.fill(1)?;
        queue.reset()
    }

    /// Memory of the daemon that is in use now, and the most that ever was, in MiB.
    pub(crate) fn memory_mib(&self) -> Option<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let mib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
        };
        Some((mib("VmRSS:")?, mib("VmHWM:")?))
    }
}
