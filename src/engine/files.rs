//! What engines do with their directories.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::EngineError;

/// Sees to it that an engine's directory is there and whole: what `make` makes under another name is synced and gets its own
/// name when it is done, and what a crash left of an earlier try is removed first.
pub(super) fn make_whole(dir: &Path, make: impl FnOnce(&Path) -> Result<(), EngineError>) -> Result<(), EngineError> {
    let unfinished = unfinished(dir);
    remove(&unfinished).map_err(|e| EngineError::new("remove an unfinished directory", e))?;
    if !dir.exists() {
        make(&unfinished)?;
        let renamed = sync_tree(&unfinished).and_then(|()| fs::rename(&unfinished, dir));
        renamed.map_err(|e| EngineError::new("rename the new directory", e))?;
    }
    // Also when it was there: a kill may have come between the renaming and this.
    sync_parent(dir).map_err(|e| EngineError::new("sync the data directory", e))
}

/// Removes a directory with all that is in it, if it is there, and makes that durable.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_parent(dir),
    }
}

/// Makes it durable that a directory is in its parent, or is not.
pub(super) fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.parent() {
        // The parent of a relative path of one word.
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Where an engine is while it is being made.
pub(super) fn unfinished(dir: &Path) -> PathBuf {
    dir.with_added_extension("new")
}

/// Syncs every file and directory below a directory, and itself.
pub(super) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(dir)?.sync_all()
}
