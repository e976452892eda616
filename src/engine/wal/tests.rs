//! The log over an engine in memory that outlives it, against a plain model: what is there after crashes and power cuts.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::{Gaps, LoggedEngine, dir, segment};
use crate::{
    engine::{
        Batch, Durability, Engine, EngineError, Visitor,
        contents::{Model, at, contents, records},
        memory::MemoryEngine,
    },
    key::Key,
};

/// So small that a few commits fill a segment, and some are too large for the log.
const LOG_BYTES: u64 = 4 * SEGMENT_BYTES as u64;
const SEGMENT_BYTES: usize = 48 << 10;
/// A power cut keeps or loses this much at a time.
const SECTOR_BYTES: usize = 512;
const KEYS: u64 = 12;

/// What a test does, one after the other.
#[derive(Debug, Clone)]
enum Step {
    /// Which keys get a value of which size; none removes.
    Commit(Vec<(u64, Option<usize>)>, bool),
    Sync,
    Settle,
    Close,
    Kill,
    /// Of each sector that was not synced: whether it is on the disk.
    PowerCut(Vec<bool>),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![12 => 0..800_usize, 1 => 3000..9000_usize];
    let commit = (vec((0..KEYS, prop::option::weighted(0.8, size)), 0..4), any::<bool>());
    prop_oneof![
        30 => commit.prop_map(|(changes, durable)| Step::Commit(changes, durable)),
        2 => Just(Step::Sync),
        2 => Just(Step::Settle),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => vec(any::<bool>(), 1..40).prop_map(Step::PowerCut),
    ]
}

/// A log, what must be in it, and what of its files is on the disk.
struct Trial {
    files: TempDir,
    behind: Arc<MemoryEngine>,
    logged: Option<LoggedEngine>,
    /// The contents behind each commit since the last one that must survive, which is the first.
    possible: Vec<Model>,
    on_disk: BTreeMap<usize, Bytes>,
    value: u8,
}

impl Trial {
    fn new() -> Trial {
        let files = tempfile::tempdir().unwrap();
        let behind = Arc::new(MemoryEngine::default());
        let (possible, on_disk) = (vec![Model::new()], BTreeMap::new());
        let mut trial = Trial { files, behind, logged: None, possible, on_disk, value: 0 };
        trial.open();
        trial
    }

    fn open(&mut self) {
        self.logged = Some(open(self.behind.clone(), self.files.path(), Gaps::Refuse).unwrap().0);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Commit(changes, durable) => self.commit(changes, *durable),
            Step::Sync => {
                self.logged().sync().unwrap();
                self.is_durable();
            }
            Step::Settle => settle(self.logged()),
            Step::Close => {
                self.logged = None;
                self.is_durable();
                self.open();
            }
            Step::Kill => {
                self.logged.take().unwrap().crash();
                self.is_durable();
                self.open();
            }
            Step::PowerCut(kept) => {
                self.logged.take().unwrap().crash();
                self.cut_power(kept);
                self.open();
                let found = contents(self.logged());
                let survived = self.possible.iter().rposition(|model| *model == found);
                self.possible = vec![self.possible.remove(survived.expect("something else is there"))];
                self.is_durable();
            }
        }
        self.compare();
    }

    fn commit(&mut self, changes: &[(u64, Option<usize>)], durable: bool) {
        self.value = self.value.wrapping_add(1);
        let mut model = self.possible.last().unwrap().clone();
        let changes: BTreeMap<u64, Option<usize>> = changes.iter().copied().collect();
        let mut batch = Batch::default();
        for (number, size) in changes {
            match size.map(|size| Bytes::from(vec![self.value; size])) {
                Some(value) => {
                    let list = if model.contains_key(&number) { &mut batch.puts } else { &mut batch.inserts };
                    list.push((at(number), value.clone()));
                    model.insert(number, value);
                }
                None => {
                    batch.removes.push(at(number));
                    model.remove(&number);
                }
            }
        }
        let durability = if durable { Durability::Disk } else { Durability::System };
        self.logged().commit(&batch, durability).unwrap();
        self.possible.push(model);
        if durable {
            self.is_durable();
        }
    }

    /// From now on a power cut takes nothing of what is there.
    fn is_durable(&mut self) {
        self.possible.drain(..self.possible.len() - 1);
        self.on_disk = segment::read_all(&dir_of(self.files.path())).unwrap().into_iter().collect();
    }

    fn cut_power(&self, kept: &[bool]) {
        let mut kept = kept.iter().cycle();
        for (number, now) in segment::read_all(&dir_of(self.files.path())).unwrap() {
            // It was made and synced since.
            let mut left = self.on_disk.get(&number).map_or_else(|| vec![0; SEGMENT_BYTES], |bytes| bytes.to_vec());
            for (sector, now) in left.chunks_mut(SECTOR_BYTES).zip(now.chunks(SECTOR_BYTES)) {
                if *kept.next().unwrap() {
                    sector.copy_from_slice(now);
                }
            }
            fs::write(segment::path(&dir_of(self.files.path()), number), left).unwrap();
        }
    }

    fn compare(&self) {
        let (logged, model) = (self.logged(), self.possible.last().unwrap());
        assert_eq!(contents(logged), *model);
        for number in 0..KEYS {
            assert_eq!(logged.get(&at(number)).unwrap(), model.get(&number).cloned());
            let last = model.range(2..=number.max(2)).next_back().map(|(number, _)| at(*number));
            assert_eq!(logged.last_key(at(2)..=at(number.max(2))).unwrap(), last);
        }
        assert_eq!(logged.last_key([0; 19]..=[255; 19]).unwrap(), model.keys().last().map(|n| at(*n)));
    }

    fn logged(&self) -> &LoggedEngine {
        self.logged.as_ref().unwrap()
    }
}

