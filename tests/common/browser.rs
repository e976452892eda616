//! A headless Chromium.
#![allow(dead_code)] // Every test file that includes this one uses its own part of it.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// A browser takes its time to start on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    child: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a page; `None` where there is no browser, and says that this is skipped.
    #[allow(clippy::print_stderr)] // What is skipped is said where the test harness shows it.
    pub(crate) fn open(url: &str, what: &str) -> Option<Browser> {
        let profile = tempfile::tempdir().unwrap();
        for name in BROWSERS {
            let mut command = Command::new(name);
            command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
            command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
            // Without a port a headless browser ends when the page has been loaded.
            command.args(["--no-proxy-server", "--disable-dev-shm-usage", "--remote-debugging-port=0"]);
            command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
            command.env("HOME", profile.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            match command.spawn() {
                Ok(child) => return Some(Browser { child, profile }),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}"),
            }
        }
        eprintln!("skipped: {what}, because there is no chromium");
        None
    }

    /// Where it keeps what it writes.
    pub(crate) fn profile(&self) -> &Path {
        self.profile.path()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
