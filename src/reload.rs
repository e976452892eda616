//! SIGHUP: the settings are read again, from where they came from at the start, and those that can change at run time do.
//!
//! A mistake in them changes nothing. What was changed is logged, a line for each setting, and so is what waits for a restart.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use tokio::signal::unix::Signal;

use crate::{
    config::{self, Change, ConfigError, Loaded},
    guard::Guard,
    logging::{self, LIFE},
    store::local::{LocalStore, QueueSettings},
    tls,
};

/// Reads the settings as they were read at the start.
pub type Read = Box<dyn Fn() -> Result<Loaded, ConfigError> + Send>;

/// What is needed to change the settings of a daemon that runs.
pub struct Reload {
    read: Read,
    /// The settings in force.
    running: Loaded,
    store: LocalStore,
    guard: Arc<Guard>,
    tls: Option<Arc<tls::Server>>,
    had_terminal: bool,
}

impl Reload {
    /// To be made at the start: `running` are the settings that the daemon was started with.
    pub fn new(
        read: Read,
        running: Loaded,
        store: LocalStore,
        guard: Arc<Guard>,
        tls: Option<Arc<tls::Server>>,
    ) -> Reload {
        Reload { read, running, store, guard, tls, had_terminal: has_terminal() }
    }

    /// Does what is to be done at each SIGHUP. Returns when that means the end: the terminal that the daemon was started in is
    /// closed.
    pub async fn serve(mut self, hangup: &mut Signal) {
        while hangup.recv().await.is_some() {
            if self.had_terminal && !has_terminal() {
                return;
            }
            self.reload();
        }
        // No signal can come any more.
        std::future::pending().await
    }

    fn reload(&mut self) {
        let new = match self.read_again() {
            Ok(new) => new,
            Err(why) => return log::error!(target: LIFE, "SIGHUP: nothing is changed: {why}"),
        };
        for warning in &new.warnings {
            log::warn!(target: LIFE, "{warning}");
        }
        let changes = self.running.changes(&new);
        let Applied { in_force, refused } = self.apply(&new);
        let (done, left): (Vec<&Change>, Vec<_>) =
            changes.iter().partition(|change| in_force.contains(&&*change.section));
        for change in &done {
            log::info!(target: LIFE, "changed {change}");
        }
        let left = left.iter().filter(|change| !refused.contains(&&*change.section));
        let left: Vec<&str> = left.map(|change| &*change.key).collect();
        if !left.is_empty() {
            log::warn!(target: LIFE, "needs a restart: {}", left.join(", "));
        }
        let from = new.file.as_deref().map_or("no file".into(), |path| path.display().to_string());
        log::info!(target: LIFE, "SIGHUP: read the settings again ({from}), {} keys changed", done.len());
        // Behind the lines about it, which may be the last or the first of their kind.
        logging::change(&new.config.log);
        self.running.take_over(&new, &in_force);
    }

    fn read_again(&self) -> Result<Loaded, String> {
        let new = (self.read)().map_err(|error| error.to_string())?;
        match (&self.running.file, &new.file) {
            // The defaults are surely not what was meant.
            (Some(path), None) => Err(format!("{} is gone", path.display())),
            _ => Ok(new),
        }
    }

    /// Changes what can be changed. What else may change at run time belongs here.
    fn apply(&self, new: &Loaded) -> Applied {
        let queues = QueueSettings { defaults: new.config.queue_defaults, named: new.config.queues.clone() };
        self.store.configure(queues);
        // The log itself is changed at the end.
        let (mut in_force, mut refused) = (vec!["log", "queue_defaults", "queues"], Vec::new());
        if let (Some(tls), Some(files)) = (&self.tls, &new.config.tls) {
            if replace(tls, files) { in_force.push("tls") } else { refused.push("tls") }
        }
        match self.guard.replace(&new.config.auth) {
            Ok(replaced) => {
                in_force.push("auth");
                if !replaced.is_empty() {
                    log::info!(target: LIFE, "changed {replaced}");
                }
            }
            Err(exposed) => {
                refused.push("auth");
                log::error!(target: LIFE, "auth stays as it is: {exposed}");
            }
        }
        Applied { in_force, refused }
    }
}

/// The sections that a reload could change; all others need a restart.
struct Applied {
    in_force: Vec<&'static str>,
    /// Stay as they are, and the log says why.
    refused: Vec<&'static str>,
}

/// Takes over what the files hold now, also when their names are the same: a certificate is renewed in its place. `false`: they
/// are of no use, and what was there stays.
fn replace(tls: &tls::Server, files: &config::Tls) -> bool {
    match tls.replace(files) {
        Ok(Some((old, new))) => log::info!(target: LIFE, "changed the TLS certificate: valid until {old} → {new}"),
        Ok(None) => {}
        Err(error) => {
            log::error!(target: LIFE, "the TLS certificate stays as it is: {error}");
            return false;
        }
    }
    tls.warn_of_end();
    true
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}
