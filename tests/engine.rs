//! The contract of an engine, which stands in prose at the top of `src/engine/mod.rs`, held by every engine we have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stderr)] // Why a test is skipped.

mod store_support;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use httpmq::{
    block::RECORD_BYTES,
    config,
    engine::{self, Batch, Durability, Engine, Next, Sizes, fjall::FjallEngine, memory::MemoryEngine},
    key::{self, KEY_BYTES, Key},
};

/// Names the directory that a child of this test writes to; unset in the tests themselves.
const CHILD_DIR: &str = "HTTPMQ_TEST_ENGINE_CHILD";
const CHILD_ENGINE: &str = "HTTPMQ_TEST_ENGINE_NAME";
const CHILD_COMMITS: u64 = 20;

fn memory(_: &Path) -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::default())
}

fn sled(dir: &Path) -> Arc<dyn Engine> {
    Arc::new(store_support::open_sled(&dir.join("sled")).unwrap())
}

fn fjall(dir: &Path) -> Arc<dyn Engine> {
    Arc::new(FjallEngine::open(&dir.join("fjall"), 1 << 20).unwrap())
}

/// With a log that is full after every few commits.
fn logged_sled(dir: &Path) -> Arc<dyn Engine> {
    engine::open(config::Engine::Sled, dir, SIZES).unwrap()
}

fn logged_fjall(dir: &Path) -> Arc<dyn Engine> {
    engine::open(config::Engine::Fjall, dir, SIZES).unwrap()
}

const SIZES: Sizes = Sizes { cache_bytes: 1 << 20, log_bytes: 192 << 10 };

type Open = fn(&Path) -> Arc<dyn Engine>;

/// Those that keep what they have when they are closed.
const ON_DISK: [(&str, Open); 4] =
    [("sled", sled), ("fjall", fjall), ("sled.wal", logged_sled), ("fjall.wal", logged_fjall)];

fn open(name: &str, dir: &Path) -> Arc<dyn Engine> {
    ON_DISK.iter().find(|(on_disk, _)| *on_disk == name).unwrap().1(dir)
}

/// Makes each rule of the contract a test of each engine.
macro_rules! contract {
    (@$engine:ident ($($rule:ident)*)) => {
        mod $engine {
            $(#[test]
            fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                super::$rule(&*super::$engine(dir.path()));
            })*
        }
    };
    ($rules:tt: $($engine:ident)*) => {
        $(contract!(@$engine $rules);)*
    };
}

contract!((
    a_batch_is_applied_whole
    unknown_keys_may_be_removed
    the_last_value_of_a_key_counts
    a_range_is_ascending_with_both_bounds_in_it
    a_visitor_may_stop
    a_range_goes_over_records_of_all_kinds
    the_last_of_a_range_is_its_highest
    records_of_the_largest_size_come_back
    ten_thousand_records_in_one_batch_and_in_many
    readers_see_batches_whole_and_in_order_while_another_thread_writes
): memory sled fjall logged_sled logged_fjall);

#[test]
fn what_was_committed_is_there_after_reopening() {
    for (name, open) in ON_DISK {
        for durability in [Durability::Disk, Durability::System] {
            println!("{name}, {durability:?}");
            is_there_after_reopening(open, durability);
        }
    }
}

// ===== the contract =====

fn a_batch_is_applied_whole(engine: &dyn Engine) {
    commit(engine, &[(1, "a"), (2, "b")], &[]);
    commit(engine, &[(3, "c"), (1, "A")], &[2]);
    assert_eq!(all(engine), [(1, "A".into()), (3, "c".into())]);
    commit(engine, &[], &[]);
    engine.sync().unwrap();
    assert_eq!(all(engine).len(), 2);
}

fn unknown_keys_may_be_removed(engine: &dyn Engine) {
    commit(engine, &[(5, "x")], &[4, 6]);
    commit(engine, &[], &[4, 4]);
    assert_eq!((text(engine, 5), text(engine, 4)), (Some("x".into()), None));
}

fn the_last_value_of_a_key_counts(engine: &dyn Engine) {
    for value in ["one", "", "three"] {
        commit(engine, &[(1, value)], &[]);
        assert_eq!(text(engine, 1).as_deref(), Some(value));
    }
    commit(engine, &[], &[1]);
    assert_eq!(text(engine, 1), None);
    commit(engine, &[(1, "again")], &[]);
    assert_eq!(text(engine, 1).as_deref(), Some("again"));
}

