//! `httpmq bench` against the real daemon. Goal: it measures what it says, notices what is wrong, and touches no queue but its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;
mod fake_server;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use common::{Daemon, Process, wait_for};
use fake_server::{Fake, Reply, Request};
use rustix::process::Signal;
use serde_json::Value;

const WORKS: [&str; 4] = ["put", "get", "put-get", "pubsub"];

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn command(url: &str, tcp: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.arg("bench").args(words).env_clear().env("HTTPMQ_URL", url).env("HTTPMQ_TCP", tcp);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(daemon: &Daemon, words: &[&str]) -> Child {
    let (url, tcp) = (format!("http://{}", daemon.address()), daemon.tcp_address().to_string());
    command(&url, &tcp, words).spawn().unwrap()
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(daemon: &Daemon, words: &[&str]) -> Ran {
    finish(start(daemon, words))
}

fn put_pos(daemon: &Daemon, queue: &str) -> Option<Value> {
    daemon.connect().status(queue).map(|status| status["put_pos"].clone())
}

/// Runs all of it, and beside it a queue of somebody else, whose name begins like the bench's.
#[test]
fn every_work_is_measured_and_leaves_only_its_own_queue_empty() {
    let daemon = Daemon::start_fast(|_| ());
    let mut other = daemon.connect();
    for (queue, data) in [("httpmq-bench", "1"), ("jobs", "2"), ("jobs", "3")] {
        other.put(queue, data);
    }
    let before = ["httpmq-bench", "jobs"].map(|queue| other.status(queue).unwrap());
    for work in WORKS {
        let ran = run(&daemon, &[work, "--duration", "0.2", "--connections", "4", "--subscribers", "3", "--json"]);
        let (json, queue) = (ran.json(), if work == "pubsub" { "httpmq-bench/topic" } else { "httpmq-bench/queue" });
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(queue), "it does not say which queue it uses: {ran:?}");
        assert_eq!(json["server"], concat!("httpmq/", env!("CARGO_PKG_VERSION")));
        assert_eq!([&json["engine"], &json["sync"], &json["work"]], ["sled", "never", work]);
        assert_eq!((&json["size_bytes"], &json["connections"]), (&200.into(), &4.into()));
        assert!(json["operations"].as_u64().unwrap() > 0 && json["errors"] == serde_json::json!({}), "{json}");
        for (kind, latency_us) in json["latency_us"].as_object().unwrap() {
            let at = ["p50", "p90", "p99", "p99.9", "max"].map(|name| latency_us[name].as_f64().unwrap());
            assert!(at[0] > 0.0 && at.is_sorted(), "{work}: {kind}: {latency_us}");
        }
        assert_eq!(put_pos(&daemon, queue), Some(0.into()), "{work} does not leave {queue} as if it were new");
    }
    assert_eq!(["httpmq-bench", "jobs"].map(|queue| other.status(queue).unwrap()), before);
    assert_eq!(
        [other.take("httpmq-bench"), other.take("jobs"), other.take("jobs")].map(Option::unwrap),
        ["1", "2", "3"]
    );
}

#[test]
fn a_count_is_exact_with_many_requests_under_way_and_the_rate_follows_from_it() {
    let daemon = Daemon::start_fast(|_| ());
    for (work, operations) in [("put", 3000), ("get", 3000), ("put-get", 3000), ("pubsub", 6000)] {
        let mut words = vec![work, "--count", "3000", "--connections", "3", "--pipeline", "40", "--json"];
        words.extend(["--subscribers", "2", "--size", "5000", "--queue", "é:mine"]);
        let ran = run(&daemon, &words);
        let json = ran.json();
        assert_eq!(
            (ran.code, &json["operations"], &json["sent"]),
            (Some(0), &operations.into(), &3000.into()),
            "{ran:?}"
        );
        let rate = f64::from(operations) / json["elapsed_s"].as_f64().unwrap();
        assert!((json["operations_per_s"].as_f64().unwrap() / rate - 1.0).abs() < 0.001, "{json}");
        assert!((json["mb_per_s"].as_f64().unwrap() / (rate * 5000.0 / 1e6) - 1.0).abs() < 0.001, "{json}");
    }
}

#[test]
fn people_get_a_first_line_that_says_what_is_measured_and_a_table() {
    let daemon = Daemon::start_fast(|_| ());
    let words = ["pubsub", "--count", "20", "--subscribers", "2", "--rate", "1000", "--size", "64"];
    let ran = run(&daemon, &words);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    let first =
        "engine sled, sync never: pubsub, 64 B, 1 connections, 2 subscribers, pipeline 1, 1000 /s at fixed times";
    assert_eq!(lines[0], format!("httpmq {version}, {first}"));
    assert!(lines[1].starts_with("40 delivered in ") && lines[1].ends_with(" MB/s"), "{}", lines[1]);
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["ms", "p50", "p90", "p99", "p99.9", "max"]);
    assert!(lines.len() == 4 && lines[3].starts_with("delivery "), "{ran:?}");
}

