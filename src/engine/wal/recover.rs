//! What a start makes of the log: what the engine has not got becomes a layer, and a checkpoint brings it there like any other. So
//! a start needs no room on the disk.
//!
//! Frames are taken in the order of their numbers, behind the last one that the engine has, up to the first that is missing. Those
//! behind a gap were not durable when the power went, and with them the missing one, or the log is damaged. It is when a
//! frame behind the gap says that the missing one was durable before it.

use std::{collections::HashSet, io, path::Path, sync::Arc};

use bytes::Bytes;

use super::{
    applied,
    checkpoint::Full,
    failed,
    frame::{self, Frame},
    overlay::{Layer, Layers},
    segment::{self, Segment},
};
use crate::{
    data_dir::create_private,
    engine::{Batch, Durability, Engine, EngineError},
    key,
};

/// What a start makes of a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Gaps {
    /// It refuses.
    Refuse,
    /// It goes on with what is whole, and remarks on what is not: for a repair, which looks at everything afterwards.
    PassOver,
}

/// A log that can be gone on with.
pub(super) struct Recovered {
    pub(super) mark: u64,
    /// Numbers go on behind this one.
    pub(super) last: u64,
    /// What the engine has not got.
    pub(super) full: Option<Full>,
    pub(super) free: Vec<Segment>,
    pub(super) remarks: Vec<String>,
}

/// Opens the log in a directory, which is made when it is missing.
///
/// # Errors
/// The files cannot be read or written, or are damaged.
pub(super) fn recover(engine: &dyn Engine, dir: &Path, gaps: Gaps) -> Result<Recovered, EngineError> {
    let files = if dir.is_dir() { segment::read_all(dir).map_err(failed("read the log"))? } else { Vec::new() };
    let mut remarks = Vec::new();
    let mut damaged = |why: String| match gaps {
        Gaps::Refuse => Err(EngineError::new("open the log", why)),
        Gaps::PassOver => {
            remarks.push(why);
            Ok(())
        }
    };
    let (mark, has) = match known(engine, dir, &files)? {
        Known::Nothing => (begin(engine, dir, None)?, 0),
        Known::UpTo { mark, number } => (mark, number),
        Known::Damaged(why) => {
            damaged(why)?;
            (begin(engine, dir, mark_of(&files))?, 0)
        }
    };
    let (mut frames, needed) = frames_behind(has, mark, &files);
    let last = frames.last().map_or(has, |frame| frame.number);
    let gap = gap(&frames, has);
    match gap {
        Some((number, true)) => {
            damaged(format!(
                "{}: its commit number {number} was on the disk, and is damaged or missing",
                dir.display()
            ))?;
        }
        Some((number, false)) => frames.retain(|frame| frame.number < number),
        None => {}
    }
    if !frames.is_empty() {
        log::info!("{} commits are in the log that the engine has not got", frames.len());
    }
    let layer = Arc::new(Layer::default());
    frames.into_iter().for_each(|frame| layer.add(frame.changes, 0));
    if gap.is_some() {
        // The numbers of frames that do not count must not be used again, so the engine has to have them behind it.
        let mut batch = Layers(vec![layer.clone()]).merged();
        batch.puts.push((key::applied(), applied::encode(mark, last)));
        engine.commit(&batch, Durability::Disk)?;
    }
    let (full, free) = open_all(dir, &files, &needed).map_err(failed("open the log"))?;
    // A process that died had perhaps not synced them, and what comes now is durable only behind them.
    full.iter().try_for_each(Segment::sync).map_err(failed("sync the log"))?;
    let full = (!full.is_empty()).then_some(Full { segments: full, layer, last });
    Ok(Recovered { mark, last, full, free, remarks })
}

/// What an engine knows of its log.
enum Known {
    Nothing,
    UpTo { mark: u64, number: u64 },
    Damaged(String),
}

fn known(engine: &dyn Engine, dir: &Path, files: &[(usize, Bytes)]) -> Result<Known, EngineError> {
    let Some(record) = engine.get(&key::applied())? else {
        let is_lost = files.iter().any(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
        let why = || format!("the engine does not know of the log in {}", dir.display());
        return Ok(if is_lost { Known::Damaged(why()) } else { Known::Nothing });
    };
    Ok(match applied::decode(&record) {
        None => Known::Damaged("the record of how far the engine has its log is damaged".to_owned()),
        Some(_) if !dir.is_dir() => Known::Damaged(format!("{} is missing", dir.display())),
        Some((mark, number)) => Known::UpTo { mark, number },
    })
}

/// The mark of the frame that a file begins with. Nothing that was in a message can stand there.
fn mark_of(files: &[(usize, Bytes)]) -> Option<u64> {
    let marks = files.iter().filter_map(|(_, bytes)| Some((u64::from_be_bytes(*bytes.first_chunk()?), bytes)));
    marks.into_iter().find(|(mark, bytes)| frame::decode(*mark, bytes).is_some()).map(|(mark, _)| mark)
}

/// A log of which the engine has nothing yet. Its directory is there before the engine knows of it.
fn begin(engine: &dyn Engine, dir: &Path, mark: Option<u64>) -> Result<u64, EngineError> {
    create_private(dir).map_err(failed("make the log"))?;
    let mark = mark.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
    let record = Batch { puts: vec![(key::applied(), applied::encode(mark, 0))], ..Batch::default() };
    engine.commit(&record, Durability::Disk)?;
    Ok(mark)
}

/// The frames behind a number, in order, and the numbers of the files that they are in.
fn frames_behind(number: u64, mark: u64, files: &[(usize, Bytes)]) -> (Vec<Frame>, HashSet<usize>) {
    let (mut frames, mut needed) = (Vec::new(), HashSet::new());
    for (file, bytes) in files {
        let found = frame::find_all(mark, bytes).into_iter().filter(|frame| frame.number > number);
        let before = frames.len();
        frames.extend(found);
        if frames.len() > before {
            needed.insert(*file);
        }
    }
    frames.sort_by_key(|frame| frame.number);
    (frames, needed)
}

/// The first number behind `has` that no frame has although a later one is there, and whether it was durable.
fn gap(frames: &[Frame], has: u64) -> Option<(u64, bool)> {
    let missing = (has + 1..).zip(frames).find(|(number, frame)| frame.number != *number)?.0;
    let behind = frames.iter().filter(|frame| frame.number > missing);
    Some((missing, behind.map(|frame| frame.durable).any(|durable| durable >= missing)))
}

/// The files of the log that are needed, and the others.
fn open_all(dir: &Path, files: &[(usize, Bytes)], needed: &HashSet<usize>) -> io::Result<(Vec<Segment>, Vec<Segment>)> {
    let opened = files.iter().map(|(number, bytes)| Segment::open(dir, *number, bytes.len()));
    let opened = opened.collect::<io::Result<Vec<Segment>>>()?;
    Ok(opened.into_iter().partition(|segment| needed.contains(&segment.number())))
}
