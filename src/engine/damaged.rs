//! Opening an engine whose files are damaged: a copy of them, with as much of them as it takes.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::fjall::{LOG_ENDING, TABLES};
use super::sled::{SNAPSHOTS, SNAPSHOTS_AND_SETTINGS};
use super::wal::Gaps;
use super::{Engine, Sizes, blob, close, open_bare, open_over, wal};
use crate::{config, data_dir::create_private};

/// A copy that opened, and what it had to do without.
pub struct OpenedCopy {
    /// The engine, in the copy.
    pub engine: Arc<dyn Engine>,
    /// What is wrong with the original, a line each; nothing where it opened as it is.
    pub remarks: Vec<String>,
}

/// Why no copy opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The files cannot be copied.
    #[error("cannot copy {}: {error}", .path.display())]
    Copy {
        /// Which of them.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The engine refuses whatever is tried; what it says to each try.
    #[error("{0}")]
    Refused(String),
}

/// What is tried, one after the other.
enum Try {
    /// All files but those whose names begin like this.
    Without(&'static [&'static str]),
    /// Each log as far as it is whole.
    CutLogs,
}

/// What becomes of a file in a copy.
enum Part {
    All,
    Nothing,
    /// Its first bytes.
    First(u64),
    /// The file itself, which the engine never changes.
    Itself,
}

/// How long a log is to be, by the order of [`logs`].
type Lengths = Vec<(PathBuf, u64)>;

/// Opens a copy of an engine's files in the directory `copy`, which is made anew for each try. The original is only read.
///
/// # Errors
/// See [`NotOpened`].
pub fn open_copy(engine: config::Engine, data_dir: &Path, copy: &Path, sizes: Sizes) -> Result<OpenedCopy, NotOpened> {
    let tries: &[Try] = match engine {
        config::Engine::Sled => &[Try::Without(&[]), Try::Without(SNAPSHOTS), Try::Without(SNAPSHOTS_AND_SETTINGS)],
        config::Engine::Fjall => &[Try::Without(&[]), Try::CutLogs],
        config::Engine::Memory => &[Try::Without(&[])],
    };
    let from = data_dir.join(engine.name());
    let mut refusals = Vec::new();
    for one in tries {
        let mut remarks: Vec<String> =
            refusals.iter().map(|why| format!("the engine does not open with all of its files: {why}")).collect();
        match one {
            Try::Without(names) => {
                make(&from, copy, engine, &|name, _| match names.iter().any(|n| name.starts_with(n)) {
                    true => Part::Nothing,
                    false => Part::All,
                })?
            }
            Try::CutLogs => {
                let lengths = whole_lengths(engine, &from, copy, sizes)?;
                for (log, length) in &lengths {
                    let all = size(log)?;
                    if *length < all {
                        remarks.push(format!("its log {} is whole up to byte {length} of {all}", log.display()));
                    }
                }
                make(&from, copy, engine, &|_, path| cut(&lengths, path).unwrap_or(Part::All))?;
            }
        }
        // The log and the records in files of their own have check sums of their own: whatever they are like, they open.
        for beside in [wal::dir, blob::dir] {
            let beside_it = beside(&from);
            if beside_it.is_dir() {
                copy_tree(&beside_it, &beside(&copy.join(engine.name())), &|_, _| Part::All)?;
            }
        }
        match open_over(engine, copy, sizes, Gaps::PassOver) {
            Ok((engine, passed_over)) => {
                remarks.extend(passed_over);
                return Ok(OpenedCopy { engine, remarks });
            }
            Err(error) => refusals.push(error.to_string()),
        }
    }
    Err(NotOpened::Refused(refusals.join("; ")))
}

/// The longest beginning of each log that the engine opens with. One that is cut anywhere opens, as after a crash, but one with a
/// wrong byte in it does not; so the place is found by halves.
fn whole_lengths(engine: config::Engine, from: &Path, copy: &Path, sizes: Sizes) -> Result<Lengths, NotOpened> {
    let mut lengths: Lengths = logs(from)?.into_iter().map(|log| (log, 0)).collect();
    let opens_with = |lengths: &Lengths| {
        make(from, copy, engine, &|_, path| {
            let is_table = path.parent().is_some_and(|dir| dir.ends_with(TABLES));
            cut(lengths, path).unwrap_or(if is_table { Part::Itself } else { Part::All })
        })?;
        Ok(open_bare(engine, copy, sizes).map(|engine| close(engine, copy)).is_ok())
    };
    // Something else is damaged.
    if !opens_with(&lengths)? {
        return Ok(lengths);
    }
    for at in 0..lengths.len() {
        let opens = |length: u64| {
            let mut lengths = lengths.clone();
            lengths[at].1 = length;
            opens_with(&lengths)
        };
        let all = size(&lengths[at].0)?;
        let (mut whole, mut damaged) = if opens(all)? { (all, all) } else { (0, all) };
        while damaged - whole > 1 {
            let middle = whole + (damaged - whole) / 2;
            if opens(middle)? { whole = middle } else { damaged = middle }
        }
        lengths[at].1 = whole;
    }
    Ok(lengths)
}

fn cut(lengths: &Lengths, path: &Path) -> Option<Part> {
    lengths.iter().find(|(log, _)| log == path).map(|(_, length)| Part::First(*length))
}

/// The logs in a directory, oldest first.
fn logs(dir: &Path) -> Result<Vec<PathBuf>, NotOpened> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot_copy(dir))? {
        let path = entry.map_err(cannot_copy(dir))?.path();
        if path.extension().is_some_and(|ending| ending == LOG_ENDING) {
            found.push(path);
        }
    }
    found.sort_by_key(|log| log.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
    Ok(found)
}

fn size(file: &Path) -> Result<u64, NotOpened> {
    file.metadata().map(|file| file.len()).map_err(cannot_copy(file))
}

/// Makes a copy of the engine's own files anew, in place of what an earlier try left.
fn make(from: &Path, copy: &Path, engine: config::Engine, part: &dyn Fn(&str, &Path) -> Part) -> Result<(), NotOpened> {
    if copy.exists() {
        fs::remove_dir_all(copy).map_err(cannot_copy(copy))?;
    }
    create_private(copy).map_err(cannot_copy(copy))?;
    copy_tree(from, &copy.join(engine.name()), part)
}

fn copy_tree(from: &Path, to: &Path, part: &dyn Fn(&str, &Path) -> Part) -> Result<(), NotOpened> {
    create_private(to).map_err(cannot_copy(to))?;
    for entry in fs::read_dir(from).map_err(cannot_copy(from))? {
        let entry = entry.map_err(cannot_copy(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        let to = to.join(&name);
        if path.is_dir() {
            copy_tree(&path, &to, part)?;
            continue;
        }
        let copied = match part(&name.to_string_lossy(), &path) {
            Part::Nothing => Ok(()),
            Part::All => fs::copy(&path, &to).map(drop),
            Part::First(bytes) => copy_first(&path, &to, bytes),
            Part::Itself => fs::hard_link(&path, &to).or_else(|_| fs::copy(&path, &to).map(drop)),
        };
        copied.map_err(cannot_copy(&path))?;
    }
    Ok(())
}

fn copy_first(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    io::copy(&mut File::open(from)?.take(bytes), &mut File::create(to)?).map(drop)
}

fn cannot_copy(path: &Path) -> impl FnOnce(io::Error) -> NotOpened {
    let path = path.to_owned();
    move |error| NotOpened::Copy { path, error }
}
