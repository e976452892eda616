//! Queues made, changed and deleted at run time, on the store. Goal: what was answered is there after a crash at any moment, and of a
//! deleted queue nothing ever comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bytes::Bytes;
use httpmq::{
    block::Block,
    engine::{Batch, Durability, Engine, EngineError, Visitor, memory::MemoryEngine},
    key::Key,
    message::{Content, Message, Source},
    ring::{Change, Kind, Overflow, Own, Settings},
    store::{
        Created, Get, Observer, Put, Store, View, Window,
        local::{LocalStore, Options, QueueSettings},
    },
};
use store_support::{body, copy_of, get, message, open_on, options, put, records, run};
use tokio::task::JoinSet;

const ALL: Window = Window { from: Some(0), limit: usize::MAX, max_bytes: usize::MAX };
const DROPS: Own = Own { max_len: Some(3), history: None, overflow: Some(Overflow::DropOldest) };
/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

// ===== an engine with a gate, which remembers what it was like behind each commit =====

#[derive(Default)]
struct TestEngine {
    records: MemoryEngine,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    is_closed: bool,
    begun: usize,
    after: Vec<Arc<dyn Engine>>,
    remembers: bool,
}

impl TestEngine {
    fn close_gate(&self, is_closed: bool) {
        self.gate.lock().unwrap().is_closed = is_closed;
        self.changed.notify_all();
    }

    fn remember(&self) {
        self.gate.lock().unwrap().remembers = true;
    }

    fn remembered(&self) -> Vec<Arc<dyn Engine>> {
        self.gate.lock().unwrap().after.clone()
    }

    fn wait_for_commit(&self, number: usize) {
        let waited = self.changed.wait_timeout_while(self.gate.lock().unwrap(), PATIENCE, |gate| gate.begun < number);
        assert!(!waited.unwrap().1.timed_out(), "fewer than {number} commits");
    }

    fn begun(&self) -> usize {
        self.gate.lock().unwrap().begun
    }
}

impl Engine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut keys: Vec<&Key> = batch.written().map(|(key, _)| key).chain(&batch.removes).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "a key is in a batch twice");
        let mut gate = self.gate.lock().unwrap();
        gate.begun += 1;
        self.changed.notify_all();
        let mut gate = self.changed.wait_while(gate, |gate| gate.is_closed).unwrap();
        self.records.commit(batch, durability)?;
        if gate.remembers {
            gate.after.push(copy_of(&self.records));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        self.records.get(key)
    }

    fn range(&self, range: RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        self.records.range(range, visit)
    }

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        self.records.last_key(range)
    }
}

fn open(options: Options) -> (Arc<TestEngine>, LocalStore) {
    let engine = Arc::new(TestEngine::default());
    let seam: Arc<dyn Engine> = engine.clone();
    let store = open_on(&seam, options).unwrap();
    (engine, store)
}

/// What would be there if the process died now.
fn crashed(engine: &TestEngine, options: Options) -> LocalStore {
    open_on(&copy_of(engine), options).unwrap()
}

async fn kept(store: &LocalStore, queue: &str) -> Option<Vec<Bytes>> {
    let peek = store.peek(queue, ALL).await.unwrap()?;
    Some(peek.messages.into_iter().map(|peeked| peeked.message.body).collect())
}