impl LoggedEngine {
    /// Lets go of everything and brings nothing to the engine, as the death of the process does.
    fn crash(self) {
        self.writer().has_failed = true;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_there_after_everything(steps in vec(step(), 1..120)) {
        let mut trial = Trial::new();
        steps.iter().for_each(|step| trial.take(step));
    }
}

#[test]
fn a_damaged_commit_that_was_durable_is_refused_and_a_repair_has_the_others() {
    let (files, behind) = with_damage_in(2);
    let error = open(behind.clone(), files.path(), Gaps::Refuse).err().unwrap().to_string();
    assert!(error.contains("its commit number 3 was on the disk, and is damaged or missing"), "{error}");
    let (logged, remarks) = open(behind, files.path(), Gaps::PassOver).unwrap();
    assert_eq!(remarks.len(), 1);
    assert!(contents(&logged).into_keys().eq([0, 1, 3, 4]));
}

/// It may just as well never have been finished: the commit mark of the data directory knows better.
#[test]
fn a_damaged_commit_at_the_end_is_one_that_was_not_finished() {
    let (files, behind) = with_damage_in(4);
    let logged = open(behind, files.path(), Gaps::Refuse).unwrap().0;
    assert!(contents(&logged).into_keys().eq(0..4));
}

/// A log of five commits, with a wrong byte in one of them.
fn with_damage_in(number: u8) -> (TempDir, Arc<MemoryEngine>) {
    let (files, behind, logged) = begun();
    (0..5).for_each(|number| commit(&logged, number));
    logged.crash();
    let path = segment::path(&dir_of(files.path()), 0);
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(5).position(|bytes| bytes == [number; 5]).unwrap();
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    (files, behind)
}

#[test]
fn an_engine_that_fell_back_or_a_log_that_is_gone_is_refused_and_repaired() {
    let (files, behind, logged) = begun();
    let before = records(&*behind);
    for number in 0..2500 {
        commit(&logged, number % KEYS);
        settle(&logged);
    }
    logged.crash();
    let fallen = Arc::new(MemoryEngine::default());
    let error = open(fallen.clone(), files.path(), Gaps::Refuse).err().unwrap().to_string();
    assert!(error.contains("the engine does not know of the log"), "{error}");
    let (logged, remarks) = open(Arc::new(MemoryEngine::default()), files.path(), Gaps::PassOver).unwrap();
    assert_eq!((remarks.len(), contents(&logged).len() as u64), (2, KEYS));
    logged.crash();
    fallen.commit(&Batch { puts: before, ..Batch::default() }, Durability::Disk).unwrap();
    let error = open(fallen, files.path(), Gaps::Refuse).err().unwrap().to_string();
    assert!(error.contains("its commit number 1 was on the disk"), "{error}");
    fs::remove_dir_all(dir_of(files.path())).unwrap();
    let error = open(behind.clone(), files.path(), Gaps::Refuse).err().unwrap().to_string();
    assert!(error.contains("engine.wal is missing"), "{error}");
    let (logged, remarks) = open(behind, files.path(), Gaps::PassOver).unwrap();
    assert_eq!((remarks.len(), contents(&logged).len() as u64), (1, KEYS));
}

/// Another length of the log, and files that a crash left half-made.
#[test]
fn a_log_of_another_length_is_taken_over() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let mut expected = 0;
    for log_bytes in [LOG_BYTES, 4 * LOG_BYTES, LOG_BYTES] {
        let dir = dir_of(files.path());
        let logged = LoggedEngine::open(behind.clone(), dir.clone(), log_bytes, Gaps::Refuse).unwrap().0;
        settle(&logged);
        (expected..expected + 3).for_each(|number| commit(&logged, number));
        expected += 3;
        assert!(contents(&logged).into_keys().eq(0..expected), "{log_bytes}");
        logged.crash();
        fs::write(dir.join("1.new"), "half").unwrap();
    }
}