/// 100 requests at 200 a second come at their times, whatever the machine does meanwhile: none is left out when it is late.
#[test]
fn a_rate_is_kept_and_what_is_late_is_counted_from_its_time() {
    let daemon = Daemon::start_fast(|_| ());
    let mut bench = start(&daemon, &["put", "--rate", "200", "--count", "100", "--connections", "2", "--json"]);
    let mut stderr = BufReader::new(bench.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    // Under way by now, or about to be: what is due during this second is sent behind it.
    let process = daemon.process();
    wait_for("the first put", || put_pos(&daemon, "httpmq-bench/queue").filter(|put_pos| *put_pos != 0));
    process.signal(Signal::STOP);
    std::thread::sleep(std::time::Duration::from_secs(1));
    process.signal(Signal::CONT);
    let ran = finish(bench);
    let json = ran.json();
    assert_eq!((ran.code, &json["operations"], &json["planned"]), (Some(0), &100.into(), &100.into()), "{ran:?}");
    assert!(json["elapsed_s"].as_f64().unwrap() >= 0.495, "faster than the rate: {json}");
    // Two connections wait; without the times of the schedule only two latencies of a hundred would show the second.
    let p90 = json["latency_us"]["put"]["p90"].as_f64().unwrap();
    assert!(p90 > 400_000.0, "{json}");
}

#[test]
fn a_daemon_that_dies_is_an_error_with_exit_code_5() {
    for work in ["put", "put-get", "pubsub"] {
        let daemon = Daemon::start_fast(|_| ());
        let mut bench = start(&daemon, &[work, "--duration", "60", "--connections", "3"]);
        let mut stdout = BufReader::new(bench.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        let queue = if work == "pubsub" { "httpmq-bench/topic" } else { "httpmq-bench/queue" };
        wait_for("the load", || put_pos(&daemon, queue).filter(|put_pos| *put_pos != 0));
        daemon.kill();
        let ran = finish(bench);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(ran.code, Some(5), "{work}: {ran:?}");
        assert!(ran.stderr.contains("connection"), "{work}: {ran:?}");
        assert!(ran.stderr.contains(&format!("the queue {queue} could not be reset")), "{work}: {ran:?}");
        assert!(rest.contains(" MB/s\n"), "no figures of the time before: {rest}");
    }
}

#[test]
fn without_a_daemon_the_address_and_the_way_out_are_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // free again at once
    let url = format!("http://127.0.0.1:{port}");
    for work in WORKS {
        let ran = finish(command(&url, &format!("127.0.0.1:{port}"), &[work]).spawn().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""), "{ran:?}");
        assert!(ran.stderr.contains(&url) && ran.stderr.contains("Is the daemon running?"), "{ran:?}");
    }
}

