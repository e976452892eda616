//! `--daemon`: going to the background by starting the program anew, which needs no fork and so no unsafe code.
//!
//! The parent starts the same program without the flag and with a variable that marks the child, its standard error
//! going to `httpmq.log` in the data directory. It waits until the child says `ready` on its standard output or ends, so
//! that the user sees a port in use, and a script can go on knowing that the daemon serves.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Marks the child. Does not begin with `HTTPMQ_`, where it would be a setting.
const MARK: &str = "_HTTPMQ_IN_BACKGROUND";
const READY: &str = "ready";

/// Starts the daemon in the background and waits until it serves. The exit code is 0 then, else the child's own, with
/// what it logged printed to standard error.
///
/// # Errors
/// The data directory or the log cannot be made, or the program cannot be started.
pub fn detach(data_dir: &Path) -> io::Result<ExitCode> {
    create_data_dir(data_dir)?;
    let log_path = data_dir.join("httpmq.log");
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&log_path)?;
    let log_start = log.metadata()?.len();

    let mut child = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1).filter(|word| word != "--daemon"))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said.trim_end() == READY {
        writeln!(io::stdout(), "{}", child.id())?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    print_log(&log_path, log_start)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if code.is_none() {
        writeln!(io::stderr(), "httpmq: the daemon ended: {status}")?;
    }
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In the child, first thing: leaves the terminal's session, so that closing the terminal does not end the daemon.
///
/// # Errors
/// What the system says.
pub fn leave_terminal() -> io::Result<()> {
    if in_background() {
        rustix::process::setsid()?;
    }
    Ok(())
}

/// To be called when the listeners are bound and the store is open (and locked: the file with the process id must not be
/// taken from a daemon that runs). In the background it writes `httpmq.pid`, tells the parent and lets go of
/// it; in the foreground it does nothing. The file goes when what is returned is dropped.
///
/// # Errors
/// The file cannot be written. That the parent is gone is no error.
pub fn ready(data_dir: &Path) -> io::Result<Option<PidFile>> {
    if !in_background() {
        return Ok(None);
    }
    let path = data_dir.join("httpmq.pid");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    writeln!(file, "{}", std::process::id())?;
    let file = PidFile { path };
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
    // The parent ends now, and a write to its pipe would be an error: standard output goes to the log as well.
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(Some(file))
}

/// `httpmq.pid`, removed on drop.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes the data directory when it is missing, open to its owner only: messages are nobody else's business.
///
/// # Errors
/// What the system says, with the directory named.
fn create_data_dir(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display())))
}

fn in_background() -> bool {
    env::var_os(MARK).is_some()
}

fn print_log(path: &Path, from: u64) -> io::Result<()> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    log.take(MAX_PRINTED_BYTES).read_to_end(&mut text)?;
    io::stderr().write_all(&text)
}

/// The reason of a failed start is a few lines; more is in the file.
const MAX_PRINTED_BYTES: u64 = 64 << 10;
