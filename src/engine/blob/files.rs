//! The files that blobs are in. Each is written from its beginning to its end; a start begins a new one. One of which nothing is needed any
//! more can become the next, and is written over: for that the file system has to note nothing.
//!
//! What is written goes past the system's cache where that is possible: to copy it there, page by page, costs more than all else.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, OFlags, fallocate, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::extent::Extent;
use crate::{data_dir::create_private, engine::files::sync_parent};

/// Behind so many bytes the next file is begun: so few that most go as a whole where messages are got in their order, so many that one
/// is not begun for each commit.
const FILE_BYTES: u64 = 16 << 20;
/// How much is written at a time.
const STEP_BYTES: usize = 1 << 20;
/// What places in a file, lengths and memory are multiples of to pass the system's cache: enough for all disks that there are.
pub(super) const ALIGN: usize = 4096;

/// Writes one file after the other.
pub(super) struct Appender {
    dir: PathBuf,
    /// The number of the next file.
    next: u64,
    /// There is none before the first blob.
    active: Option<Active>,
}

/// The file that is written to.
struct Active {
    number: u64,
    file: File,
    at: u64,
    buffer: Buffer,
    passes_cache: bool,
}

/// Memory that begins at a multiple of [`ALIGN`].
struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Appender {
    /// Begins with the file of this number, in a directory which is made when it is needed.
    pub(super) fn new(dir: PathBuf, next: u64) -> Appender {
        Appender { dir, next, active: None }
    }

    /// Writes a blob behind the last one, or into the next file when that one is full; `spare` gives the number of one to write over, if
    /// there is one.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn append(&mut self, blob: &[u8], spare: impl FnOnce() -> Option<u64>) -> io::Result<Extent> {
        let is_full = |active: &Active| active.at >= FILE_BYTES;
        let active = match &mut self.active {
            Some(active) if !is_full(active) => active,
            active => {
                // What is in it already may be of the same commit.
                active.as_ref().map_or(Ok(()), |full| full.file.sync_data())?;
                let begun = Active::begin(&self.dir, self.next, spare())?;
                self.next = following(self.next)?;
                active.insert(begun)
            }
        };
        active.append(blob)
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.active.as_ref().map_or(Ok(()), |active| active.file.sync_data())
    }
}

impl Active {
    /// Makes a file, out of another one if there is one, durably.
    fn begin(dir: &Path, number: u64, spare: Option<u64>) -> io::Result<Active> {
        if !dir.is_dir() {
            create_private(dir)?;
            sync_parent(dir)?;
        }
        let path = path(dir, number);
        let is_spare = spare.map_or(Ok(false), |spare| rename(dir, spare, &path))?;
        let (file, passes_cache) = open(&path, !is_spare)?;
        sync_parent(&path)?;
        Ok(Active { number, file, at: 0, buffer: Buffer::new(), passes_cache })
    }

    fn append(&mut self, blob: &[u8]) -> io::Result<Extent> {
        let length = u32::try_from(blob.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let extent = Extent { file: self.number, at: self.at, length };
        for piece in blob.chunks(STEP_BYTES) {
            let end = piece.len().next_multiple_of(ALIGN);
            let buffer = self.buffer.get();
            buffer[..piece.len()].copy_from_slice(piece);
            buffer[piece.len()..end].fill(0);
            self.write(end)?;
        }
        Ok(extent)
    }

    fn write(&mut self, bytes: usize) -> io::Result<()> {
        let piece = &self.buffer.get()[..bytes];
        match self.file.write_all_at(piece, self.at) {
            // A disk that wants more than other disks.
            Err(error) if self.passes_cache && is_invalid(&error) => {
                fcntl_setfl(&self.file, fcntl_getfl(&self.file)? - OFlags::DIRECT)?;
                self.passes_cache = false;
                self.file.write_all_at(piece, self.at)?;
            }
            written => written?,
        }
        self.at += bytes as u64;
        Ok(())
    }
}

impl Buffer {
    fn new() -> Buffer {
        let bytes = vec![0; STEP_BYTES + ALIGN];
        let begin = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Buffer { bytes, begin }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + STEP_BYTES]
    }
}

