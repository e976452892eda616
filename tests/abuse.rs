//! Crowds at the HTTP port that want everything: time, memory, connections, queues.
//!
//! Goal: what they take is bounded, they are told so or closed when the limits say, and an honest client beside them notices next to
//! nothing. Method: thousands of real connections, driven by one thread, and the daemon's own figures from the system.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // What was measured.

mod common;
#[path = "common/crowd.rs"]
mod crowd;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Daemon, get, put_message, request, wait_for};
use crowd::{Crowd, SetOnDrop, may_open, one_at_a_time};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// How many attack in the tests of time.
const MANY: usize = 1000;
/// How many are idle.
const IDLE: usize = 10_000;
/// What an idle connection may take. A debug build's futures are larger.
const IDLE_BYTES: u64 = if cfg!(debug_assertions) { 28 * KIB } else { 20 * KIB };
/// The time that the attackers are given, in seconds, in the settings.
const LIMIT_S: u64 = 2;
/// How late a limit may be kept with a thousand at once: the tick of the timer, and a machine that does other things too.
const LATE: Duration = Duration::from_secs(2);
/// What the slowest of a hundred of an honest client's puts may take on a machine whose processors the attack shares.
const PATIENT: Duration = Duration::from_millis(250);
/// How often an attacker sends a byte.
const PACE: Duration = Duration::from_millis(250);

fn start(setup: impl FnOnce(&mut common::Setup)) -> Daemon {
    Daemon::start_fast(|all| {
        all.set("LIMITS_MAX_CONNECTIONS", IDLE + 100).set("STORE_TAIL_CACHE_BYTES", "4 MiB");
        setup(all);
    })
}

/// Enough for 99 of 100; a busy machine may need longer for them than what happens takes.
const PUTS_MIN: usize = 100;

/// Puts again and again while something happens, and so often at least; gives what 99 of 100 took at most.
fn put_while(daemon: &Daemon, something: impl FnOnce()) -> Duration {
    let is_over = AtomicBool::new(false);
    let mut took = thread::scope(|scope| {
        let over = SetOnDrop(&is_over);
        let puts = scope.spawn(|| {
            let mut client = daemon.connect();
            let mut took = Vec::new();
            while !is_over.load(Ordering::Relaxed) || took.len() < PUTS_MIN {
                let began = Instant::now();
                client.put("honest", "1");
                took.push(began.elapsed());
                // An honest client does other things too.
                thread::sleep(Duration::from_millis(2));
            }
            took
        });
        something();
        drop(over);
        puts.join().unwrap()
    });
    took.sort_unstable();
    let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{} puts: {half:?} in the middle, 99 of 100 within {most:?}", took.len());
    most
}

fn check_closed_in_time(crowd: &Crowd) {
    let limit = Duration::from_secs(LIMIT_S);
    for member in &crowd.members {
        let open_for = member.open_for.unwrap();
        assert!((limit.mul_f32(0.95)..=limit + LATE).contains(&open_for), "open for {open_for:?}");
    }
}

#[test]
fn a_thousand_heads_that_never_end_are_closed_and_nobody_else_waits() {
    let _one = one_at_a_time();
    if !may_open(MANY) {
        return;
    }
    let daemon = start(|setup| {
        setup.set("HTTP_HEADER_TIMEOUT_S", LIMIT_S);
    });
    let slowest = put_while(&daemon, || {
        let mut crowd = Crowd::connect(daemon.address(), MANY);
        crowd.begin("PUT /queue/ HTTP/1.1\r\nX: ", Some(b'x'));
        crowd.until_closed(PACE);
        check_closed_in_time(&crowd);
        assert!(crowd.members.iter().all(|member| member.read.is_empty()));
    });
    assert!(slowest < PATIENT, "{slowest:?}");
}

/// Each of them has sent enough to want its share of the memory, which is not there for all.
#[test]
fn a_thousand_bodies_that_never_end_are_bounded_in_time_and_memory() {
    let _one = one_at_a_time();
    if !may_open(MANY) {
        return;
    }
    let daemon = start(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", LIMIT_S);
    });
    let body = " ".repeat(20 << 10);
    let before = daemon.process().rss_bytes();
    let slowest = put_while(&daemon, || {
        let mut crowd = Crowd::connect(daemon.address(), MANY);
        crowd.begin(format!("PUT /queue/ HTTP/1.1\r\nContent-Length: {MIB}\r\n\r\n{body}"), Some(b' '));
        crowd.until_closed(PACE);
        check_closed_in_time(&crowd);
        let told = |text: &str| crowd.members.iter().filter(|member| member.has_read(text)).count();
        let (slow, busy) = (told("HTTP/1.1 408 "), told("HTTP/1.1 503 "));
        println!("{slow} had the memory and were too slow, {busy} waited for it");
        // A mebibyte for each, of 32 together, and then again for those who waited.
        assert!(slow >= 32 && busy > 0 && slow + busy == MANY, "{slow} and {busy}");
        assert_eq!((told("HTTPMQ_TIMEOUT"), told("HTTPMQ_BUSY")), (slow, busy));
    });
    assert!(slowest < PATIENT, "{slowest:?}");
    let grown = daemon.process().peak_rss_bytes() - before;
    println!("{} KiB for {MANY}", grown / KIB);
    assert!(grown < 32 * MIB + MANY as u64 * 60 * KIB, "{grown} bytes");
    assert_eq!(daemon.connect().put("q", &format!("\"{}\"", "x".repeat(1 << 19))), 0, "the memory is there again");
}