/// Else a sync of the next would make durable what comes behind something that is not.
#[test]
fn a_full_segment_is_durable_before_the_next_is_begun() {
    let (_files, _behind, logged) = begun();
    let batch = Batch { puts: vec![(at(1), Bytes::from(vec![1; 1000]))], ..Batch::default() };
    let layer = || logged.shared.layers().0.last().cloned().unwrap();
    logged.commit(&batch, Durability::System).unwrap();
    settle(&logged);
    let (first, mut number) = (layer(), 1);
    while Arc::ptr_eq(&layer(), &first) {
        assert_eq!(logged.writer().durable, 0);
        logged.commit(&batch, Durability::System).unwrap();
        number += 1;
    }
    assert_eq!(logged.writer().durable, number - 1);
}

/// An engine that is asked again after an error could say yes, and the log would be written over.
#[test]
fn an_engine_that_refused_a_large_batch_is_asked_nothing_more() {
    let files = tempfile::tempdir().unwrap();
    let behind = Arc::new(Breaking::default());
    let logged = open(behind.clone(), files.path(), Gaps::Refuse).unwrap().0;
    settle(&logged);
    let before = records(&behind.engine);
    (0..3).for_each(|number| commit(&logged, number));
    *behind.left.lock().unwrap() = Some(0);
    let large = Batch { puts: vec![(at(9), Bytes::from(vec![9; SEGMENT_BYTES]))], ..Batch::default() };
    assert!(logged.commit(&large, Durability::Disk).is_err());
    // As it may be when it is asked again.
    *behind.left.lock().unwrap() = None;
    assert!(logged.commit(&large, Durability::Disk).is_err());
    drop(logged);
    assert_eq!(records(&behind.engine), before);
    let logged = open(behind, files.path(), Gaps::Refuse).unwrap().0;
    assert!(contents(&logged).into_keys().eq(0..3));
}

/// What the engine has to do for them is far more than their frames say, and piled up it would be in the way of the next large message.
#[test]
fn many_removals_go_to_the_engine_at_once() {
    let (_files, behind, logged) = begun();
    (0..9).for_each(|number| commit(&logged, number));
    assert!(!logged.shared.layers().is_empty());
    logged.commit(&Batch { removes: (0..8).map(at).collect(), ..Batch::default() }, Durability::Disk).unwrap();
    assert!(logged.shared.layers().is_empty() && behind.get(&at(7)).unwrap().is_none());
    assert!(contents(&logged).into_keys().eq([8]));
}

