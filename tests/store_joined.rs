//! Messages that come one by one: small blocks are joined, and nobody who reads notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use httpmq::{
    block::JOINED_BLOCKS,
    engine::{Engine, memory::MemoryEngine},
    key,
    store::{
        Store, View,
        local::{LocalStore, Options},
    },
};
use proptest::prelude::*;
use store_support::{body, copy_of, get, open_on, options, put, records, run};

/// How many blocks an engine has.
fn blocks(engine: &dyn Engine) -> usize {
    records(engine).iter().filter(|(key, _)| key::all_blocks().contains(key)).count()
}

#[test]
fn messages_that_came_one_by_one_are_few_records_and_come_back_in_order() {
    const MESSAGES: u64 = 200;
    const RECORDS: usize = 200 / JOINED_BLOCKS + JOINED_BLOCKS;
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    run(async {
        let store = open_on(&engine, options(1000, 0)).unwrap();
        for number in 0..MESSAGES {
            assert_eq!(put(&store, "q", body(number, 20)).await, number);
        }
        assert!(blocks(&*engine) < RECORDS, "{}", blocks(&*engine));
        for number in 0..50 {
            assert_eq!(get(&store, "q").await, Some(body(number, 20)));
        }
        let left = copy_of(&*engine);
        let store = open_on(&left, options(1000, 0)).unwrap();
        for number in 50..MESSAGES {
            assert_eq!(get(&store, "q").await, Some(body(number, 20)));
        }
        assert_eq!(get(&store, "q").await, None);
        store.close().unwrap();
        assert_eq!(blocks(&*left), 0, "what was got is removed");
    });
}

/// What is small is joined only with what is small and next to it.
#[test]
fn large_messages_between_small_ones_stay_where_they_are() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    run(async {
        let store = open_on(&engine, options(1000, 0)).unwrap();
        let length = |number: u64| if number % 20 == 19 { 40_000 } else { 30 };
        for number in 0..100 {
            put(&store, "q", body(number, length(number))).await;
        }
        let store = open_on(&copy_of(&*engine), options(1000, 0)).unwrap();
        for number in 0..100 {
            assert_eq!(get(&store, "q").await, Some(body(number, length(number))));
        }
    });
}

/// Of what a purge leaves, a commit removes so many records; the last ones, which are small and in memory, in that which joins.
#[test]
fn what_is_forgotten_is_not_joined_with_what_is_kept() {
    const RECORDS_A_COMMIT: u64 = 512;
    const UNREAD: u64 = 2 * RECORDS_A_COMMIT + 10;
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    run(async {
        let store = open_on(&engine, options(10_000, 0)).unwrap();
        for number in 0..UNREAD {
            put(&store, "q", body(number, 2000)).await;
        }
        let left = copy_of(&*engine);
        let store = open_on(&left, options(10_000, 0)).unwrap();
        for number in [1, 2] {
            put(&store, "q", body(number, 20)).await;
        }
        assert_eq!(store.purge("q").await.unwrap(), Some(UNREAD + 2));
        for number in [3, 4] {
            put(&store, "q", body(number, 20)).await;
        }
        assert_eq!(blocks(&*left), 2);
        for number in [3, 4] {
            assert_eq!(get(&store, "q").await, Some(body(number, 20)));
        }
        store.close().unwrap();
        assert_eq!(blocks(&*left), 0);
    });
}

/// Who looks at messages while others are joined finds each of them, in memory or not.
#[test]
fn readers_find_what_is_joined_meanwhile() {
    const MESSAGES: u64 = 3000;
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    run(async {
        let small = Options { cache_bytes: 2000, ..options(1_000_000, 0) };
        let store = open_on(&engine, small).unwrap();
        put(&store, "q", body(0, 30)).await;
        let (reader, ends) = (store.clone(), Arc::new(AtomicBool::new(false)));
        let ended = ends.clone();
        let looks = tokio::spawn(async move {
            let (mut at, mut seen) = (0, 0_u64);
            while !ended.load(Ordering::Relaxed) {
                let newest = reader.status("q").await.unwrap().unwrap().unread - 1;
                at = if at > newest { newest.saturating_sub(40) } else { at };
                match reader.view("q", at).await.unwrap() {
                    View::Message(message) => assert_eq!(message.body, body(at, 30)),
                    other => panic!("{at}: {other:?}"),
                }
                (at, seen) = (at + 1, seen + 1);
            }
            seen
        });
        for number in 1..MESSAGES {
            put(&store, "q", body(number, 30)).await;
        }
        ends.store(true, Ordering::Relaxed);
        assert!(looks.await.unwrap() > 0);
    });
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Get,
    View(usize),
    /// As after a crash.
    Open,
}

async fn take(steps: Vec<Step>, options: Options) {
    let mut engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let mut store: LocalStore = open_on(&engine, options.clone()).unwrap();
    let (mut unread, mut put_count, mut got_count) = (VecDeque::<Bytes>::new(), 0, 0);
    for step in steps {
        match step {
            Step::Put(length) => {
                let body = body(put_count, length);
                put(&store, "q", body.clone()).await;
                unread.push_back(body);
                put_count += 1;
            }
            Step::Get => {
                let expected = unread.pop_front();
                got_count += u64::from(expected.is_some());
                assert_eq!(get(&store, "q").await, expected);
            }
            Step::View(ahead) => {
                let Some(expected) = unread.get(ahead) else { continue };
                match store.view("q", got_count + ahead as u64).await.unwrap() {
                    View::Message(message) => assert_eq!(message.body, *expected),
                    other => panic!("{other:?}"),
                }
            }
            Step::Open => {
                engine = copy_of(&*engine);
                store = open_on(&engine, options.clone()).unwrap();
            }
        }
    }
    while let Some(expected) = unread.pop_front() {
        assert_eq!(get(&store, "q").await, Some(expected));
    }
    assert_eq!(get(&store, "q").await, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Against a plain queue, with much memory and with hardly any, and with a history.
    #[test]
    fn a_queue_of_small_messages_is_a_queue(
        steps in prop::collection::vec(
            prop_oneof![
                60 => (4..60_usize).prop_map(Step::Put),
                2 => (500..20_000_usize).prop_map(Step::Put),
                25 => Just(Step::Get),
                8 => (0..60_usize).prop_map(Step::View),
                2 => Just(Step::Open),
            ],
            1..400,
        ),
        cache_bytes in prop_oneof![Just(2000_usize), Just(64 << 20)],
        history in prop_oneof![Just(0_u64), Just(30)],
    ) {
        run(take(steps, Options { cache_bytes, ..options(1_000_000, history) }));
    }
}