/// Who waits for memory that others sit on is served when their time is over.
#[test]
fn a_long_body_waits_for_the_memory_and_gets_it() {
    let _one = one_at_a_time();
    let daemon = start(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", LIMIT_S);
    });
    let body = " ".repeat(20 << 10);
    let mut crowd = Crowd::connect(daemon.address(), 32);
    crowd.begin(format!("PUT /queue/ HTTP/1.1\r\nContent-Length: {MIB}\r\n\r\n{body}"), None);
    crowd.until_sent();
    // Half of their time is over: that of the others ends later than theirs.
    thread::sleep(Duration::from_secs(LIMIT_S) / 2);
    let long = put_message("q", &format!("\"{}\"", "x".repeat(1 << 19)));
    let began = Instant::now();
    thread::scope(|scope| {
        let puts: Vec<_> = (0..20).map(|_| scope.spawn(|| daemon.connect().ask(&long).message())).collect();
        crowd.until_told("HTTPMQ_TIMEOUT");
        assert!(puts.into_iter().all(|put| put.join().unwrap() == "HTTPMQ_PUT_OK"));
    });
    assert!(began.elapsed() > Duration::from_millis(500), "there was nothing to wait for");
    assert_eq!(daemon.connect().status("q").unwrap()["unread"], 20);
}

#[test]
fn ten_thousand_idle_connections_take_little() {
    let _one = one_at_a_time();
    if !may_open(IDLE) {
        return;
    }
    let daemon = start(|_| ());
    let ask = "GET /queue/?name=none HTTP/1.1\r\nHost: httpmq\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
    let warm_up = |count| {
        let mut crowd = Crowd::connect(daemon.address(), count);
        crowd.begin(ask, None);
        crowd.until_told("HTTPMQ_EMPTY");
        crowd
    };
    drop(warm_up(100));
    let before = daemon.process().rss_bytes();
    let crowd = warm_up(IDLE);
    let each = (daemon.process().rss_bytes() - before) / IDLE as u64;
    println!("{IDLE} idle connections: {each} bytes each");
    assert!(each < IDLE_BYTES, "{each} bytes each");
    let slowest = put_while(&daemon, || thread::sleep(Duration::from_secs(1)));
    assert!(slowest < PATIENT, "{slowest:?}");
    drop(crowd);
    wait_for("the connections to be gone", || (daemon.process().open_files() < 100).then_some(()));
}

#[test]
fn heads_as_long_as_they_may_be_take_what_they_have() {
    let _one = one_at_a_time();
    if !may_open(2 * MANY) {
        return;
    }
    let daemon = start(|_| ());
    drop(Crowd::connect(daemon.address(), 100));
    let before = daemon.process().rss_bytes();
    let mut crowd = Crowd::connect(daemon.address(), 2 * MANY);
    // A little less than is refused, and without its end.
    crowd.begin(format!("GET /queue/?name=q HTTP/1.1\r\nX: {}", "x".repeat(16_000)), None);
    crowd.until_sent();
    let slowest = put_while(&daemon, || thread::sleep(Duration::from_secs(1)));
    assert!(slowest < PATIENT, "{slowest:?}");
    let each = (daemon.process().rss_bytes() - before) / (2 * MANY as u64);
    println!("{} heads of 16 KiB: {each} bytes each", 2 * MANY);
    assert!((16_000..48 * KIB).contains(&each), "{each} bytes each");
    // Too long, too many, and what is no head.
    for (header, status) in [("x".repeat(17_000), 431), ("x\r\nA: b".repeat(64), 431), ("x\r\n?".to_owned(), 400)] {
        let mut client = daemon.connect();
        client.send_if_open(format!("GET /queue/?name=q HTTP/1.1\r\nX: {header}\r\n\r\n"));
        let refused = client.read();
        assert_eq!((refused.status, refused.code()), (status, 3), "{}", refused.text());
        assert!(refused.json()["data"]["reason"].is_string(), "it says why");
        assert_eq!(refused.header("Connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn a_flood_of_names_ends_at_max_queues() {
    const QUEUES: usize = 1000;
    let _one = one_at_a_time();
    let daemon = start(|setup| {
        setup.set("LIMITS_MAX_QUEUES", QUEUES);
    });
    let mut client = daemon.connect();
    client.put("mine", "1");
    // Names as long as they may be, by four clients at a time.
    let flood = |mut client: Client, from: usize| {
        let requests: Vec<u8> = (from..from + 1000).flat_map(|n| put_message(&format!("{n:0255}"), "1")).collect();
        client.send(requests);
        (0..1000).filter(|_| client.read().message() == "HTTPMQ_PUT_OK").count()
    };
    let before = daemon.process().rss_bytes();
    let stored: usize = thread::scope(|scope| {
        let floods: Vec<_> = (0..4)
            .map(|n| {
                let client = daemon.connect();
                scope.spawn(move || flood(client, n * 1000))
            })
            .collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    assert_eq!(stored, QUEUES - 1);
    // To ask for a queue makes none.
    let mut wire = daemon.wire();
    for n in 0..500 {
        for target in
            [format!("/queue/?name=g{n}"), format!("/status/?name=g{n}"), format!("/view/?name=g{n}&position=0")]
        {
            assert_eq!(client.ask(get(&target)).status, 200);
        }
        assert_eq!(
            client.ask(request("PUT", "/queue/", format!(r#"{{"name":"p{n}","data":1}}"#))).message(),
            "HTTPMQ_TOO_MANY_QUEUES"
        );
        assert_eq!(wire.publish(&format!("t{n}"), "{}"), "ERROR: HTTPMQ_TOO_MANY_QUEUES");
    }
    let grown = daemon.process().rss_bytes().saturating_sub(before);
    println!("{QUEUES} queues with names of 255 bytes: {} KiB", grown / KIB);
    assert!(grown < QUEUES as u64 * 12 * KIB, "{grown} bytes");
    assert_eq!((client.put("mine", "2"), client.take("mine").as_deref()), (1, Some("1")), "what is there goes on");
}
