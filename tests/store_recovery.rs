//! What a store does when it is opened on data that is not as it left it: refuse and say where, or carry on where nothing is
//! lost. Nothing is ever lost silently.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod store_support;

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use httpmq::{
    block::{Damage, RECORD_BYTES},
    data_dir::{DataDir, DataDirError},
    engine::{Batch, Durability, Engine, memory::MemoryEngine},
    key::{self, Key},
    message::{Message, Source},
    ring::Kind,
    store::{Store, local::OpenError},
};
use store_support::{body, copy_dir, copy_of, get, message, open_in, open_on, options, put, records, run};

/// A message of this length is stored in several records.
const LARGE: usize = 40_000;
/// One of this length in a record of its own: it is too large to be joined with others.
const ALONE: usize = 1_200;

fn memory() -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::default())
}

fn change(engine: &dyn Engine, puts: &[(Key, Bytes)], removes: &[Key]) {
    let batch = Batch { puts: puts.to_vec(), removes: removes.to_vec(), ..Batch::default() };
    engine.commit(&batch, Durability::Disk).unwrap();
}

/// Queue "q" has the positions 0 to 9, a block each; 4 is large; 0 and 1 were got. Queue "r" has one message.
async fn stored() -> Arc<dyn Engine> {
    let engine = memory();
    let store = open_on(&engine, options(100, 0)).unwrap();
    for number in 0..10 {
        put(&store, "q", body(number, if number == 4 { LARGE } else { ALONE })).await;
    }
    put(&store, "r", body(0, 30)).await;
    assert!(get(&store, "q").await.is_some() && get(&store, "q").await.is_some());
    store.close().unwrap();
    engine
}

fn record(engine: &dyn Engine, key: Key) -> (Key, Bytes) {
    (key, engine.get(&key).unwrap().expect("the test asks for a record that is there"))
}

/// Opening refuses and leaves everything as it was; gives the reason.
fn refused(engine: &Arc<dyn Engine>) -> String {
    let before = records(&**engine);
    let error = match open_on(engine, options(100, 0)) {
        Ok(_) => panic!("opened, although something is wrong"),
        Err(error) => error.to_string(),
    };
    assert!(records(&**engine) == before, "the data was changed");
    assert!(error.contains("nothing was changed"), "{error}");
    error
}

fn refused_at(engine: &Arc<dyn Engine>, position: u64) {
    let error = refused(engine);
    assert!(error.contains(&format!("queue \"q\", position {position}:")), "{error}");
}

// ===== messages =====

#[test]
fn a_missing_block_is_named() {
    run(async {
        for position in [2, 3, 5, 8, 9] {
            let engine = stored().await;
            change(&*engine, &[], &[key::block(0, 0, position, 0)]);
            refused_at(&engine, position);
        }
    });
}

#[test]
fn a_missing_part_of_a_large_message_is_named() {
    run(async {
        for part in 0..3 {
            let engine = stored().await;
            let part = record(&*engine, key::block(0, 0, 4, part));
            change(&*engine, &[], &[part.0]);
            refused_at(&engine, 4);
        }
    });
}

#[test]
fn two_large_messages_with_half_of_each_missing_are_not_one() {
    run(async {
        let engine = memory();
        let store = open_on(&engine, options(100, 0)).unwrap();
        put(&store, "q", body(0, 20_000)).await;
        put(&store, "q", body(1, 20_000)).await;
        store.close().unwrap();
        change(&*engine, &[], &[key::block(0, 0, 0, 1), key::block(0, 0, 1, 0)]);
        refused_at(&engine, 0);
    });
}

#[test]
fn a_damaged_record_is_named() {
    run(async {
        for (position, part) in [(2, 0), (4, 1), (9, 0)] {
            let engine = stored().await;
            let (key, whole) = record(&*engine, key::block(0, 0, position, part));
            let mut flipped = whole.to_vec();
            flipped[whole.len() / 2] ^= 1;
            for damaged in [flipped.into(), whole.slice(..whole.len() - 1), Bytes::new()] {
                let engine = copy_of(&*engine);
                change(&*engine, &[(key, damaged)], &[]);
                refused_at(&engine, position);
            }
        }
    });
}

