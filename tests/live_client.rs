//! `httpmq publish` and `httpmq tail` against the real daemon. Goal: what one publishes or puts, the other prints and `get` gets, in
//! its exact text and order, each once; and every way to end has its exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Client, Daemon, Process, get, put_message, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A tail whose subscription is in place.
struct Tail {
    child: Child,
    /// `None`: nobody reads any more.
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

fn tcp_address(daemon: &Daemon) -> SocketAddr {
    let address = |line: &String| line.split_once("coremq listening on ")?.1.trim().parse().ok();
    wait_for("the TCP listener", || daemon.lines().iter().find_map(address))
}

fn spawn(tcp: SocketAddr, words: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).env_clear().env("HTTPMQ_TCP", tcp.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(daemon: &Daemon, words: &[&str], stdin: &str) -> Ran {
    finish(spawn(tcp_address(daemon), words), stdin)
}

fn finish(mut child: Child, stdin: &str) -> Ran {
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin.as_bytes()).ok()); // a program may end without having read all
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    })
}

fn publish(daemon: &Daemon, words: &[&str]) {
    let quiet = Ran { code: 0, stdout: String::new(), stderr: String::new() };
    assert_eq!(run(daemon, &[&["publish"], words].concat(), ""), quiet, "{words:?}");
}

/// The exact text of the oldest unread message; `None` when there is none.
fn take(client: &mut Client, queue: &str) -> Option<String> {
    let response = client.ask(get(&format!("/queue/?name={queue}")));
    let text = response.text().to_owned();
    let data = text.split_once(r#""HTTPMQ_SUCCEED","data":"#)?.1;
    Some(data.strip_suffix('}').unwrap().to_owned())
}

fn put(client: &mut Client, queue: &str, json: &str) {
    assert_eq!(client.ask(put_message(queue, json)).message(), "HTTPMQ_PUT_OK");
}

impl Tail {
    fn start(daemon: &Daemon, words: &[&str]) -> Tail {
        let mut child = spawn(tcp_address(daemon), &[&["tail"], words].concat());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        assert_eq!(said, "httpmq: subscribed\n");
        Tail { stdout: child.stdout.take().map(BufReader::new), stderr, child }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Waits for the end; what was not read yet.
    fn end(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(pipe) = &mut self.stdout {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code().unwrap(), stdout, stderr }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// ===== publish =====

#[test]
fn what_is_published_is_what_get_gets() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    put(&mut client, "q", "0"); // a work queue
    publish(&daemon, &["q", "say \"é\""]);
    publish(&daemon, &["q", "--json", r#"{"b": 1.0, "é":1e400}"#]);
    publish(&daemon, &["q", "--json", " [1, 2.50]"]);
    publish(&daemon, &["q", "--json", r#""\u00e9""#]);
    assert_eq!(run(&daemon, &["publish", "q", "-"], "of stdin\n").code, 0);
    for expected in ["0", r#""say \"é\"""#, r#"{"b": 1.0, "é":1e400}"#, "[1, 2.50]", r#""\u00e9""#, r#""of stdin""#] {
        assert_eq!(take(&mut client, "q").as_deref(), Some(expected));
    }
    assert_eq!(take(&mut client, "q"), None);
}

#[test]
fn every_refusal_has_its_exit_code() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.small]\nmax_len = 1\n").set("LIMITS_MAX_MESSAGE_BYTES", 5000);
    });
    put(&mut daemon.connect(), "small", "0");
    let (long, command) = ("x".repeat(6000), r#"{"coremq_subscribe":"q"}"#);
    for (words, code, said) in [
        (&["small", "1"][..], 4, "the queue small is full"),
        (&["q", &long], 2, "over the limit"),
        (&["a b", "1"], 1, "it has a space"),
        (&["", "1"], 1, "it is empty"),
        (&["q", "--json", "{a}"], 1, "the message is not JSON"),
        (&["q", "--json", command], 1, "a command to the server"),
        (&["q", "1", "--tcp", "localhost"], 1, "HOST:PORT"),
        (&["q", "1", "--tcp", "127.0.0.1:1"], 5, "127.0.0.1:1"),
    ] {
        let ran = run(&daemon, &[&["publish"], words].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{said}: {ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
    }
}

#[test]
fn what_does_not_speak_the_protocol_is_named() {
    for (bytes, said) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "is no CoreMQ server"),
        ("+9 id {\"a\":1}", "is no CoreMQ server"),
        ("", "is lost"),
        ("+60 httpmq {\"response\":\"ERROR: there are too many connections\"}  ", "takes no more connections now"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(bytes.as_bytes()));
        let ran = finish(spawn(address, &["publish", "q", "1"]), "");
        assert!(ran.code == 5 && ran.stderr.contains(said), "{said}: {ran:?}");
        server.join().unwrap().unwrap();
    }
}

#[test]
fn lines_are_published_in_their_order_and_none_is_missing() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    put(&mut client, "q", "0");
    let mut lines = String::new();
    (1..=3000).for_each(|n| writeln!(lines, "{n}").unwrap());
    let ran = run(&daemon, &["publish", "--lines", "--json", "q"], lines.trim_end());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stderr.starts_with("httpmq: 3000 lines published in "), "{ran:?}");
    for n in 0..=3000 {
        assert_eq!(take(&mut client, "q"), Some(n.to_string()));
    }
    assert_eq!(take(&mut client, "q"), None);
    // One at a time is slower and no different.
    let ran = run(&daemon, &["publish", "--lines", "--requests=1", "q"], "a\n\nb");
    assert_eq!(ran.code, 0, "{ran:?}");
    for expected in [r#""a""#, r#""""#, r#""b""#] {
        assert_eq!(take(&mut client, "q").as_deref(), Some(expected));
    }
}

#[test]
fn lines_that_are_refused_are_counted() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queues.small]\nmax_len = 5\n");
    });
    put(&mut daemon.connect(), "small", "0");
    let ran = run(&daemon, &["publish", "--lines", "small"], &"x\n".repeat(20));
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    for said in ["line 5: the queue small is full", "the first 4 lines are acknowledged, none is in doubt"] {
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
    let ran = run(&daemon, &["publish", "--lines", "--json", "q"], "1\n2\nno\n4\n");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("line 3: the message is not JSON"), "{ran:?}");
    assert!(ran.stderr.contains("the first 2 lines are acknowledged, none is in doubt"), "{ran:?}");
}

