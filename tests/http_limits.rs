//! What one client may take from the others: time, connections, memory, descriptors.
//!
//! Goal: each limit ends what it is for, when it says, and nothing else. The limits are set low, so that a test takes seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout)] // What was measured.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::ops::RangeInclusive;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::{Client, Daemon, get, put_message, request, wait_for};

const PUT_OK: &str = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
const EMPTY: &str = "HTTPMQ_EMPTY";
const MIB: usize = 1 << 20;
/// How late a limit may be kept: a tenth for the tick of the timer, and the rest for a machine that does other things too.
const LATE: Duration = Duration::from_millis(1500);

/// When something that ends after a number of seconds may end.
fn after(seconds: u64) -> RangeInclusive<Duration> {
    let exactly = Duration::from_secs(seconds);
    exactly.mul_f32(0.95)..=exactly + LATE
}

/// A client that sends a little now and then, and when it began to.
struct Dribbler {
    client: Client,
    since: Instant,
    read: Vec<u8>,
}

/// Sends `first` on many connections, then `more` bytes one by one, and says after what time each was closed and what it was
/// told before.
fn dribble(mut clients: Vec<Client>, first: &str, more: Option<u8>) -> Vec<(Duration, Vec<u8>)> {
    let mut open: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            client.send(first);
            client.stream.set_nonblocking(true).unwrap();
            Dribbler { client, since: Instant::now(), read: Vec::new() }
        })
        .collect();
    let mut ended = Vec::new();
    let deadline = Instant::now() + common::PATIENCE;
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "{} connections are still open", open.len());
        // The pace of the client, not a wait for something.
        std::thread::sleep(Duration::from_millis(50));
        open.retain_mut(|dribbler| {
            let sent = more.is_none_or(|byte| match dribbler.client.stream.write(&[byte]) {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
            let mut piece = [0; 4096];
            let is_open = loop {
                match dribbler.client.stream.read(&mut piece) {
                    Ok(0) => break false,
                    Ok(length) => dribbler.read.extend_from_slice(&piece[..length]),
                    Err(error) => break sent && error.kind() == ErrorKind::WouldBlock,
                }
            };
            if !is_open {
                ended.push((dribbler.since.elapsed(), std::mem::take(&mut dribbler.read)));
            }
            is_open
        });
    }
    ended
}

fn connect(daemon: &Daemon, count: usize) -> Vec<Client> {
    (0..count).map(|_| daemon.connect()).collect()
}

/// Connections that were served one request each.
fn connect_and_ask(daemon: &Daemon, count: usize) -> Vec<Client> {
    let connect_and_ask = |_| {
        let mut client = daemon.connect();
        assert_eq!(client.ask(get("/queue/?name=q")).message(), EMPTY);
        client
    };
    (0..count).map(connect_and_ask).collect()
}

fn patient_but_for_heads() -> Daemon {
    Daemon::start_fast(|setup| {
        setup.set("HTTP_HEADER_TIMEOUT_S", 1).set("HTTP_IDLE_TIMEOUT_S", 3);
    })
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let daemon = patient_but_for_heads();
    let head = "GET /queue/?name=q HTTP/1.1\r\nA: ";
    let [new, used, silent_in_head, silent] = std::thread::scope(|scope| {
        [
            scope.spawn(|| dribble(connect(&daemon, 100), head, Some(b'a'))),
            scope.spawn(|| dribble(connect_and_ask(&daemon, 100), "GET /que", Some(b'e'))),
            scope.spawn(|| dribble(connect_and_ask(&daemon, 10), "GET /que", None)),
            scope.spawn(|| dribble(connect(&daemon, 10), "", None)),
        ]
        .map(|ended| ended.join().unwrap())
    });
    for (about, ended) in [("new", new), ("used", used), ("silent in a head", silent_in_head), ("silent", silent)] {
        for (time, said) in ended {
            assert!(after(1).contains(&time), "{about}: {time:?}");
            assert!(said.is_empty(), "{about}: {}", String::from_utf8_lossy(&said));
        }
    }
    assert_eq!(daemon.connect().ask(get("/queue/?name=q")).status, 200);
}