#[test]
fn a_record_in_the_place_of_another_is_named() {
    run(async {
        let engine = stored().await;
        let others = [key::block(0, 0, 3, 0), key::block(0, 0, 4, 1), key::block(1, 0, 0, 0), key::queue(0)];
        for other in others {
            let engine = copy_of(&*engine);
            change(&*engine, &[(key::block(0, 0, 2, 0), record(&*engine, other).1)], &[]);
            refused_at(&engine, 2);
        }
        let ahead = record(&*engine, key::block(0, 0, 9, 0));
        change(&*engine, &[(key::block(0, 1, 9, 0), ahead.1)], &[ahead.0]);
        refused_at(&engine, 9);
    });
}

#[test]
fn a_block_of_an_epoch_to_come_is_refused() {
    run(async {
        let (engine, reset) = (memory(), memory());
        let stores = [&engine, &reset].map(|engine| open_on(engine, options(100, 0)).unwrap());
        put(&stores[1], "q", "1").await;
        assert!(stores[1].reset("q").await.unwrap());
        for store in &stores {
            for number in 0..4 {
                put(store, "q", body(number, ALONE)).await;
            }
            store.close().unwrap();
        }
        // The state says epoch 0 with four messages; the last two are in the epoch after it.
        for first in [2, 3] {
            let newer = (key::block(0, 1, first, 0), record(&*reset, key::block(0, 1, first, 0)).1);
            change(&*engine, &[newer], &[key::block(0, 0, first, 0)]);
        }
        refused(&engine);
    });
}

// ===== states =====

#[test]
fn the_state_of_a_queue_is_checked() {
    run(async {
        let engine = stored().await;
        let (key, state) = record(&*engine, key::queue(0));
        let mut flipped = state.to_vec();
        flipped[12] ^= 1;
        for damaged in [flipped.into(), state.slice(..20), Bytes::new()] {
            let engine = copy_of(&*engine);
            change(&*engine, &[(key, damaged)], &[]);
            assert!(refused(&engine).contains("state of a queue"));
        }
        change(&*engine, &[], &[key]);
        assert!(refused(&engine).contains("unknown queue"));
    });
}

#[test]
fn the_state_of_one_queue_in_the_place_of_another_is_refused() {
    run(async {
        let engine = memory();
        let store = open_on(&engine, options(100, 0)).unwrap();
        put(&store, "secrets", "1").await;
        put(&store, "public", "2").await;
        store.close().unwrap();
        let (secrets, public) = (record(&*engine, key::queue(0)), record(&*engine, key::queue(1)));
        for puts in [vec![(secrets.0, public.1.clone()), (public.0, secrets.1)], vec![(secrets.0, public.1)]] {
            let engine = copy_of(&*engine);
            change(&*engine, &puts, &[]);
            refused(&engine);
        }
    });
}

#[test]
fn the_commit_number_is_checked() {
    run(async {
        let engine = stored().await;
        let number = record(&*engine, key::commit()).1;
        for at in 0..number.len() {
            let mut flipped = number.to_vec();
            flipped[at] ^= 0x80;
            let engine = copy_of(&*engine);
            change(&*engine, &[(key::commit(), flipped.into())], &[]);
            assert!(refused(&engine).contains("commit number"));
        }
        change(&*engine, &[(key::commit(), number.slice(..3))], &[]);
        assert!(refused(&engine).contains("commit number"));
    });
}

// ===== leftovers =====

