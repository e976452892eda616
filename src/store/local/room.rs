//! Whether the disk has room for puts. An engine that meets a full disk may not come back from it, so it never meets one.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::data_dir::{BALLAST_BYTES, DataDir};

/// How long an answer of the file system is good for. At a gigabyte a second this is 20 MB, well within the reserve.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Watches the free space of the data directory.
#[derive(Debug)]
pub(super) struct Room {
    /// `None`: the engine has no disk.
    dir: Option<DataDir>,
    reserve_bytes: u64,
    has_room: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

impl Room {
    pub(super) fn new(dir: Option<DataDir>, reserve_bytes: u64) -> Room {
        let room = Room { dir, reserve_bytes, has_room: AtomicBool::new(true), looked: Mutex::new(None) };
        room.look();
        room
    }

    pub(super) fn dir(&self) -> Option<&DataDir> {
        self.dir.as_ref()
    }

    /// Whether puts may go on. It looks itself: others may have filled the disk while nobody put or got anything.
    pub(super) fn has_room(&self) -> bool {
        self.look();
        self.has_room.load(Ordering::Relaxed)
    }

    /// Looks at the disk, unless that was just done; gives the ballast up when space runs out and takes it when there is plenty.
    pub(super) fn look(&self) {
        let Some(dir) = &self.dir else { return };
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|then| then.elapsed() < LOOK_AGAIN) {
                return;
            }
            *looked = Some(Instant::now());
        }
        let free = match dir.free_bytes() {
            Ok(free) => free,
            // It never failed so far as anybody knows; the engine's own error would come next and is final.
            Err(error) => return log::warn!("cannot ask how much space the disk has: {error}"),
        };
        let has_room = free >= self.reserve_bytes;
        if self.has_room.swap(has_room, Ordering::Relaxed) != has_room {
            if has_room {
                log::info!("the disk has room again ({} MiB free): puts go on", free >> 20);
            } else {
                log::warn!(
                    "the disk has only {} MiB left, less than the reserve of {} MiB: puts are refused, gets go on",
                    free >> 20,
                    self.reserve_bytes >> 20
                );
            }
        }
        self.mind_ballast(dir, free);
    }

    fn mind_ballast(&self, dir: &DataDir, free: u64) {
        if free < self.reserve_bytes / 2 {
            if dir.give_up_ballast() {
                log::warn!("gave up the ballast of {} MiB so that gets can go on", BALLAST_BYTES >> 20);
            }
        } else if free >= self.reserve_bytes + 2 * BALLAST_BYTES
            && let Err(error) = dir.take_ballast()
        {
            log::debug!("cannot reserve space for the ballast: {error}");
        }
    }
}
