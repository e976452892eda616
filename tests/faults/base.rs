//! A data directory with known content, left behind by a kill, to be copied and then hurt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Ended, Ledger, Setup};
use crate::round::Round;
use crate::script::Script;

/// The directory, and what its queues must hold.
pub(crate) struct Base {
    ended: Ended,
    pub(crate) ledger: Ledger,
    /// The client that filled it, which can go on.
    pub(crate) script: Script,
}

impl Base {
    /// Two lives with so many requests each, each ended by a kill.
    pub(crate) fn make(round: &mut Round, steps: usize) -> Base {
        let mut ledger = Ledger::default();
        let mut script = Script::new(round.random.fork());
        let mut ended = round.never_started(|_| {});
        for _ in 0..2 {
            let daemon = ended.start_again();
            assert_eq!(script.run(&daemon, &mut ledger, steps).failed, 0);
            ended = daemon.kill();
        }
        // It holds nothing and is taken again.
        let _ = fs::remove_file(ended.dir.path().join("data/BALLAST"));
        Base { ended, ledger, script }
    }

    /// A copy, for a daemon with these settings.
    pub(crate) fn copy(&self, round: &Round, setup: impl FnOnce(&mut Setup, &Path)) -> Ended {
        let copy = round.never_started(|_| {});
        let mut command = Command::new("cp");
        command.args(["-a", "--sparse=always"]).arg(self.ended.dir.path().join("data")).arg(copy.dir.path());
        assert!(command.status().unwrap().success());
        let dir = copy.dir.path().to_owned();
        copy.with(|all| setup(all, &dir))
    }
}

/// All files below a directory, in an order that does not change.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