fn a_range_is_ascending_with_both_bounds_in_it(engine: &dyn Engine) {
    // 255 and 256 tell big-endian from little-endian; the other queue and the commit key are out of every range.
    commit(engine, &[(256, "d"), (10, "a"), (300, "e"), (255, "c"), (11, "b")], &[]);
    let others = vec![(key::block(2, 0, 100, 0), Bytes::from("no")), (key::commit(), Bytes::from("no"))];
    engine.commit(&Batch { puts: others, ..Batch::default() }, Durability::Disk).unwrap();
    assert_eq!(sequences(engine, between(0, u64::MAX)), [10, 11, 255, 256, 300]);
    assert_eq!(sequences(engine, between(11, 256)), [11, 255, 256]);
    assert_eq!(sequences(engine, between(256, 256)), [256]);
    assert_eq!(sequences(engine, between(12, 254)), [0; 0], "an empty range");
}

fn a_visitor_may_stop(engine: &dyn Engine) {
    commit(engine, &[(1, "a"), (2, "b"), (3, "c")], &[]);
    let mut seen = Vec::new();
    let visit = &mut |key: &Key, _: &[u8]| {
        seen.push(key::first_sequence(key));
        if seen.len() == 2 { Next::Stop } else { Next::Continue }
    };
    engine.range(between(0, 9), visit).unwrap();
    assert_eq!(seen, [1, 2]);
}

/// An engine may keep blocks apart from all else.
fn a_range_goes_over_records_of_all_kinds(engine: &dyn Engine) {
    let keys = [key::commit(), at(1), at(2), key::queue(0), key::queue(1)];
    let puts = keys.iter().map(|key| (*key, Bytes::from("a"))).collect();
    engine.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).unwrap();
    assert!(everything(engine).keys().eq(&keys));
    let (mut seen, all) = (Vec::new(), [0; KEY_BYTES]..=[u8::MAX; KEY_BYTES]);
    let visit = &mut |key: &Key, _: &[u8]| {
        seen.extend(Some(*key).filter(|key| !key::is_spacer(key)));
        if seen.len() == 2 { Next::Stop } else { Next::Continue }
    };
    engine.range(all.clone(), visit).unwrap();
    assert_eq!(seen, keys[..2], "it stops where the visitor says, in whichever part that is");
    assert_eq!(engine.last_key(all).unwrap(), Some(key::queue(1)));
    assert_eq!(engine.last_key(key::commit()..=at(9)).unwrap(), Some(at(2)));
}

fn the_last_of_a_range_is_its_highest(engine: &dyn Engine) {
    assert_eq!(engine.last_key(between(0, u64::MAX)).unwrap(), None);
    commit(engine, &[(1, "a"), (256, "b"), (257, "c")], &[]);
    let last = |range| engine.last_key(range).unwrap().map(|key| key::first_sequence(&key));
    assert_eq!(last(between(0, u64::MAX)), Some(257));
    assert_eq!(last(between(0, 256)), Some(256));
    assert_eq!(last(between(0, 255)), Some(1));
    assert_eq!(last(between(2, 255)), None);
    assert_eq!(last(between(258, u64::MAX)), None);
}

fn records_of_the_largest_size_come_back(engine: &dyn Engine) {
    let value = |number: u64| Bytes::from(vec![number.to_be_bytes()[7]; RECORD_BYTES]);
    for first in (0..200).step_by(50) {
        let puts = (first..first + 50).map(|number| (at(number), value(number))).collect();
        engine.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).unwrap();
    }
    for number in 0..200 {
        assert_eq!(engine.get(&at(number)).unwrap(), Some(value(number)), "{number}");
    }
}

fn ten_thousand_records_in_one_batch_and_in_many(engine: &dyn Engine) {
    let record = |number: u64| (at(number), Bytes::from(number.to_string()));
    let mut batch = Batch { puts: (0..10_000).map(record).collect(), ..Batch::default() };
    engine.commit(&batch, Durability::Disk).unwrap();
    for hundred in 100..200 {
        batch.clear();
        batch.puts.extend((hundred * 100..(hundred + 1) * 100).map(record));
        batch.removes.extend(((hundred - 100) * 100..(hundred - 99) * 100).map(at));
        engine.commit(&batch, Durability::System).unwrap();
    }
    assert!(sequences(engine, between(0, u64::MAX)).into_iter().eq(10_000..20_000));
}

