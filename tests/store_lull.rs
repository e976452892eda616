//! Commits by who answers, where no disk is waited for: what the commit thread leaves to them, and what not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{collections::BTreeMap, pin::pin, sync::Arc, thread, time::Duration};

use futures_util::poll;
use httpmq::{
    ring::{Overflow, Settings},
    store::{
        Store, StoreError,
        local::{LocalStore, Lull, Options, QueueSettings, SyncMode},
    },
};
use store_support::{
    body, get, put, run,
    told::{Fault, PATIENCE, TestEngine, open, stage_puts},
};
use tokio::time::timeout;

/// A store whose commits of less than `quick_bytes` are left to who answers, and where to say that there is nothing else to do.
fn open_for_all(options: Options, quick_bytes: usize) -> (Arc<TestEngine>, LocalStore, Arc<Lull>) {
    let lull = Arc::new(Lull::default());
    let (engine, store) = open(Options { lull: Some(lull.clone()), ..options });
    engine.control().quick_bytes = quick_bytes;
    // From now on the commit thread runs.
    run(put(&store, "q", "0"));
    (engine, store, lull)
}

fn options(sync: SyncMode) -> Options {
    Options { sync, ..store_support::options(1_000_000, 0) }
}

/// Does a thing a hundred times, with a lull right behind it each time; says how many commits the thread did that said so.
fn own_commits(engine: &TestEngine, lull: &Lull, act: impl AsyncFn()) -> usize {
    let before = engine.commits().len();
    run(async {
        for _ in 0..100 {
            let mut one = pin!(act());
            if poll!(one.as_mut()).is_pending() {
                lull.begin();
                one.await;
            }
        }
    });
    let own = thread::current().id();
    engine.commits()[before..].iter().filter(|commit| commit.thread == own).count()
}

/// The same for small puts.
fn own_commits_of_puts(engine: &TestEngine, store: &LocalStore, lull: &Lull) -> usize {
    own_commits(engine, lull, async || {
        put(store, "q", "1").await;
    })
}

#[test]
fn a_commit_that_waits_for_no_disk_is_done_by_who_answers() {
    for sync in [SyncMode::Never, SyncMode::Interval(PATIENCE)] {
        let (engine, store, lull) = open_for_all(options(sync), usize::MAX);
        let own = own_commits_of_puts(&engine, &store, &lull);
        // Whoever is kept from a processor for long finds it done.
        assert!(own > 0, "{sync:?}");
        store.close().unwrap();
    }
}

#[test]
fn a_commit_that_may_wait_for_the_disk_is_done_by_the_commit_thread() {
    for (sync, quick_bytes) in [(SyncMode::Always, usize::MAX), (SyncMode::Never, 0)] {
        let (engine, store, lull) = open_for_all(options(sync), quick_bytes);
        assert_eq!(own_commits_of_puts(&engine, &store, &lull), 0, "{sync:?}");
        store.close().unwrap();
    }
}

#[test]
fn a_commit_that_removes_a_large_message_is_done_by_the_commit_thread() {
    let (engine, store, lull) = open_for_all(options(SyncMode::Never), 64 << 10);
    run(async {
        get(&store, "q").await;
        for number in 0..100 {
            put(&store, "q", body(number, 100 << 10)).await;
        }
    });
    let own = own_commits(&engine, &lull, async || assert!(get(&store, "q").await.is_some()));
    assert_eq!(own, 0);
    store.close().unwrap();
}

#[test]
fn a_commit_that_reads_what_it_removes_is_done_by_the_commit_thread() {
    let drops = Settings { max_len: 10, history: 0, overflow: Overflow::DropOldest };
    let queues = QueueSettings { defaults: drops, named: BTreeMap::new() };
    let without_memory = Options { queues, cache_bytes: 0, ..options(SyncMode::Never) };
    let (engine, store, lull) = open_for_all(without_memory, usize::MAX);
    let own = own_commits_of_puts(&engine, &store, &lull);
    // The first that reads is only known when it has: there are ten before, and it.
    assert!(own <= 11, "{own}");
    store.close().unwrap();
}

#[test]
fn a_commit_is_not_left_to_who_never_runs_out_of_work() {
    // The put behind the open is one that nobody says a lull for.
    let (engine, store, _) = open_for_all(options(SyncMode::Never), usize::MAX);
    assert_eq!(engine.commits().len(), 1);
    store.close().unwrap();
}

#[test]
fn what_others_commit_is_synced_in_time() {
    let (engine, store, lull) = open_for_all(options(SyncMode::Interval(Duration::from_millis(20))), usize::MAX);
    engine.wait_for_syncs(1);
    own_commits_of_puts(&engine, &store, &lull);
    engine.wait_for_syncs(2);
    store.close().unwrap();
}

#[test]
fn a_failure_of_who_answers_is_everybodys() {
    for fault in [Fault::Error, Fault::Panic] {
        let (engine, store, lull) = open_for_all(options(SyncMode::Never), usize::MAX);
        engine.control().fault = Some((2, fault));
        run(async {
            let mut puts = stage_puts(&store, "q", 0..3).await;
            lull.begin();
            while let Some(answer) = timeout(PATIENCE, puts.join_next()).await.expect("not told") {
                assert!(matches!(answer.unwrap(), Err(StoreError::Failed(_))));
            }
            timeout(PATIENCE, store.failed()).await.expect("failed() never completed");
            lull.begin();
            assert!(matches!(store.get("q").await, Err(StoreError::Failed(_))));
        });
        store.close().unwrap_err();
        assert_eq!(engine.commits().len(), 2, "{fault:?}: nothing is written after the first failure");
    }
}
