//! The life of the daemon: how it starts, what it refuses to start on, how it stops, and what is there when it comes back.
//! Ordered puts are here too: they are about what is stored when something in between fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // What was measured.

mod common;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Client, Daemon, Ended, Response, Setup, get, put_message, request, wait_for};
use rustix::process::Signal;

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
/// What a step that waits for nothing may take on a machine that does other things too.
const AT_ONCE: Duration = Duration::from_secs(2);
const MIB: usize = 1 << 20;

// ===== start =====

#[test]
fn the_start_says_what_an_operator_asks() {
    let daemon = Daemon::start(|_| {});
    let dir = daemon.data_dir().display().to_string();
    let lines = daemon.lines();
    let parts = [
        concat!("httpmq ", env!("CARGO_PKG_VERSION")),
        &format!("data directory {dir}"),
        "engine sled, sync always: ",
        "recovered 0 queues with 0 unread messages in ",
        &format!("http listening on {}", daemon.address()),
    ];
    for part in parts {
        assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {lines:?}");
    }
    assert!(daemon.address().ip().is_loopback());

    let daemon = Daemon::start(|setup| {
        setup.set("STORE_SYNC", "interval").set("STORE_SYNC_INTERVAL_MS", 250).set("LOG_LEVEL", "error");
    });
    assert!(daemon.lines().iter().any(|line| line.contains("sync interval: a power cut may lose the last 250 ms")));

    let daemon = Daemon::start(|setup| {
        setup.set("STORE_ENGINE", "memory");
    });
    assert!(daemon.lines().iter().any(|line| line.contains("memory") && line.contains("lost when httpmq stops")));
    let data_dir = daemon.data_dir();
    let ended = daemon.stop(Signal::TERM);
    assert!(!data_dir.exists() && !ended.said("on disk"), "{:?}", ended.lines);
}

#[test]
fn it_starts_at_once_and_is_small() {
    let starts = (0..3).map(|_| {
        let began = Instant::now();
        let daemon = Daemon::start(|_| {});
        (began.elapsed(), daemon.process().rss_bytes())
    });
    let (took, rss_bytes) = starts.min().unwrap();
    println!("started in {took:?}, {} KiB in use", rss_bytes >> 10);
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Without optimisation sled's buffer of one segment is written, and so in use, from the start.
    let most = if cfg!(debug_assertions) { 25 + 16 } else { 25 } << 20;
    assert!(rss_bytes < most, "{rss_bytes}");
}

