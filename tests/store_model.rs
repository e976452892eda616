//! Random operations on the local store, its answers compared with those of plain queues in memory.
//!
//! `PROPTEST_CASES` sets how many runs each test makes; the defaults fit a small machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use httpmq::{
    engine::{Engine, memory::MemoryEngine},
    ring::{Change, Kind, Overflow, Own, Settings},
    store::{
        Created, Get, Peeked, Put, Status, Store, View, Window,
        local::{LocalStore, Options, QueueSettings},
    },
};
use proptest::prelude::*;
use store_support::{body, copy_of, message, open_in, open_on, options, records, run};
use tokio::task::JoinSet;

const QUEUES: [&str; 3] = ["a", "a1", "é 世"];

#[derive(Debug, Clone)]
enum Op {
    /// Several puts of bodies of some length at once.
    Put(usize, u64, usize),
    /// Several gets at once.
    Get(usize, usize),
    /// Puts and gets of one queue at once.
    Both(usize, u64, usize),
    View(usize, u64),
    /// A look at the next messages, so many at most.
    Peek(usize, usize),
    Purge(usize),
    Reset(usize),
    Create(usize, Own),
    Set(usize, Change),
    Delete(usize),
    /// Puts other settings of the configuration in force.
    Configure(Vec<Settings>),
    /// Closes the store and opens it with other settings.
    Reopen(Vec<Settings>),
    /// Opens what the engine has at this moment: the process died.
    Crash,
}

fn ops(largest_max_len: u64) -> impl Strategy<Value = Vec<Op>> {
    let queue = 0..QUEUES.len();
    let length = prop_oneof![
        6 => 0usize..100,
        3 => 100usize..3000,
        2 => 3000usize..40_000,
        1 => 100_000usize..300_000,
    ];
    let op = prop_oneof![
        8 => (queue.clone(), 1u64..12, length).prop_map(|(queue, count, length)| Op::Put(queue, count, length)),
        8 => (queue.clone(), 1usize..12).prop_map(|(queue, count)| Op::Get(queue, count)),
        3 => (queue.clone(), 1u64..6, 0usize..2000).prop_map(|(queue, count, length)| Op::Both(queue, count, length)),
        6 => (queue.clone(), 0..largest_max_len + 2).prop_map(|(queue, position)| Op::View(queue, position)),
        4 => (queue.clone(), 1usize..20).prop_map(|(queue, limit)| Op::Peek(queue, limit)),
        1 => queue.clone().prop_map(Op::Purge),
        1 => queue.clone().prop_map(Op::Reset),
        1 => (queue.clone(), own(largest_max_len)).prop_map(|(queue, own)| Op::Create(queue, own)),
        1 => (queue.clone(), change(largest_max_len)).prop_map(|(queue, change)| Op::Set(queue, change)),
        1 => queue.prop_map(Op::Delete),
        1 => settings(largest_max_len).prop_map(Op::Configure),
        1 => settings(largest_max_len).prop_map(Op::Reopen),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..60)
}

/// Those of each queue in the configuration.
fn settings(largest_max_len: u64) -> impl Strategy<Value = Vec<Settings>> {
    let one = (1..=largest_max_len, history(), overflow());
    let one = one.prop_map(|(max_len, history, overflow)| Settings { max_len, history, overflow });
    prop::collection::vec(one, QUEUES.len())
}

fn history() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0u64..20]
}

fn overflow() -> impl Strategy<Value = Overflow> {
    prop_oneof![2 => Just(Overflow::Reject), 1 => Just(Overflow::DropOldest)]
}

fn own(largest_max_len: u64) -> impl Strategy<Value = Own> {
    let own = (option_of(1..=largest_max_len), option_of(history()), option_of(overflow()));
    own.prop_map(|(max_len, history, overflow)| Own { max_len, history, overflow })
}

fn change(largest_max_len: u64) -> impl Strategy<Value = Change> {
    let own = (option_of(1..=largest_max_len), option_of(history()), option_of(overflow()));
    (option_of(Just(())), option_of(Just(())), option_of(Just(())), own).prop_map(|(a, b, c, own)| Change {
        max_len: a.map(|()| own.0),
        history: b.map(|()| own.1),
        overflow: c.map(|()| own.2),
    })
}