/// Gives a file another name. `false`: it is not there.
fn rename(dir: &Path, number: u64, to: &Path) -> io::Result<bool> {
    match fs::rename(path(dir, number), to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

/// Opens a file to write to it, a new one only where there is none; says whether what is written passes the system's cache.
fn open(path: &Path, is_new: bool) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.mode(0o600).write(true).create_new(is_new);
    let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    match options.clone().custom_flags(direct).open(path) {
        // It was made all the same.
        Err(error) if is_invalid(&error) => Ok((options.create_new(false).create(true).open(path)?, false)),
        opened => Ok((opened?, true)),
    }
}

/// The number of the next file of a directory, which need not be there.
///
/// # Errors
/// The file system refused, or there is none.
pub(super) fn next(dir: &Path, blobs: &[Extent]) -> io::Result<u64> {
    let named = blobs.iter().map(|blob| blob.file);
    numbers(dir)?.into_iter().chain(named).max().map_or(Ok(0), following)
}

/// Sees to it that the files with numbers below `end` hold these blobs, which are in the order of their places, and nothing else.
///
/// # Errors
/// The file system refused.
pub(super) fn keep_only(dir: &Path, end: u64, blobs: &[Extent]) -> io::Result<()> {
    let mut kept: BTreeMap<u64, Vec<Range<u64>>> = BTreeMap::new();
    blobs.iter().for_each(|blob| kept.entry(blob.file).or_default().push(blob.at..blob.end()));
    for number in numbers(dir)?.into_iter().filter(|number| *number < end) {
        let Some(kept) = kept.get(&number) else {
            remove(dir, number)?;
            continue;
        };
        let length = fs::metadata(path(dir, number))?.len();
        let ends = [0].into_iter().chain(kept.iter().map(|blob| blob.end));
        let gaps = ends.zip(kept.iter().map(|blob| blob.start).chain([length])).map(|(end, start)| end..start);
        punch(dir, number, gaps)?;
    }
    Ok(())
}

/// Reads a blob. `None`: it is not there.
///
/// # Errors
/// The disk refused.
pub(super) fn read(dir: &Path, blob: &Extent) -> io::Result<Option<Vec<u8>>> {
    let length = usize::try_from(blob.length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let read = || -> io::Result<Option<Vec<u8>>> {
        let file = File::open(path(dir, blob.file))?;
        // Before memory is taken for it: what is said of it may be damaged.
        if file.metadata()?.len() < blob.end() {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, blob.at)?;
        Ok(Some(bytes))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read,
    }
}

/// Whether a file is there and not so long that it is no good as a spare one.
pub(super) fn is_short(dir: &Path, number: u64) -> bool {
    fs::metadata(path(dir, number)).is_ok_and(|file| file.len() <= 2 * FILE_BYTES)
}

/// Removes a file, if it is there.
///
/// # Errors
/// The file system refused.
pub(super) fn remove(dir: &Path, number: u64) -> io::Result<()> {
    fs::remove_file(path(dir, number)).or_else(gone_is_fine)
}

/// Gives pieces of a file back, as far as they are whole pages; it is as long as before. Where the file system cannot, they come back with
/// the file.
///
/// # Errors
/// The file system refused.
pub(super) fn punch(dir: &Path, number: u64, pieces: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
    let whole = |at: u64| at.next_multiple_of(ALIGN as u64);
    // Behind the last byte of a blob is nothing up to the next page.
    let pieces: Vec<_> = pieces.map(|piece| whole(piece.start)..whole(piece.end)).filter(|p| !p.is_empty()).collect();
    if pieces.is_empty() {
        return Ok(());
    }
    let file = match File::options().write(true).open(path(dir, number)) {
        Err(error) => return gone_is_fine(error),
        Ok(file) => file,
    };
    for piece in pieces {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&file, hole, piece.start, piece.end - piece.start) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
            punched => punched?,
        }
    }
    Ok(())
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = if dir.is_dir() { fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()? } else { Vec::new() };
    Ok(entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// A damaged record may name any.
fn following(number: u64) -> io::Result<u64> {
    number.checked_add(1).ok_or_else(|| io::Error::other(format!("there is no number behind {number} for a file")))
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(number.to_string())
}

fn gone_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn is_invalid(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}
