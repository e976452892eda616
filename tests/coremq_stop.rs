//! How publish/subscribe ends: every connection is told, everything that was answered is kept, and nobody can hold the end up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, Frame, Process, Wire, frame, wait_for};
use rustix::process::Signal;
use serde_json::json;

const SENT: &str = "OK: Message sent";

/// Everything that comes until the server closes.
fn read_to_end(wire: &mut Wire) -> Vec<Frame> {
    // A server that closes while bytes are on their way to it resets the connection, after what it said.
    std::iter::from_fn(|| wire.try_next().unwrap_or_default()).collect()
}

fn is_bye(frame: &Frame) -> bool {
    frame.json == r#"{"response":"BYE"}"#
}

/// The last frame is the goodbye, to the connection's own id, and it is the only one.
fn check_bye(frames: &[Frame], id: &str) {
    let last = frames.last().unwrap_or_else(|| panic!("closed without a word"));
    assert!(is_bye(last) && last.queue == id, "{last:?} was the last of {}", frames.len());
    assert_eq!(frames.iter().filter(|frame| is_bye(frame)).count(), 1);
}

#[test]
fn everybody_is_told_goodbye() {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start_fast(|_| ());
        let mut idle = daemon.wire();
        let mut subscriber = daemon.wire();
        subscriber.subscribe("q");
        let mut partial = daemon.wire();
        partial.send(b"+100 q {");
        let mut sender = daemon.wire();
        for n in 0..100 {
            assert_eq!(sender.publish("q", &json!({ "n": n }).to_string()), SENT);
        }
        assert_eq!(subscriber.message("q"), json!({ "n": 0 }));
        let ended = daemon.stop(signal);
        assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
        assert!(!ended.said("WARN"), "{:?}", ended.lines);
        for wire in [&mut idle, &mut partial, &mut sender] {
            let id = wire.id.clone();
            let frames = read_to_end(wire);
            assert_eq!(frames.len(), 1);
            check_bye(&frames, &id);
        }
        let id = subscriber.id.clone();
        let frames = read_to_end(&mut subscriber);
        check_bye(&frames, &id);
        assert_eq!(frames.len(), 100, "all that was answered, and the goodbye");
    }
}

/// Under load: whatever a connection was doing, the goodbye is the last that it hears, and what was answered before is kept.
#[test]
fn the_goodbye_is_the_last_word() {
    for (queue, sync) in [("topic", "never"), ("work", "always"), ("work", "never")] {
        let daemon = Daemon::start(|setup| {
            setup.set("STORE_SYNC", sync);
        });
        if queue == "work" {
            daemon.connect().put(queue, "0");
            daemon.connect().take(queue);
        }
        let wires: Vec<_> = (0..4)
            .map(|_| {
                let mut wire = daemon.wire();
                wire.subscribe(queue);
                assert_eq!(wire.ask(r#"{"coremq_options":{"echo":true}}"#), "OK: Options set");
                wire
            })
            .collect();
        let (answered, ended) = thread::scope(|scope| {
            let publish = |mut wire: Wire| {
                let mut reader = wire.reader();
                let id = wire.id.clone();
                let frames = scope.spawn(move || read_to_end(&mut reader));
                let piece = frame(queue, r#"{"n":1}"#).repeat(50);
                while !frames.is_finished() && wire.stream.write_all(&piece).is_ok() {}
                let frames = frames.join().unwrap();
                check_bye(&frames, &id);
                frames.iter().filter(|frame| frame.json.contains(SENT)).count()
            };
            let publishers: Vec<_> = wires.into_iter().map(|wire| scope.spawn(move || publish(wire))).collect();
            let mut client = daemon.connect();
            let positions = || (client.status(queue)?["put_pos"].as_u64()? > 500).then_some(());
            wait_for("the publishing to be in full swing", positions);
            let ended = daemon.stop(Signal::TERM);
            (publishers.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), ended)
        });
        assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
        let daemon = ended.start_again();
        let kept = daemon.connect().status(queue).unwrap()["put_pos"].as_u64().unwrap();
        assert!(kept >= answered as u64, "{queue}, {sync}: {answered} answered, {kept} kept");
    }
}

#[test]
fn a_stuck_subscriber_holds_the_end_up_for_the_drain_time_at_most() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_DRAIN_TIMEOUT_S", 1);
    });
    let address = daemon.tcp_address();
    let mut stuck = Wire::connect_narrow(address);
    stuck.read_welcome();
    stuck.subscribe("q");
    let mut sender = daemon.wire();
    let message = json!({ "text": "x".repeat(1 << 19) }).to_string();
    for _ in 0..10 {
        assert_eq!(sender.publish("q", &message), SENT);
    }
    let process = daemon.process();
    let began = Instant::now();
    process.signal(Signal::TERM);
    // The others need not wait.
    let id = sender.id.clone();
    check_bye(&read_to_end(&mut sender), &id);
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(TcpStream::connect(address).is_err(), "nobody else is accepted");
    let ended = daemon.ended();
    let took = began.elapsed().as_secs_f64();
    assert!((0.9..3.0).contains(&took), "{took} s");
    assert_eq!(ended.code(), Some(0));
    assert!(ended.said("subscriber"), "the log says who was not waited for: {:?}", ended.lines);
}

/// How many sockets of the process listen.
fn listeners(process: Process) -> usize {
    const LISTEN: &str = "0A";
    let own: Vec<_> = fs::read_dir(format!("/proc/{}/fd", process.0))
        .unwrap()
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", process.0)).unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listens = |row: &Vec<&str>| row.get(3) == Some(&LISTEN) && own.contains(&format!("socket:[{}]", row[9]));
    rows.filter(listens).count()
}

#[test]
fn it_can_be_switched_off() {
    let on = Daemon::start_fast(|_| ());
    on.tcp_address();
    assert_eq!(listeners(on.process()), 2);
    for (key, value, file) in [("PUBSUB_ENABLED", "false", ""), ("LOG_LEVEL", "info", "[pubsub]\nenabled = false\n")] {
        let off = Daemon::start_fast(|setup| {
            setup.set(key, value).file(file);
        });
        assert_eq!(off.connect().put("q", "1"), 0);
        assert_eq!(listeners(off.process()), 1);
        let ended = off.stop(Signal::TERM);
        assert_eq!(ended.code(), Some(0));
        assert!(!ended.said("coremq"), "{:?}", ended.lines);
    }
}