/// Waits until only so many records are left.
async fn wait_for_records(engine: &dyn Engine, expected: usize) {
    for _ in 0..10_000 {
        if records(engine).len() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{} records are left, not {expected}", records(engine).len());
}

async fn settings(store: &LocalStore, queue: &str) -> (u64, u64, Overflow, Own) {
    let report = store.report(queue).await.unwrap().unwrap();
    (report.status.max_len, report.history, report.overflow, report.own)
}

// ===== make and set =====

#[test]
fn an_empty_queue_is_there_after_a_crash_with_its_kind_and_settings() {
    run(async {
        let (engine, store) = open(Options { max_queues: 2, ..options(7, 2) });
        assert_eq!(store.create("t", Kind::Topic, Own::default()).await.unwrap(), Created::Made);
        assert_eq!(store.create("q", Kind::Work, DROPS).await.unwrap(), Created::Made);
        assert_eq!(store.create("q", Kind::Work, DROPS).await.unwrap(), Created::Same);
        let differs = Created::Differs { kind: Kind::Work, own: DROPS };
        assert_eq!(store.create("q", Kind::Topic, DROPS).await.unwrap(), differs);
        assert_eq!(store.create("q", Kind::Work, Own::default()).await.unwrap(), differs);
        assert_eq!(store.create("more", Kind::Work, DROPS).await.unwrap(), Created::TooManyQueues);
        assert_eq!(store.put("more", message("1"), |_| ()).await.unwrap(), Put::TooManyQueues);
        let again = crashed(&engine, options(9, 1));
        assert_eq!(settings(&again, "q").await, (3, 1, Overflow::DropOldest, DROPS));
        let topic = again.status("t").await.unwrap().unwrap();
        assert_eq!((topic.kind, topic.max_len, topic.put_pos, topic.get_pos), (Kind::Topic, 9, 0, None));
        again.close().unwrap();

        // A place becomes free at once.
        assert_eq!(store.delete("q").await.unwrap(), Some(0));
        assert_eq!(store.create("more", Kind::Topic, Own::default()).await.unwrap(), Created::Made);
        assert_eq!(store.delete("q").await.unwrap(), None);
        assert!(!store.set("q", Change::default()).await.unwrap());
        store.close().unwrap();
    });
}

#[test]
fn what_was_set_wins_until_it_is_given_back() {
    run(async {
        let (engine, store) = open(options(7, 2));
        put(&store, "q", "1").await;
        let change = Change { max_len: Some(Some(1)), history: Some(Some(0)), overflow: None };
        assert!(store.set("q", change).await.unwrap());
        let own = Own { max_len: Some(1), history: Some(0), overflow: None };
        assert_eq!(settings(&crashed(&engine, options(9, 5)), "q").await, (1, 0, Overflow::Reject, own));
        assert_eq!(store.put("q", message("2"), |_| ()).await.unwrap(), Put::Full);

        // The file changes while the daemon runs: what the queue has of its own stays.
        let named = Settings { max_len: 4, history: 3, overflow: Overflow::DropOldest };
        let file = QueueSettings { defaults: options(5, 5).queues.defaults, named: [("q".to_owned(), named)].into() };
        store.configure(file.clone());
        assert_eq!(settings(&store, "q").await, (1, 0, Overflow::DropOldest, own));
        assert_eq!(put(&store, "new", "1").await, 0);
        assert_eq!(settings(&store, "new").await.0, 5);
        let give_back = Change { max_len: Some(None), ..Change::default() };
        assert!(store.set("q", give_back).await.unwrap());
        let own = Own { max_len: None, ..own };
        assert_eq!(settings(&store, "q").await, (4, 0, Overflow::DropOldest, own));
        let options = Options { queues: file, ..options(5, 5) };
        assert_eq!(settings(&crashed(&engine, options), "q").await, (4, 0, Overflow::DropOldest, own));
        store.close().unwrap();
    });
}

#[test]
fn the_oldest_goes_in_the_same_commit_as_the_put_and_is_counted() {
    run(async {
        let (engine, store) = open(options(2, 0));
        assert_eq!(store.create("q", Kind::Work, DROPS).await.unwrap(), Created::Made);
        engine.remember();
        for number in 0..8 {
            put(&store, "q", body(number, 50)).await;
        }
        for (at, moment) in engine.remembered().into_iter().enumerate() {
            let store = open_on(&moment, options(2, 0)).unwrap();
            let number = at as u64;
            let expected: Vec<Bytes> = (number.saturating_sub(2)..=number).map(|number| body(number, 50)).collect();
            assert_eq!(kept(&store, "q").await, Some(expected), "behind put {number}");
            assert_eq!(store.status("q").await.unwrap().unwrap().unread, 3.min(number + 1));
            store.close().unwrap();
        }
        let report = store.report("q").await.unwrap().unwrap();
        assert_eq!((report.traffic.dropped, report.traffic.puts, report.status.get_pos), (5, 8, Some(2)));
        assert_eq!(store.overview().await.unwrap().traffic.dropped, 5);
        assert_eq!(get(&store, "q").await, Some(body(5, 50)));
        store.close().unwrap();
        wait_for_records(&engine.records, 2 + 2).await;
    });
}

#[test]
fn a_get_that_reads_a_message_which_is_dropped_meanwhile_gets_the_next() {
    run(async {
        // Nothing stays in memory: each get has to read.
        let (_, store) = open(Options { cache_bytes: 0, ..options(5, 0) });
        let own = Own { max_len: Some(5), ..DROPS };
        assert_eq!(store.create("q", Kind::Work, own).await.unwrap(), Created::Made);
        let mut workers = JoinSet::new();
        for worker in 0..4u64 {
            let store = store.clone();
            workers.spawn(async move {
                let mut got = Vec::new();
                for turn in 0..400 {
                    if worker < 2 {
                        put(&store, "q", body(turn * 2 + worker, 20_000)).await;
                    } else {
                        got.extend(get(&store, "q").await);
                    }
                }
                got
            });
        }
        let mut got = workers.join_all().await.concat();
        let count = got.len();
        got.sort();
        got.dedup();
        assert_eq!(got.len(), count, "a message came out twice");
        let report = store.report("q").await.unwrap().unwrap();
        let traffic = report.traffic;
        assert_eq!(traffic.gets + traffic.dropped + report.status.unread, traffic.puts);
        assert!(traffic.gets > 0 && traffic.dropped > 0, "{traffic:?}");
        store.close().unwrap();
    });
}

// ===== delete =====

/// More blocks than one commit removes.
const MANY: u64 = 1300;

#[test]
fn of_a_deleted_queue_nothing_comes_back_whenever_the_process_dies() {
    run(async {
        let (engine, store) = open(options(MANY, 0));
        for number in 0..MANY {
            put(&store, "q", body(number, 20)).await;
        }
        store.reset("q").await.unwrap();
        for number in 0..MANY {
            put(&store, "q", body(number, 20)).await;
        }
        put(&store, "other", "\"stays\"").await;
        let before = kept(&store, "q").await;
        engine.remember();
        assert_eq!(store.delete("q").await.unwrap(), Some(MANY));
        assert_eq!((kept(&store, "q").await, get(&store, "q").await), (None, None));
        assert_eq!(store.view("q", 0).await.unwrap(), View::Unknown);
        assert_eq!(put(&store, "q", "\"new\"").await, 0);
        wait_for_records(&engine.records, 1 + 2 * 2).await;
        store.close().unwrap();
        let moments = engine.remembered();
        assert!(moments.len() >= 4, "removed in {} steps", moments.len());
        let (mut was_there, mut was_gone) = (false, false);
        for moment in moments {
            let store = open_on(&moment, options(MANY, 0)).unwrap();
            let found = kept(&store, "q").await;
            let is_old = found == before;
            assert!(is_old && !was_gone || found.is_none() || found == Some(vec!["\"new\"".into()]), "{found:?}");
            (was_there, was_gone) = (was_there || is_old, was_gone || !is_old);
            // The rest goes at the next start, and a queue made then has nothing of it.
            if !is_old {
                put(&store, "newer", "\"newest\"").await;
                let queues = 2 + usize::from(found.is_some());
                wait_for_records(&*moment, 1 + 2 * queues).await;
                assert_eq!(kept(&store, "newer").await, Some(vec!["\"newest\"".into()]));
                assert_eq!(kept(&store, "other").await, Some(vec!["\"stays\"".into()]));
            }
            store.close().unwrap();
            open_on(&moment, options(MANY, 0)).unwrap().close().unwrap();
        }
        assert!(was_gone && !was_there, "its commit is the first");
    });
}

#[test]
fn what_is_under_way_when_a_queue_is_deleted_is_answered() {
    run(async {
        let (engine, store) = open(options(100, 0));
        put(&store, "q", "1").await;
        engine.close_gate(true);
        let begun = engine.begun();
        let ask = |what: &'static str| {
            let store = store.clone();
            tokio::spawn(async move { store.put("q", message(what), |_| ()).await.unwrap() })
        };
        let first = ask("2");
        tokio::task::spawn_blocking({
            let engine = engine.clone();
            move || engine.wait_for_commit(begun + 1)
        })
        .await
        .unwrap();
        let getting = tokio::spawn({
            let store = store.clone();
            async move { store.get("q").await.unwrap() }
        });
        let second = ask("3");
        while store.status("q").await.unwrap().is_none_or(|status| (status.put_pos, status.get_pos) != (3, Some(1))) {
            tokio::task::yield_now().await;
        }
        let deleting = tokio::spawn({
            let store = store.clone();
            async move { store.delete("q").await.unwrap() }
        });
        while store.status("q").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        let third = ask("4");
        while store.status("q").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(!deleting.is_finished(), "it is on disk first");
        engine.close_gate(false);
        assert_eq!(first.await.unwrap(), Put::Stored { position: 1 });
        assert_eq!(second.await.unwrap(), Put::Stored { position: 2 });
        assert_eq!(getting.await.unwrap(), Get::Message { position: 0, message: message("1") });
        assert_eq!(deleting.await.unwrap(), Some(2), "of three");
        assert_eq!(third.await.unwrap(), Put::Stored { position: 0 }, "a new queue");
        assert_eq!(kept(&crashed(&engine, options(100, 0)), "q").await, Some(vec!["4".into()]));
        store.close().unwrap();
    });
}

