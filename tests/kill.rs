//! SIGKILL, again and again, under everything that clients do. Goal: what was promised is there, and nothing else is.
//!
//! Method: producers, consumers and a queue that is reset work on the real daemon until it is killed; a ledger in this process
//! holds what each of them was told, and is compared with the positions after every start and with all that is found at the
//! end. A quarter of the kills hit the daemon while it starts. `HTTPMQ_KILLS` sets how many there are, `HTTPMQ_SEED` plays the
//! same sizes and times again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // The figures are a part of what the test gives.

mod common;
mod kill_load;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Ended, Ledger, Message, Outcome, Positions, Random, Verdict};
use kill_load::Load;

const KILLS: u64 = 25;
/// With the engines that are not the default, and with the modes that do not wait for the disk, which a kill does not tell apart
/// from the default.
const FEWER_KILLS: u64 = 8;
/// What an operator is promised about a start. Of a processor, none may use more; by the clock, the fastest of them must be
/// within it, because others use this machine too.
const READY: Duration = Duration::from_secs(1);

#[test]
fn nothing_acknowledged_is_lost_in_a_kill() {
    torture("sled", "always", variable("HTTPMQ_KILLS").unwrap_or(KILLS));
}

#[test]
fn nothing_acknowledged_is_lost_in_a_kill_with_fjall() {
    torture("fjall", "always", variable("HTTPMQ_KILLS").unwrap_or(FEWER_KILLS));
}