/// Each batch moves a pair of records to the same number: a reader that sees the first of a pair at some number must see the
/// second at that number or a later one.
fn readers_see_batches_whole_and_in_order_while_another_thread_writes(engine: &dyn Engine) {
    let done = AtomicBool::new(false);
    let pair = |number: u64| [1, 2].map(|key| (at(key), Bytes::copy_from_slice(&number.to_be_bytes()))).to_vec();
    let read = |key| engine.get(&at(key)).unwrap().map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                let (mut reads, mut before) = (0, 0);
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let (first, second) = (read(1), read(2));
                    assert!(before <= first && first <= second, "{before} {first} {second}");
                    assert!(engine.last_key(between(1, 2)).unwrap().is_none_or(|key| key == at(2)));
                    (before, reads) = (second, reads + 1);
                }
            })
        });
        for number in 1..=300 {
            engine.commit(&Batch { puts: pair(number), ..Batch::default() }, Durability::System).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!((read(1), read(2)), (300, 300));
}

fn is_there_after_reopening(open: Open, durability: Durability) {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<(u64, Bytes)> = Vec::new();
    for round in 0..4 {
        let engine = open(dir.path());
        assert_eq!(all(&*engine), expected, "round {round}");
        for number in round * 100..(round + 1) * 100 {
            let value = Bytes::from(vec![b'x'; usize::try_from(number * 37).unwrap() % RECORD_BYTES]);
            let removes = expected.first().filter(|_| number % 3 == 0).map(|(first, _)| at(*first));
            if removes.is_some() {
                expected.remove(0);
            }
            let batch = Batch {
                puts: vec![(at(number), value.clone())],
                removes: removes.into_iter().collect(),
                ..Batch::default()
            };
            engine.commit(&batch, durability).unwrap();
            expected.push((number, value));
        }
    }
    assert_eq!(all(&*open(dir.path())), expected);
}

// ===== what each durability says =====

#[test]
fn sled_survives_the_death_of_the_process_and_syncs_before_it_answers() {
    survives_the_death_of_the_process_and_syncs_before_it_answers("sled");
}

#[test]
fn fjall_survives_the_death_of_the_process_and_syncs_before_it_answers() {
    survives_the_death_of_the_process_and_syncs_before_it_answers("fjall");
}

#[test]
fn the_log_survives_the_death_of_the_process_and_syncs_before_it_answers() {
    survives_the_death_of_the_process_and_syncs_before_it_answers("sled.wal");
    survives_the_death_of_the_process_and_syncs_before_it_answers("fjall.wal");
}

/// The child dies without closing anything.
fn survives_the_death_of_the_process_and_syncs_before_it_answers(engine: &str) {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let has_strace = Command::new("strace").arg("-V").output().is_ok_and(|version| version.status.success());
    let mut command = if has_strace {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-e", "trace=fdatasync,write", "-o"]).arg(&trace);
        command.arg(std::env::current_exe().unwrap());
        command
    } else {
        Command::new(std::env::current_exe().unwrap())
    };
    command.args(["--exact", "child", "--nocapture"]).env(CHILD_DIR, dir.path()).env(CHILD_ENGINE, engine);
    let ran = command.output().unwrap();
    assert!(!ran.status.success(), "it aborts itself");
    let printed = String::from_utf8_lossy(&ran.stdout);
    if has_strace && printed.matches("ack ").count() == 0 {
        eprintln!("skipped: strace cannot trace here: {}", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    let expected: Vec<_> = (0..2 * CHILD_COMMITS).map(|number| (number, Bytes::from(number.to_string()))).collect();
    assert_eq!(all(&*open(engine, dir.path())), expected);

    if !has_strace {
        eprintln!("skipped: there is no strace to see the syncs with");
        return;
    }
    let (mut acks, mut synced) = (0, 0);
    // The engine's own, or those of the log in front of it.
    let files = dir.path().join(engine.trim_end_matches(".wal")).display().to_string();
    for call in std::fs::read_to_string(&trace).unwrap().lines() {
        // With several threads a call can be in two lines: it is over in the second, where its number of files is not shown.
        if call.contains("fdatasync(") && call.contains(&files) {
            synced += 1;
        } else if call.contains("write(1") && call.contains("\"ack ") {
            assert!(synced > 0, "acknowledged without a sync of its own: {call}");
            (acks, synced) = (acks + 1, 0);
        }
    }
    assert_eq!(acks, CHILD_COMMITS);
}

/// What a process that died had not synced is in the system's hands only, and what the next one makes durable comes behind it.
#[test]
fn a_start_syncs_what_is_in_the_log_before_anything_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    for traced in [false, true] {
        let mut command = Command::new(if traced { "strace".into() } else { std::env::current_exe().unwrap() });
        if traced {
            command.args(["-f", "-y", "-e", "trace=fdatasync,pwrite64", "-o"]).arg(&trace);
            command.arg(std::env::current_exe().unwrap());
        }
        command.args(["--exact", "child"]).env(CHILD_DIR, dir.path()).env(CHILD_ENGINE, "fjall.wal");
        if command.output().is_err() {
            return eprintln!("skipped: there is no strace to see the syncs with");
        }
    }
    let calls = std::fs::read_to_string(&trace).unwrap();
    let Some(first) = calls.lines().find(|call| call.contains("fjall.wal/")) else {
        return eprintln!("skipped: strace cannot trace here: {calls}");
    };
    assert!(first.contains("fdatasync("), "{first}");
}

/// Not a test: what the tests above run in a process of its own.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let name = std::env::var(CHILD_ENGINE).unwrap();
    let engine = open(&name, Path::new(&dir));
    // Until the log has a file, commits go to the engine.
    while name.ends_with(".wal") && !Path::new(&dir).join(&name).join("0").exists() {
        thread::yield_now();
    }
    for number in 0..2 * CHILD_COMMITS {
        let durability = if number < CHILD_COMMITS { Durability::Disk } else { Durability::System };
        let batch = Batch { puts: vec![(at(number), number.to_string().into())], ..Batch::default() };
        engine.commit(&batch, durability).unwrap();
        if durability == Durability::Disk {
            println!("ack {number}");
        }
    }
    std::process::abort();
}