#[test]
fn lines_under_way_when_the_server_dies_are_in_doubt() {
    let daemon = Daemon::start_fast(|_| {});
    let mut child = spawn(tcp_address(&daemon), &["publish", "--lines", "q"]);
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"1\n").unwrap();
    let mut client = daemon.connect();
    wait_for("the first line", || client.ask(get("/status/?name=q")).message().contains("SUCCEED").then_some(()));
    daemon.kill();
    // Stdin stays open: the loss is noticed all the same.
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("is lost") && stderr.contains("the first 1 line is acknowledged"), "{stderr}");
}

// ===== tail =====

#[test]
fn a_message_is_a_line_whoever_brought_it() {
    let daemon = Daemon::start_fast(|_| {});
    let mut tail = Tail::start(&daemon, &["-n", "4", "a", "b"]);
    let mut client = daemon.connect();
    publish(&daemon, &["unheard", "0"]);
    publish(&daemon, &["a", "--json", r#"{"x": 1.50,"é":"世"}"#]);
    let line = tail.line();
    let value: Value = serde_json::from_str(&line).unwrap();
    let (sender, sent) = (value["sender"].as_str().unwrap(), value["sent"].as_f64().unwrap());
    assert!(sender.len() == 36 && sent > 1_700_000_000.0, "{line}");
    let rest = line.split_once(",\"data\":").unwrap().1;
    assert_eq!(rest, "{\"x\": 1.50,\"\\u00e9\":\"\\u4e16\"}}\n");
    for (queue, json) in [("b", r#""say \"h\"""#), ("b", "[1, 2.50]"), ("a", "0")] {
        put(&mut client, queue, json);
        let line = tail.line();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["queue"], &value["sender"]), (&json!(queue), &json!("http")));
        assert!(line.ends_with(&format!(",\"data\":{json}}}\n")), "{line}");
    }
    assert_eq!(tail.end(), Ran { code: 0, stdout: String::new(), stderr: String::new() });
    assert_eq!(take(&mut client, "b").as_deref(), Some(r#""say \"h\"""#)); // nothing was taken
}

#[test]
fn raw_is_the_data_alone() {
    let daemon = Daemon::start_fast(|_| {});
    let tail = Tail::start(&daemon, &["--raw", "-n", "3", "q"]);
    let mut client = daemon.connect();
    for json in [r#""a\né""#, "{\"a\":\n1}", "true"] {
        put(&mut client, "q", json);
    }
    assert_eq!(tail.end().stdout, "a\né\n{\"a\": 1}\ntrue\n");
}

#[test]
fn the_history_comes_first_of_every_queue() {
    let daemon = Daemon::start_fast(|_| {});
    let mut client = daemon.connect();
    (0..20).for_each(|n| put(&mut client, "work", &n.to_string()));
    assert_eq!(take(&mut client, "work").as_deref(), Some("0"));
    publish(&daemon, &["topic", "--json", "100"]);
    let mut tail = Tail::start(&daemon, &["--raw", "--history", "-n", "13", "work", "topic", "none", "work"]);
    let mut lines: Vec<u64> = (0..11).map(|_| tail.line().trim_end().parse().unwrap()).collect();
    lines.sort_unstable(); // whose history comes first is left open
    assert_eq!(lines, (10..20).chain([100]).collect::<Vec<_>>());
    put(&mut client, "none", "200");
    assert_eq!(tail.line(), "200\n");
    put(&mut client, "work", "20");
    assert_eq!(tail.end(), Ran { code: 0, stdout: "20\n".into(), stderr: String::new() });
}

/// Many tails begin while messages come in: whatever is in both the history and what is live, each of them prints a stretch without
/// gaps and without doubles.
#[test]
fn history_and_live_messages_meet_without_gaps_and_doubles() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queue_defaults]\nhistory = 2000\n");
    });
    for queue in ["topic", "work"] {
        if queue == "work" {
            put(&mut daemon.connect(), queue, "0");
        }
        let mut publisher = spawn(tcp_address(&daemon), &["publish", "--lines", "--json", queue]);
        let mut pipe = publisher.stdin.take().unwrap();
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                let numbers = (1..).take_while(|_| !enough.load(Ordering::Relaxed));
                let last = numbers.inspect(|n| writeln!(pipe, "{n}").unwrap()).last().unwrap() + 1;
                writeln!(pipe, "{last}").unwrap(); // when all are subscribed
                drop(pipe);
                last
            });
            let tails: Vec<Tail> = (0..3).map(|_| Tail::start(&daemon, &["--raw", "--history", queue])).collect();
            enough.store(true, Ordering::Relaxed);
            let last: u64 = feeder.join().unwrap();
            for mut tail in tails {
                let mut before: Option<u64> = None;
                while before != Some(last) {
                    let n = tail.line().trim_end().parse().unwrap();
                    assert!(before.is_none_or(|before| before + 1 == n), "{queue}: {n} after {before:?}");
                    before = Some(n);
                }
            }
        });
        assert!(publisher.wait_with_output().unwrap().status.success());
    }
}