#[test]
fn nothing_acknowledged_is_lost_in_a_kill_with_fjall_and_sync_never() {
    torture("fjall", "never", FEWER_KILLS);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_kill_with_sync_interval() {
    torture("sled", "interval", FEWER_KILLS);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_kill_with_sync_never() {
    torture("sled", "never", FEWER_KILLS);
}

/// Times are measured here: one at a time.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn torture(engine: &str, sync: &str, kills: u64) {
    let _turn = one_at_a_time();
    let mut random = Random::from_env("HTTPMQ_SEED");
    let mut load = Load::new(random.fork());
    let mut ledger = Ledger::default();
    let mut starts = Vec::new();
    let mut ended = Ended::never_started(|setup| {
        setup.set("STORE_ENGINE", engine).set("STORE_SYNC", sync).set("STORE_SYNC_INTERVAL_MS", 50);
    });
    for kill in 0..kills {
        // Two in a row: what the first leaves half done is what the second finds.
        if kill % 8 < 2 {
            ended = ended.start_and_kill(Duration::from_micros(random.below(50_000)));
            continue;
        }
        let daemon = ended.start_again();
        starts.push((daemon.ready_after, daemon.process().cpu_s()));
        if starts.len() == 1 {
            load.begin(&daemon, &mut ledger);
        }
        load.check(&daemon, &mut ledger);
        ended = load.until_kill(daemon, Duration::from_micros(random.below(400_000)), &mut ledger);
    }
    let daemon = ended.start_again();
    starts.push((daemon.ready_after, daemon.process().cpu_s()));
    load.check(&daemon, &mut ledger);
    let drained = kill_load::drain(&daemon, &mut ledger);
    let (acknowledged, got, taken) = ledger.volume();
    let verdict = ledger.close();
    println!("engine {engine}, sync {sync}, {kills} kills: {verdict}");
    println!(
        "  {acknowledged} acknowledged, {got} got ({drained} of them at the end), {taken} went with gets in doubt"
    );
    assert!(verdict.is_clean());
    check_starts(starts);
    assert!(acknowledged > 0 && drained > 0, "there was something to lose");
}

/// Each with the time that it took, and with the processor time in seconds.
fn check_starts(mut starts: Vec<(Duration, f64)>) {
    starts.sort_unstable_by_key(|(time, _)| *time);
    let (middle, last) = (starts[starts.len() / 2].0, starts[starts.len() - 1].0);
    let cpu_s = starts.iter().map(|(_, cpu_s)| *cpu_s).fold(0.0, f64::max);
    println!("  ready after {middle:.0?}, at most {last:.0?}, with at most {cpu_s:.2} s of a processor");
    assert!(starts[0].0 < READY && cpu_s < READY.as_secs_f64(), "{starts:?}");
}

// ===== the books themselves: what they must find =====

fn message(producer: u32, number: u64) -> Message {
    Message::make((producer, number), 30, &mut Random::new(number)).0
}

/// The message at a position of these books.
fn of_books(position: u64) -> Message {
    message(u32::from(position % 2 == 1), position / 2)
}

/// Two producers sent three messages each and were answered; the positions are 0 to 5.
fn books() -> Ledger {
    let mut ledger = Ledger::default();
    for position in 0..6 {
        ledger.put("q", of_books(position), Outcome::Acknowledged(Some(position)));
    }
    ledger
}

fn get(ledger: &mut Ledger, positions: impl IntoIterator<Item = u64>) {
    for position in positions {
        ledger.got("q", &[(position, Some(of_books(position)))]);
    }
}

fn counts(verdict: &Verdict) -> [usize; 5] {
    [verdict.lost, verdict.doubled, verdict.reordered, verdict.invented, verdict.unknown]
}

#[test]
fn clean_books_are_clean() {
    let mut ledger = books();
    get(&mut ledger, 0..3);
    ledger.get_in_doubt("q");
    ledger.put("q", message(0, 3), Outcome::Unknown);
    ledger.restarted("q", Positions { put: 7, get: 4, unread: 3 });
    get(&mut ledger, 4..6);
    ledger.got("q", &[(6, Some(message(0, 3)))]);
    ledger.restarted("q", Positions { put: 7, get: 7, unread: 0 });
    assert_eq!(ledger.volume(), (6, 6, 1));
    assert_eq!(counts(&ledger.close()), [0, 0, 0, 0, 1]);
}

#[test]
fn what_is_missing_is_lost() {
    let mut ledger = books();
    get(&mut ledger, [0, 1, 2, 3, 5]);
    assert_eq!(counts(&ledger.close()), [1, 0, 0, 0, 0], "nobody got the message at 4");

    let mut ledger = books();
    ledger.restarted("q", Positions { put: 4, get: 0, unread: 4 });
    assert_eq!(counts(&ledger.close())[0], 2 + 6, "two behind the end, and all of them never got");

    let mut ledger = books();
    ledger.get_in_doubt("q");
    get(&mut ledger, [0]);
    ledger.restarted("q", Positions { put: 6, get: 3, unread: 3 });
    get(&mut ledger, 3..6);
    assert_eq!(counts(&ledger.close()), [1, 0, 0, 0, 0], "one get in doubt cannot take two");
}

#[test]
fn what_comes_again_is_doubled() {
    let mut ledger = books();
    get(&mut ledger, 0..6);
    get(&mut ledger, [5]);
    assert_eq!(counts(&ledger.close()), [0, 1, 0, 0, 0]);

    let mut ledger = books();
    get(&mut ledger, 0..3);
    ledger.restarted("q", Positions { put: 6, get: 2, unread: 4 });
    get(&mut ledger, 3..6);
    assert_eq!(counts(&ledger.close()), [0, 1, 0, 0, 0], "a get that was answered is undone");

    let mut ledger = books();
    get(&mut ledger, 0..6);
    ledger.got("q", &[(6, Some(message(1, 2)))]);
    assert_eq!(counts(&ledger.close()), [0, 1, 1, 0, 0], "the same message in two places");

    let mut ledger = books();
    ledger.put("q", message(2, 0), Outcome::Acknowledged(Some(5)));
    get(&mut ledger, 0..6);
    assert!(counts(&ledger.close())[1] >= 1, "one place for two");
}

#[test]
fn what_passes_another_is_reordered() {
    let mut ledger = Ledger::default();
    ledger.put("q", message(0, 0), Outcome::Acknowledged(None));
    ledger.put("q", message(0, 1), Outcome::Acknowledged(None));
    ledger.got("q", &[(0, Some(message(0, 1))), (1, Some(message(0, 0)))]);
    assert_eq!(counts(&ledger.close()), [0, 0, 1, 0, 0]);

    let mut ledger = books();
    get(&mut ledger, 2..6);
    ledger.got("q", &[(1, Some(message(1, 0))), (0, Some(message(0, 0)))]);
    assert_eq!(counts(&ledger.close()), [0, 0, 1, 0, 0], "to one connection, in the wrong turn");
}

#[test]
fn what_nobody_sent_is_invented() {
    let mut ledger = books();
    get(&mut ledger, 0..6);
    ledger.got("q", &[(6, Some(message(0, 9))), (7, None)]);
    ledger.restarted("q", Positions { put: 9, get: 6, unread: 3 });
    assert_eq!(counts(&ledger.close()), [0, 0, 0, 3, 0]);

    let (whole, json) = Message::make((1, 2), 100, &mut Random::new(1));
    assert_eq!(Message::parse(&json), Some(whole));
    for (key, value) in [("text", "x".into()), ("number", 3.into()), ("producer", 2.into()), ("bytes", 9.into())] {
        let mut json = json.clone();
        json[key] = value;
        assert_eq!(Message::parse(&json), None, "{key}");
    }
}
