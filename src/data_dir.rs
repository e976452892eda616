//! The directory that holds everything the daemon keeps, and what we add to the engine's own files there.
//!
//! ```text
//! httpmq-data/      mode 0700
//!   FORMAT          "httpmq 1 sled": the version of this layout and the engine that wrote it
//!   LOCK            locked while a daemon runs; holds its process id
//!   COMMIT          the number of the last durable commit, to notice an engine that silently lost some
//!   BALLAST         space given up when the disk is full, so that the daemon can start and be drained
//!   sled/           the engine's own files; or fjall/
//!   sled.wal/       the log in front of it; or fjall.wal/
//!   sled.blobs/     large messages, when there was one; or fjall.blobs/
//! ```

use std::{
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{config::Engine, state};

/// The layout that this version reads and writes.
const FORMAT_VERSION: u32 = 1;

/// What the ballast takes from the disk, so that the engine can open and drain: room for two new segments of sled, 16 MiB each
/// where an early build made the directory, and a bit. fjall needs less: the tables (8 MiB each) that it writes out or merges.
pub const BALLAST_BYTES: u64 = 48 << 20;

/// What POSIX counts the space of a file in.
const BLOCK_BYTES: u64 = 512;

/// Files that may be there before the directory is ours: what `--daemon` writes before the store is open, what a crash leaves
/// of the making of it, and what a fresh file system has.
const EARLY_FILES: [&str; 6] = ["httpmq.log", "httpmq.pid", "LOCK", "COMMIT", "FORMAT.new", "lost+found"];

/// A data directory, locked for this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    mark: File,
    /// Held for its lock.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{path} is in use by another httpmq (process {pid}); stop it, or use another --data-dir")]
    InUse {
        /// The directory.
        path: String,
        /// The other process, as far as it said.
        pid: String,
    },
    /// It has the files of an engine, but not the file that says which.
    #[error(
        "{0} has no FORMAT file, which says what the others are; `httpmq repair` makes it anew out of what is there"
    )]
    NoFormat(String),
    /// It has files, but not ours.
    #[error("{0} is not empty and not a data directory of httpmq; use another --data-dir")]
    Foreign(String),
    /// A newer version wrote it, or the file that says so is damaged.
    #[error(
        "{path} has the format \"{found}\"; this httpmq reads version {FORMAT_VERSION} of the engines {engines}. If the file FORMAT \
         is damaged, `httpmq repair` finds out what is there",
        engines = Engine::ON_DISK.map(Engine::name).join(", ")
    )]
    OtherFormat {
        /// The directory.
        path: String,
        /// What its format file says.
        found: String,
    },
    /// Another engine wrote it.
    #[error(
        "{path} was written by the engine {found}, and the engine is to be {wanted}; set [store] engine = \"{found}\", \
         or move the messages: httpmq migrate --to {wanted} --data-dir {path}"
    )]
    OtherEngine {
        /// The directory.
        path: String,
        /// The engine that wrote it.
        found: String,
        /// The engine that shall open it.
        wanted: String,
    },
    /// There is none.
    #[error("{0} is no data directory of httpmq, it has no messages")]
    Absent(String),
    /// The commit mark cannot be trusted.
    #[error(
        "{0} is damaged, so lost commits would go unnoticed; if you accept that, delete this file and start again, or let `httpmq repair` look at every message"
    )]
    Mark(String),
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: String,
        /// What it said.
        error: io::Error,
    },
}

impl DataDir {
    /// Opens a data directory for an engine; makes it when it is missing.
    ///
    /// # Errors
    /// It is in use, not ours, of another format or engine, or cannot be read or written.
    pub fn open(path: &Path, engine: &str) -> Result<DataDir, DataDirError> {
        let format_path = path.join("FORMAT");
        // Before anything is changed: who mistypes a path does not want its mode changed, or our files in it.
        if path.is_dir() && !format_path.exists() {
            check_empty(path)?;
        }
        create_private(path).map_err(io_error(path))?;
        let lock = lock(path)?;
        match format_of(path)? {
            Format::Ours(found) if found.name() == engine => {}
            Format::Ours(found) => {
                let (path, found) = (path.display().to_string(), found.name().to_owned());
                return Err(DataDirError::OtherEngine { path, found, wanted: engine.to_owned() });
            }
            Format::Other(found) => return Err(DataDirError::OtherFormat { path: path.display().to_string(), found }),
            Format::Missing => {
                check_empty(path)?;
                write_mark(&open_mark(path)?, 0).map_err(io_error(path))?;
                write_format(path, engine).map_err(io_error(&format_path))?;
            }
        }
        Ok(DataDir { path: path.to_owned(), mark: open_mark(path)?, _lock: lock })
    }

    /// Opens one that is there, whichever engine wrote it.
    ///
    /// # Errors
    /// As for [`DataDir::open`], and when it is not there.
    pub fn open_existing(path: &Path) -> Result<(DataDir, Engine), DataDirError> {
        match format_of(path)? {
            Format::Ours(engine) => Ok((DataDir::open(path, engine.name())?, engine)),
            Format::Other(found) => Err(DataDirError::OtherFormat { path: path.display().to_string(), found }),
            Format::Missing if path.is_dir() => {
                check_empty(path).and(Err(DataDirError::Absent(path.display().to_string())))
            }
            Format::Missing => Err(DataDirError::Absent(path.display().to_string())),
        }
    }