#[test]
fn engines_open_in_a_relative_directory() {
    for (name, open) in ON_DISK {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        // The child joins the engine's name to nothing.
        child.args(["--exact", "child"]).env(CHILD_DIR, "").env(CHILD_ENGINE, name).current_dir(dir.path());
        let ran = child.output().unwrap();
        let found = all(&*open(dir.path())).len() as u64;
        assert_eq!(found, 2 * CHILD_COMMITS, "{name}: {}", String::from_utf8_lossy(&ran.stdout));
    }
}

// ===== an engine's own rules, see the top of its file =====

/// What a crash left of the making of the files is not in the way, and is gone then.
#[test]
fn fjall_opens_where_its_first_start_was_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let unfinished = dir.path().join("fjall.new");
    std::fs::create_dir_all(unfinished.join("keyspaces")).unwrap();
    for file in ["0.jnl", "version"] {
        std::fs::write(unfinished.join(file), "half").unwrap();
    }
    commit(&*fjall(dir.path()), &[(1, "a")], &[]);
    assert_eq!(text(&*fjall(dir.path()), 1).as_deref(), Some("a"));
    assert!(!unfinished.exists());
}

/// What one keyspace had once is in two: all of it, as it was, and removals reach it.
#[test]
fn fjall_opens_a_directory_of_one_keyspace() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<(Key, Bytes)> = [key::commit(), key::applied(), key::queue(0), key::queue(u32::MAX)]
        .into_iter()
        .chain((0..100).map(at))
        .enumerate()
        .map(|(number, key)| (key, number.to_string().into()))
        .collect();
    {
        let database = ::fjall::Database::builder(dir.path().join("fjall")).open().unwrap();
        let one = database.keyspace("records", ::fjall::KeyspaceCreateOptions::default).unwrap();
        records.iter().for_each(|(key, value)| one.insert(key, &value[..]).unwrap());
        database.persist(::fjall::PersistMode::SyncAll).unwrap();
    }
    let mut expected: BTreeMap<Key, Bytes> = records.into_iter().collect();
    for gone in [key::queue(0), at(7)] {
        assert_eq!(everything(&*fjall(dir.path())), expected);
        let engine = fjall(dir.path());
        engine.commit(&Batch { removes: vec![gone], ..Batch::default() }, Durability::Disk).unwrap();
        expected.remove(&gone);
        assert_eq!(engine.get(&gone).unwrap(), None);
    }
    assert_eq!(everything(&*fjall(dir.path())), expected);
}

/// A file of a size that the engine cannot have written.
#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    commit(&*fjall(dir.path()), &[(1, "a")], &[]);
    std::fs::write(dir.path().join("fjall/version"), "no database").unwrap();
    println!("{}", FjallEngine::open(&dir.path().join("fjall"), 1 << 20).err().unwrap());
}

/// sled's rule 5.
#[test]
fn sled_opens_beside_an_unfinished_snapshot_and_removes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    commit(&*sled(dir.path()), &[(1, "a")], &[]);
    let files = dir.path().join("sled");
    let unfinished = files.join("snap.00000000000000FF.generating");
    let others = [files.join("notes.txt"), files.join("my.generating"), files.join("blobs/snap.1.generating")];
    for file in others.iter().chain([&unfinished]) {
        std::fs::write(file, "half a snap").unwrap();
    }
    assert_eq!(text(&*sled(dir.path()), 1).as_deref(), Some("a"));
    assert!(!unfinished.exists());
    assert_eq!(others.map(|file| file.exists()), [true; 3]);
}