/// At whichever of its pieces.
#[test]
fn a_checkpoint_that_fails_is_the_next_commits_error_and_loses_nothing() {
    for good in 0..40 {
        let files = tempfile::tempdir().unwrap();
        let behind = Arc::new(Breaking::default());
        let logged = open(behind.clone(), files.path(), Gaps::Refuse).unwrap().0;
        settle(&logged);
        *behind.left.lock().unwrap() = Some(good);
        let mut model = Model::new();
        let failed = (0..).find_map(|number: u64| {
            let value = Bytes::from(vec![number.to_be_bytes()[7]; 100]);
            let removes = vec![at((number + 5) % KEYS)];
            let batch = Batch { puts: vec![(at(number % KEYS), value.clone())], removes, ..Batch::default() };
            let committed = logged.commit(&batch, Durability::Disk);
            if committed.is_ok() {
                model.remove(&((number + 5) % KEYS));
                model.insert(number % KEYS, value);
            }
            committed.err()
        });
        assert!(failed.as_ref().unwrap().to_string().contains("no more"), "{failed:?}");
        drop(logged);
        *behind.left.lock().unwrap() = None;
        let logged = open(behind, files.path(), Gaps::Refuse).unwrap().0;
        assert_eq!(contents(&logged), model, "after {good} good commits of the engine");
    }
}

/// Else it would come back when the log has been given to the engine, and nobody removes it a second time.
#[test]
fn what_is_removed_while_a_checkpoint_has_begun_with_it_is_removed_from_the_engine() {
    let files = tempfile::tempdir().unwrap();
    let behind = Arc::new(Breaking::default());
    let logged = open(behind.clone(), files.path(), Gaps::Refuse).unwrap().0;
    settle(&logged);
    // The engine takes nothing as long as this is held.
    let held = behind.left.lock().unwrap();
    let (before, mut number) = (behind.asked.load(Ordering::Relaxed), 0);
    while logged.shared.layers().0.len() < 2 {
        let batch = Batch { inserts: vec![(at(number), Bytes::from(vec![1; 1000]))], ..Batch::default() };
        logged.commit(&batch, Durability::Disk).unwrap();
        number += 1;
    }
    while behind.asked.load(Ordering::Relaxed) == before {
        thread::yield_now();
    }
    let inserts = vec![(at(number), Bytes::from(vec![2; SEGMENT_BYTES]))];
    let large = Batch { inserts, removes: vec![at(0)], ..Batch::default() };
    thread::scope(|scope| {
        let committed = scope.spawn(|| logged.commit(&large, Durability::Disk));
        while !logged.shared.is_wanted.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        drop(held);
        committed.join().unwrap().unwrap();
    });
    let left = (0..=number).filter(|number| behind.get(&at(*number)).unwrap().is_some());
    assert!(left.eq(1..=number));
}

/// An engine that fails after so many commits more.
#[derive(Default)]
struct Breaking {
    engine: MemoryEngine,
    left: Mutex<Option<usize>>,
    /// How many commits it was asked for.
    asked: AtomicUsize,
}

impl Engine for Breaking {
    fn name(&self) -> &'static str {
        "breaking"
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match &mut *self.left.lock().unwrap() {
            Some(0) => return Err(EngineError::new("commit", "no more")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.engine.commit(batch, durability)
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, EngineError> {
        self.engine.get(key)
    }

    fn range(&self, range: std::ops::RangeInclusive<Key>, visit: &mut Visitor<'_>) -> Result<(), EngineError> {
        self.engine.range(range, visit)
    }

    fn last_key(&self, range: std::ops::RangeInclusive<Key>) -> Result<Option<Key>, EngineError> {
        self.engine.last_key(range)
    }
}

/// A log that has nothing in it and a file to be written to.
fn begun() -> (TempDir, Arc<MemoryEngine>, LoggedEngine) {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let logged = open(behind.clone(), files.path(), Gaps::Refuse).unwrap().0;
    settle(&logged);
    (files, behind, logged)
}

fn open(behind: Arc<dyn Engine>, files: &Path, gaps: Gaps) -> Result<(LoggedEngine, Vec<String>), EngineError> {
    LoggedEngine::open(behind, dir_of(files), LOG_BYTES, gaps)
}

fn dir_of(files: &Path) -> std::path::PathBuf {
    dir(&files.join("engine"))
}

/// Waits until the checkpoints have done what there is to do, and a segment is free. They tell nobody.
fn settle(logged: &LoggedEngine) {
    while !logged.shared.is_settled() {
        thread::sleep(Duration::from_micros(50));
    }
}

fn commit(logged: &LoggedEngine, number: u64) {
    let value = Bytes::from(vec![u8::try_from(number).unwrap(); 100]);
    logged.commit(&Batch { puts: vec![(at(number), value)], ..Batch::default() }, Durability::Disk).unwrap();
}