#[test]
fn an_idle_connection_has_a_time_of_its_own() {
    let daemon = patient_but_for_heads();
    for (time, said) in dribble(connect_and_ask(&daemon, 20), "", None) {
        assert!(after(3).contains(&time), "{time:?}");
        assert!(said.is_empty());
    }
}

#[test]
fn a_connection_in_use_is_never_cut() {
    let daemon = patient_but_for_heads();
    let mut clients = connect(&daemon, 3);
    for step in 0..6 {
        if step > 0 {
            std::thread::sleep(Duration::from_millis(600));
        }
        assert_eq!(clients[0].ask(get("/queue/?name=q")).message(), EMPTY, "step {step}");
        assert_eq!(clients[1].ask(put_message("p", "1")).text(), PUT_OK, "step {step}");
        // Longer than a head may take, shorter than the connection may idle.
        if step % 3 == 0 {
            assert_eq!(clients[2].ask(get("/queue/?name=q")).message(), EMPTY, "step {step}");
        }
    }
}

#[test]
fn a_request_may_be_served_for_longer_than_its_head_may_take() {
    let daemon = patient_but_for_heads();
    let mut early = daemon.connect();
    let ordered = |number: u32| {
        let body = r#"{"name":"ordered","data":1}"#;
        format!("PUT /queue/ HTTP/1.1\r\nPut-Order: s/{number}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    early.send(ordered(1));
    // Also a body may take its own time.
    let mut slow = daemon.connect();
    let body = r#"{"name":"slow","data":1}"#;
    slow.send(format!("PUT /queue/ HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()));
    for byte in body.bytes() {
        slow.send([byte]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(slow.read().text(), PUT_OK);
    let mut late = daemon.connect();
    assert_eq!(late.ask(get("/status/?name=ordered")).message(), "HTTPMQ_NOT_EXISTS", "it waits for its turn");
    assert_eq!(late.ask(ordered(0)).text(), PUT_OK);
    assert_eq!(early.read().text(), PUT_OK);
    for mut client in [early, late, slow] {
        assert_eq!(client.ask(get("/queue/?name=q")).message(), EMPTY);
    }
}

#[test]
fn a_body_that_never_ends_is_answered_408() {
    let daemon = &Daemon::start_fast(|setup| {
        setup.set("HTTP_BODY_TIMEOUT_S", 1);
    });
    let head = "PUT /queue/ HTTP/1.1\r\nContent-Length: 500\r\n\r\n";
    let chunked = "PUT /queue/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n";
    let all = std::thread::scope(|scope| {
        [(head, Some(b' ')), (head, None), (chunked, Some(b' '))]
            .map(|(head, more)| scope.spawn(move || dribble(connect(daemon, 50), head, more)))
            .map(|ended| ended.join().unwrap())
    });
    for ended in all {
        for (time, said) in ended {
            assert!(after(1).contains(&time), "{time:?}");
            let said = String::from_utf8(said).unwrap();
            assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
            assert!(said.contains(r#"{"code":3,"message":"HTTPMQ_TIMEOUT","data":{"reason":""#), "{said}");
        }
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_is_dropped() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_WRITE_TIMEOUT_S", 1).set("HTTP_HEADER_TIMEOUT_S", 9).set("HTTP_IDLE_TIMEOUT_S", 9);
        setup.set("LIMITS_MAX_MESSAGE_BYTES", 13 * MIB);
    });
    // More than the buffers of two sockets hold.
    let long = format!("\"{}\"", "x".repeat(12 * MIB));
    assert_eq!(daemon.connect().ask(put_message("q", &long)).text(), PUT_OK);
    wait_for("the connection to be closed", || (connections(&daemon) == 0).then_some(()));
    let view = get("/view/?name=q&position=0");
    for requests in [view.clone(), view.repeat(3), [&*view, b"GET /que"].concat()] {
        let mut client = daemon.connect();
        let began = Instant::now();
        client.send(&requests);
        wait_for("the request to be served", || (connections(&daemon) == 1).then_some(()));
        wait_for("the client to be dropped", || (connections(&daemon) == 0).then_some(()));
        assert!(after(1).contains(&began.elapsed()), "{:?}: {}", began.elapsed(), String::from_utf8_lossy(&requests));
    }
    // One that reads all the time gets all of it.
    let mut client = daemon.connect();
    client.send(view.repeat(3));
    for _ in 0..3 {
        assert_eq!(client.read().body.len(), r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":}"#.len() + long.len());
    }
}

/// How many connections the daemon has open, beside its listener.
fn connections(daemon: &Daemon) -> usize {
    daemon.process().established(daemon.address().port())
}

#[test]
fn one_connection_too_many_is_told_so() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_CONNECTIONS", 10);
    });
    let mut clients = connect_and_ask(&daemon, 10);
    let body = request("PUT", "/queue/", vec![b' '; MIB]);
    for request in [&b""[..], b"GET /queue/?name=q HTTP/1.1\r\n\r\n", &body] {
        let mut client = daemon.connect();
        client.send(request);
        let response = client.read();
        assert_eq!(response.status, 503);
        assert_eq!(response.text(), r#"{"code":2,"message":"HTTPMQ_TOO_MANY_CONNECTIONS","data":{}}"#);
        assert_eq!(
            (response.header("Content-Type"), response.header("Connection")),
            (Some("application/json"), Some("close"))
        );
        assert!(client.is_closed());
    }
    // A crowd at the door changes nothing for those inside, and is not kept for ever.
    let crowd = connect(&daemon, 400);
    for client in &mut clients {
        assert_eq!(client.ask(get("/queue/?name=q")).message(), EMPTY);
    }
    drop(crowd);
    drop(clients.pop());
    wait_for("the free place", || {
        let mut client = daemon.connect();
        client.send_if_open(get("/queue/?name=q"));
        client.try_read().ok().flatten().filter(|response| response.status == 200)
    });
}

#[test]
fn one_queue_too_many_is_refused() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 3);
    });
    let mut client = daemon.connect();
    for queue in ["a", "b", "c"] {
        assert_eq!(client.ask(put_message(queue, "1")).text(), PUT_OK);
    }
    let refused = client.ask(put_message("d", "1"));
    let expected = r#"{"code":2,"message":"HTTPMQ_TOO_MANY_QUEUES","data":{}}"#;
    assert_eq!((refused.status, refused.text(), refused.header("Pos")), (200, expected, None));
    assert_eq!(client.ask(get("/status/?name=d")).message(), "HTTPMQ_NOT_EXISTS");
    assert_eq!(client.ask(put_message("c", "2")).text(), PUT_OK);
    // They are counted also after a restart.
    let daemon = daemon.stop(rustix::process::Signal::TERM).start_again();
    assert_eq!(daemon.connect().ask(put_message("d", "1")).text(), expected);
}

#[test]
fn lengths_are_those_of_the_settings() {
    let daemon = Daemon::start_fast(|setup| {
        setup
            .set("LIMITS_MAX_NAME_BYTES", 8)
            .set("LIMITS_MAX_MESSAGE_BYTES", 64)
            .set("LIMITS_MAX_HEADER_BYTES", "8 KiB");
    });
    let mut client = daemon.connect();
    assert_eq!(client.ask(put_message("世世12", "1")).text(), PUT_OK);
    for name in ["123456789", "世世世"] {
        let refused = client.ask(put_message(name, "1"));
        assert_eq!((refused.status, refused.code()), (200, 3), "{}", refused.text());
        let refused = client.ask(request("GET", "/queue/", format!("name={name}")));
        assert_eq!((refused.status, refused.code()), (200, 3), "{}", refused.text());
    }
    assert_eq!(client.ask(put_message("q", &format!("\"{}\"", "é".repeat(31)))).text(), PUT_OK);
    assert_eq!(client.ask(put_message("q", &format!("\"{}\"", "é".repeat(32)))).status, 413);
    let with_header = |bytes: usize| format!("GET /queue/?name=x HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(bytes));
    assert_eq!(client.ask(with_header(7 << 10)).status, 200);
    assert_eq!(client.ask(with_header(9 << 10)).status, 431);
}

/// Puts as many messages of 1 MiB at the same time; gives what the daemon answered, and its most memory in MiB.
fn put_together(daemon: &Daemon, count: usize) -> (Vec<String>, u64) {
    let all = Barrier::new(count);
    let put = put_message("q", &format!("\"{}\"", "x".repeat(MIB - 2)));
    let answers = std::thread::scope(|scope| {
        let puts: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = daemon.connect();
                    all.wait();
                    client.ask(&put).message()
                })
            })
            .collect();
        puts.into_iter().map(|put| put.join().unwrap()).collect()
    });
    let peak_mib = daemon.process().peak_rss_bytes() >> 20;
    println!("{count} puts of 1 MiB at a time: {peak_mib} MiB at most");
    (answers, peak_mib)
}

