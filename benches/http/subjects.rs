//! The servers that are compared, each in a process and with a store of its own.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    args::{Args, ENGINE_VARIABLE, SYNC_VARIABLE, Sync},
    figures::thousands,
    neighbours::Neighbour,
    queue::{Queues, Work},
    rounds::{Holds, Subject},
    server::Server,
};

/// The queue that the load goes to, or what the names of many begin with.
const QUEUE: &str = "bench";
/// The longest message that the daemon takes unless it is told otherwise.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// A backlog may grow by this much in the rounds.
const BACKLOG_ROOM: u64 = 1_000_000_000;

/// A bare server and the daemon with each engine; also a bare one that syncs, and for puts other queues, if they are wanted.
///
/// # Errors
/// A server does not start.
pub(crate) fn floor_and_others(
    args: &Args,
    dir: &Path,
    sync: Sync,
    work: Work,
) -> Result<Vec<Subject>, Box<dyn Error>> {
    let mut subjects = vec![floor("floor", args.size)?];
    if args.synced_floor {
        subjects.push(synced_floor(args, dir)?);
    }
    for engine in &args.engines.0 {
        subjects.push(one(args, dir, sync, engine)?);
    }
    for neighbour in args.neighbours.iter().flat_map(|list| &list.0).filter(|_| work == Work::Put) {
        subjects.push(other(args, dir, sync, *neighbour)?);
    }
    Ok(subjects)
}

/// The daemon with one queue, and with many.
///
/// # Errors
/// A server does not start.
pub(crate) fn one_and_many(
    args: &Args,
    dir: &Path,
    sync: Sync,
    engine: &str,
    count: usize,
) -> Result<Vec<Subject>, Box<dyn Error>> {
    let mut many = one(args, dir, sync, engine)?;
    many.name = format!("{engine}, {} queues", thousands(count as f64));
    many.queues = Queues::many(many.server.addrs[0], QUEUE, count, args.size);
    Ok(vec![one(args, dir, sync, engine)?, many])
}

/// A bare server.
///
/// # Errors
/// It does not start.
pub(crate) fn floor(name: &str, size: usize) -> Result<Subject, Box<dyn Error>> {
    Ok(Subject::new(name, Server::floor(size, None)?, size, Holds::Nothing, None))
}

fn synced_floor(args: &Args, dir: &Path) -> Result<Subject, Box<dyn Error>> {
    let store = tempfile::tempdir_in(dir)?;
    let server = Server::floor(args.size, Some(store.path()))?;
    Ok(Subject::new("synced floor", server, args.size, Holds::Nothing, Some(store)))
}

fn other(args: &Args, dir: &Path, sync: Sync, neighbour: Neighbour) -> Result<Subject, Box<dyn Error>> {
    let store = tempfile::tempdir_in(dir)?;
    let server = Server::on_port(neighbour.name(), |port| neighbour.command(port, store.path(), sync))?;
    let subject = Subject::new(neighbour.name(), server, args.size, Holds::Nothing, Some(store));
    Ok(Subject { neighbour: Some(neighbour), ..subject })
}

/// The daemon on a new store in `dir`, with one queue.
///
/// # Errors
/// It does not start.
pub(crate) fn one(args: &Args, dir: &Path, sync: Sync, engine: &str) -> Result<Subject, Box<dyn Error>> {
    let store = tempfile::tempdir_in(dir)?;
    let server = daemon(args, store.path(), sync, engine)?;
    Ok(Subject::new(engine, server, args.size, Holds::AsNeeded, Some(store)))
}

impl Subject {
    fn new(name: &str, server: Server, size: usize, holds: Holds, store: Option<TempDir>) -> Self {
        let queues = Queues::one(server.addrs[0], QUEUE, size);
        Self { name: name.to_owned(), server, queues, holds, neighbour: None, per_s: None, store }
    }

    /// Starts the daemon again on the store that it had.
    ///
    /// # Errors
    /// It has no store, or does not start.
    pub(crate) fn start_again(&mut self, args: &Args, sync: Sync, engine: &str) -> Result<(), Box<dyn Error>> {
        let store = self.store.as_ref().ok_or("a server without a store cannot start again")?;
        self.server = daemon(args, store.path(), sync, engine)?;
        self.queues = Queues::one(self.server.addrs[0], QUEUE, args.size);
        Ok(())
    }
}

fn daemon(args: &Args, dir: &Path, sync: Sync, engine: &str) -> Result<Server, Box<dyn Error>> {
    let mut environment = vec![(SYNC_VARIABLE, sync.name().to_owned()), (ENGINE_VARIABLE, engine.to_owned())];
    if let Some(messages) = args.backlog {
        environment.push(("HTTPMQ_QUEUE_DEFAULTS_MAX_LEN", (messages + BACKLOG_ROOM).to_string()));
    }
    // In JSON a string has two quotes more.
    if args.size + 2 > MESSAGE_BYTES_MAX {
        environment.push(("HTTPMQ_LIMITS_MAX_MESSAGE_BYTES", (args.size + 2).to_string()));
    }
    let environment = environment.into_iter().map(|(key, value)| (key.to_owned(), value));
    let environment: Vec<(String, String)> = environment.chain(args.env.iter().cloned()).collect();
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_httpmq"));
    Server::daemon(&args.daemon.clone().unwrap_or_else(built), dir, &environment, &["http"])
}
