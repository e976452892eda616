//! What a fault needs that a machine may not have.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::disk;

/// Something that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Mounts and loop devices.
    Root,
    /// A program in the PATH.
    Program(&'static str),
    /// A file system in an image on a loop device, that can be mounted here.
    Loop,
    /// strace that may trace.
    Strace,
}

/// What is missing of these, in words.
pub(crate) fn missing(needs: &[Tool]) -> Option<String> {
    needs.iter().find_map(|need| match need {
        Tool::Root => (!rustix::process::geteuid().is_root()).then(|| "needs root".to_owned()),
        Tool::Program(name) => find(name).is_none().then(|| format!("there is no {name}")),
        Tool::Loop => disk::cannot_mount(),
        Tool::Strace => cannot_trace(),
    })
}

/// The absolute path of a program.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Where administration programs are, which is not in everybody's PATH.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A container may have strace and not allow it.
fn cannot_trace() -> Option<String> {
    let Some(strace) = find("strace") else { return Some("there is no strace".to_owned()) };
    let traced = Command::new(strace).args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    (!traced.is_ok_and(|status| status.success())).then(|| "strace may not trace here".to_owned())
}