#[test]
fn the_data_are_for_their_owner_only() {
    let daemon = Daemon::start(|_| {});
    assert_eq!(daemon.connect().ask(put_message("q", "1")).text(), PUT_OK);
    assert_eq!(mode(&daemon.data_dir()), 0o700);
    // A directory that is there gets that mode too.
    let ended = daemon.stop(Signal::TERM);
    let data = ended.dir.path().join("data");
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    let _daemon = ended.start_again();
    assert_eq!(mode(&data), 0o700);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Starts a daemon that must refuse to, in a directory; gives its last words.
fn refused(dir: tempfile::TempDir, setup: impl FnOnce(&mut Setup)) -> Ended {
    let mut all = Setup::default();
    setup(&mut all);
    let Err(ended) = Daemon::start_in(dir, all) else { panic!("it started") };
    assert_eq!(ended.code(), Some(2), "{:?}", ended.lines);
    *ended
}

#[test]
fn two_daemons_do_not_share_a_directory() {
    let first = Daemon::start(|_| {});
    let pid = first.process().0;
    let shared = first.data_dir().display().to_string();
    let second = refused(tempfile::tempdir().unwrap(), |setup| {
        setup.arg("--data-dir").arg(&shared);
    });
    let last = second.lines.last().unwrap();
    assert!(last.contains(&shared) && last.contains(&pid.to_string()), "{last}");
    assert_eq!(first.connect().ask(put_message("q", "1")).text(), PUT_OK);
}

#[test]
fn a_port_in_use_is_an_error_and_leaves_the_data_alone() {
    let ended = Daemon::start(|_| {}).stop(Signal::TERM);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = refused(ended.dir, |setup| {
        setup.arg(format!("--port={}", address.port()));
    });
    assert!(ended.said(&format!("cannot listen on {address}")) && ended.said("in use"), "{:?}", ended.lines);
    assert!(Daemon::start_in(ended.dir, Setup::default()).is_ok());

    let ended = refused(tempfile::tempdir().unwrap(), |setup| {
        setup.arg("--host=name.invalid");
    });
    assert!(ended.said("name.invalid"), "{:?}", ended.lines);
}

#[test]
fn only_a_directory_of_its_own_is_touched() {
    let with_file = |name: &str, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::set_permissions(dir.path().join("data"), Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("data").join(name), text).unwrap();
        dir
    };
    for (file, text, reason) in [
        ("letter.txt", "dear", "is not empty"),
        ("FORMAT", "httpmq 1 other\n", "\"httpmq 1 other\"; this httpmq reads version 1 of the engines sled, "),
        ("FORMAT", "httpmq 99 sled\n", "httpmq 99 sled"),
        ("FORMAT", "", "format"),
    ] {
        let ended = refused(with_file(file, text), |_| {});
        let last = ended.lines.last().unwrap();
        assert!(last.contains("data") && last.contains(reason), "{file} {text:?}: {last}");
        let data = ended.dir.path().join("data");
        assert_eq!(fs::read_to_string(data.join(file)).unwrap(), text);
        if file == "letter.txt" {
            assert_eq!((mode(&data), fs::read_dir(&data).unwrap().count()), (0o755, 1), "it is as it was");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let setup: fn(&mut Setup) = if rustix::process::geteuid().is_root() {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        |setup| {
            setup.user(65534);
        }
    } else {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
        |_| {}
    };
    let ended = refused(dir, setup);
    let last = ended.lines.last().unwrap();
    assert!(last.contains("data") && last.to_lowercase().contains("permission denied"), "{last}");
}

// ===== stop =====

#[test]
fn what_was_put_is_there_after_a_stop_and_after_a_kill() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let daemon = Daemon::start(|setup| {
            setup.file("[queues.\"five\"]\nmax_len = 5\n");
        });
        let mut client = daemon.connect();
        for n in 0..7 {
            assert_eq!(client.ask(put_message("five", &n.to_string())).text(), PUT_OK);
            assert_eq!(client.ask(put_message("gone", "0")).text(), PUT_OK);
            if n < 4 {
                assert_eq!(client.ask(get("/queue/?name=five")).json()["data"], n);
            }
        }
        assert_eq!(client.ask(get("/reset/?name=gone")).message(), "HTTPMQ_RESET_OK");
        let paths =
            ["/status/?name=five", "/status/?name=gone", "/view/?name=five&position=0", "/view/?name=five&position=3"];
        let before = paths.map(|path| client.ask(get(path)).body);

        let ended = daemon.stop(signal);
        if signal == Signal::KILL {
            assert_eq!(ended.code(), None);
        } else {
            assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
            let name = if signal == Signal::TERM { "SIGTERM" } else { "SIGINT" };
            assert!(ended.said(&format!("{name}: finishing")) && ended.said("stopped; everything is on disk"));
        }
        let daemon = ended.start_again();
        assert!(daemon.lines().iter().any(|line| line.contains("recovered 2 queues with 3 unread messages in ")));
        let mut client = daemon.connect();
        assert_eq!(paths.map(|path| client.ask(get(path)).body), before, "{signal:?}");
        for n in 4..7 {
            assert_eq!(client.ask(get("/queue/?name=five")).json()["data"], n, "{signal:?}");
        }
        assert_eq!(client.ask(get("/queue/?name=five")).message(), "HTTPMQ_EMPTY");
        assert_eq!(client.ask(get("/queue/?name=gone")).message(), "HTTPMQ_EMPTY");
    }
}

/// Tells the daemon to stop, and waits until it has heard it.
fn begin_stop(daemon: &Daemon) -> Instant {
    daemon.process().signal(Signal::TERM);
    wait_for("the daemon to hear the signal", || {
        daemon.lines().iter().any(|line| line.contains("SIGTERM: finishing")).then(Instant::now)
    })
}

