//! What the tests through real sockets share: a daemon as a child process, and an HTTP client that sends bytes as they stand.

#![allow(dead_code, unused_imports)] // Each file in tests/ is a crate of its own and uses a part of this.

mod client;
mod coremq;
mod daemon;
mod ledger;
mod process;
mod random;
mod wire;

pub(crate) use client::{Client, Response, get, put_message, request};
pub(crate) use coremq::CoreMq;
pub(crate) use daemon::{Daemon, Ended, Setup};
pub(crate) use ledger::{Id, Ledger, Message, Outcome, Positions, Verdict};
pub(crate) use process::Process;
pub(crate) use random::Random;
pub(crate) use wire::{Frame, Wire, frame};

use std::{
    fs, io,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

/// What a step that waits for nothing may take on a busy machine. A test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until `found` gives something; there is no event for what is looked at here.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One read, which goes on where the machine was stopped for a moment: with a timeout it does not by itself (signal(7)).
fn read_some(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Makes the log of commits of a stopped daemon what it is when it has long gone on: nothing of what the engine has is in it any more,
/// so damage of the engine is not made good from there.
pub(crate) fn forget_log(data: &Path, engine: &str) {
    for entry in fs::read_dir(data.join(format!("{engine}.wal"))).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::metadata(&path).unwrap().len();
        fs::write(&path, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    }
}
