//! The commit thread seen from both sides: callers above, an engine below that fails, panics or stands still when it is told to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{sync::Arc, time::Duration};

use httpmq::{
    engine::Engine,
    store::{
        Get, Put, Store, StoreError,
        local::{Options, SyncMode},
    },
};
use store_support::{
    body, get, message, open_on, options, put, run,
    told::{Fault, PATIENCE, StoredOrNot, open, stage_puts},
};
use tokio::{task::JoinSet, time::timeout};

// ===== failure =====

#[test]
fn after_an_error_nothing_is_acknowledged() {
    run(fails_for_good(Fault::Error, "the disk is on fire"));
}

#[test]
fn after_a_panic_nothing_is_acknowledged() {
    run(fails_for_good(Fault::Panic, "panicked"));
}

async fn fails_for_good(fault: Fault, says: &str) {
    let (engine, store) = open(options(1000, 0));
    for number in 0..4 {
        put(&store, "q", body(number, 20)).await;
    }
    engine.control().fault = Some((5, fault));
    engine.hold();
    let mut waiting = stage_puts(&store, "q", 4..5).await;
    engine.wait_for_commits(5);
    // These would be in the commit after the one that fails.
    let mut later = stage_puts(&store, "q", 5..15).await;
    let got = tokio::spawn({
        let store = store.clone();
        async move { store.get("q").await }
    });
    engine.release();

    let reason = timeout(PATIENCE, store.failed()).await.expect("failed() never completed");
    assert!(reason.contains(says), "{reason}");
    let failed = |answer: &StoredOrNot| matches!(answer, Err(StoreError::Failed(_)));
    while let Some(answer) = timeout(PATIENCE, waiting.join_next()).await.expect("in the failed commit, not told") {
        assert!(failed(&answer.unwrap()));
    }
    while let Some(answer) = timeout(PATIENCE, later.join_next()).await.expect("in the next commit, not told") {
        assert!(failed(&answer.unwrap()));
    }
    assert!(timeout(PATIENCE, got).await.unwrap().unwrap().is_err());
    for queue in ["q", "new"] {
        assert!(failed(&timeout(PATIENCE, store.put(queue, message("1"), |_| ())).await.unwrap()));
    }
    assert!(timeout(PATIENCE, store.get("q")).await.unwrap().is_err());
    assert!(timeout(PATIENCE, store.reset("q")).await.unwrap().is_err());
    assert_eq!(timeout(PATIENCE, store.failed()).await.unwrap(), reason, "for who asks later, too");
    assert!(matches!(store.close(), Err(StoreError::Failed(_))));
    assert_eq!(engine.commits().len(), 5, "the engine is asked nothing more");
}

#[test]
fn after_the_close_nothing_is_acknowledged() {
    run(async {
        let (engine, store) = open(options(10, 0));
        put(&store, "q", "1").await;
        store.close().unwrap();
        assert!(timeout(PATIENCE, store.put("q", message("2"), |_| ())).await.expect("it hangs").is_err());
        assert!(timeout(PATIENCE, store.get("q")).await.expect("it hangs").is_err());
        assert_eq!(store.close(), Ok(()), "twice does no harm");
        assert_eq!(engine.commits().len(), 1);
    });
}

#[test]
fn closing_commits_what_is_staged() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        engine.hold();
        let first = stage_puts(&store, "q", 0..1).await;
        engine.wait_for_commits(1);
        let rest = stage_puts(&store, "q", 1..50).await;
        let closing = std::thread::spawn({
            let store = store.clone();
            move || store.close()
        });
        engine.release();
        assert_eq!(closing.join().unwrap(), Ok(()));
        for answer in [first.join_all().await, rest.join_all().await].concat() {
            assert!(matches!(answer, Ok(Put::Stored { .. })), "{answer:?}");
        }
        let seam: Arc<dyn Engine> = engine;
        let store = open_on(&seam, options(1000, 0)).unwrap();
        assert_eq!(store.status("q").await.unwrap().unwrap().unread, 50);
        store.close().unwrap();
    });
}

// ===== an engine that hangs =====

#[test]
fn a_commit_that_takes_too_long_is_noticed_while_it_hangs() {
    run(async {
        let (engine, store) = open(options(10, 0));
        engine.hold();
        let (hung, is_hung) = tokio::sync::oneshot::channel();
        store.watch(Duration::from_millis(200), move || hung.send(()).unwrap()).unwrap();
        let waiting = stage_puts(&store, "q", 0..1).await;
        timeout(PATIENCE, is_hung).await.expect("nobody noticed").unwrap();
        assert_eq!(waiting.len(), 1, "it was not answered");
        engine.release();
        waiting.join_all().await.pop().unwrap().unwrap();
        store.close().unwrap();
    });
}

