//! Whether the disk has room for puts. An engine that meets a full disk may not come back from it, so it never meets one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::data_dir::{BALLAST_BYTES, DataDir};

/// How long an answer of the file system is good for. At a gigabyte a second this is 20 MB, well within the reserve.
const LOOK_AGAIN_MS: u64 = 20;

/// Watches the free space of the data directory.
#[derive(Debug)]
pub(super) struct Room {
    /// `None`: the engine has no disk.
    dir: Option<DataDir>,
    reserve_bytes: u64,
    has_room: AtomicBool,
    /// When somebody looked last, by [`clock_ms`].
    looked_ms: AtomicU64,
}

impl Room {
    pub(super) fn new(dir: Option<DataDir>, reserve_bytes: u64) -> Room {
        let room = Room { dir, reserve_bytes, has_room: AtomicBool::new(true), looked_ms: AtomicU64::new(0) };
        room.look_now();
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
        let (now_ms, looked_ms) = (clock_ms(), self.looked_ms.load(Ordering::Relaxed));
        if now_ms.saturating_sub(looked_ms) < LOOK_AGAIN_MS {
            return;
        }
        // Of all who find that it is time one looks.
        if self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.look_now();
        }
    }

    fn look_now(&self) {
        let Some(dir) = &self.dir else { return };
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

/// Milliseconds since some moment, a few behind: every put asks for them, and the exact time costs several times as much.
fn clock_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    // This clock never shows a time before its beginning.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