#[test]
fn a_lost_connection_is_exit_5() {
    for (signal, said) in [(Signal::TERM, "the server stops"), (Signal::KILL, "the server closed it")] {
        let daemon = Daemon::start_fast(|_| {});
        let mut tail = Tail::start(&daemon, &["--raw", "q"]);
        put(&mut daemon.connect(), "q", "1");
        assert_eq!(tail.line(), "1\n");
        daemon.stop(signal);
        let ran = tail.end();
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""));
        assert!(ran.stderr.contains("is lost") && ran.stderr.contains(said), "{ran:?}");
    }
}

#[test]
fn ctrl_c_and_a_reader_that_leaves_are_a_quiet_end() {
    let daemon = Daemon::start_fast(|_| {});
    let mut tail = Tail::start(&daemon, &["--raw", "q"]);
    put(&mut daemon.connect(), "q", "1");
    assert_eq!(tail.line(), "1\n");
    Process(tail.child.id()).signal(Signal::INT);
    assert_eq!(tail.end(), Ran { code: 0, stdout: String::new(), stderr: String::new() });

    let mut tail = Tail::start(&daemon, &["q"]);
    tail.stdout = None;
    put(&mut daemon.connect(), "q", "2");
    assert_eq!(tail.end(), Ran { code: 0, stdout: String::new(), stderr: String::new() });
}

#[test]
fn tail_says_what_is_wrong_with_its_words() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 1);
    });
    for (words, code, said) in [
        (&["tail"][..], 1, "at least one queue"),
        (&["tail", "q", "-n", "0"], 1, "-n must be at least 1"),
        (&["tail", "a b"], 1, "it has a space"),
        (&["tail", "a", "b"], 2, "can have 1 subscriptions"),
        (&["tail", "q", "--tcp", "127.0.0.1:1"], 5, "no connection to 127.0.0.1:1"),
    ] {
        let ran = run(&daemon, words, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
}
