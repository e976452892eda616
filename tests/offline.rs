//! `httpmq export`, `import` and `repair` as an operator uses them: the real program, on directories that a real daemon left.
//!
//! Goal: what is exported is all there is and comes back the same; a broken input leaves nothing; a repair destroys nothing,
//! saves what is whole at the positions that it had, names what is lost, and the daemon starts afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // The figures.

mod common;
mod store_support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Daemon, Random, Setup, forget_log};
use httpmq::engine::{Batch, Durability, Engine};
use httpmq::key::{self, Key};
use rustix::process::Signal;
use store_support::{copy_dir, open_sled};
use tempfile::TempDir;

/// How many messages queue "q" gets, and how many of them are got again. Every seventh is stored in several records.
const MESSAGES: u64 = 40;
const GOT: u64 = 12;
/// What a queue remembers of what was got, by default.
const HISTORY: u64 = 10;

struct Outcome {
    code: i32,
    out: Vec<u8>,
    err: String,
}

fn httpmq(dir: &Path, words: &str, input: &[u8]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words.split_whitespace()).current_dir(dir).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end without having read all.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    Outcome { code: done.status.code().unwrap_or_else(|| panic!("killed: {err}")), out: done.stdout, err }
}

/// The text of the message with a number. Each is in a record of its own, or in several: small ones would be joined, but for
/// those that came before the log was there.
fn text(number: u64) -> String {
    let length = if number.is_multiple_of(7) { 40_000 } else { 1_200 };
    format!("{{\"n\": {number}, \"é\":\"{}\"}}", "x".repeat(length))
}

/// A directory whose `data` a daemon left: queue "q", a topic "news", and an empty queue.
fn filled() -> TempDir {
    filled_with("sled")
}

fn filled_with(engine: &str) -> TempDir {
    let daemon = Daemon::start(|setup| {
        setup.set("STORE_ENGINE", engine);
    });
    let mut client = daemon.connect();
    for number in 0..MESSAGES {
        assert_eq!(client.put("q", &text(number)), number);
    }
    for number in 0..GOT {
        assert_eq!(client.take("q"), Some(text(number)));
    }
    client.put("empty", "[1,\n2]");
    assert_eq!(client.take("empty").as_deref(), Some("[1,\n2]"));
    daemon.wire().publish("news", r#"{"sky":"clear"}"#);
    daemon.stop(Signal::TERM).dir
}

fn start(dir: TempDir) -> Daemon {
    Daemon::start_in(dir, Setup::default()).unwrap_or_else(|ended| panic!("{}", ended.lines.join("\n")))
}

/// Every file below a directory with its bytes, but those that a lock or a start may write.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(name, bytes)| (path.join(name), bytes)));
        } else if !path.ends_with("LOCK") {
            found.insert(path.file_name().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    found.into_iter().map(|(path, bytes)| (path.strip_prefix(dir).map(Path::to_owned).unwrap_or(path), bytes)).collect()
}

/// What stands in a directory beside `data` and the configuration of the tests.
fn beside_data(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "data" && name != "httpmq.toml").collect();
    names.sort();
    names
}

// ===== export and import =====

#[test]
fn an_export_comes_back_byte_for_byte_and_is_served() {
    let dir = filled();
    let first = httpmq(dir.path(), "export --data-dir data", b"");
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("3 queues with "), "{}", first.err);
    let imported = httpmq(dir.path(), "import --data-dir copy", &first.out);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let second = httpmq(dir.path(), "export --data-dir copy", b"");
    assert!(
        second.out == first.out,
        "{}\n{}",
        String::from_utf8_lossy(&first.out),
        String::from_utf8_lossy(&second.out)
    );
    assert_eq!(beside_data(dir.path()), ["copy"]);

    let status = |daemon: &Daemon| ["q", "news", "empty"].map(|queue| daemon.connect().status(queue));
    let copied = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("copy"), &copied.path().join("data"));
    let (original, copy) = (start(dir), start(copied));
    assert_eq!(status(&original), status(&copy));
    let mut client = copy.connect();
    for number in GOT..MESSAGES {
        assert_eq!(client.take("q"), Some(text(number)));
    }
    assert_eq!((client.take("q"), client.put("q", "1")), (None, MESSAGES));
}