#[test]
fn a_request_under_way_is_finished() {
    let daemon = Daemon::start(|_| {});
    let put = put_message("q", "\"half\"");
    let (first, second) = put.split_at(put.len() - 5);
    let mut half = daemon.connect();
    half.send(first);
    let mut in_head = daemon.connect();
    in_head.send(&put[..20]);
    // Both are accepted, since one that came later is.
    let mut idle = daemon.connect();
    assert_eq!(idle.ask(get("/queue/?name=q")).status, 200);

    begin_stop(&daemon);
    assert!(idle.is_closed());
    wait_for("the listener to be gone", || Client::try_connect(daemon.address()).is_err().then_some(()));
    half.send(second);
    assert_eq!(half.read().text(), PUT_OK);
    assert!(half.is_closed());
    in_head.send(&put[20..]);
    assert_eq!(in_head.read().text(), PUT_OK);
    let ended = daemon.ended();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(ended.start_again().connect().ask(get("/status/?name=q")).json()["data"]["unread"], 2);
}

#[test]
fn a_client_that_is_stuck_does_not_hold_the_daemon_for_ever() {
    let daemon = Daemon::start(|setup| {
        setup.set("HTTP_DRAIN_TIMEOUT_S", 1);
    });
    let put = put_message("q", "1");
    assert_eq!(daemon.connect().ask(&put).text(), PUT_OK);
    let mut stuck = daemon.connect();
    stuck.send(&put[..put.len() - 1]);
    let mut waiting = daemon.connect();
    waiting.send(ordered("s", 1, "q", "2"));
    assert_eq!(daemon.connect().ask(get("/status/?name=q")).status, 200);
    let began = begin_stop(&daemon);
    let ended = daemon.ended();
    let took = began.elapsed();
    assert_eq!(ended.code(), Some(0), "{:?}", ended.lines);
    assert!((Duration::from_millis(900)..Duration::from_secs(1) + AT_ONCE).contains(&took), "{took:?}");
    assert!(ended.said("did not finish in time") && ended.said("stopped; everything is on disk"), "{:?}", ended.lines);
    assert_eq!(ended.start_again().connect().ask(get("/status/?name=q")).json()["data"]["unread"], 1);
}

#[test]
fn connections_without_a_request_do_not_delay_the_stop() {
    let daemon = Daemon::start(|_| {});
    let new: Vec<_> = (0..20).map(|_| daemon.connect()).collect();
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut client = daemon.connect();
            assert_eq!(client.ask(get("/queue/?name=q")).status, 200);
            client
        })
        .collect();
    let began = begin_stop(&daemon);
    let ended = daemon.ended();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(ended.code(), Some(0));
    assert!(!ended.said("did not finish"), "{:?}", ended.lines);
    for mut client in new.into_iter().chain(idle) {
        assert!(client.is_closed());
    }
}

// ===== ordered puts =====

fn ordered(stream: &str, number: usize, queue: &str, json: &str) -> Vec<u8> {
    with_order(stream, number, &put_message(queue, json))
}

fn with_order(stream: &str, number: usize, request: &[u8]) -> Vec<u8> {
    let (line, rest) = request.split_at(request.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    [line, format!("Put-Order: {stream}/{number}\r\n").as_bytes(), rest].concat()
}

fn check_ended(response: &Response) {
    assert_eq!((response.status, response.code(), &*response.message()), (409, 2, "HTTPMQ_ORDER"), "{response:?}");
    assert!(response.json()["data"]["reason"].is_string());
}

#[test]
fn ordered_puts_are_stored_in_order_however_they_come() {
    let daemon = Daemon::start_fast(|_| {});
    let mut clients: Vec<_> = (0..16).map(|_| daemon.connect()).collect();
    // A permutation of each batch, the same in every run.
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    for batch in 0..20 {
        let mut order: Vec<usize> = (0..16).collect();
        for at in (1..16).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, usize::try_from(random >> 33).unwrap() % (at + 1));
        }
        for at in &order {
            let number = batch * 16 + at;
            clients[*at].send(ordered("Stream1", number, "q", &number.to_string()));
        }
        for (at, client) in clients.iter_mut().enumerate() {
            let response = client.read();
            let position = (batch * 16 + at).to_string();
            assert_eq!((response.text(), response.header("Pos")), (PUT_OK, Some(&*position)));
        }
    }
    for number in 0..320 {
        assert_eq!(clients[0].ask(get("/queue/?name=q")).json()["data"], number);
    }
}

