//! Namespaces of our own for mounts and processes, so that nothing of either outlives this program, however it ends.

use std::env;
use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};

/// Says that this is the process inside.
const MARK: &str = "_HTTPMQ_FAULTS_INSIDE";
/// As after Ctrl-C in a shell.
const INTERRUPTED: i32 = 130;

/// Starts this program again in namespaces of its own and gives its exit code; `None` in there, and where that is not allowed.
pub(crate) fn enter() -> Option<ExitCode> {
    if env::var_os(MARK).is_some() {
        std::thread::spawn(end_with_parent);
        return None;
    }
    const UNSHARE: [&str; 5] = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let is_allowed = Command::new("unshare").args(UNSHARE).arg("true").stderr(Stdio::null()).status();
    if !is_allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    // The shell is the first process in there: it takes what is orphaned.
    let mut inside = Command::new("unshare");
    inside.args(UNSHARE).args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]);
    inside.arg(env::current_exe().ok()?).args(env::args_os().skip(1)).env(MARK, "1").stdin(Stdio::piped());
    let mut child = inside.spawn().ok()?;
    // To wait would close it.
    let _held = child.stdin.take();
    let code = child.wait().ok()?.code().and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Standard input is a pipe that nobody writes to; it ends when the process outside does.
fn end_with_parent() {
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(INTERRUPTED);
}