#[test]
fn memory_is_bounded_however_many_put() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_TAIL_CACHE_BYTES", "8 MiB").set("STORE_ENGINE_CACHE_BYTES", "8 MiB");
    });
    let (answers, peak_mib) = put_together(&daemon, 64);
    assert!(answers.iter().all(|answer| answer == "HTTPMQ_PUT_OK"), "{answers:?}");
    assert!(peak_mib < 600, "{peak_mib} MiB");
    assert_eq!(daemon.connect().ask(get("/status/?name=q")).json()["data"]["unread"], 64);
}

#[test]
fn bodies_take_turns_when_they_are_many() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_TAIL_CACHE_BYTES", "8 MiB").set("QUEUE_DEFAULTS_MAX_LEN", 1);
    });
    assert_eq!(daemon.connect().ask(put_message("q", "1")).text(), PUT_OK);
    let (answers, peak_mib) = put_together(&daemon, 200);
    assert!(answers.iter().all(|answer| answer == "HTTPMQ_FULL"), "{answers:?}");
    assert!(peak_mib < 140, "{peak_mib} MiB");
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let daemon = Daemon::start_fast(|_| {});
    let before = daemon.process().rss_bytes();
    let mut clients = connect(&daemon, 500);
    for client in &mut clients {
        client.send(format!("PUT /queue/ HTTP/1.1\r\nContent-Length: {MIB}\r\n\r\n"));
    }
    // They wait for each other's share of the memory; who needs little does not.
    assert_eq!(daemon.connect().ask(put_message("q", "1")).text(), PUT_OK);
    let each_kib = (daemon.process().rss_bytes() - before) >> 10;
    println!("500 announced bodies: {each_kib} KiB");
    assert!(each_kib < 500 * 40, "{each_kib} KiB for 500");
}

