//! `httpmq repair`: a damaged data directory → a new one in its place, and the damaged one beside it.
//!
//! The damaged directory is only ever read: the engine is opened on a copy, because opening it may already write. The new one is
//! made beside it, and the two change places in one step, so that there is one or the other at any moment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::draft::{Draft, Writer, beside, clear, parent, sync};
use super::error::OfflineError;
use super::salvage::{Salvaged, salvage};
use super::settings;
use super::survey::Plan;
use crate::config::{self, Config};
use crate::data_dir::{self, DataDirError, Format, commit_mark_of, format_of};
use crate::engine::{self, Engine, NotOpened, OpenedCopy, Sizes};
use crate::key;
use crate::state;
use crate::store::local::check;

/// What a repair did.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is lost or not as it was, a line each.
    pub(super) remarks: Vec<String>,
    pub(super) summary: String,
    pub(super) is_lossy: bool,
}

/// Repairs the data directory at `place`, unless nothing is wrong with it.
pub(super) fn repair(place: &Path, config: &Config) -> Result<Outcome, OfflineError> {
    let place = &fs::canonicalize(place).map_err(OfflineError::io("cannot find", place))?;
    let mut report = Report::default();
    let kind = report.engine_of(place)?;
    let _lock = data_dir::lock(place)?;
    let mark = report.mark_of(place);

    let scratch = beside(place, ".repairing");
    clear(&scratch)?;
    let _cleared_at_the_end = Scratch(scratch.clone());
    let sizes = Sizes::from(&config.store);
    let damaged = without_panic_messages(|| report.open_copy(place, &scratch.join("copy"), kind, sizes))?;
    report.compare(mark, &*damaged);
    if report.is_clean() && check(&*damaged, &settings(config)).is_ok() {
        let summary = format!("nothing is wrong with {}; nothing was changed", place.display());
        return Ok(Outcome { remarks: Vec::new(), summary, is_lossy: false });
    }
    let mut draft = Draft::begin(scratch.join("new"), kind, sizes)?;
    let writer: &mut Writer = draft.writer()?;
    let salvaged = without_panic_messages(|| salvage(&*damaged, writer, &settings(config)))?;
    // What is broken had better not run its own clean-up. The process ends soon, and nobody needs the copy.
    std::mem::forget(damaged);
    let made = draft.finish()?;
    let aside = change_places(place, &made)?;
    report.add(&salvaged);
    let lost = match report.lost_messages {
        _ if !report.is_lossy => "nothing is lost".to_owned(),
        0 => "not all is as it was, see above".to_owned(),
        1 => "1 message is lost".to_owned(),
        number => format!("{number} messages are lost"),
    };
    let summary = format!("saved {}; {lost}; what was damaged is kept in {}", salvaged.count, aside.display());
    Ok(Outcome { remarks: report.remarks, summary, is_lossy: report.is_lossy })
}

/// What was found on the way.
#[derive(Debug, Default)]
struct Report {
    remarks: Vec<String>,
    is_lossy: bool,
    lost_messages: u64,
}

impl Report {
    fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    fn loss(&mut self, text: impl Into<String>) {
        self.is_lossy = true;
        self.remark(text);
    }

    fn is_clean(&self) -> bool {
        self.remarks.is_empty()
    }

    /// Which engine's files are in the directory, whatever became of the file that says so.
    fn engine_of(&mut self, place: &Path) -> Result<config::Engine, OfflineError> {
        let path = || place.display().to_string();
        let found = match format_of(place)? {
            Format::Ours(engine) => return Ok(engine),
            Format::Other(found) => found,
            Format::Missing => "nothing".to_owned(),
        };
        // Whole, but of another version: not damaged.
        if let [httpmq, version, _] = found.split(' ').collect::<Vec<_>>()[..]
            && httpmq == "httpmq"
            && version != "1"
            && version.parse::<u32>().is_ok()
        {
            return Err(DataDirError::OtherFormat { path: path(), found }.into());
        }
        let has_files = |engine: &config::Engine| place.join(engine.name()).is_dir();
        let engines: Vec<config::Engine> = config::Engine::ON_DISK.into_iter().filter(has_files).collect();
        match engines[..] {
            [engine] => {
                self.remark(format!("the file FORMAT says {found:?}; the files are those of {}", engine.name()));
                Ok(engine)
            }
            [] => Err(DataDirError::Absent(path()).into()),
            _ => Err(hopeless(place, "the file FORMAT is damaged, and there are files of several engines")),
        }
    }

