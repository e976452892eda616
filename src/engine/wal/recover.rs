//! What a start makes of the log: it brings to the engine what that has not got yet.
//!
//! Frames are taken in the order of their numbers, behind the last one that the engine has, up to the first that is missing. Those
//! behind a gap were not durable when the power went, and with them the missing one, or the log is damaged. It is when a
//! frame behind the gap says that the missing one was durable before it.

use std::{fs, io, path::Path};

use bytes::Bytes;

use super::{
    applied,
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

/// A log of which the engine has everything.
pub(super) struct Recovered {
    pub(super) mark: u64,
    /// Numbers go on behind this one.
    pub(super) last: u64,
    pub(super) free: Vec<Segment>,
    pub(super) remarks: Vec<String>,
}

/// The engine gets what is in the log in pieces of about this size: a segment or two.
const PIECE_BYTES: usize = 8 << 20;

/// Opens the log in a directory, which is made when it is missing.
///
/// # Errors
/// The files cannot be read or written, or are damaged.
pub(super) fn recover(
    engine: &dyn Engine,
    dir: &Path,
    segment_bytes: usize,
    gaps: Gaps,
) -> Result<Recovered, EngineError> {
    let files = if dir.is_dir() { segment::read_all(dir).map_err(failed("read the log"))? } else { Vec::new() };
    let mut remarks = Vec::new();
    let (mark, has) = match known(engine, dir, &files)? {
        Known::Nothing => (begin(engine, dir, None)?, 0),
        Known::UpTo { mark, number } => (mark, number),
        Known::Damaged(why) if gaps == Gaps::PassOver => {
            remarks.push(why);
            (begin(engine, dir, mark_of(&files))?, 0)
        }
        Known::Damaged(why) => return Err(EngineError::new("open the log", why)),
    };
    let mut frames: Vec<Frame> = files.iter().flat_map(|(_, bytes)| frame::find_all(mark, bytes)).collect();
    frames.retain(|frame| frame.number > has);
    frames.sort_by_key(|frame| frame.number);
    let seen = frames.last().map_or(has, |frame| frame.number);
    match gap(&frames, has) {
        Some((number, true)) => {
            let why =
                format!("{}: its commit number {number} was on the disk, and is damaged or missing", dir.display());
            match gaps {
                Gaps::Refuse => return Err(EngineError::new("open the log", why)),
                Gaps::PassOver => remarks.push(why),
            }
        }
        Some((number, false)) => frames.retain(|frame| frame.number < number),
        None => {}
    }
    if seen > has {
        apply(engine, mark, frames, seen)?;
    }
    let free = keep(dir, &files, segment_bytes).map_err(failed("open the log"))?;
    Ok(Recovered { mark, last: seen, free, remarks })
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
    let record = Batch { puts: vec![(key::applied(), applied::encode(mark, 0))], removes: Vec::new() };
    engine.commit(&record, Durability::Disk)?;
    Ok(mark)
}

/// The first number behind `has` that no frame has although a later one is there, and whether it was durable.
fn gap(frames: &[Frame], has: u64) -> Option<(u64, bool)> {
    let missing = (has + 1..).zip(frames).find(|(number, frame)| frame.number != *number)?.0;
    let behind = frames.iter().filter(|frame| frame.number > missing);
    Some((missing, behind.map(|frame| frame.durable).any(|durable| durable >= missing)))
}

/// Brings the frames to the engine, which then has everything up to `seen`: numbers of frames that do not count are not used again.
fn apply(engine: &dyn Engine, mark: u64, frames: Vec<Frame>, seen: u64) -> Result<(), EngineError> {
    let (count, mut frames) = (frames.len(), frames.into_iter().peekable());
    loop {
        let (layer, mut bytes, mut number) = (Layer::default(), 0, seen);
        while bytes < PIECE_BYTES
            && let Some(frame) = frames.next()
        {
            number = frame.number;
            bytes += frame.changes.iter().filter_map(|(_, value)| Some(value.as_ref()?.len())).sum::<usize>();
            layer.add(frame.changes);
        }
        let is_done = frames.peek().is_none();
        let mut batch = Layers(vec![layer.into()]).merged();
        batch.puts.push((key::applied(), applied::encode(mark, if is_done { seen } else { number })));
        engine.commit(&batch, Durability::Disk)?;
        if is_done {
            log::info!("{count} commits from the log are in the engine");
            return Ok(());
        }
    }
}

/// The files of the log that can be used again; others are removed.
fn keep(dir: &Path, files: &[(usize, Bytes)], segment_bytes: usize) -> io::Result<Vec<Segment>> {
    let mut kept = Vec::new();
    for (number, bytes) in files {
        let path = segment::path(dir, *number);
        if bytes.len() == segment_bytes && *number == kept.len() {
            kept.push(Segment::open(&path, segment_bytes)?);
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(kept)
}

fn failed(call: &'static str) -> impl FnOnce(io::Error) -> EngineError {
    move |error| EngineError::new(call, error)
}
