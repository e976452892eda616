//! Messages that are large enough for files of their own, through a store on sled with all that is in front of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use httpmq::{
    block::Damage,
    config,
    data_dir::DataDir,
    engine::{self, Sizes},
    store::local::{LocalStore, OpenError, Options},
};
use store_support::{body, get, options, put, run};

const SIZES: Sizes = Sizes { cache_bytes: 1 << 20, log_bytes: 1 << 20 };
/// How long the thread that gives room back may take. It keeps two files for ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// As the daemon does: with all that is in front of an engine.
fn open_all(path: &Path, options: Options) -> Result<LocalStore, OpenError> {
    let dir = DataDir::open(path, "sled")?;
    let engine = engine::open(config::Engine::Sled, path, SIZES)?;
    LocalStore::open(engine, Some(dir), options, None).map(|(store, _)| store)
}

/// And what was in the way of it can be taken away.
#[test]
fn a_large_message_that_is_damaged_or_gone_is_refused_and_the_others_stay_as_they_are() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        for number in 0..3 {
            let store = open_all(&path, options(100, 0)).unwrap();
            put(&store, "q", body(number, 1 << 20)).await;
            store.close().unwrap();
        }
        let file = path.join("sled.blobs/1");
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[500_000] ^= 1;
        let refused = |expected: Damage| match open_all(&path, options(100, 0)) {
            Err(OpenError::Damaged { queue, position, damage }) => {
                assert_eq!((queue.as_str(), position, damage), ("q", 1, expected));
            }
            other => panic!("{:?}", other.map(|_| "opened")),
        };
        fs::write(&file, damaged).unwrap();
        refused(Damage::CheckSum);
        fs::remove_file(&file).unwrap();
        refused(Damage::Missing);
        fs::write(&file, whole).unwrap();
        let store = open_all(&path, options(100, 0)).unwrap();
        for number in 0..3 {
            assert_eq!(get(&store, "q").await, Some(body(number, 1 << 20)));
        }
        store.close().unwrap();
    });
}

#[test]
fn messages_of_a_mebibyte_stay_out_of_files_that_sled_never_syncs() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let store = open_all(&path, Options { cache_bytes: 0, ..options(100, 3) }).unwrap();
        let blobs = || fs::read_dir(path.join("sled/blobs")).unwrap().count();
        for number in 0..24 {
            put(&store, "q", body(number, 1 << 20)).await;
            if number >= 4 {
                assert_eq!(get(&store, "q").await, Some(body(number - 4, 1 << 20)));
            }
            assert_eq!(blobs(), 0, "after message {number}");
        }
        store.close().unwrap();
        drop(store);
        let store = open_all(&path, options(100, 0)).unwrap();
        assert_eq!((get(&store, "q").await, blobs()), (Some(body(20, 1 << 20)), 0));
        store.close().unwrap();
    });
}

/// The file that is written to stays, 16 MiB and what is beyond of the last message.
#[test]
fn what_was_got_is_given_back_to_the_file_system_while_the_daemon_runs() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let store = open_all(&path, options(100, 0)).unwrap();
        for number in 0..60 {
            put(&store, "q", body(number, 1 << 20)).await;
        }
        let stored_mib = || {
            let files = fs::read_dir(path.join("sled.blobs")).unwrap().map(Result::unwrap);
            // One may go meanwhile.
            files.filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512).sum::<u64>() >> 20
        };
        assert!(stored_mib() >= 60);
        for number in 0..60 {
            assert_eq!(get(&store, "q").await, Some(body(number, 1 << 20)));
        }
        let deadline = Instant::now() + PATIENCE;
        while stored_mib() > 18 {
            assert!(Instant::now() < deadline, "{} MiB are still there", stored_mib());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        store.close().unwrap();
    });
}