#[test]
fn a_queue_with_messages_of_others_is_refused_and_what_a_killed_bench_left_is_not() {
    let daemon = Daemon::start_fast(|_| ());
    let mut other = daemon.connect();
    other.put("a/queue", "\"precious\"");
    for _ in 0..2 {
        let ran = run(&daemon, &["put", "--queue", "a", "--count", "10"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains("a/queue is there already") && ran.stderr.contains("nothing was done"), "{ran:?}");
    }
    assert_eq!(other.take("a/queue").unwrap(), "\"precious\"");
    assert_eq!(run(&daemon, &["put", "--queue", "a", "--count", "10"]).code, Some(1), "it was used, who knows by whom");

    let mut killed = start(&daemon, &["put", "--queue", "b", "--duration", "60"]);
    wait_for("the load", || put_pos(&daemon, "b/queue").filter(|put_pos| *put_pos != 0));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let ran = run(&daemon, &["put", "--queue", "b", "--count", "10", "--json"]);
    assert_eq!((ran.code, &ran.json()["operations"]), (Some(0), &10.into()), "{ran:?}");
    assert_eq!(put_pos(&daemon, "b/queue"), Some(0.into()));
}

#[test]
fn a_full_queue_ends_the_run_and_is_no_error() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.\"httpmq-bench/queue\"]\nmax_len = 100\n");
    });
    let ran = run(&daemon, &["put", "--duration", "30", "--connections", "1", "--json"]);
    let json = ran.json();
    assert_eq!(
        (ran.code, &json["ended_early"], &json["operations"]),
        (Some(0), &"full".into(), &100.into()),
        "{ran:?}"
    );
    assert!(json["elapsed_s"].as_f64().unwrap() < 30.0 && ran.stderr.contains("the queue was full"), "{ran:?}");
}

#[test]
fn ctrl_c_ends_it_in_order() {
    let daemon = Daemon::start_fast(|_| ());
    for (work, queue) in [("put", "httpmq-bench/queue"), ("pubsub", "httpmq-bench/topic")] {
        let bench = start(&daemon, &[work, "--duration", "60", "--json"]);
        wait_for("the load", || put_pos(&daemon, queue).filter(|put_pos| *put_pos != 0));
        Process(bench.id()).signal(Signal::INT);
        let ran = finish(bench);
        assert_eq!((ran.code, &ran.json()["ended_early"]), (Some(130), &"interrupted".into()), "{ran:?}");
        assert_eq!(put_pos(&daemon, queue), Some(0.into()), "{work}");
    }
}

/// A server that takes every put and gives something else for it, or says no.
#[test]
fn wrong_answers_are_counted_and_make_the_exit_code() {
    let known = |request: &Request| {
        let not_exists = request.target.starts_with("/status/") || request.target.starts_with("/reset/");
        not_exists.then(|| Reply::Answer(200, None, r#"{"code":2,"message":"HTTPMQ_NOT_EXISTS","data":{}}"#.to_owned()))
    };
    let put_ok = r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;
    let full = r#"{"code":2,"message":"HTTPMQ_STORAGE_FULL","data":{}}"#;
    for (work, status, put, get, code, said) in [
        ("put-get", 200, put_ok, r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":"x"}"#, 2, "that this run did not put"),
        (
            "put-get",
            200,
            put_ok,
            r#"{"code":2,"message":"HTTPMQ_EMPTY","data":{}}"#,
            2,
            "a get was answered HTTPMQ_EMPTY",
        ),
        ("put", 507, full, "", 4, "a put was answered HTTPMQ_STORAGE_FULL (code 2, HTTP status 507)"),
        ("put", 200, "{}", "", 5, "what answers is not httpmq"),
        ("put", 200, put_ok, "", 2, "0 are there, 20 should be"),
    ] {
        let fake = Fake::start(move |request| {
            let answer = |text: &str| Reply::Answer(status, None, text.to_owned());
            known(request).unwrap_or_else(|| answer(if request.method == "PUT" { put } else { get }))
        });
        let words = [work, "--count", "20", "--connections", "2", "--json"];
        let ran = finish(command(&fake.url, "127.0.0.1:1", &words).spawn().unwrap());
        assert_eq!(ran.code, Some(code), "{said}: {ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
        let errors: u64 = ran.json()["errors"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert!(errors >= 2, "{ran:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    for words in [
        &["putt"][..],
        &["put", "--duration", "0"],
        &["put", "--duration", "1", "--count", "1"],
        &["put", "--size", "10"],
        &["put", "--connections", "0"],
        &["put", "--pipeline", "0"],
        &["put", "--rate", "-1"],
        &["put", "--queue", "a b"],
        &["pubsub", "--subscribers", "0"],
    ] {
        let ran = finish(command("http://127.0.0.1:1", "127.0.0.1:1", words).spawn().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{words:?}: {ran:?}");
    }
}
