//! A disk that is nearly full, on a small file system of its own: puts are refused, gets go on, and puts come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // A failed test may panic, a skipped one says so.

mod store_support;

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use httpmq::{
    data_dir::BALLAST_BYTES,
    store::{
        Put, Store,
        local::{LocalStore, Options},
    },
};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use store_support::{body, get, message, open_in, options, put, run};

const MIB: u64 = 1 << 20;
/// 16 segments of sled.
const DISK_MIB: u64 = 256;
/// What the documentation advises for sled: four segments.
const RESERVE_BYTES: u64 = 64 * MIB;
/// How old an answer about the free space may be, and some.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// A file system in memory, gone when this is dropped.
struct Disk {
    mount: PathBuf,
    _root: tempfile::TempDir,
}

impl Disk {
    /// `None`, with the reason printed, where this process may not mount.
    fn mounted() -> Option<Disk> {
        let root = tempfile::tempdir().unwrap();
        let mount = root.path().join("disk");
        fs::create_dir(&mount).unwrap();
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&mount).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk { mount, _root: root }),
            Ok(output) => {
                eprintln!("skipped: cannot mount a tmpfs: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no mount: {error}");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.data().join("BALLAST")
    }

    fn free_bytes(&self) -> u64 {
        let stat = statvfs(&self.mount).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Another program's file that leaves this much.
    fn fill_up_to(&self, free_bytes: u64) -> PathBuf {
        let path = self.mount.join("filler");
        let file = fs::File::create(&path).unwrap();
        fallocate(file.as_fd(), FallocateFlags::empty(), 0, self.free_bytes() - free_bytes).unwrap();
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a store that a failed test left open must not keep it in the list of mounts.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn open(path: &Path) -> LocalStore {
    open_in(path, Options { disk_reserve_bytes: RESERVE_BYTES, ..options(1_000_000, 0) }).unwrap()
}

async fn put_is_refused(store: &LocalStore) {
    assert_eq!(store.put("q", message("1"), |_| ()).await.unwrap(), Put::StorageFull);
}

/// Puts until the disk has room again as the store sees it.
async fn put_goes_on(store: &LocalStore, number: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.put("q", message(body(number, 50)), |_| ()).await.unwrap() == Put::StorageFull {
        assert!(Instant::now() < deadline, "there is room, and puts are still refused");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn puts_are_refused_below_the_reserve_gets_go_on_and_puts_come_back() {
    let Some(disk) = Disk::mounted() else { return };
    run(async {
        let store = open(&disk.data());
        for number in 0..10 {
            put(&store, "q", body(number, 50)).await;
        }
        // Somebody else fills the disk while nothing happens here: the first put after that must not reach the engine.
        tokio::time::sleep(LOOK_AGAIN).await;
        let filler = disk.fill_up_to(RESERVE_BYTES / 2 + MIB);
        put_is_refused(&store).await;
        for number in 0..5 {
            assert_eq!(get(&store, "q").await, Some(body(number, 50)));
        }
        put_is_refused(&store).await;
        fs::remove_file(filler).unwrap();
        put_goes_on(&store, 10).await;
        for number in 5..11 {
            assert_eq!(get(&store, "q").await, Some(body(number, 50)));
        }
        store.close().unwrap();
    });
}

#[test]
fn a_queue_can_be_drained_on_a_disk_that_others_filled_to_the_last_byte() {
    let Some(disk) = Disk::mounted() else { return };
    run(async {
        let store = open(&disk.data());
        let names: Vec<_> = (0..50).map(|number| format!("{number} {}", "x".repeat(200))).collect();
        for name in &names {
            put(&store, name, "1").await;
        }
        for number in 0..2000 {
            put(&store, "q", body(number, 200)).await;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        put(&store, "q", body(2000, 200)).await;
        assert!(disk.ballast().exists(), "there was plenty of space for it");
        tokio::time::sleep(LOOK_AGAIN).await;
        let filler = disk.fill_up_to(0);
        // The first thing that is written is more than what is left of the page that the engine wrote last.
        let mut gets = tokio::task::JoinSet::new();
        for name in names {
            let store = store.clone();
            gets.spawn(async move { get(&store, &name).await });
        }
        assert!(gets.join_all().await.into_iter().all(|got| got == Some("1".into())));
        for number in 0..=2000 {
            assert_eq!(get(&store, "q").await, Some(body(number, 200)));
        }
        assert!(!disk.ballast().exists(), "it was given up");
        store.close().unwrap();
        drop(store);

        // With what the ballast left, it starts again.
        let store = open(&disk.data());
        put_is_refused(&store).await;
        assert_eq!(get(&store, "q").await, None);
        fs::remove_file(filler).unwrap();
        put_goes_on(&store, 0).await;
        tokio::time::sleep(LOOK_AGAIN).await;
        put_goes_on(&store, 1).await;
        assert_eq!(fs::metadata(disk.ballast()).unwrap().len(), BALLAST_BYTES, "it was taken again");
        store.close().unwrap();
    });
}

#[test]
fn a_store_opens_on_a_full_disk() {
    let Some(disk) = Disk::mounted() else { return };
    run(async {
        let store = open(&disk.data());
        put(&store, "q", body(0, 50)).await;
        tokio::time::sleep(LOOK_AGAIN).await;
        put(&store, "q", body(1, 50)).await;
        store.close().unwrap();
        drop(store);
        assert!(disk.ballast().exists());
        let _filler = disk.fill_up_to(0);
        let store = open(&disk.data());
        assert!(!disk.ballast().exists());
        for number in 0..2 {
            assert_eq!(get(&store, "q").await, Some(body(number, 50)));
        }
        store.close().unwrap();
    });
}

/// Nobody else is on the disk: the store fills it itself, and stops in time.
#[test]
fn a_store_does_not_fill_its_own_disk() {
    let Some(disk) = Disk::mounted() else { return };
    run(async {
        let store = open(&disk.data());
        let mut stored = 0;
        while store.put("q", message(body(stored, 100_000)), |_| ()).await.unwrap() != Put::StorageFull {
            stored += 1;
            assert!(stored < 10_000, "more than the disk holds");
        }
        assert!(stored > 100, "{stored}");
        assert!(disk.free_bytes() > RESERVE_BYTES / 2, "{} bytes are free", disk.free_bytes());
        for number in 0..stored {
            assert_eq!(get(&store, "q").await, Some(body(number, 100_000)));
        }
        store.close().unwrap();
        drop(store);
        let store = open(&disk.data());
        assert_eq!(store.status("q").await.unwrap().unwrap().unread, 0);
        store.close().unwrap();
    });
}