    /// Says that from now on another engine has the messages. Durable when it returns; after an error it is one or the other.
    ///
    /// # Errors
    /// The file system refused.
    pub fn set_engine(&self, engine: &str) -> Result<(), DataDirError> {
        write_format(&self.path, engine).map_err(io_error(&self.path.join("FORMAT")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the last durable commit as far as it was noted; `None` when the operator deleted it.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn commit_mark(&self) -> Result<Option<u64>, DataDirError> {
        commit_mark_of(&self.path)
    }

    /// Notes the number of a durable commit. It is written, not synced: in a power cut the engine may be ahead of the mark, and
    /// only an engine behind it has lost something.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_commit_mark(&self, number: u64) -> io::Result<()> {
        write_mark(&self.mark, number)
    }

    /// Bytes that the disk has left for us.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Bytes that everything in it takes on the disk.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn stored_bytes(&self) -> io::Result<u64> {
        disk_bytes(&self.path)
    }

    /// Before the engine is opened, which takes space: gives the ballast up when there is less than the reserve.
    pub fn make_room(&self, reserve_bytes: u64) {
        if self.free_bytes().is_ok_and(|free| free < reserve_bytes) && self.give_up_ballast() {
            log::warn!("the disk is nearly full: gave up the ballast of {} MiB to start", BALLAST_BYTES >> 20);
        }
    }

    /// Takes the space of the ballast, if it is not taken already.
    ///
    /// # Errors
    /// There is no space for it, or the file system cannot reserve space.
    pub fn take_ballast(&self) -> io::Result<()> {
        let path = self.path.join("BALLAST");
        if fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES) {
            return Ok(());
        }
        let file = private_file().create(true).truncate(true).write(true).open(&path)?;
        let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES);
        if taken.is_err() {
            fs::remove_file(&path)?;
        }
        Ok(taken?)
    }

    /// Gives the space of the ballast up; says whether there was any.
    pub fn give_up_ballast(&self) -> bool {
        fs::remove_file(self.path.join("BALLAST")).is_ok()
    }
}

/// What everything below a directory takes on the disk. A file that goes meanwhile takes nothing.
fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += disk_bytes(&entry.path())?,
            Ok(found) => bytes += found.blocks() * BLOCK_BYTES,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// What the FORMAT file of a directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// That this version can read it, and which engine wrote it.
    Ours(Engine),
    /// Something else: this, made fit to be printed.
    Other(String),
    /// There is none.
    Missing,
}

/// Reads the FORMAT file of a directory, and nothing else.
///
/// # Errors
/// The file system refused.
pub fn format_of(path: &Path) -> Result<Format, DataDirError> {
    let file = path.join("FORMAT");
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Format::Missing);
        }
        Err(error) => return Err(io_error(&file)(error)),
    };
    let ours = Engine::ON_DISK.into_iter().find(|engine| text == format_text(engine.name()));
    Ok(ours.map_or_else(|| Format::Other(text.escape_debug().to_string()), Format::Ours))
}

/// The number of the last durable commit as far as it was noted in a directory; `None` when nothing is noted.
///
/// # Errors
/// The file is damaged.
pub fn commit_mark_of(path: &Path) -> Result<Option<u64>, DataDirError> {
    let path = path.join("COMMIT");
    let record = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(io_error(&path))?,
    };
    if record.is_empty() {
        return Ok(None);
    }
    let number = state::decode_commit(&record);
    number.map(Some).map_err(|_| DataDirError::Mark(path.display().to_string()))
}

