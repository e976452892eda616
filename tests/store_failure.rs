//! The commit thread seen from both sides: callers above, an engine below that fails, panics or stands still when it is told to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    ops::RangeInclusive,
    pin::pin,
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use futures_util::poll;
use httpmq::{
    engine::{Batch, Durability, Engine, EngineError, Visitor, memory::MemoryEngine},
    key::{self, Key},
    store::{
        Get, Put, Store, StoreError,
        local::{LocalStore, Lull, SyncMode},
    },
};
use store_support::{body, get, message, open_in, open_on, options, put, records, run};
use tokio::{task::JoinSet, time::timeout};

/// Far longer than anything here takes: what is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many records one commit may remove for one queue, with the few that are removed as they are read.
const STEP_RECORDS: usize = 600;
/// Names the directory that a child of this test writes to; unset in the tests themselves.
const CHILD_DIR: &str = "HTTPMQ_TEST_MEMORY_CHILD";

#[derive(Clone, Copy, Debug)]
enum Fault {
    Error,
    Panic,
}

/// A memory engine with a gate in front of its commits, which it remembers.
#[derive(Default)]
struct TestEngine {
    records: MemoryEngine,
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    commits: Vec<Commit>,
    syncs: usize,
    /// The number of the commit that fails, and how.
    fault: Option<(usize, Fault)>,
    held: bool,
    /// How long a commit takes.
    takes: Duration,
    /// It says that a commit would wait for no disk.
    is_quick: bool,
    /// How many records readers of ranges saw.
    visited: usize,
}

#[derive(Clone, Debug)]
struct Commit {
    puts: Vec<(Key, Bytes)>,
    removes: usize,
    thread: ThreadId,
}

impl TestEngine {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap()
    }

    fn hold(&self) {
        self.control().held = true;
    }

    fn release(&self) {
        self.control().held = false;
        self.changed.notify_all();
    }

    /// Waits until this many commits have begun.
    fn wait_for_commits(&self, number: usize) {
        let waited =
            self.changed.wait_timeout_while(self.control(), PATIENCE, |control| control.commits.len() < number);
        assert!(!waited.unwrap().1.timed_out(), "fewer than {number} commits");
    }

    /// Waits until everything was synced this often.
    fn wait_for_syncs(&self, number: usize) {
        let waited = self.changed.wait_timeout_while(self.control(), PATIENCE, |control| control.syncs < number);
        assert!(!waited.unwrap().1.timed_out(), "fewer than {number} syncs");
    }

    fn commits(&self) -> Vec<Commit> {
        self.control().commits.clone()
    }
}

impl Commit {
    /// The records of messages that it stores.
    fn blocks(&self) -> Vec<&Bytes> {
        self.puts.iter().filter(|(key, _)| key::all_blocks().contains(key)).map(|(_, record)| record).collect()
    }
}

impl Engine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let (fault, takes) = {
            let mut control = self.control();
            control.commits.push(Commit {
                puts: batch.puts.clone(),
                removes: batch.removes.len(),
                thread: thread::current().id(),
            });
            self.changed.notify_all();
            let control = self.changed.wait_while(control, |control| control.held).unwrap();
            let fault = control.fault.filter(|(number, _)| *number <= control.commits.len());
            (fault.map(|(_, fault)| fault), control.takes)
        };
        thread::sleep(takes);
        match fault {
            None => self.records.commit(batch, durability),
            Some(Fault::Error) => Err(EngineError::new("commit", "the disk is on fire")),
            Some(Fault::Panic) => panic!("the engine was told to panic"),
        }
    }

    fn is_quick(&self, _: usize) -> bool {
        self.control().is_quick
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.control().syncs += 1;
        self.changed.notify_all();
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        self.records.get(key)
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        self.records.range(range, &mut |key, record| {
            self.control().visited += 1;
            visit(key, record)
        })
    }

    fn last(&self, range: RangeInclusive<Key>) -> Result<Option<(Key, Bytes)>, EngineError> {
        self.records.last(range)
    }
}

fn open(options: httpmq::store::local::Options) -> (Arc<TestEngine>, LocalStore) {
    let engine = Arc::new(TestEngine::default());
    let seam: Arc<dyn Engine> = engine.clone();
    let store = open_on(&seam, options).unwrap();
    (engine, store)
}

