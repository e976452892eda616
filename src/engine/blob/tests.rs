//! Blobs over an engine in memory that forgets what was not durable, against a plain model.

use std::{fs, os::unix::fs::MetadataExt};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::*;
use crate::engine::{
    contents::{Model, at, contents, records},
    memory::MemoryEngine,
};

const KEYS: u64 = 8;

/// What a test does, one after the other.
#[derive(Debug, Clone)]
enum Step {
    /// Which keys get a value of which size; none removes.
    Commit(Vec<(u64, Option<usize>)>, bool),
    Sync,
    Reclaim,
    /// All that is there is durable behind that.
    Reopen,
    /// The power goes. How much of what was not durable survives, of 255.
    PowerCut(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 1..200_usize, 6 => BLOB_BYTES - 1..BLOB_BYTES + 9000, 3 => 1_040_000..1_060_000_usize];
    let commit = (vec((0..KEYS, prop::option::weighted(0.6, size)), 0..4), any::<bool>());
    prop_oneof![
        20 => commit.prop_map(|(changes, durable)| Step::Commit(changes, durable)),
        2 => Just(Step::Sync),
        6 => Just(Step::Reclaim),
        1 => Just(Step::Reopen),
        2 => any::<u8>().prop_map(Step::PowerCut),
    ]
}

/// Blobs, and what must be in them behind each commit since the last one that is durable, which is the first. What is behind them is
/// kept likewise.
struct Trial {
    files: TempDir,
    behind: Arc<MemoryEngine>,
    blobs: Option<BlobEngine>,
    possible: Vec<(Model, Vec<(Key, Bytes)>)>,
    value: u8,
}

impl Trial {
    fn new() -> Trial {
        let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
        let blobs = Some(open(behind.clone(), &files));
        Trial { files, behind, blobs, possible: vec![Default::default()], value: 0 }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Commit(changes, durable) => self.commit(changes, *durable),
            Step::Sync => {
                self.blobs().sync().unwrap();
                self.possible.drain(..self.possible.len() - 1);
            }
            Step::Reclaim => self.blobs().reclaimer.reclaim(),
            Step::Reopen => {
                self.possible.drain(..self.possible.len() - 1);
                self.reopen();
            }
            Step::PowerCut(share) => {
                let survives = usize::from(*share) * (self.possible.len() - 1) / usize::from(u8::MAX);
                self.possible.truncate(survives + 1);
                self.possible.drain(..survives);
                let now = Batch {
                    removes: records(&*self.behind).into_iter().map(|(key, _)| key).collect(),
                    ..Batch::default()
                };
                self.behind.commit(&now, Durability::Disk).unwrap();
                let then = Batch { puts: self.possible[0].1.clone(), ..Batch::default() };
                self.behind.commit(&then, Durability::Disk).unwrap();
                self.reopen();
            }
        }
        self.compare();
    }

    fn commit(&mut self, changes: &[(u64, Option<usize>)], durable: bool) {
        self.value = self.value.wrapping_add(1);
        let mut model = self.possible.last().unwrap().0.clone();
        let mut batch = Batch::default();
        let changes: BTreeMap<u64, Option<usize>> = changes.iter().copied().collect();
        for (number, size) in changes {
            if let Some(size) = size {
                let value = Bytes::from(vec![self.value; size]);
                let list = if model.contains_key(&number) { &mut batch.puts } else { &mut batch.inserts };
                list.push((at(number), value.clone()));
                model.insert(number, value);
            } else {
                batch.removes.push(at(number));
                model.remove(&number);
            }
        }
        let durability = if durable { Durability::Disk } else { Durability::System };
        self.blobs().commit(&batch, durability).unwrap();
        self.possible.push((model, records(&*self.behind)));
        if durable {
            self.possible.drain(..self.possible.len() - 1);
        }
    }

    fn reopen(&mut self) {
        self.blobs = None;
        self.blobs = Some(open(self.behind.clone(), &self.files));
    }

    fn compare(&self) {
        let (blobs, model) = (self.blobs(), &self.possible.last().unwrap().0);
        assert!(contents(blobs).iter().eq(model), "{:?}", contents(blobs).keys());
        for number in 0..KEYS {
            assert!(blobs.get(&at(number)).unwrap() == model.get(&number).cloned(), "{number}");
            let last = model.range(2..=number.max(2)).next_back().map(|(number, _)| at(*number));
            assert_eq!(blobs.last_key(at(2)..=at(number.max(2))).unwrap(), last);
        }
        let mut keys = Vec::new();
        let visit = &mut |key: &Key| {
            keys.push(*key);
            Next::Continue
        };
        blobs.visit_keys([0; 19]..=[255; 19], visit).unwrap();
        assert!(keys.into_iter().eq(model.keys().map(|number| at(*number))));
        assert_eq!(blobs.last_key([0; 19]..=[255; 19]).unwrap(), model.keys().last().map(|number| at(*number)));
        let largest = records(&*self.behind).iter().map(|(_, value)| value.len()).max();
        assert!(largest.is_none_or(|length| length < BLOB_BYTES), "the engine was given {largest:?} B");
    }

    fn blobs(&self) -> &BlobEngine {
        self.blobs.as_ref().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_there_whatever_was_given_back(steps in vec(step(), 1..60)) {
        let mut trial = Trial::new();
        steps.iter().for_each(|step| trial.take(step));
    }
}

