//! Gives the room of blobs that nothing points to any more back to the file system, in a thread of its own: a file as soon as it is not
//! written to and all of it is unneeded, which is how most of them go, and before that holes in it. A few of those files are kept for a
//! while, to be written over.

use std::{
    collections::BTreeMap,
    io, mem,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{extent::Extent, files};
use crate::engine::background::give_way;

/// How long is waited for more before some is given back: a hole costs about as much however large it is, and a whole file less. Not
/// longer, since a file comes back as a spare one only then.
const PAUSE: Duration = Duration::from_millis(25);

/// So many files go at a time: a file system that tells the disk what it does not need any more keeps it from others for milliseconds
/// with each.
const FILES_AT_ONCE: usize = 8;

/// So many files are kept as spare ones: with this pause enough for a gigabyte a second, in queues whose messages are got as they come.
const SPARE_FILES: usize = 2;

/// How long they are kept while nothing comes and goes; a stop ends it.
const SPARE_TIME: Duration = Duration::from_secs(10);

/// The thread, and what it is told.
pub(super) struct Reclaimer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    /// Held by whoever does what there is to do, until it is done.
    doing: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many blobs there are in each file that were not given back.
    blobs: BTreeMap<u64, usize>,
    /// The file that is written to: it is left alone.
    active: Option<u64>,
    unneeded: Vec<Arc<Extent>>,
    /// Files in which nothing is needed.
    spare: Vec<u64>,
    /// What a crash may have left: nothing was given back yet of what is not in here, in the files with numbers below this one.
    begun_with: Option<(u64, Vec<Extent>)>,
    /// There is something to do.
    is_due: bool,
    is_closing: bool,
}

/// What can be given back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Room {
    files: Vec<u64>,
    holes: BTreeMap<u64, Vec<Extent>>,
}

