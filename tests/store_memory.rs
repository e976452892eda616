//! What becomes of what nobody needs any more, in the engine and in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{process::Command, sync::Arc, time::Duration};

use httpmq::{
    engine::{Engine, memory::MemoryEngine},
    store::{Store, local::Options},
};
use store_support::{body, get, open_in, open_on, options, put, records, run, told::open};
use tokio::task::JoinSet;

/// How many records one commit may remove for one queue, with the few that are removed as they are read.
const STEP_RECORDS: usize = 600;
/// Names the directory that a child of this test writes to; unset in the tests themselves.
const CHILD_DIR: &str = "HTTPMQ_TEST_MEMORY_CHILD";

// ===== what is kept =====

#[test]
fn a_reset_is_cleaned_up_in_steps() {
    run(async {
        let (engine, store) = open(options(10_000, 0));
        for number in 0..2000 {
            put(&store, "q", body(number, 20)).await;
        }
        assert!(store.reset("q").await.unwrap());
        let commits = engine.commits().len();
        while records(&engine.records).len() > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let commits = &engine.commits()[commits - 1..];
        assert!(commits.iter().all(|commit| commit.removes <= STEP_RECORDS), "{:?}", commits.iter().map(|c| c.removes));
        assert_eq!(put(&store, "q", "1").await, 0);
        store.close().unwrap();
    });
}

#[test]
fn a_close_does_not_wait_for_the_cleaning_up() {
    run(async {
        let (engine, store) = open(options(10_000, 0));
        for number in 0..2000 {
            put(&store, "q", body(number, 20)).await;
        }
        engine.hold();
        let resetting = tokio::spawn({
            let store = store.clone();
            async move { store.reset("q").await }
        });
        engine.wait_for_commits(2001);
        let closing = std::thread::spawn({
            let store = store.clone();
            move || store.close()
        });
        // The close is a flag that is set at once; the commit that is held does not end before it.
        std::thread::sleep(Duration::from_millis(200));
        engine.release();
        assert_eq!((closing.join().unwrap(), resetting.await.unwrap()), (Ok(()), Ok(true)));
        assert!(engine.commits().len() <= 2002);

        let seam: Arc<dyn Engine> = engine.clone();
        let store = open_on(&seam, options(10_000, 0)).unwrap();
        while records(&engine.records).len() > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        store.close().unwrap();
    });
}

#[test]
fn a_queue_that_is_read_as_fast_as_written_stays_small() {
    run(async {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        for cache_bytes in [0, 64 << 20] {
            let store = open_on(&engine, Options { cache_bytes, ..options(1000, 10) }).unwrap();
            let mut largest = 0;
            for round in 0..500 {
                let mut puts = JoinSet::new();
                for number in 0..100 {
                    let store = store.clone();
                    puts.spawn(async move { put(&store, "q", body(round * 100 + number, 100)).await });
                }
                puts.join_all().await;
                let mut gets = JoinSet::new();
                for _ in 0..100 {
                    let store = store.clone();
                    gets.spawn(async move { get(&store, "q").await });
                }
                assert!(gets.join_all().await.iter().all(Option::is_some));
                largest = largest.max(records(&*engine).len());
            }
            assert!(largest < 200, "{largest} records with a cache of {cache_bytes} bytes");
            store.close().unwrap();
        }
    });
}

#[test]
fn what_is_read_ahead_of_one_queue_stays_while_many_others_are_read() {
    const QUEUES: usize = 90;
    const ROUNDS: u64 = 100;
    // Each message is a block of its own, as one client at a time makes them. All together are eight times the memory for them.
    let (engine, store) = open(Options { cache_bytes: 512 << 10, ..options(1000, 0) });
    let names: Vec<String> = (0..QUEUES).map(|queue| format!("q{queue}")).collect();
    run(async {
        for round in 0..ROUNDS {
            for name in &names {
                put(&store, name, body(round, 100)).await;
            }
        }
        engine.control().visited = 0;
        for round in 0..ROUNDS {
            for name in &names {
                assert_eq!(get(&store, name).await, Some(body(round, 100)));
            }
        }
    });
    let (visited, messages) = (engine.control().visited, QUEUES * usize::try_from(ROUNDS).unwrap());
    assert!(visited < 3 * messages, "{visited} records were read for {messages} messages");
    store.close().unwrap();
}

#[test]
fn a_backlog_does_not_take_its_size_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let ran = child.args(["--exact", "child", "--nocapture"]).env(CHILD_DIR, dir.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{printed}{}", String::from_utf8_lossy(&ran.stderr));
    let grown = printed.lines().find_map(|line| line.strip_prefix("grown ")).expect("the child says it");
    let grown: u64 = grown.parse().unwrap();
    assert!(grown < 64 << 10, "{grown} KiB for 125 MiB of messages with a cache of 1 MiB");
}

/// Not a test: what the test above runs in a process of its own.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let dir = std::path::PathBuf::from(dir).join("data");
    run(async {
        let store = open_in(&dir, Options { cache_bytes: 1 << 20, ..options(1_000_000, 0) });
        let store = store.unwrap();
        let mut before = 0;
        for round in 0..700 {
            // By then sled has the buffers that it takes whatever the load, a few segments.
            if round == 200 {
                before = resident_kib();
            }
            let mut puts = JoinSet::new();
            for number in 0..128 {
                let store = store.clone();
                puts.spawn(async move { put(&store, "q", body(round * 128 + number, 2000)).await });
            }
            puts.join_all().await;
        }
        println!("\nbefore {before}\ngrown {}", resident_kib().saturating_sub(before));
        store.close().unwrap();
    });
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