    fn mark_of(&mut self, place: &Path) -> Option<u64> {
        commit_mark_of(place).unwrap_or_else(|error| {
            self.remark(format!("{error}. Whether commits are lost cannot be told"));
            None
        })
    }

    /// Opens the engine on a copy of its files, with as much of them as it takes.
    fn open_copy(
        &mut self,
        place: &Path,
        copy: &Path,
        kind: config::Engine,
        sizes: Sizes,
    ) -> Result<Arc<dyn Engine>, OfflineError> {
        match engine::open_copy(kind, place, copy, sizes) {
            Ok(OpenedCopy { engine, remarks }) => {
                self.remarks.extend(remarks);
                Ok(engine)
            }
            Err(NotOpened::Refused(why)) => Err(hopeless(place, &why)),
            Err(NotOpened::Copy { path, error }) => Err(OfflineError::io("cannot copy", &path)(error)),
        }
    }

    /// Compares the number of the last commit with the one that was durable.
    fn compare(&mut self, mark: Option<u64>, engine: &dyn Engine) {
        let number = match engine.get(&key::commit()) {
            Ok(None) => Ok(0),
            Ok(Some(record)) => state::decode_commit(&record).map_err(|damage| damage.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match (number, mark) {
            (Err(why), _) => self.remark(format!("the commit number: {why}. Whether commits are lost cannot be told")),
            (Ok(number), Some(mark)) if number < mark => self.loss(format!(
                "the last {} commits are lost: the engine ends at number {number}, and number {mark} was durable. \
                 What was in them cannot be told; messages that they had taken away may be there again",
                mark - number
            )),
            _ => {}
        }
    }

    fn add(&mut self, salvaged: &Salvaged) {
        for reason in &salvaged.unreadable {
            self.loss(format!("the engine cannot read a part of its files: {reason}"));
        }
        for plan in &salvaged.plans {
            for remark in &plan.remarks {
                self.loss(remark);
            }
            self.add_losses(plan);
        }
        for why in &salvaged.given_up {
            self.loss(why);
        }
    }

    fn add_losses(&mut self, Plan { name, ring, losses, .. }: &Plan) {
        for (range, damage) in losses {
            let number = range.end - range.start;
            let (from, to) = (ring.position(range.start), ring.position(range.end - 1));
            let which = if number == 1 { format!("position {from}") } else { format!("positions {from} to {to}") };
            let read = if range.end <= ring.get { ", all got before" } else { "" };
            self.lost_messages += number;
            self.loss(format!("lost: queue {name:?}, {which} ({number} of its messages{read}): {damage}"));
        }
    }
}

/// Puts the new directory in the place of the damaged one; gives where that is then.
fn change_places(place: &Path, made: &Path) -> Result<PathBuf, OfflineError> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let free = (now_s..).map(|time| beside(place, &format!(".damaged-{time}"))).find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| beside(place, ".damaged"));
    let failed = || OfflineError::io("cannot put the new data directory into the place of", place);
    // It has the name of the damaged one for a moment, so that no name is left to change when they have changed places.
    fs::rename(made, &aside).map_err(failed())?;
    if let Err(error) = exchange(place, &aside) {
        let _ = fs::remove_dir_all(&aside);
        return Err(failed()(error));
    }
    sync(parent(place))?;
    Ok(aside)
}

fn exchange(place: &Path, aside: &Path) -> io::Result<()> {
    match renameat_with(CWD, place, CWD, aside, RenameFlags::EXCHANGE) {
        // This file system cannot do it in one step.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let between = beside(aside, ".new");
            fs::rename(aside, &between)?;
            fs::rename(place, aside)?;
            fs::rename(&between, place)
        }
        done => Ok(done?),
    }
}

/// Removed when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next repair removes it, if this cannot.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An engine's panic is a finding like others, and told like them.
fn without_panic_messages<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = run();
    std::panic::set_hook(hook);
    done
}

fn hopeless(place: &Path, reason: &str) -> OfflineError {
    OfflineError::Hopeless { path: place.to_owned(), reason: reason.to_owned() }
}
