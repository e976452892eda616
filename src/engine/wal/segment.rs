//! The files of the log. Each has its full length from the beginning, filled with zeros, and is written over again and again: a sync
//! then has to write the data alone, and no change of the file system's own records.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::engine::files;

/// The zeros are written in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// A file of the log, which is written from its beginning to its end.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    number: usize,
    bytes: usize,
    at: usize,
    /// What it takes the engine to do what is in it, see [`super::LoggedEngine::work`].
    work: usize,
}

impl Segment {
    /// Makes the file with this number, durably: it is there whole or not at all.
    ///
    /// # Errors
    /// The disk refused; nothing is left.
    pub(super) fn make(dir: &Path, number: usize, bytes: usize) -> io::Result<Segment> {
        let path = path(dir, number);
        let unfinished = files::unfinished(&path);
        let made = fill(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        if made.is_err() {
            // The next try writes over it, if this cannot.
            let _ = fs::remove_file(&unfinished);
        }
        made?;
        files::sync_parent(&path)?;
        Segment::open(dir, number, bytes)
    }

    /// Opens a file, to be written from its beginning.
    ///
    /// # Errors
    /// The file system refused.
    pub(super) fn open(dir: &Path, number: usize, bytes: usize) -> io::Result<Segment> {
        Ok(Segment { file: File::options().write(true).open(path(dir, number))?, number, bytes, at: 0, work: 0 })
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn length_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame belongs into it that is that much work, which is not less than its length.
    pub(super) fn has_room(&self, work: usize) -> bool {
        self.bytes - self.work >= work
    }

    /// Writes behind what was written before. It is in the system's hands then, not on the disk.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn append(&mut self, frame: &[u8], work: usize) -> io::Result<()> {
        self.file.write_all_at(frame, self.at as u64)?;
        self.at += frame.len();
        self.work += work;
        Ok(())
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// The disk refused.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// From now on it is written from its beginning again: nothing in it is needed any more.
    pub(super) fn rewound(mut self) -> Segment {
        self.rewind();
        self
    }

    /// The same, in place.
    pub(super) fn rewind(&mut self) {
        (self.at, self.work) = (0, 0);
    }
}

/// Where the file with a number is.
pub(super) fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(number.to_string())
}

/// The numbers of the files that are there, in order, and what is in them.
///
/// # Errors
/// The file system refused.
pub(super) fn read_all(dir: &Path) -> io::Result<Vec<(usize, Bytes)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((number, fs::read(entry.path())?.into()));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found)
}

fn fill(path: &Path, bytes: usize) -> io::Result<()> {
    let file = File::options().mode(0o600).write(true).create(true).truncate(true).open(path)?;
    let zeros = vec![0; PIECE_BYTES.min(bytes)];
    let mut at = 0;
    while at < bytes {
        let piece = &zeros[..zeros.len().min(bytes - at)];
        file.write_all_at(piece, at as u64)?;
        at += piece.len();
        // All of it at once would keep the disk from the commits for too long.
        file.sync_data()?;
    }
    file.sync_all()
}