#[test]
fn a_refused_put_ends_its_stream() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.\"three\"]\nmax_len = 3\n");
    });
    for number in 0..3 {
        assert_eq!(daemon.connect().ask(ordered("full", number, "three", "1")).text(), PUT_OK);
    }
    let refused = daemon.connect().ask(ordered("full", 3, "three", "1"));
    assert_eq!((refused.status, &*refused.message()), (200, "HTTPMQ_FULL"));
    // There is room again, but not for this stream.
    assert_eq!(daemon.connect().ask(get("/queue/?name=three")).status, 200);
    check_ended(&daemon.connect().ask(ordered("full", 4, "three", "1")));
    assert_eq!(daemon.connect().ask(ordered("other", 0, "three", "1")).text(), PUT_OK);

    // Whatever it is refused for, those who wait behind it hear of it at once.
    let bad: [(&str, Vec<u8>, u16); 4] = [
        ("json", request("PUT", "/queue/", "{"), 200),
        ("name", put_message("", "1"), 200),
        ("long", put_message("q", &format!("\"{}\"", "x".repeat(MIB))), 413),
        ("longer", request("PUT", "/queue/", " ".repeat(2 * MIB)), 413),
    ];
    for (stream, request, status) in bad {
        let mut behind = daemon.connect();
        behind.send(ordered(stream, 2, "q", "1"));
        assert_eq!(daemon.connect().ask(ordered(stream, 0, "q", "1")).text(), PUT_OK);
        let began = Instant::now();
        assert_eq!(daemon.connect().ask(with_order(stream, 1, &request)).status, status, "{stream}");
        check_ended(&behind.read());
        assert!(began.elapsed() < AT_ONCE, "{stream}: {:?}", began.elapsed());
    }
    assert_eq!(daemon.connect().ask(get("/status/?name=q")).json()["data"]["unread"], 4);
}

#[test]
fn a_gap_in_a_stream_is_not_waited_for_for_ever() {
    let daemon = Daemon::start_fast(|_| {});
    let began = Instant::now();
    let mut waiting = daemon.connect();
    waiting.send(ordered("gap", 1, "q", "1"));
    // Meanwhile: a number that came already, and what is no order.
    assert_eq!(daemon.connect().ask(ordered("twice", 0, "q", "1")).text(), PUT_OK);
    check_ended(&daemon.connect().ask(ordered("twice", 0, "q", "2")));
    assert_eq!(daemon.connect().ask(ordered("twice", 1, "q", "3")).text(), PUT_OK);
    for order in ["", "s", "s/", "/1", "s/x", "s/-1", "a b/1", "é/1", "s/99999999999999999999"] {
        let body = r#"{"name":"q","data":9}"#;
        let head =
            format!("PUT /queue/ HTTP/1.1\r\nPut-Order: {order}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let refused = daemon.connect().ask(head);
        assert_eq!((refused.status, refused.code()), (400, 3), "{order:?}");
    }
    check_ended(&waiting.read());
    let took = began.elapsed();
    assert!((Duration::from_millis(9900)..Duration::from_secs(10) + AT_ONCE).contains(&took), "{took:?}");
    check_ended(&daemon.connect().ask(ordered("gap", 0, "q", "0")));
    assert_eq!(daemon.connect().ask(get("/status/?name=q")).json()["data"]["unread"], 2);
}

#[test]
fn ordered_puts_do_not_wait_for_each_others_memory() {
    let daemon = Daemon::start_fast(|_| {});
    // More than all bodies together may take, and the first one comes last.
    let count = 40;
    let text = format!("\"{}\"", "x".repeat(MIB - 2));
    std::thread::scope(|scope| {
        for number in (0..count).rev() {
            let mut client = daemon.connect();
            let put = ordered("long", number, "q", &text);
            let (head, body) = put.split_at(200);
            client.send(head);
            let body = body.to_vec();
            scope.spawn(move || {
                client.send(body);
                let response = client.read();
                assert_eq!((response.text(), response.header("Pos")), (PUT_OK, Some(&*number.to_string())));
            });
        }
    });
}