#[test]
fn a_crowd_that_comes_at_once_finds_room() {
    let daemon = Daemon::start_fast(|_| {});
    // Stopped, so that nobody is accepted: what counts is who may wait.
    daemon.process().signal(rustix::process::Signal::STOP);
    let began = Instant::now();
    let crowd = connect(&daemon, 500);
    let took = began.elapsed();
    daemon.process().signal(rustix::process::Signal::CONT);
    assert!(took < Duration::from_secs(1), "{took:?}: some were turned away and had to try again");
    for mut client in crowd {
        assert_eq!(client.ask(get("/queue/?name=q")).message(), EMPTY);
    }
}

#[test]
fn without_descriptors_the_daemon_waits_and_comes_back() {
    let daemon = Daemon::start_fast(|setup| {
        setup.open_files(64);
    });
    let mut first = daemon.connect();
    assert_eq!(first.ask(put_message("q", "1")).text(), PUT_OK);
    let crowd = connect(&daemon, 200);
    let is_said = |line: &String| line.contains("cannot accept connections") && line.contains("open files");
    wait_for("the descriptors to be used up", || daemon.lines().iter().any(is_said).then_some(()));
    let (cpu_s, began, lines) = (daemon.process().cpu_s(), Instant::now(), daemon.lines().len());
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(first.ask(get("/view/?name=q&position=0")).status, 200, "who is inside is served");
        std::thread::sleep(Duration::from_millis(200));
    }
    let share = (daemon.process().cpu_s() - cpu_s) / began.elapsed().as_secs_f64();
    assert!(share < 0.2, "the daemon uses {share} of a processor to wait");
    let said = daemon.lines();
    assert!(said.len() - lines <= 4, "{said:?}");
    assert!(
        said.iter().any(|line| line.contains("cannot accept connections") && line.contains("open files")),
        "{said:?}"
    );
    drop(crowd);
    let freed = Instant::now();
    assert_eq!(daemon.connect().ask(get("/queue/?name=q")).status, 200);
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
}