#[test]
fn what_is_below_the_floor_or_before_a_reset_may_be_there_or_not() {
    run(async {
        let engine = memory();
        let store = open_on(&engine, options(100, 0)).unwrap();
        for number in 0..4 {
            put(&store, "q", body(number, LARGE)).await;
        }
        store.close().unwrap();
        let blocks: Vec<_> = records(&*engine).into_iter().filter(|(key, _)| key::all_blocks().contains(key)).collect();
        let store = open_on(&engine, options(100, 0)).unwrap();
        for _ in 0..3 {
            get(&store, "q").await.unwrap();
        }
        store.close().unwrap();

        // A clean-up that was cut short leaves any of these, also a part of a message.
        for left in [0..9, 2..9, 0..5, 5..6, 8..9] {
            let engine = copy_of(&*engine);
            change(&*engine, &blocks[left], &[]);
            is_read_and_cleaned_up(&engine, 3).await;
        }
        let store = open_on(&engine, options(100, 0)).unwrap();
        store.reset("q").await.unwrap();
        put(&store, "q", body(9, 30)).await;
        store.close().unwrap();
        change(&*engine, &blocks[1..2], &[]);
        is_read_and_cleaned_up(&engine, 9).await;
    });
}

#[test]
fn a_topic_that_became_a_work_queue_stays_one_also_when_it_was_empty() {
    run(async {
        let engine = memory();
        let store = open_on(&engine, options(100, 2)).unwrap();
        let published = Message { source: Source::Connection([7; 16]), ..message(body(0, 30)) };
        store.put("q", published.clone(), |_| ()).await.unwrap();
        store.reset("q").await.unwrap();
        assert_eq!(store.status("q").await.unwrap().unwrap().kind, Kind::Topic);
        assert_eq!(get(&store, "q").await, None);

        // The process dies now.
        let store = open_on(&copy_of(&*engine), options(100, 2)).unwrap();
        assert_eq!(store.status("q").await.unwrap().unwrap().kind, Kind::Work);
        for _ in 0..5 {
            store.put("q", published.clone(), |_| ()).await.unwrap();
        }
        assert_eq!(store.status("q").await.unwrap().unwrap().unread, 5, "a work queue keeps them all");
    });
}

/// One unread message is left, whose number this is; nothing but the state remains when it was read.
async fn is_read_and_cleaned_up(engine: &Arc<dyn Engine>, number: u64) {
    let store = open_on(engine, options(100, 0)).unwrap();
    let length = if number == 3 { LARGE } else { 30 };
    assert_eq!(get(&store, "q").await, Some(body(number, length)));
    put(&store, "q", "1").await;
    assert_eq!(get(&store, "q").await, Some("1".into()));
    for _ in 0..1000 {
        if records(&**engine).len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(records(&**engine).len(), 2);
    store.close().unwrap();
}

/// More records may be removed than one commit does: wherever that stops, the store opens.
#[test]
fn large_messages_that_are_forgotten_step_by_step_do_not_stop_the_next_start() {
    run(async {
        let engine = memory();
        let store = open_on(&engine, options(100, 400)).unwrap();
        for number in 0..300 {
            put(&store, "q", body(number, 4 * RECORD_BYTES)).await;
            get(&store, "q").await.unwrap();
        }
        store.close().unwrap();
        assert!(records(&*engine).len() > 300 * 4, "the history has them");

        let store = open_on(&engine, options(100, 0)).unwrap();
        for number in 0..4 {
            put(&store, "q", body(number, 30)).await;
            let died = copy_of(&*engine);
            let after = open_on(&died, options(100, 0)).unwrap();
            assert_eq!(after.status("q").await.unwrap().unwrap().unread, number + 1);
            after.close().unwrap();
        }
        store.close().unwrap();
        assert!(records(&*engine).len() < 10);
    });
}

// ===== sled's files =====

/// A data directory with 60 messages, some large, of which 10 were got.
async fn filled(path: &Path) {
    let store = open_in(path, options(100, 0)).unwrap();
    for number in 0..60 {
        put(&store, "q", body(number, if number % 7 == 0 { LARGE } else { 200 })).await;
    }
    for _ in 0..10 {
        get(&store, "q").await.unwrap();
    }
    store.close().unwrap();
}

/// Opening is refused, or nothing at all is missing. It never panics.
async fn is_refused_or_whole(path: &Path, what: &str) -> bool {
    let path = path.to_owned();
    let opened = catch_unwind(AssertUnwindSafe(|| open_in(&path, options(100, 0))));
    let Ok(store) = opened.unwrap_or_else(|_| panic!("{what}: opening panicked")) else { return false };
    for number in 10..60 {
        let expected = body(number, if number % 7 == 0 { LARGE } else { 200 });
        assert_eq!(get(&store, "q").await, Some(expected), "{what}: silently lost message {number}");
    }
    assert_eq!(get(&store, "q").await, None, "{what}");
    store.close().unwrap();
    true
}

#[test]
fn damage_in_the_files_of_sled_is_refused_or_harmless() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let whole = root.path().join("whole");
        filled(&whole).await;
        assert!(is_refused_or_whole(&copied(&whole), "no damage").await);
        let mut refusals = 0;
        for (file, place, damage) in damages(&whole.join("sled")) {
            let copy = copied(&whole);
            let path = copy.join("sled").join(file);
            let opened = fs::File::options().write(true).open(&path).unwrap();
            match damage {
                Some(bytes) => opened.write_all_at(&bytes, place).unwrap(),
                None => opened.set_len(place).unwrap(),
            }
            let what = format!("{file} at {place}");
            refusals += usize::from(!is_refused_or_whole(&copy, &what).await);
        }
        assert!(refusals > 10, "only {refusals} refusals: the damage misses the data");
    });
}