fn option_of<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(value)
}

fn cache_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1024), Just(64 << 10), Just(64 << 20)]
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn small_rings_in_memory(first in settings(8), cache_bytes in cache_bytes(), ops in ops(8)) {
        run(play(Disk::memory(), first, cache_bytes, ops));
    }

    #[test]
    fn large_rings_in_memory(first in settings(300), cache_bytes in cache_bytes(), ops in ops(300)) {
        run(play(Disk::memory(), first, cache_bytes, ops));
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn rings_in_sled(first in settings(40), cache_bytes in cache_bytes(), ops in ops(40)) {
        run(play(Disk::directory(), first, cache_bytes, ops));
    }
}

/// Everything at once, for a while: whatever the order, each message is got at most once and nothing is ever unreadable.
#[test]
fn gets_views_and_resets_side_by_side_find_what_they_look_for() {
    run(async {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let store = open_on(&engine, Options { cache_bytes: 0, ..options(300, 5) }).unwrap();
        let mut workers = JoinSet::new();
        for worker in 0..8u64 {
            let store = store.clone();
            workers.spawn(async move {
                let mut got = Vec::new();
                for turn in 0..1500 {
                    let number = turn * 8 + worker;
                    let length = if number % 50 == 0 { 40_000 } else { 300 };
                    match (number * 7 + turn / 3) % 16 {
                        0..7 => drop(store.put("q", message(body(number, length)), |_| ()).await.unwrap()),
                        7..12 => match store.get("q").await.unwrap() {
                            Get::Message { message, .. } => got.push(message.body),
                            Get::Empty => {}
                        },
                        12..15 => drop(store.view("q", number % 300).await.unwrap()),
                        _ if turn % 20 == 0 => drop(store.reset("q").await.unwrap()),
                        _ => drop(store.status("q").await.unwrap()),
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
        assert!(count > 1000, "only {count} were got");
        store.close().unwrap();
        open_on(&engine, options(300, 5)).unwrap().close().unwrap();
    });
}

// ===== the model =====

/// One queue as its users think of it.
#[derive(Debug, Default)]
struct Model {
    /// Number, length and position count of each unread message.
    unread: VecDeque<(u64, usize, u64)>,
    puts: u64,
    /// Or gone.
    gets: u64,
    max_len: u64,
    drops: bool,
    own: Own,
}

impl Model {
    /// A queue with settings of its own, over those of the configuration.
    fn new(own: Own, configured: Settings) -> Model {
        let mut model = Model { own, ..Model::default() };
        model.configure(configured);
        model
    }

    fn configure(&mut self, configured: Settings) {
        self.max_len = self.own.max_len.unwrap_or(configured.max_len);
        self.drops = self.own.overflow.unwrap_or(configured.overflow) == Overflow::DropOldest;
    }

    /// Positions are counted 0 … `max_len` in the first lap and 1 … `max_len` after it.
    fn counted(&self, number: u64) -> u64 {
        match (number, number % self.max_len) {
            (0, _) => 0,
            (_, 0) => self.max_len,
            (_, position) => position,
        }
    }

    fn status(&self) -> (u64, Option<u64>, u64, u64) {
        let get_pos = (self.gets > 0).then(|| self.counted(self.gets));
        (self.counted(self.puts), get_pos, self.unread.len() as u64, self.max_len)
    }

    fn view(&self, position: u64) -> View {
        if position >= self.max_len {
            return View::OutOfRange;
        }
        if self.unread.is_empty() {
            return View::Empty;
        }
        let there = self.unread.iter().find(|(_, _, count)| count % self.max_len == position);
        there.map_or(View::NotUnread, |(number, length, _)| View::Message(message(body(*number, *length))))
    }
}

// ===== the store under test =====

/// What outlives a store.
enum Disk {
    Memory(Arc<dyn Engine>),
    Directory { root: tempfile::TempDir, generation: usize },
}

struct Run {
    disk: Disk,
    store: LocalStore,
    options: Options,
    models: BTreeMap<usize, Model>,
    next_number: u64,
    /// Whether there ever was a queue.
    any: bool,
}

impl Disk {
    fn memory() -> Disk {
        Disk::Memory(Arc::new(MemoryEngine::default()))
    }

    fn directory() -> Disk {
        Disk::Directory { root: tempfile::tempdir().unwrap(), generation: 0 }
    }

    fn path(&self) -> PathBuf {
        match self {
            Disk::Memory(_) => PathBuf::new(),
            Disk::Directory { root, generation } => root.path().join(generation.to_string()),
        }
    }

    fn open(&self, options: &Options) -> LocalStore {
        match self {
            Disk::Memory(engine) => open_on(engine, options.clone()).unwrap(),
            Disk::Directory { .. } => open_in(&self.path(), options.clone()).unwrap(),
        }
    }

    /// From now on: what would be there if the process died at this moment.
    fn crash(&mut self) {
        let before = self.path();
        match self {
            Disk::Memory(engine) => *engine = copy_of(&**engine),
            Disk::Directory { generation, .. } => {
                *generation += 1;
                store_support::copy_dir(&before, &self.path());
            }
        }
    }
}

async fn play(disk: Disk, first: Vec<Settings>, cache_bytes: usize, ops: Vec<Op>) {
    let options = Options { cache_bytes, ..options(1, 0) };
    let options = Options { queues: named(&first), ..options };
    let store = disk.open(&options);
    let mut run = Run { disk, store, options, models: BTreeMap::new(), next_number: 0, any: false };
    for op in &ops {
        run.step(op).await;
        run.compare_status().await;
    }
    run.drain().await;
    run.store.close().unwrap();
}

fn named(settings: &[Settings]) -> QueueSettings {
    let named = QUEUES.into_iter().map(str::to_owned).zip(settings.iter().copied()).collect();
    QueueSettings { defaults: Settings { max_len: 1, history: 0, overflow: Overflow::Reject }, named }
}

impl Run {
    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Put(queue, count, length) => self.put(queue, count, length).await,
            Op::Get(queue, count) => self.get(queue, count).await,
            Op::Both(queue, count, length) => self.both(queue, count, length).await,
            Op::View(queue, position) => {
                let expected = self.models.get(&queue).map_or(View::Unknown, |model| model.view(position));
                assert_eq!(self.store.view(QUEUES[queue], position).await.unwrap(), expected, "view {position}");
            }
            Op::Peek(queue, limit) => self.peek(queue, limit).await,
            Op::Purge(queue) => {
                let model = self.models.get_mut(&queue);
                let expected = model.as_ref().map(|model| model.unread.len() as u64);
                assert_eq!(self.store.purge(QUEUES[queue]).await.unwrap(), expected);
                if let Some(model) = model {
                    model.unread.clear();
                    model.gets = model.puts;
                }
            }
            Op::Reset(queue) => {
                let model = self.models.get_mut(&queue);
                assert_eq!(self.store.reset(QUEUES[queue]).await.unwrap(), model.is_some());
                if let Some(model) = model {
                    let Model { max_len, drops, own, .. } = *model;
                    *model = Model { max_len, drops, own, ..Model::default() };
                }
            }
            Op::Create(queue, own) => self.create(queue, own).await,
            Op::Set(queue, change) => {
                let configured = self.options.queues.of(QUEUES[queue]);
                let model = self.models.get_mut(&queue);
                assert_eq!(self.store.set(QUEUES[queue], change).await.unwrap(), model.is_some());
                if let Some(model) = model {
                    model.own = change.of(model.own);
                    model.configure(configured);
                }
            }
            Op::Delete(queue) => {
                let expected = self.models.remove(&queue).map(|model| model.unread.len() as u64);
                assert_eq!(self.store.delete(QUEUES[queue]).await.unwrap(), expected);
            }
            Op::Configure(ref settings) => {
                self.options.queues = named(settings);
                self.store.configure(self.options.queues.clone());
                self.configured();
            }
            Op::Reopen(ref settings) => {
                self.store.close().unwrap();
                self.options.queues = named(settings);
                self.reopen();
            }
            Op::Crash => {
                self.disk.crash();
                self.store.close().unwrap();
                self.reopen();
            }
        }
    }

    /// A peek shows the next messages as gets would get them, and from the beginning on those that are kept, in a row.
    async fn peek(&self, queue: usize, limit: usize) {
        let window = Window { from: None, limit, max_bytes: usize::MAX };
        let found = self.store.peek(QUEUES[queue], window).await.unwrap();
        let Some(model) = self.models.get(&queue) else { return assert_eq!(found, None) };
        let found = found.unwrap();
        let expected = model.unread.iter().take(limit).map(|(number, length, count)| Peeked {
            sequence: *count,
            position: count % model.max_len,
            is_read: false,
            message: message(body(*number, *length)),
        });
        assert!(found.messages == expected.collect::<Vec<_>>(), "peek at {limit} of {}", QUEUES[queue]);
        assert_eq!(found.next, model.unread.get(limit).map(|(_, _, count)| *count));
        let window = Window { from: Some(0), limit: usize::MAX, max_bytes: usize::MAX };
        let all = self.store.peek(QUEUES[queue], window).await.unwrap().unwrap();
        let sequences = all.messages.iter().map(|peeked| (peeked.sequence, peeked.is_read));
        let next_get = model.puts - model.unread.len() as u64;
        assert!(sequences.eq((all.first..model.puts).map(|sequence| (sequence, sequence < next_get))));
    }

    /// A closed store keeps its directory locked until its last handle is gone.
    fn reopen(&mut self) {
        let nothing: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let placeholder = open_on(&nothing, options(1, 0)).unwrap();
        placeholder.close().unwrap();
        drop(std::mem::replace(&mut self.store, placeholder));
        self.store = self.disk.open(&self.options);
        self.configured();
    }

    fn configured(&mut self) {
        for (queue, model) in &mut self.models {
            model.configure(self.options.queues.of(QUEUES[*queue]));
        }
    }

    fn model(&mut self, queue: usize) -> &mut Model {
        self.any = true;
        let configured = self.options.queues.of(QUEUES[queue]);
        self.models.entry(queue).or_insert_with(|| Model::new(Own::default(), configured))
    }

    async fn create(&mut self, queue: usize, own: Own) {
        let expected = match self.models.get(&queue) {
            None => Created::Made,
            Some(model) if model.own == own => Created::Same,
            Some(model) => Created::Differs { kind: Kind::Work, own: model.own },
        };
        assert_eq!(self.store.create(QUEUES[queue], Kind::Work, own).await.unwrap(), expected);
        let configured = self.options.queues.of(QUEUES[queue]);
        self.models.entry(queue).or_insert_with(|| Model::new(own, configured));
        self.any = true;
    }

    async fn dropped(&self, queue: usize) -> u64 {
        self.store.report(QUEUES[queue]).await.unwrap().map_or(0, |report| report.traffic.dropped)
    }

    async fn put(&mut self, queue: usize, count: u64, length: usize) {
        let model = self.model(queue);
        // More than a lap at once could not be told apart by their positions.
        let together = if model.drops { model.max_len.min(count) } else { count };
        let mut left = count;
        while left > 0 {
            self.put_together(queue, together.min(left), length).await;
            left -= together.min(left);
        }
    }

    /// Puts side by side: as many as fit are stored, at the next positions, in whatever order. Where the oldest give way, all fit.
    async fn put_together(&mut self, queue: usize, count: u64, length: usize) {
        let numbers = self.next_number..self.next_number + count;
        self.next_number = numbers.end;
        let dropped = self.dropped(queue).await;
        let mut puts = JoinSet::new();
        for number in numbers {
            let store = self.store.clone();
            puts.spawn(async move { (number, store.put(QUEUES[queue], message(body(number, length)), |_| ()).await) });
        }
        let answers = puts.join_all().await;
        let model = self.model(queue);
        let room = model.max_len.saturating_sub(model.unread.len() as u64);
        let fit = if model.drops { count } else { room.min(count) };
        let mut stored = BTreeMap::new();
        for (number, answer) in answers {
            match answer.unwrap() {
                Put::Stored { position } => {
                    // The lap is not told: with fewer slots than puts, positions alone cannot be put in order.
                    let lap = (model.puts..model.puts + fit).find(|count| count % model.max_len == position);
                    let count = lap.expect("not one of the next positions");
                    assert!(stored.insert(count, number).is_none(), "two messages at one position");
                }
                Put::Full => {}
                refused => panic!("{refused:?}"),
            }
        }
        assert_eq!(stored.len() as u64, fit);
        model.puts += fit;
        model.unread.extend(stored.into_iter().map(|(count, number)| (number, length, count)));
        let too_many = if model.drops { (model.unread.len() as u64).saturating_sub(model.max_len) } else { 0 };
        model.unread.drain(..usize::try_from(too_many).unwrap());
        model.gets += too_many;
        assert_eq!(self.dropped(queue).await, dropped + too_many);
    }

    /// Gets side by side: together they get the next messages, each once.
    async fn get(&mut self, queue: usize, count: usize) {
        let mut got = get_all(&self.store, queue, count).await;
        let Some(model) = self.models.get_mut(&queue) else {
            assert!(got.is_empty());
            return;
        };
        let count = count.min(model.unread.len());
        model.gets += count as u64;
        let max_len = model.max_len;
        let expected = model.unread.drain(..count);
        let mut expected: Vec<_> = expected.map(|(number, length, at)| (at % max_len, body(number, length))).collect();
        expected.sort();
        got.sort();
        assert!(got == expected, "got {:?} not {:?}", short(&got), short(&expected));
    }

    /// Puts and gets side by side: what was got is a beginning of what there was and came in; nothing is lost or doubled.
    async fn both(&mut self, queue: usize, count: u64, length: usize) {
        if !self.models.contains_key(&queue) {
            self.put(queue, 1, length).await;
        }
        // More puts than there is room for now would be refused or not, depending on who comes first.
        let model = self.model(queue);
        let room = model.max_len.saturating_sub(model.unread.len() as u64);
        let getting = {
            let (store, count) = (self.store.clone(), usize::try_from(count).unwrap());
            tokio::spawn(async move { get_all(&store, queue, count).await })
        };
        self.put(queue, count.min(room), length).await;
        let mut got = getting.await.unwrap();
        let model = self.model(queue);
        model.gets += got.len() as u64;
        let max_len = model.max_len;
        let expected = model.unread.drain(..got.len());
        let mut expected: Vec<_> = expected.map(|(number, length, at)| (at % max_len, body(number, length))).collect();
        expected.sort();
        got.sort();
        assert!(got == expected, "got {:?} not {:?}", short(&got), short(&expected));
    }

    async fn compare_status(&self) {
        for (queue, name) in QUEUES.iter().enumerate() {
            let status = self.store.status(name).await.unwrap();
            let found =
                status.map(|Status { put_pos, get_pos, unread, max_len, .. }| (put_pos, get_pos, unread, max_len));
            assert_eq!(found, self.models.get(&queue).map(Model::status), "status of {name}");
        }
    }

    /// In the end everything comes out in order, and nothing is left behind.
    async fn drain(&mut self) {
        for (queue, model) in &self.models {
            for (number, length, at) in &model.unread {
                let expected = Get::Message { position: at % model.max_len, message: message(body(*number, *length)) };
                assert_eq!(self.store.get(QUEUES[*queue]).await.unwrap(), expected);
            }
            assert_eq!(self.store.get(QUEUES[*queue]).await.unwrap(), Get::Empty);
            assert!(self.store.reset(QUEUES[*queue]).await.unwrap());
        }
        if let Disk::Memory(engine) = &self.disk {
            // The state of each queue and the number of the last commit; of deleted queues nothing.
            let expected = self.models.len() + usize::from(self.any);
            for _ in 0..10_000 {
                if records(&**engine).len() == expected {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            panic!("{} records are left, not {expected}", records(&**engine).len());
        }
    }
}

/// Positions and bodies of what so many gets at once got.
async fn get_all(store: &LocalStore, queue: usize, count: usize) -> Vec<(u64, Bytes)> {
    let mut gets = JoinSet::new();
    for _ in 0..count {
        let store = store.clone();
        gets.spawn(async move { store.get(QUEUES[queue]).await.unwrap() });
    }
    let got = gets.join_all().await.into_iter().filter_map(|got| match got {
        Get::Message { position, message } => Some((position, message.body)),
        Get::Empty => None,
    });
    got.collect()
}

fn short(messages: &[(u64, Bytes)]) -> Vec<(u64, String)> {
    messages.iter().map(|(at, body)| (*at, String::from_utf8_lossy(&body[..body.len().min(12)]).into_owned())).collect()
}