/// Starts puts of the bodies `numbers` and returns when all of them have their place in the order.
async fn stage_puts(store: &LocalStore, queue: &'static str, numbers: std::ops::Range<u64>) -> JoinSet<StoredOrNot> {
    let (staged, mut is_staged) = tokio::sync::mpsc::unbounded_channel();
    let mut puts = JoinSet::new();
    for number in numbers.clone() {
        let (store, staged) = (store.clone(), staged.clone());
        puts.spawn(async move { store.put(queue, message(body(number, 20)), |_| staged.send(()).unwrap()).await });
    }
    for _ in numbers {
        timeout(PATIENCE, is_staged.recv()).await.unwrap().unwrap();
    }
    puts
}

type StoredOrNot = Result<Put, StoreError>;

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
        let (engine, store) = open(httpmq::store::local::Options { sync: interval, ..options(1_000_000, 0) });
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
        let (engine, store) = open(httpmq::store::local::Options { sync: SyncMode::Never, ..options(100, 0) });
        for _ in 0..20 {
            put(&store, "q", "1").await;
        }
        assert_eq!(engine.control().syncs, 0);
        store.close().unwrap();
        assert_eq!(engine.control().syncs, 1);
    });
}

// ===== commits by who answers =====

/// A store whose commits are left to who answers, and where to say that there is nothing else to do.
fn open_for_all(sync: SyncMode, is_quick: bool) -> (Arc<TestEngine>, LocalStore, Arc<Lull>) {
    let lull = Arc::new(Lull::default());
    let (engine, store) =
        open(httpmq::store::local::Options { sync, lull: Some(lull.clone()), ..options(1_000_000, 0) });
    engine.control().is_quick = is_quick;
    // From now on the commit thread runs.
    run(put(&store, "q", "0"));
    (engine, store, lull)
}

/// Of a hundred puts, each with a lull right behind it, how many were committed by the thread that said so.
fn own_commits(engine: &TestEngine, store: &LocalStore, lull: &Lull) -> usize {
    run(async {
        for _ in 0..100 {
            let mut one = pin!(put(store, "q", "1"));
            if poll!(one.as_mut()).is_pending() {
                lull.begin();
                one.await;
            }
        }
    });
    let own = thread::current().id();
    engine.commits().iter().filter(|commit| commit.thread == own).count()
}

#[test]
fn a_commit_that_waits_for_no_disk_is_done_by_who_answers() {
    for sync in [SyncMode::Never, SyncMode::Interval(PATIENCE)] {
        let (engine, store, lull) = open_for_all(sync, true);
        let own = own_commits(&engine, &store, &lull);
        // Whoever is kept from a processor for long finds it done.
        assert!(own > 0, "{sync:?}");
        store.close().unwrap();
    }
}

#[test]
fn a_commit_that_may_wait_for_the_disk_is_done_by_the_commit_thread() {
    for (sync, is_quick) in [(SyncMode::Always, true), (SyncMode::Never, false)] {
        let (engine, store, lull) = open_for_all(sync, is_quick);
        assert_eq!(own_commits(&engine, &store, &lull), 0, "{sync:?}");
        store.close().unwrap();
    }
}

#[test]
fn a_commit_is_not_left_to_who_never_runs_out_of_work() {
    // The put behind the open is one that nobody says a lull for.
    let (engine, store, _) = open_for_all(SyncMode::Never, true);
    assert_eq!(engine.commits().len(), 1);
    store.close().unwrap();
}

#[test]
fn what_others_commit_is_synced_in_time() {
    let (engine, store, lull) = open_for_all(SyncMode::Interval(Duration::from_millis(20)), true);
    engine.wait_for_syncs(1);
    own_commits(&engine, &store, &lull);
    engine.wait_for_syncs(2);
    store.close().unwrap();
}

#[test]
fn a_failure_of_who_answers_is_everybodys() {
    for fault in [Fault::Error, Fault::Panic] {
        let (engine, store, lull) = open_for_all(SyncMode::Never, true);
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
            let store = open_on(&engine, httpmq::store::local::Options { cache_bytes, ..options(1000, 10) }).unwrap();
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
    let (engine, store) = open(httpmq::store::local::Options { cache_bytes: 512 << 10, ..options(1000, 0) });
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
        let store = open_in(&dir, httpmq::store::local::Options { cache_bytes: 1 << 20, ..options(1_000_000, 0) });
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