impl Reclaimer {
    /// For the files of a directory with numbers below `end`, in which there are these blobs, in the order of their places.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(dir: PathBuf, end: u64, blobs: Vec<Extent>) -> io::Result<Reclaimer> {
        let mut state = State::default();
        blobs.iter().for_each(|blob| state.count(blob));
        state.begun_with = Some((end, blobs));
        let shared =
            Arc::new(Shared { dir, doing: Mutex::default(), state: Mutex::new(state), changed: Condvar::new() });
        let own = shared.clone();
        let thread = thread::Builder::new().name("reclaim".into()).spawn(move || own.run())?;
        Ok(Reclaimer { shared, thread: Some(thread) })
    }

    /// There is one more, in the file that is written to.
    pub(super) fn added(&self, blob: &Extent) {
        let mut state = self.shared.state();
        state.count(blob);
        if state.active.replace(blob.file) != Some(blob.file) {
            state.is_due = true;
            self.shared.changed.notify_one();
        }
    }

    /// The number of a file in which nothing is needed: it is the caller's now.
    pub(super) fn take_spare(&self) -> Option<u64> {
        self.shared.state().spare.pop()
    }

    /// Does at once what there is to do.
    #[cfg(test)]
    pub(super) fn reclaim(&self) {
        self.shared.reclaim();
    }

    /// The time of the spare files is over.
    #[cfg(test)]
    pub(super) fn remove_spare(&self) {
        self.shared.remove_spare(self.shared.state());
    }

    /// Nothing points to some of them any more, not even after a power cut. Who still reads one has a share of it. The first call, or that
    /// of [`Reclaimer::added`], says that the store was found whole and goes on: before that nothing is given back.
    pub(super) fn give_back(&self, unneeded: &mut Vec<Arc<Extent>>) {
        let mut state = self.shared.state();
        if unneeded.is_empty() && state.begun_with.is_none() {
            return;
        }
        state.unneeded.append(unneeded);
        state.is_due = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Reclaimer {
    /// What is not given back then is at the next start.
    fn drop(&mut self) {
        self.shared.state().is_closing = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::warn!("the thread that gives room back has panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        give_way();
        loop {
            let due = self.wait();
            if due.has_nothing_to_do() {
                self.remove_spare(due);
                continue;
            }
            let paused = self.changed.wait_timeout_while(due, PAUSE, |state| !state.is_closing);
            let (state, _) = paused.unwrap_or_else(PoisonError::into_inner);
            if state.is_closing {
                return self.remove_spare(state);
            }
            drop(state);
            self.reclaim();
        }
    }

    /// Waits until there is something to do, or until nobody has wanted the spare files for their time.
    fn wait(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        if state.spare.is_empty() {
            let due = self.changed.wait_while(state, |state| state.has_nothing_to_do());
            return due.unwrap_or_else(PoisonError::into_inner);
        }
        let due = self.changed.wait_timeout_while(state, SPARE_TIME, |state| state.has_nothing_to_do());
        due.unwrap_or_else(PoisonError::into_inner).0
    }

    fn reclaim(&self) {
        let _doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if !state.is_due {
            return;
        }
        let begun_with = state.begun_with.take();
        let room = state.take_room();
        drop(state);
        let kept = begun_with.map_or(Ok(()), |(end, blobs)| files::keep_only(&self.dir, end, &blobs));
        let removed = room.files.iter().try_for_each(|number| self.keep_or_remove(*number));
        let punched = room.holes.iter().try_for_each(|(number, blobs)| {
            let pieces = blobs.chunk_by(|a, b| a.end().next_multiple_of(files::ALIGN as u64) == b.at);
            files::punch(&self.dir, *number, pieces.map(|some| some[0].at..some[some.len() - 1].end()))
        });
        kept.and(removed).and(punched).unwrap_or_else(|error| not_before_the_next_start(&error));
    }

    /// Nothing in this file is needed any more.
    fn keep_or_remove(&self, number: u64) -> io::Result<()> {
        if files::is_short(&self.dir, number) {
            let spare = &mut self.state().spare;
            if spare.len() < SPARE_FILES {
                spare.push(number);
                return Ok(());
            }
        }
        files::remove(&self.dir, number)
    }

    fn remove_spare(&self, mut state: MutexGuard<'_, State>) {
        let spare = mem::take(&mut state.spare);
        drop(state);
        let removed = spare.iter().try_for_each(|number| files::remove(&self.dir, *number));
        removed.unwrap_or_else(|error| not_before_the_next_start(&error));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_before_the_next_start(error: &io::Error) {
    log::warn!("cannot give room of large messages back before the next start: {error}");
}

impl State {
    fn has_nothing_to_do(&self) -> bool {
        !self.is_due && !self.is_closing
    }

    fn count(&mut self, blob: &Extent) {
        *self.blobs.entry(blob.file).or_default() += 1;
    }

    /// Takes out what can be given back now. What is read is looked at again.
    fn take_room(&mut self) -> Room {
        let active = self.active;
        let is_left = |blob: &Arc<Extent>| Some(blob.file) == active || Arc::strong_count(blob) > 1;
        let (left, mut free): (Vec<_>, Vec<_>) = self.unneeded.drain(..).partition(is_left);
        self.is_due = left.iter().any(|blob| Some(blob.file) != active);
        self.unneeded = left;
        free.sort_unstable();
        let mut room = Room::default();
        for blob in free {
            if let Some(blobs) = self.blobs.get_mut(&blob.file) {
                *blobs -= 1;
            }
            room.holes.entry(blob.file).or_default().push(*blob);
        }
        let is_dead = |(file, blobs): (&u64, &usize)| (*blobs == 0 && Some(*file) != active).then_some(*file);
        let mut dead: Vec<u64> = self.blobs.iter().filter_map(is_dead).collect();
        for file in &dead {
            room.holes.remove(file);
        }
        self.is_due |= dead.len() > FILES_AT_ONCE;
        dead.truncate(FILES_AT_ONCE);
        for file in &dead {
            self.blobs.remove(file);
        }
        room.files = dead;
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(file: u64, at: u64) -> Arc<Extent> {
        Arc::new(Extent { file, at, length: 100_000 })
    }

    #[test]
    fn files_go_as_a_whole_when_nothing_is_left_in_them_and_what_is_read_or_written_to_is_left_alone() {
        let blobs = [blob(1, 0), blob(1, 102_400), blob(2, 0), blob(3, 0)];
        let mut state = State { active: Some(3), ..State::default() };
        blobs.iter().for_each(|blob| state.count(blob));
        let [first, second, other, active] = blobs;
        state.unneeded = vec![first.clone(), other, active];
        assert_eq!(state.take_room(), Room { files: vec![2], holes: BTreeMap::new() });
        assert!(state.is_due, "the first is read");
        let place = *first;
        drop(first);
        assert_eq!(state.take_room(), Room { files: Vec::new(), holes: BTreeMap::from([(1, vec![place])]) });
        assert!(!state.is_due, "nothing can be done for the file that is written to");
        state.unneeded.push(second);
        state.active = Some(4);
        assert_eq!(state.take_room().files, [1, 3]);
        assert_eq!((state.take_room(), state.blobs.len(), state.unneeded.len()), (Room::default(), 0, 0));
    }

    #[test]
    fn many_files_go_some_at_a_time() {
        let mut state = State::default();
        for file in 0..=2 * FILES_AT_ONCE as u64 {
            state.count(&blob(file, 0));
            state.unneeded.push(blob(file, 0));
        }
        let mut take = || {
            let room = state.take_room();
            assert!(room.holes.is_empty());
            (room.files.len(), state.is_due)
        };
        assert_eq!([take(), take(), take()], [(FILES_AT_ONCE, true), (FILES_AT_ONCE, true), (1, false)]);
    }
}