/// sled's rule 5: a kill between the two writes of the settings.
#[test]
fn sled_opens_where_its_first_start_was_cut_short() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        drop(sled(dir.path()));
        std::fs::read(dir.path().join("sled/conf")).unwrap()
    };
    for length in [0, 1, 9, whole.len() - 5, whole.len() - 4, whole.len() - 1, whole.len()] {
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("sled");
        std::fs::create_dir_all(files.join("blobs")).unwrap();
        std::fs::write(files.join("conf"), &whole[..length]).unwrap();
        commit(&*sled(dir.path()), &[(1, "a")], &[]);
        assert_eq!(text(&*sled(dir.path()), 1).as_deref(), Some("a"), "{length} bytes of the settings were written");
        assert_eq!(std::fs::read(files.join("conf")).unwrap(), whole);
    }
}

/// Builds before 2026-11-30 made directories with segments of 16 MiB. How large they are stands in the settings, and where those
/// are lost it shows in the log.
#[test]
fn sled_goes_on_in_a_directory_with_segments_of_another_size() {
    for (segment_bytes, records, with_settings) in [
        (16 << 20, 600, true),
        (16 << 20, 600, false),
        (16 << 20, 100, false),
        (16 << 20, 2_000, false),
        (4 << 20, 600, false),
    ] {
        println!("{records} records in segments of {segment_bytes} bytes, with settings: {with_settings}");
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("sled");
        let value = Bytes::from(vec![7; RECORD_BYTES]);
        {
            let tree = ::sled::Config::new().path(&files).segment_size(segment_bytes).open().unwrap();
            (0..records).for_each(|number| drop(tree.insert(at(number), &value[..]).unwrap()));
            tree.flush().unwrap();
        }
        let mut expected: BTreeMap<Key, Bytes> = (0..records).map(|number| (at(number), value.clone())).collect();
        for number in records..records + 3 {
            if !with_settings {
                std::fs::remove_file(files.join("conf")).unwrap();
            }
            let engine = sled(dir.path());
            assert!(everything(&*engine) == expected);
            let puts = vec![(at(number), value.clone())];
            engine.commit(&Batch { puts, ..Batch::default() }, Durability::Disk).unwrap();
            expected.insert(at(number), value.clone());
        }
        assert!(everything(&*sled(dir.path())) == expected);
    }
}

// ===== records by number =====

fn at(sequence: u64) -> Key {
    key::block(1, 0, sequence, 0)
}

fn between(first: u64, last: u64) -> RangeInclusive<Key> {
    at(first)..=at(last)
}

fn commit(engine: &dyn Engine, puts: &[(u64, &'static str)], removes: &[u64]) {
    let puts = puts.iter().map(|(sequence, value)| (at(*sequence), Bytes::from(*value))).collect();
    let removes = removes.iter().map(|sequence| at(*sequence)).collect();
    engine.commit(&Batch { puts, removes, ..Batch::default() }, Durability::Disk).unwrap();
}

fn text(engine: &dyn Engine, sequence: u64) -> Option<String> {
    let value = engine.get(&at(sequence)).unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn everything(engine: &dyn Engine) -> BTreeMap<Key, Bytes> {
    let mut found = BTreeMap::new();
    let mut take = |key: &Key, value: &[u8]| {
        if !key::is_spacer(key) {
            found.insert(*key, Bytes::copy_from_slice(value));
        }
        Next::Continue
    };
    engine.range([0; KEY_BYTES]..=[u8::MAX; KEY_BYTES], &mut take).unwrap();
    found
}

fn all(engine: &dyn Engine) -> Vec<(u64, Bytes)> {
    let mut found = Vec::new();
    let visit = &mut |key: &Key, value: &[u8]| {
        found.push((key::first_sequence(key), Bytes::copy_from_slice(value)));
        Next::Continue
    };
    engine.range(between(0, u64::MAX), visit).unwrap();
    found
}

fn sequences(engine: &dyn Engine, range: RangeInclusive<Key>) -> Vec<u64> {
    let mut found = Vec::new();
    let visit = &mut |key: &Key, _: &[u8]| {
        found.push(key::first_sequence(key));
        Next::Continue
    };
    engine.range(range, visit).unwrap();
    found
}