#[test]
fn single_queues_can_be_exported() {
    let dir = filled();
    let done = httpmq(dir.path(), "export --data-dir data news", b"");
    let lines: Vec<&str> = std::str::from_utf8(&done.out).unwrap().lines().collect();
    assert_eq!((done.code, lines.len()), (0, 4), "{lines:?}");
    assert!(lines[1].starts_with(r#"{"queue":"news","kind":"topic","#), "{lines:?}");
    assert!(lines[2].ends_with(r#""data":{"sky":"clear"}}"#) && !lines[2].contains(r#""source":"http""#), "{lines:?}");
    let done = httpmq(dir.path(), "export --data-dir data news nobody", b"");
    assert_eq!((done.code, done.out.len()), (3, 0), "{}", done.err);
}

#[test]
fn a_broken_import_leaves_nothing_behind() {
    let dir = filled();
    let export = httpmq(dir.path(), "export --data-dir data", b"").out;
    let mut random = Random::from_env("HTTPMQ_SEED");
    for round in 0..12 {
        let at = usize::try_from(random.below(export.len() as u64)).unwrap();
        let mut wrong = export.clone();
        if round % 2 == 0 {
            wrong.truncate(at);
        } else {
            wrong[at] ^= 1;
        }
        let done = httpmq(dir.path(), "import --data-dir copy", &wrong);
        assert_eq!(done.code, 2, "{}", done.err);
        assert!(done.err.contains("line ") && done.err.contains("nothing was imported"), "{}", done.err);
        assert_eq!(beside_data(dir.path()), [""; 0], "byte {at}");
    }
    let done = httpmq(dir.path(), "import --data-dir data", &export);
    assert!(done.code == 2 && done.err.contains("not empty"), "{}", done.err);
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert_eq!(httpmq(dir.path(), "import --data-dir empty", &export).code, 0, "an empty directory will do");
}

#[test]
fn settings_that_differ_are_told_as_they_stand_in_the_file() {
    let dir = filled();
    fs::write(dir.path().join("httpmq.toml"), "[queues.q]\nmax_len = 50\n").unwrap();
    let export = httpmq(dir.path(), "export --data-dir data q", b"").out;
    fs::write(dir.path().join("httpmq.toml"), "").unwrap();
    let done = httpmq(dir.path(), "import --data-dir copy", &export);
    assert!(done.err.contains("[queues.\"q\"]\nmax_len = 50\nhistory = 10"), "{}", done.err);
}

#[test]
fn a_directory_that_a_daemon_uses_is_left_alone() {
    let daemon = Daemon::start(|_| {});
    daemon.connect().put("q", "1");
    let dir = daemon.data_dir();
    for words in ["export", "repair"] {
        let done = httpmq(dir.parent().unwrap(), &format!("{words} --data-dir data"), b"");
        assert!(done.code == 2 && done.err.contains("in use by another httpmq"), "{words}: {}", done.err);
    }
    assert_eq!(beside_data(dir.parent().unwrap()), [""; 0]);
    let nothing = tempfile::tempdir().unwrap();
    for words in ["export", "repair"] {
        assert_eq!(httpmq(nothing.path(), &format!("{words} --data-dir data"), b"").code, 2);
        assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "{words} makes no directory");
    }
}

// ===== repair =====

/// Changes the records of queue "q" in `data`, which sled has in perfect order afterwards.
fn change(dir: &Path, puts: &[(Key, Vec<u8>)], removes: &[Key]) {
    let engine = open_sled(&dir.join("data/sled")).unwrap();
    let puts = puts.iter().map(|(key, record)| (*key, record.clone().into())).collect();
    engine.commit(&Batch { puts, removes: removes.to_vec(), ..Batch::default() }, Durability::Disk).unwrap();
}

fn record(dir: &Path, key: &Key) -> Vec<u8> {
    open_sled(&dir.join("data/sled")).unwrap().get(key).unwrap().expect("the record is there").to_vec()
}

/// The daemon refuses and names the way out; the repair keeps the damaged directory as it was. Gives what it says.
fn repaired(dir: TempDir, code: i32) -> (TempDir, Outcome) {
    let refused = Daemon::start_in(dir, Setup::default()).map(drop).expect_err("it starts on a damaged directory");
    assert_eq!(refused.code(), Some(2));
    assert!(refused.said("httpmq repair"), "{}", refused.lines.join("\n"));
    let dir = refused.dir;
    let before = files(&dir.path().join("data"));
    let done = httpmq(dir.path(), "repair --data-dir data", b"");
    assert_eq!(done.code, code, "{}{}", String::from_utf8_lossy(&done.out), done.err);
    let aside = beside_data(dir.path());
    assert!(aside.len() == 1 && aside[0].starts_with("data.damaged-"), "{aside:?}");
    assert!(files(&dir.path().join(&aside[0])) == before, "the damaged directory was changed");
    assert!(std::str::from_utf8(&done.out).unwrap().contains(&aside[0]), "it says where that is");
    (dir, done)
}

/// What queue "q" still gives, by position, after everything was got.
fn drained(dir: TempDir) -> BTreeMap<u64, String> {
    let daemon = start(dir);
    let mut client = daemon.connect();
    let status = client.status("q").unwrap();
    let mut found = BTreeMap::new();
    while let Some(text) = client.take("q") {
        let position = client.status("q").unwrap()["get_pos"].as_u64().unwrap() - 1;
        found.insert(position, text);
    }
    assert_eq!(status["unread"], found.len());
    assert_eq!(client.put("q", "1"), status["put_pos"].as_u64().unwrap());
    assert_eq!(client.take("q").as_deref(), Some("1"));
    found
}

fn all_but(lost: impl IntoIterator<Item = u64>) -> BTreeMap<u64, String> {
    let mut all: BTreeMap<u64, String> = (GOT..MESSAGES).map(|number| (number, text(number))).collect();
    lost.into_iter().for_each(|number| drop(all.remove(&number)));
    all
}

#[test]
fn a_whole_directory_is_not_touched_by_a_repair() {
    let dir = filled();
    let before = files(&dir.path().join("data"));
    let done = httpmq(dir.path(), "repair --data-dir data", b"");
    assert!(done.code == 0 && done.out.starts_with(b"nothing is wrong"), "{}", done.err);
    assert!(files(&dir.path().join("data")) == before && beside_data(dir.path()).is_empty());
}

#[test]
fn damaged_and_missing_messages_are_named_and_the_others_stay_where_they_were() {
    let dir = filled();
    let mut flipped = record(dir.path(), &key::block(0, 0, 20, 0));
    flipped[40] ^= 1;
    let removes = [14, 15, 39].map(|first| key::block(0, 0, first, 0));
    // One of several records of a large message.
    let part = key::block(0, 0, 28, 1);
    change(dir.path(), &[(key::block(0, 0, 20, 0), flipped)], &[removes[0], removes[1], removes[2], part]);
    let (dir, done) = repaired(dir, 7);
    for line in [
        "lost: queue \"q\", positions 14 to 15 (2 of its messages): a record is missing",
        "lost: queue \"q\", position 20 (1 of its messages): a record's check sum is wrong",
        "lost: queue \"q\", position 28 (1 of its messages): a record is missing",
        "lost: queue \"q\", position 39 (1 of its messages): a record is missing",
    ] {
        assert!(done.err.contains(line), "{}", done.err);
    }
    assert!(std::str::from_utf8(&done.out).unwrap().contains("5 messages are lost"));
    let export = httpmq(dir.path(), "export --data-dir data", b"");
    assert!(String::from_utf8_lossy(&export.out).contains(r#""lost":[[14,16],[20,21],[28,29],[39,40]]"#));
    assert_eq!(httpmq(dir.path(), "import --data-dir copy", &export.out).code, 0);
    assert!(httpmq(dir.path(), "export --data-dir copy", b"").out == export.out);
    assert_eq!(drained(dir), all_but([14, 15, 20, 28, 39]));
}

#[test]
fn a_view_and_the_history_pass_over_what_is_lost() {
    let dir = filled();
    change(dir.path(), &[], &[key::block(0, 0, 36, 0)]);
    let (dir, _) = repaired(dir, 7);
    let daemon = start(dir);
    let view = |position| daemon.connect().ask(common::get(&format!("/view/?name=q&position={position}"))).message();
    assert_eq!([view(36), view(37)], ["HTTPMQ_FAILED", "HTTPMQ_SUCCEED"]);
    let mut wire = daemon.wire();
    wire.command(r#"{"coremq_gethistory":"q"}"#);
    let answer = wire.next().json;
    assert_eq!(answer.matches("\"n\":").count() as u64, 2 * (HISTORY - 1), "under both keys");
}

#[test]
fn a_queue_without_its_state_is_made_anew_out_of_its_messages() {
    for damaged in [true, false] {
        let dir = filled();
        let mut state = record(dir.path(), &key::queue(0));
        state[12] ^= 1;
        match damaged {
            true => change(dir.path(), &[(key::queue(0), state)], &[]),
            false => change(dir.path(), &[], &[key::queue(0)]),
        }
        let (dir, done) = repaired(dir, 7);
        let name = if damaged { "q" } else { "repaired-0" };
        assert!(done.err.contains(&format!("queue {name:?} (id 0): the record with its name")), "{}", done.err);
        let daemon = start(dir);
        let mut client = daemon.connect();
        let found: Vec<String> = std::iter::from_fn(|| client.take(name)).collect();
        // Nobody knows how far the reader was, so what was kept of the messages that were got comes again.
        let unread: Vec<String> = (GOT..MESSAGES).map(text).collect();
        assert!(found.ends_with(&unread) && found.len() as u64 <= MESSAGES - GOT + HISTORY, "{} messages", found.len());
        assert_eq!((client.take(name), client.put(name, "1")), (None, MESSAGES));
    }
}

#[test]
fn damage_beside_the_messages_costs_nothing() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("the format", |dir| fs::write(dir.join("data/FORMAT"), "httqmp 1 slad\n").unwrap()),
        ("no format", |dir| fs::remove_file(dir.join("data/FORMAT")).unwrap()),
        ("the mark", |dir| fs::write(dir.join("data/COMMIT"), [7; 12]).unwrap()),
        ("the number", |dir| change(dir, &[(key::commit(), vec![7; 12])], &[])),
        ("sled's settings", |dir| fs::write(dir.join("data/sled/conf"), [0xa5; 60]).unwrap()),
    ];
    for (what, harm) in harms {
        let dir = filled();
        println!("damage: {what}");
        harm(dir.path());
        let (dir, done) = repaired(dir, 0);
        assert!(std::str::from_utf8(&done.out).unwrap().contains("nothing is lost"), "{what}");
        assert_eq!(drained(dir), all_but([]), "{what}");
    }
}

#[test]
fn lost_commits_are_told_and_the_rest_is_saved() {
    let dir = filled();
    let mut mark = fs::read(dir.path().join("data/COMMIT")).unwrap();
    let number = u64::from_be_bytes(mark[..8].try_into().unwrap()) + 3;
    mark = httpmq::state::encode_commit(number).to_vec();
    fs::write(dir.path().join("data/COMMIT"), mark).unwrap();
    let (dir, done) = repaired(dir, 7);
    assert!(done.err.contains("the last 3 commits are lost"), "{}", done.err);
    assert_eq!(drained(dir), all_but([]));
}

#[test]
fn what_no_engine_opens_is_left_as_it_is() {
    let dir = filled();
    fs::remove_file(dir.path().join("data/sled/db")).unwrap();
    fs::create_dir(dir.path().join("data/sled/db")).unwrap();
    let before = files(&dir.path().join("data"));
    let done = httpmq(dir.path(), "repair --data-dir data", b"");
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("nothing can be saved") && done.err.contains("left as it is"), "{}", done.err);
    assert!(files(&dir.path().join("data")) == before && beside_data(dir.path()).is_empty());
}

/// Damage in the files themselves, wherever it hits. What the daemon does not start on, a repair brings back without anything
/// invented, moved or lost unsaid; or it says that it cannot and leaves everything as it is.
#[test]
fn a_repair_of_damaged_files_never_hides_a_loss() {
    let (repaired, _) = repairs("sled", "sled/db", 24);
    assert!(repaired >= 8, "{repaired} repaired");
}

#[test]
fn a_repair_of_damaged_files_of_fjall_never_hides_a_loss() {
    let (repaired, _) = repairs("fjall", "fjall/0.jnl", 12);
    assert!(repaired >= 6, "{repaired} repaired");
}

/// What sled makes of a wrong byte is a log that ends there, without a word. What it forgets is still in the log of commits.
#[test]
fn what_a_damaged_engine_forgot_comes_back_from_the_log_of_commits() {
    let dir = filled();
    let path = dir.path().join("data/sled/db");
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for at in [used / 2, used - used / 8, used] {
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(drained(dir), all_but([]));
}

/// Damages a file of an engine at so many places, one after the other; gives how often a repair was done, and how often it could not.
fn repairs(engine: &str, file: &str, steps: u64) -> (usize, usize) {
    let whole = filled_with(engine);
    forget_log(&whole.path().join("data"), engine);
    let setup = || {
        let mut setup = Setup::default();
        setup.set("STORE_ENGINE", engine);
        setup
    };
    let bytes = fs::read(whole.path().join("data").join(file)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (mut repaired, mut hopeless, mut saved) = (0, 0, 0);
    for step in 0..steps {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&whole.path().join("data"), &dir.path().join("data"));
        let damaged = fs::File::options().write(true).open(dir.path().join("data").join(file)).unwrap();
        let place = used * step / steps + step;
        match step % 3 {
            0 => damaged.write_all_at(&[!bytes[usize::try_from(place).unwrap()]], place).unwrap(),
            1 => damaged.write_all_at(&[0xa5; 600], place).unwrap(),
            _ => damaged.set_len(place).unwrap(),
        }
        let refused = match Daemon::start_in(dir, setup()) {
            Ok(daemon) => {
                drop(daemon);
                continue;
            }
            Err(refused) => refused,
        };
        let dir = refused.dir;
        let done = httpmq(dir.path(), "repair --data-dir data", b"");
        let what = format!("step {step}: {}{}", String::from_utf8_lossy(&done.out), done.err);
        if done.code == 2 {
            hopeless += 1;
            assert_eq!(beside_data(dir.path()), [""; 0], "{what}");
            continue;
        }
        repaired += 1;
        let export = httpmq(dir.path(), "export --data-dir data", b"");
        assert_eq!(export.code, 0, "{what}{}", export.err);
        let lines = String::from_utf8(export.out).unwrap();
        let found: Vec<(u64, String)> = lines.lines().filter_map(message_of_q).collect();
        assert!(found.iter().all(|(position, data)| *data == text(*position)), "{what}: moved or invented");
        let unread = found.iter().filter(|(position, _)| *position >= GOT).count() as u64;
        assert!(done.code == 7 || unread == MESSAGES - GOT, "{what}: {unread} unread, and nothing is said to be lost");
        saved += unread;
        drop(Daemon::start_in(dir, setup()).unwrap_or_else(|ended| panic!("{what}{}", ended.lines.join("\n"))));
    }
    println!("{engine}: {repaired} repaired with {saved} unread messages, {hopeless} hopeless");
    (repaired, hopeless)
}

/// With this byte wrong, fjall panics, and panics again while it cleans up, which would end in an abort.
#[test]
fn damage_that_an_engine_panics_twice_at_is_refused_in_order() {
    let dir = filled_with("fjall");
    let tables = dir.path().join("data/fjall/keyspaces/1");
    let names = fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap().path());
    let is_version = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('v');
    let versions: Vec<PathBuf> = names.filter(is_version).collect();
    assert!(!versions.is_empty());
    for path in versions {
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1 << 4;
        fs::write(path, bytes).unwrap();
    }
    let mut setup = Setup::default();
    setup.set("STORE_ENGINE", "fjall");
    let Err(refused) = Daemon::start_in(dir, setup) else { panic!("it starts") };
    assert_eq!(refused.code(), Some(2), "{}", refused.lines.join("\n"));
    assert!(
        refused.said("cannot open the store: open: it gave up: ") && !refused.said("panicked"),
        "{:?}",
        refused.lines
    );
    let done = httpmq(refused.dir.path(), "repair --data-dir data", b"");
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(!done.err.contains("panicked"), "{}", done.err);
}

/// Position and text of a line with a message of queue "q".
fn message_of_q(line: &str) -> Option<(u64, String)> {
    let (head, data) = line.split_once(r#","data":"#)?;
    let data = data.strip_suffix('}')?;
    let position = head.split_once(r#""position":"#)?.1.split(',').next()?.parse().ok()?;
    data.starts_with(r#"{"n": "#).then(|| (position, data.to_owned()))
}
