//! An engine that fails, panics or stands still when it is told to, and remembers what it was asked.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use httpmq::{
    engine::{Batch, Durability, Engine, EngineError, Visitor, memory::MemoryEngine},
    key::{self, Key},
    store::{
        Put, Store, StoreError,
        local::{LocalStore, Options},
    },
};
use tokio::{task::JoinSet, time::timeout};

use super::{body, message, open_on};

/// Far longer than anything here takes: what is not done by then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Error,
    Panic,
}

/// A memory engine with a gate in front of its commits, which it remembers.
#[derive(Default)]
pub(crate) struct TestEngine {
    pub(crate) records: MemoryEngine,
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Control {
    pub(crate) commits: Vec<Commit>,
    pub(crate) syncs: usize,
    /// The number of the commit that fails, and how.
    pub(crate) fault: Option<(usize, Fault)>,
    pub(crate) held: bool,
    /// How long a commit takes.
    pub(crate) takes: Duration,
    /// It says that commits of less than this would wait for no disk.
    pub(crate) quick_bytes: usize,
    /// How many records readers of ranges saw.
    pub(crate) visited: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) puts: Vec<(Key, Bytes)>,
    pub(crate) removes: usize,
    pub(crate) thread: ThreadId,
}

impl TestEngine {
    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap()
    }

    pub(crate) fn hold(&self) {
        self.control().held = true;
    }

    pub(crate) fn release(&self) {
        self.control().held = false;
        self.changed.notify_all();
    }

    /// Waits until this many commits have begun.
    pub(crate) fn wait_for_commits(&self, number: usize) {
        let waited =
            self.changed.wait_timeout_while(self.control(), PATIENCE, |control| control.commits.len() < number);
        assert!(!waited.unwrap().1.timed_out(), "fewer than {number} commits");
    }

    /// Waits until everything was synced this often.
    pub(crate) fn wait_for_syncs(&self, number: usize) {
        let waited = self.changed.wait_timeout_while(self.control(), PATIENCE, |control| control.syncs < number);
        assert!(!waited.unwrap().1.timed_out(), "fewer than {number} syncs");
    }

    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.control().commits.clone()
    }
}

impl Commit {
    /// The records of messages that it stores.
    pub(crate) fn blocks(&self) -> Vec<&Bytes> {
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
                puts: batch.written().cloned().collect(),
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

    fn is_quick(&self, bytes: usize) -> bool {
        bytes < self.control().quick_bytes
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

    fn last_key(&self, range: RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        self.records.last_key(range)
    }
}

/// A store over such an engine.
pub(crate) fn open(options: Options) -> (Arc<TestEngine>, LocalStore) {
    let engine = Arc::new(TestEngine::default());
    let seam: Arc<dyn Engine> = engine.clone();
    let store = open_on(&seam, options).unwrap();
    (engine, store)
}

/// Starts puts of the bodies `numbers` and returns when all of them have their place in the order.
pub(crate) async fn stage_puts(
    store: &LocalStore,
    queue: &'static str,
    numbers: std::ops::Range<u64>,
) -> JoinSet<StoredOrNot> {
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

pub(crate) type StoredOrNot = Result<Put, StoreError>;