/// File, place, and what is written there (or the file cut there).
fn damages(sled: &Path) -> Vec<(&'static str, u64, Option<Vec<u8>>)> {
    let mut damages = Vec::new();
    let conf = fs::metadata(sled.join("conf")).unwrap().len();
    for place in (0..conf).step_by(3) {
        damages.push(("conf", place, Some(vec![0xa5])));
    }
    for place in [0, 3, 8, conf / 2, conf - 1] {
        damages.push(("conf", place, None));
    }
    let db = fs::read(sled.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    for sixteenth in 0..16 {
        let place = used * sixteenth / 16 + sixteenth;
        let there = db[usize::try_from(place).unwrap()];
        damages.push(("db", place, Some(vec![!there])));
        if sixteenth % 4 == 1 {
            damages.push(("db", place, Some(vec![0; 5000])));
            damages.push(("db", place, Some(b"garbage ".repeat(600))));
            damages.push(("db", place, None));
        }
    }
    damages.push(("db", 0, None));
    damages
}

fn copied(whole: &Path) -> std::path::PathBuf {
    let copy = whole.with_file_name("copy");
    if copy.exists() {
        fs::remove_dir_all(&copy).unwrap();
    }
    copy_dir(whole, &copy);
    copy
}

#[test]
fn sled_rolled_back_to_an_older_copy_is_refused() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let (path, older) = (root.path().join("data"), root.path().join("older"));
        filled(&path).await;
        copy_dir(&path.join("sled"), &older);
        let store = open_in(&path, options(100, 0)).unwrap();
        put(&store, "q", "1").await;
        store.close().unwrap();
        drop(store);
        fs::remove_dir_all(path.join("sled")).unwrap();
        copy_dir(&older, &path.join("sled"));
        match open_in(&path, options(100, 0)) {
            Err(OpenError::RolledBack { found, promised }) => assert_eq!(promised - found, 1),
            other => panic!("{:?}", other.map(|_| "opened")),
        }
        fs::remove_dir_all(path.join("sled")).unwrap();
        assert!(matches!(open_in(&path, options(100, 0)), Err(OpenError::RolledBack { found: 0, .. })), "all is gone");
    });
}

// ===== the directory =====

#[test]
fn a_directory_that_is_not_ours_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(DataDir::open(root.path(), "sled"), Err(DataDirError::Foreign(_))));
    assert_eq!(fs::metadata(root.path()).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

/// The type of the reason is part of what a caller can rely on.
#[test]
fn damage_is_told_apart() {
    run(async {
        let engine = stored().await;
        change(&*engine, &[], &[key::block(0, 0, 5, 0)]);
        let error = open_on(&engine, options(100, 0)).err().unwrap();
        assert!(matches!(error, OpenError::Damaged { position: 5, damage: Damage::Missing, .. }), "{error}");
    });
}