/// Remembers what it is told, in order.
#[derive(Default)]
struct Seen(Mutex<Vec<Bytes>>);

impl Observer for Seen {
    fn staged(&self, _: &str, messages: &[Message]) {
        self.0.lock().unwrap().extend(messages.iter().map(|message| message.body.clone()));
    }

    fn committed(&self, _: &str, blocks: &[Arc<Block>], from: u64) {
        let mut seen = self.0.lock().unwrap();
        for block in blocks {
            seen.extend((from.max(block.first())..block.end()).filter_map(|at| block.message(at)).map(|m| m.body));
        }
    }
}

#[test]
fn the_observer_sees_the_old_queue_before_the_new_one_also_when_that_is_a_topic() {
    run(async {
        let engine = Arc::new(TestEngine::default());
        let seen = Arc::new(Seen::default());
        let (store, _) = LocalStore::open(engine.clone(), None, options(100, 1), Some(seen.clone())).unwrap();
        let published = |text: &'static str| Message {
            time_ms: 1,
            source: Source::Connection([7; 16]),
            content: Content::Json,
            body: text.into(),
        };
        put(&store, "q", "1").await;
        let mut expected: Vec<Bytes> = vec!["1".into()];
        for round in 0..20 {
            engine.close_gate(true);
            let waiting = ["a", "b"].map(|text| {
                let store = store.clone();
                tokio::spawn(async move { store.put("q", message(text), |_| ()).await.unwrap() })
            });
            while store.status("q").await.unwrap().is_none_or(|status| status.unread < 3) {
                tokio::task::yield_now().await;
            }
            // Which of the two was first, the store decided.
            let order = kept(&store, "q").await.unwrap();
            let deleting = tokio::spawn({
                let store = store.clone();
                async move { store.delete("q").await.unwrap() }
            });
            while store.status("q").await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
            // Answered at once, as a topic is.
            for text in ["c", "d", "e"] {
                assert!(matches!(store.put("q", published(text), |_| ()).await.unwrap(), Put::Stored { .. }));
            }
            engine.close_gate(false);
            assert_eq!(deleting.await.unwrap(), Some(3));
            for put in waiting {
                put.await.unwrap();
            }
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            assert!(matches!(store.put("q", published("f"), |_| ()).await.unwrap(), Put::Stored { .. }));
            // A put makes it a work queue, and waits for the commit of all before it.
            put(&store, "q", "1").await;
            expected.extend(order.into_iter().skip(1));
            expected.extend(["c", "d", "e", "f", "1"].map(Bytes::from));
            assert_eq!(*seen.0.lock().unwrap(), expected, "round {round}");
            assert_eq!(store.delete("q").await.unwrap(), Some(2), "the topic kept one");
            put(&store, "q", "1").await;
            expected.push("1".into());
        }
        store.close().unwrap();
    });
}