#[test]
fn a_store_that_gets_on_is_left_alone_until_it_is_closed() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        let (hung, is_hung) = tokio::sync::oneshot::channel::<()>();
        store.watch(Duration::from_millis(500), move || hung.send(()).unwrap()).unwrap();
        engine.control().takes = Duration::from_millis(20);
        // Never a moment without a commit under way, for longer than the timeout.
        for number in 0..50 {
            put(&store, "q", body(number, 20)).await;
        }
        store.close().unwrap();
        // Its thread ends and lets go of what it would have called.
        assert!(timeout(PATIENCE, is_hung).await.expect("the watchdog outlives the store").is_err());
    });
}

// ===== group commit =====

#[test]
fn what_comes_in_during_a_commit_is_one_commit_and_one_record() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        engine.hold();
        let first = stage_puts(&store, "q", 0..1).await;
        engine.wait_for_commits(1);
        let rest = stage_puts(&store, "q", 1..100).await;
        engine.release();
        let mut positions: Vec<_> = [first.join_all().await, rest.join_all().await]
            .concat()
            .into_iter()
            .map(|answer| match answer.unwrap() {
                Put::Stored { position } => position,
                refused => panic!("{refused:?}"),
            })
            .collect();
        positions.sort_unstable();
        assert!(positions.into_iter().eq(0..100));

        let commits = engine.commits();
        assert_eq!(commits.len(), 2);
        let counts: Vec<Vec<u32>> = commits
            .iter()
            .map(|commit| commit.blocks().into_iter().map(|record| messages_in(record)).collect())
            .collect();
        assert_eq!(counts, [vec![1], vec![99]]);
        store.close().unwrap();
    });
}

#[test]
fn one_at_a_time_each_message_is_a_commit_of_its_own() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        for number in 0..10 {
            put(&store, "q", body(number, 20)).await;
        }
        let commits = engine.commits();
        assert_eq!(commits.len(), 10);
        assert!(commits.iter().all(|commit| commit.blocks().len() == 1));
        store.close().unwrap();
    });
}

#[test]
fn a_put_and_a_get_share_a_commit_and_what_was_both_in_it_is_not_stored() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        engine.hold();
        let first = stage_puts(&store, "other", 0..1).await;
        engine.wait_for_commits(1);
        let two = stage_puts(&store, "q", 0..1).await;
        let got = tokio::spawn({
            let store = store.clone();
            async move { get(&store, "q").await }
        });
        while store.status("q").await.unwrap().unwrap().unread > 0 {
            tokio::task::yield_now().await;
        }
        engine.release();
        assert!(first.join_all().await.into_iter().chain(two.join_all().await).all(|answer| answer.is_ok()));
        assert_eq!(got.await.unwrap(), Some(body(0, 20)));
        let commits = engine.commits();
        assert_eq!((commits.len(), commits[1].blocks().len()), (2, 0));
        store.close().unwrap();
    });
}

#[test]
fn a_get_waits_for_the_commit_of_what_it_got() {
    run(async {
        let (engine, store) = open(options(1000, 0));
        engine.hold();
        let put = stage_puts(&store, "q", 0..1).await;
        engine.wait_for_commits(1);
        let got = tokio::spawn({
            let store = store.clone();
            async move { store.get("q").await }
        });
        while store.status("q").await.unwrap().unwrap().unread > 0 {
            tokio::task::yield_now().await;
        }
        assert!(!got.is_finished(), "answered although neither its put nor itself is on disk");
        engine.release();
        assert!(matches!(got.await.unwrap(), Ok(Get::Message { position: 0, .. })));
        assert!(put.join_all().await[0].is_ok());
        store.close().unwrap();
    });
}

/// The count of messages in the header of a record, see `src/block.rs`.
fn messages_in(record: &[u8]) -> u32 {
    u32::from_be_bytes(record[21..25].try_into().unwrap())
}

// ===== sync modes =====

#[test]
fn the_interval_is_kept_when_the_traffic_never_stops() {
    run(async {
        let interval = SyncMode::Interval(Duration::from_millis(20));
        let (engine, store) = open(Options { sync: interval, ..options(1_000_000, 0) });
        engine.control().takes = Duration::from_millis(2);
        // At least one put comes in during every commit, whatever became of those before it.
        let mut busy = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        for _ in 0..500 {
            tick.tick().await;
            let store = store.clone();
            busy.spawn(async move { put(&store, "q", "1").await });
        }
        let syncs = engine.control().syncs;
        busy.join_all().await;
        assert!(syncs >= 5, "{syncs} syncs in 500 ms, one is due every 20 ms");
        store.close().unwrap();
        assert!(engine.control().syncs > syncs, "the close syncs in every mode");
    });
}

#[test]
fn never_syncs_at_the_close_only() {
    run(async {
        let (engine, store) = open(Options { sync: SyncMode::Never, ..options(100, 0) });
        for _ in 0..20 {
            put(&store, "q", "1").await;
        }
        assert_eq!(engine.control().syncs, 0);
        store.close().unwrap();
        assert_eq!(engine.control().syncs, 1);
    });
}