/// Makes a directory that only its owner can look into, with its parents; an existing one gets that mode.
///
/// # Errors
/// The file system refused.
pub fn create_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return fs::set_permissions(path, Permissions::from_mode(0o700));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The directory itself must survive a power cut, and its entry is in its parent.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn private_file() -> fs::OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// Locks a directory, whatever is in it. The lock is held as long as what is returned is.
///
/// # Errors
/// Another process has it, or the file system refused.
pub fn lock(path: &Path) -> Result<File, DataDirError> {
    let file_path = path.join("LOCK");
    let opened = private_file().create(true).truncate(false).read(true).write(true).open(&file_path);
    let mut file = opened.map_err(io_error(&file_path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who has it is a help for the reader of the message; without it the message is as true.
            if file.read_to_string(&mut pid).is_err() || pid.is_empty() {
                pid = "unknown".into();
            }
            return Err(DataDirError::InUse { path: path.display().to_string(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io_error(&file_path)(error)),
    }
    let noted = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    // On a full disk the lock counts without the number in it.
    if let Err(error) = noted {
        log::warn!("cannot note the process id in {}: {error}", file_path.display());
    }
    Ok(file)
}

/// The process that has a directory locked; `None`: none has.
///
/// # Errors
/// The file system refused, or the process has not said its number.
pub fn owner(path: &Path) -> Result<Option<u32>, DataDirError> {
    let file_path = path.join("LOCK");
    let mut file = match File::open(&file_path) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        opened => opened.map_err(io_error(&file_path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(io_error(&file_path))?;
            let unknown = || io_error(&file_path)(io::Error::other("it does not say which process has the directory"));
            pid.parse().map(Some).map_err(|_| unknown())
        }
        Err(TryLockError::Error(error)) => Err(io_error(&file_path)(error)),
    }
}

/// Only an empty directory becomes ours, or one whose making was cut short: a mistyped path must not mix two programs' files.
fn check_empty(path: &Path) -> Result<(), DataDirError> {
    // Ours without its FORMAT is told apart: there is something to be saved.
    if Engine::ON_DISK.iter().any(|engine| path.join(engine.name()).is_dir()) {
        return Err(DataDirError::NoFormat(path.display().to_string()));
    }
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        let name = name.to_string_lossy();
        if !EARLY_FILES.contains(&&*name) {
            return Err(DataDirError::Foreign(path.display().to_string()));
        }
    }
    Ok(())
}

fn write_format(path: &Path, engine: &str) -> io::Result<()> {
    let new = path.join("FORMAT.new");
    let mut file = private_file().create(true).truncate(true).write(true).open(&new)?;
    writeln!(file, "{}", format_text(engine))?;
    file.sync_all()?;
    fs::rename(&new, path.join("FORMAT"))?;
    File::open(path)?.sync_all()
}

fn format_text(engine: &str) -> String {
    format!("httpmq {FORMAT_VERSION} {engine}")
}

fn open_mark(path: &Path) -> Result<File, DataDirError> {
    let path = path.join("COMMIT");
    private_file().create(true).truncate(false).read(true).write(true).open(&path).map_err(io_error(&path))
}

fn write_mark(mark: &File, number: u64) -> io::Result<()> {
    mark.write_all_at(&state::encode_commit(number), 0)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + '_ {
    move |error| DataDirError::Io { path: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_directory_is_made_private_locked_and_known_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let dir = DataDir::open(&path, "sled").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(dir.commit_mark().unwrap(), Some(0));
        dir.set_commit_mark(41).unwrap();
        assert_eq!(owner(&path).unwrap(), Some(std::process::id()));
        let busy = DataDir::open(&path, "sled").unwrap_err().to_string();
        assert!(busy.contains(&format!("process {}", std::process::id())), "{busy}");
        drop(dir);
        assert_eq!((owner(&path).unwrap(), owner(&path.join("none")).unwrap()), (None, None));
        assert_eq!(DataDir::open(&path, "sled").unwrap().commit_mark().unwrap(), Some(41));
        assert!(
            matches!(DataDir::open(&path, "fjall"), Err(DataDirError::OtherEngine { found, .. }) if found == "sled")
        );
    }

    #[test]
    fn a_directory_that_is_there_says_its_engine_and_can_get_another() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(DataDir::open_existing(root.path()), Err(DataDirError::Absent(_))));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let path = root.path().join("data");
        drop(DataDir::open(&path, "sled").unwrap());
        let (dir, engine) = DataDir::open_existing(&path).unwrap();
        assert_eq!(engine, Engine::Sled);
        assert_eq!((dir.commit_mark().unwrap(), dir.commit_mark().unwrap()), (Some(0), Some(0)));
        dir.set_engine("fjall").unwrap();
        drop(dir);
        let refused = DataDir::open(&path, "sled").unwrap_err().to_string();
        assert!(refused.contains("httpmq migrate --to sled"), "{refused}");
        DataDir::open(&path, "fjall").unwrap();
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("letter.txt"), "dear").unwrap();
        assert!(matches!(DataDir::open(root.path(), "sled"), Err(DataDirError::Foreign(_))));
        fs::write(root.path().join("FORMAT"), "httpmq 2 sled\n").unwrap();
        assert!(matches!(DataDir::open(root.path(), "sled"), Err(DataDirError::OtherFormat { .. })));
    }

    #[test]
    fn a_damaged_mark_is_an_error_and_a_deleted_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        drop(DataDir::open(&path, "sled").unwrap());
        fs::write(path.join("COMMIT"), [0; 12]).unwrap();
        assert!(matches!(DataDir::open(&path, "sled").unwrap().commit_mark(), Err(DataDirError::Mark(_))));
        fs::remove_file(path.join("COMMIT")).unwrap();
        assert_eq!(DataDir::open(&path, "sled").unwrap().commit_mark().unwrap(), None);
    }

    #[test]
    fn the_ballast_can_be_given_up_and_taken_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&root.path().join("data"), "sled").unwrap();
        for _ in 0..2 {
            if let Err(error) = dir.take_ballast() {
                eprintln!("skipped: this file system cannot reserve space: {error}");
                return;
            }
            assert!(dir.give_up_ballast());
        }
        assert!(!dir.give_up_ballast());
    }
}