/// Everything at once, for a while: whatever the order, each message is got at most once, nothing is unreadable, and the counters
/// add up.
#[test]
fn deletions_beside_everything_else_leave_no_trace() {
    run(async {
        let (engine, store) = open(Options { cache_bytes: 0, ..options(300, 5) });
        let mut workers = JoinSet::new();
        for worker in 0..8u64 {
            let store = store.clone();
            workers.spawn(async move {
                let mut got = Vec::new();
                for turn in 0..1000 {
                    let number = turn * 8 + worker;
                    let length = if number % 50 == 0 { 40_000 } else { 300 };
                    match (number * 7 + turn / 3) % 16 {
                        0..7 => drop(store.put("q", message(body(number, length)), |_| ()).await.unwrap()),
                        7..11 => got.extend(get(&store, "q").await),
                        11..13 => drop(store.view("q", number % 300).await.unwrap()),
                        13 => drop(store.peek("q", ALL).await.unwrap()),
                        14 => {
                            let change = Change { max_len: Some(Some(1 + number % 200)), ..Change::default() };
                            store.set("q", change).await.unwrap();
                        }
                        _ if turn % 9 == 0 => drop(store.delete("q").await.unwrap()),
                        _ if turn % 7 == 0 => drop(store.create("q", Kind::Work, DROPS).await.unwrap()),
                        _ => drop(store.reset("q").await.unwrap()),
                    }
                }
                got
            });
        }
        let mut got = workers.join_all().await.concat();
        let count = got.len();
        got.sort();
        got.dedup();
        assert_eq!(got.len(), count, "a message came out twice");
        assert_eq!(store.overview().await.unwrap().traffic.gets, count as u64, "those of deleted queues included");
        assert!(count > 500, "only {count} were got");
        store.delete("q").await.unwrap();
        wait_for_records(&engine.records, 1).await;
        store.close().unwrap();
        open_on(&copy_of(&*engine), options(300, 5)).unwrap().close().unwrap();
    });
}