/// Whatever was removed, also without the thread that does it while it runs.
#[test]
fn a_start_gives_back_what_nothing_points_to() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let blobs = open(behind.clone(), &files);
    let value = Bytes::from(vec![7; 1 << 20]);
    for number in 0..40 {
        let batch = Batch { inserts: vec![(at(number), value.clone())], ..Batch::default() };
        blobs.commit(&batch, Durability::Disk).unwrap();
    }
    assert!(stored_mib(&files) >= 40);
    let kept = [3, 4, 33];
    let removes = (0..40).filter(|number| !kept.contains(number)).map(at).collect();
    blobs.commit(&Batch { removes, ..Batch::default() }, Durability::System).unwrap();
    drop(blobs);
    assert!(stored_mib(&files) >= 40, "the power may still go");
    let blobs = open(behind, &files);
    blobs.reclaimer.reclaim();
    assert!(stored_mib(&files) >= 40, "who started this may refuse what is there");
    blobs.commit(&Batch::default(), Durability::Disk).unwrap();
    blobs.reclaimer.reclaim();
    blobs.reclaimer.remove_spare();
    assert_eq!(stored_mib(&files), kept.len() as u64);
    assert!(contents(&blobs).into_iter().eq(kept.map(|number| (number, value.clone()))));
}

/// Two are kept for a while, and written over.
#[test]
fn a_file_is_given_back_when_all_of_it_was_removed() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let blobs = open(behind, &files);
    for number in 0..50 {
        pass_on(&blobs, number, 2, Durability::Disk);
        blobs.reclaimer.reclaim();
        assert!(
            stored_mib(&files) <= 19 + 32,
            "the file that is written to, what is left of the one before it, two to spare"
        );
    }
    let is_whole = |file: &fs::Metadata| file.len() >= 16 << 20;
    assert!(stored(&files).all(|file| is_whole(&file)), "the last one was begun for two megabytes");
    let last = [48, 49].map(|number| (number, Bytes::from(vec![7; 1 << 20])));
    assert!(contents(&blobs).into_iter().eq(last));
    blobs.reclaimer.remove_spare();
    assert!(stored_mib(&files) <= 19);
    (50..100).for_each(|number| pass_on(&blobs, number, 2, Durability::Disk));
    blobs.reclaimer.reclaim();
    drop(blobs);
    assert!(stored_mib(&files) <= 19, "a stop keeps none");
}

/// As with `sync = "never"`.
#[test]
fn room_is_given_back_where_nobody_asks_for_a_sync() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let blobs = open(behind, &files);
    for number in 0..200 {
        pass_on(&blobs, number, 1, Durability::System);
        blobs.reclaimer.reclaim();
        assert!(stored_mib(&files) <= (REMOVED_BYTES >> 20) + 34, "after {number}");
    }
    assert!(blobs.is_quick(100));
    let large = Batch { inserts: vec![(at(1000), Bytes::from(vec![7; 64 << 20]))], ..Batch::default() };
    blobs.commit(&large, Durability::System).unwrap();
    blobs.commit(&Batch { removes: vec![at(1000)], ..Batch::default() }, Durability::System).unwrap();
    assert!(!blobs.is_quick(100), "the next commit waits for the disk");
}

#[test]
fn a_blob_whose_file_is_gone_or_short_is_not_there_and_all_others_are() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    for number in 0..3 {
        let blobs = open(behind.clone(), &files);
        let batch = Batch { inserts: vec![(at(number), Bytes::from(vec![7; BLOB_BYTES]))], ..Batch::default() };
        blobs.commit(&batch, Durability::Disk).unwrap();
    }
    fs::remove_file(dir(&files.path().join("engine")).join("0")).unwrap();
    fs::write(dir(&files.path().join("engine")).join("2"), "short").unwrap();
    let blobs = open(behind, &files);
    assert!(contents(&blobs).into_keys().eq([1]));
    assert_eq!(blobs.get(&at(0)).unwrap(), None);
    let batch = Batch { removes: (0..3).map(at).collect(), ..Batch::default() };
    blobs.commit(&batch, Durability::Disk).unwrap();
    assert!(records(&*blobs.behind).is_empty());
}

/// Nothing is written over because of it.
#[test]
fn a_record_that_names_the_last_file_there_can_be_is_refused() {
    let (files, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryEngine::default()));
    let last = Extent { file: u64::MAX, at: 0, length: 1 };
    let puts = vec![(key::blob(&at(1)), last.encode())];
    behind.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).unwrap();
    let error = BlobEngine::open(behind, files.path().to_owned()).err().unwrap().to_string();
    assert!(error.contains("there is no number behind 18446744073709551615 for a file"), "{error}");
}

fn open(behind: Arc<dyn Engine>, files: &TempDir) -> BlobEngine {
    BlobEngine::open(behind, dir(&files.path().join("engine"))).unwrap()
}

/// Puts a megabyte, and removes the one that was so many before it.
fn pass_on(blobs: &BlobEngine, number: u64, kept: u64, durability: Durability) {
    let inserts = vec![(at(number), Bytes::from(vec![7; 1 << 20]))];
    let removes = number.checked_sub(kept).map(at).into_iter().collect();
    blobs.commit(&Batch { inserts, removes, ..Batch::default() }, durability).unwrap();
}

/// What the files take of the disk, holes not counted.
fn stored_mib(files: &TempDir) -> u64 {
    stored(files).map(|file| file.blocks() * 512).sum::<u64>() >> 20
}

fn stored(files: &TempDir) -> impl Iterator<Item = fs::Metadata> {
    let dir = fs::read_dir(dir(&files.path().join("engine"))).unwrap();
    dir.map(|file| file.unwrap().metadata().unwrap())
}
