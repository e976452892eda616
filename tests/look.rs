//! Looking at queues over `/v1`. Goal: what is shown is what is there, in bounded pages, and nothing changes by looking.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::collections::BTreeSet;

use common::{Client, Daemon, get, put_message, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// As many as there may be.
const MANY: usize = 10_000;
/// How many requests are sent before their answers are read.
const TOGETHER: usize = 100;

fn look(client: &mut Client, target: &str) -> Value {
    let response = client.ask(get(&format!("/v1/{target}")));
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    response.json()
}

fn names(list: &Value) -> Vec<&str> {
    list["queues"].as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap()).collect()
}

fn sequences(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|message| message["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn ten_thousand_queues_are_listed_in_pages() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory");
    });
    let mut client = daemon.connect();
    let all: Vec<String> = (0..MANY).map(|number| format!("q{number:05}")).collect();
    for together in all.chunks(TOGETHER) {
        client.send(together.iter().flat_map(|name| put_message(name, "1")).collect::<Vec<u8>>());
        together.iter().for_each(|_| assert_eq!(client.read().message(), "HTTPMQ_PUT_OK"));
    }
    for _ in 0..3 {
        client.put("q07777", "2");
    }

    let mut seen = Vec::new();
    let mut target = "queues?limit=1000".to_owned();
    loop {
        let page = look(&mut client, &target);
        assert_eq!((page["matched"].as_u64(), names(&page).len()), (Some(MANY as u64), 1000));
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => target = format!("queues?limit=1000&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all, "each once, in order");

    let found = look(&mut client, "queues?name=Q0999");
    assert_eq!(
        (found["matched"].as_u64(), names(&found).first(), &found["next"]),
        (Some(10), Some(&"q09990"), &Value::Null)
    );
    let most = look(&mut client, "queues?sort=unread&limit=1");
    assert_eq!((names(&most), &most["queues"][0]["unread"], &most["next"]), (vec!["q07777"], &json!(4), &Value::Null));
    let stats = look(&mut client, "stats");
    assert_eq!(
        (&stats["queues"], &stats["unread"], &stats["puts"]),
        (&json!(MANY), &json!(MANY + 3), &json!(MANY + 3))
    );
    let metrics = client.ask(get("/metrics"));
    let of_queues = |line: &&str| line.starts_with("httpmq_queue_puts_total{");
    assert_eq!(metrics.text().lines().filter(of_queues).count(), 101, "a hundred by name, and the rest");
    let sum: u64 = metrics
        .text()
        .lines()
        .filter(of_queues)
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, MANY as u64 + 3);
}

#[test]
fn a_peek_shows_read_and_unread_messages_and_takes_none() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file("[queue_defaults]\nmax_len = 5\nhistory = 2\n");
    });
    let mut client = daemon.connect();
    let texts = ["1", "\"1\"", "{ \"b\" : 1.50e+01,\"a\":\"\\u00e9 é\" }", "[1, 2]", "false"];
    for text in texts {
        client.put("q", text);
    }
    assert_eq!(client.take("q").unwrap(), texts[0]);
    assert_eq!(client.take("q").unwrap(), texts[1]);
    client.put("q", "\"second lap\"");
    let before = client.status("q");

    let page = client.ask(get("/v1/queues/q/messages"));
    for text in &texts[2..] {
        assert!(page.text().contains(&format!("\"data\":{text}}}")), "{text} is not in {}", page.text());
    }
    let page = page.json();
    let of = |page: &Value, field: &str| {
        page["messages"].as_array().unwrap().iter().map(|m| m[field].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (sequences(&page), of(&page, "position")),
        (vec![2, 3, 4, 5], vec![json!(2), json!(3), json!(4), json!(0)])
    );
    assert_eq!(of(&page, "read"), [false; 4]);
    assert_eq!(json!([page["first"], page["next_get"], page["next_put"], page["next"]]), json!([2, 2, 6, null]));

    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let page = look(&mut client, &format!("queues/q/messages?limit=2&from={from}"));
        seen.extend(sequences(&page));
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, [2, 3, 4, 5]);
    assert_eq!(client.status("q"), before, "looking takes nothing");

    let mut client = daemon
        .stop(Signal::TERM)
        .with(|setup| {
            setup.set("STORE_TAIL_CACHE_BYTES", 0);
        })
        .start_again()
        .connect_and_keep();
    let again = look(&mut client.0, "queues/q/messages?from=0");
    assert_eq!(again["messages"], page["messages"], "the same from the disk");
    let age = look(&mut client.0, "queues/q")["oldest_unread_age_s"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&age), "{age}");
}

/// A client that keeps its daemon.
trait Keep {
    fn connect_and_keep(self) -> (Client, Daemon);
}

impl Keep for Daemon {
    fn connect_and_keep(self) -> (Client, Daemon) {
        (self.connect(), self)
    }
}

#[test]
fn what_was_got_is_shown_as_long_as_the_history_has_it() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    for number in 0..3 {
        client.put("q", &number.to_string());
    }
    client.take("q");
    let page = look(&mut client, "queues/q/messages?from=0");
    assert_eq!((sequences(&page), &page["messages"][0]["read"]), (vec![0, 1, 2], &json!(true)));
    let fresh = look(&mut client, "queues/q/messages");
    assert_eq!(sequences(&fresh), [1, 2], "without from, what the next get takes");
    let queue = look(&mut client, "queues/q");
    assert_eq!(json!([queue["kept"], queue["unread"], queue["puts"], queue["gets"]]), json!([3, 2, 3, 1]));
    assert_eq!(client.ask(get("/reset/?name=q")).message(), "HTTPMQ_RESET_OK");
    let empty = look(&mut client, "queues/q/messages?from=1");
    assert_eq!(json!([empty["epoch"], empty["next_put"], empty["messages"]]), json!([1, 0, []]));
}

#[test]
fn a_purge_forgets_messages_and_positions_go_on_also_after_a_kill() {
    let daemon = Daemon::start(|setup| {
        setup.file("[queue_defaults]\nmax_len = 5\n");
    });
    let mut client = daemon.connect();
    for number in 0..5 {
        client.put("q", &number.to_string());
    }
    client.take("q");
    let purge = b"DELETE /v1/queues/q/messages HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(client.ask(purge).text(), r#"{"purged":4}"#);
    let (mut client, _daemon) = daemon.kill().start_again().connect_and_keep();
    let status = client.status("q").unwrap();
    assert_eq!(json!([status["put_pos"], status["get_pos"], status["unread"]]), json!([5, 5, 0]));
    assert_eq!((client.take("q"), look(&mut client, "queues/q")["kept"].clone()), (None, json!(0)));
    assert_eq!(client.put("q", "\"new\""), 0, "the slot behind the last one");
    assert_eq!(client.take("q").as_deref(), Some("\"new\""));
    assert_eq!(client.ask(purge).text(), r#"{"purged":0}"#);
}

#[test]
fn a_page_of_messages_is_bounded_in_bytes_but_has_one_at_least() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_MESSAGE_BYTES", "2 MiB").set("STORE_TAIL_CACHE_BYTES", 0);
    });
    let mut client = daemon.connect();
    for bytes in [400_000, 400_000, 400_000, 2_000_000, 10] {
        client.put("q", &format!("\"{}\"", "x".repeat(bytes)));
    }
    let mut pages = Vec::new();
    let mut from = Some(0);
    while let Some(start) = from {
        let page = look(&mut client, &format!("queues/q/messages?from={start}"));
        pages.push(sequences(&page));
        from = page["next"].as_u64();
    }
    assert_eq!(pages, [vec![0, 1], vec![2], vec![3], vec![4]]);
}

#[test]
fn a_topic_stays_a_topic_and_shows_who_published() {
    let daemon = Daemon::start_fast(|_| ());
    let (mut client, mut wire) = (daemon.connect(), daemon.wire());
    wire.subscribe("news");
    wire.publish("news", "{\"coremq_string\":\"é\"}");
    let page = look(&mut client, "queues/news/messages");
    let message = &page["messages"][0];
    assert_eq!((&message["data"], message["source"].as_str()), (&json!("é"), Some(&*wire.id)));
    let queue = look(&mut client, "queues/news");
    assert_eq!(json!([queue["kind"], queue["subscribers"], queue["oldest_unread_age_s"]]), json!(["topic", 1, null]));
    let stats = look(&mut client, "stats");
    assert_eq!(json!([stats["subscribers"], stats["subscriptions"]]), json!([1, 1]));
    assert_eq!(stats["connections"], json!({"http": 1, "coremq": 1}));
    wire.ask("{\"coremq_unsubscribe\":\"news\"}");
    assert_eq!(json!(look(&mut client, "queues/news")["subscribers"]), json!(0));
    assert_eq!(look(&mut client, "stats")["subscribers"], json!(0));
    wire.subscribe("news");
    drop(wire);
    wait_for("the subscriber to go", || {
        let stats = look(&mut client, "stats");
        (json!([stats["subscribers"], stats["connections"]["coremq"]]) == json!([0, 0])).then_some(())
    });
}

#[test]
fn any_name_can_be_looked_at() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    let all = ["a/b", "a b+c", "é 世", "?&=#%", "..", "messages", "\\\"'<script>"];
    for name in all {
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        client.put(&name.replace('\\', "\\\\").replace('"', "\\\""), "1");
        assert_eq!(look(&mut client, &format!("queues/{encoded}"))["name"], json!(name));
        assert_eq!(look(&mut client, &format!("queues/{encoded}/messages"))["name"], json!(name));
        let found = look(&mut client, &format!("queues?name={encoded}"));
        assert!(names(&found).contains(&name), "{name}: {found}");
    }
    let list = look(&mut client, "queues");
    assert_eq!(names(&list).into_iter().collect::<BTreeSet<_>>(), all.into());
}
