//! `/metrics`, `/healthz` and `/readyz` of the real daemon. Goal: the figures are those of what was done, Prometheus reads them
//! without a complaint, and the dashboard asks for nothing that is not there.
//!
//! `promtool` is in Debian's package prometheus; without it that check says that it was skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Client, Daemon, frame, get, request, wait_for};
use serde_json::Value;

/// Samples by name and labels, as they stand in the text.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(client: &mut Client) -> Scrape {
        let text = text(client);
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        });
        Scrape(samples.collect())
    }

    #[track_caller]
    fn is(&self, name: &str, expected: f64) {
        let found = self.get(name);
        assert!((found - expected).abs() < 1e-9, "{name} is {found}, not {expected}");
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names without labels.
    fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|sample| sample.split('{').next().unwrap()).collect()
    }
}

fn text(client: &mut Client) -> String {
    let response = client.ask(get("/metrics"));
    assert_eq!(
        (response.status, response.header("Content-Type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    response.text().to_owned()
}

#[test]
fn the_figures_are_those_of_what_was_done() {
    let daemon = Daemon::start(|_| ());
    let mut client = daemon.connect();
    for _ in 0..3 {
        client.put("jobs", "\"abc\"");
    }
    client.take("jobs");
    let mut wire = daemon.wire();
    wire.subscribe("news");
    wire.publish("news", "{\"x\":1}");
    let scrape = Scrape::of(&mut client);
    for (name, expected) in [
        ("httpmq_queue_puts_total{queue=\"jobs\"}", 3.0),
        ("httpmq_queue_gets_total{queue=\"jobs\"}", 1.0),
        ("httpmq_queue_put_bytes_total{queue=\"jobs\"}", 15.0),
        ("httpmq_queue_get_bytes_total{queue=\"jobs\"}", 5.0),
        ("httpmq_queue_unread_messages{queue=\"jobs\"}", 2.0),
        ("httpmq_queue_max_unread_messages{queue=\"jobs\"}", 1_000_000.0),
        ("httpmq_queue_puts_total{queue=\"news\"}", 1.0),
        ("httpmq_queue_puts_total{queue=\"_other\"}", 0.0),
        ("httpmq_queues", 2.0),
        ("httpmq_sync_errors_total", 0.0),
        ("httpmq_connections{listener=\"http\"}", 1.0),
        ("httpmq_connections{listener=\"coremq\"}", 1.0),
        ("httpmq_connections_accepted_total{listener=\"coremq\"}", 1.0),
        ("httpmq_subscribers", 1.0),
        ("httpmq_subscriptions", 1.0),
        ("httpmq_subscribers_dropped_total", 0.0),
        ("httpmq_ready", 1.0),
    ] {
        scrape.is(name, expected);
    }
    assert!((0.0..60.0).contains(&scrape.get("httpmq_queue_oldest_unread_age_seconds{queue=\"jobs\"}")));
    assert!(!scrape.has("httpmq_queue_oldest_unread_age_seconds{queue=\"news\"}"), "nobody is to get from a topic");
    let info =
        format!("httpmq_build_info{{version=\"{}\",engine=\"sled\",sync=\"always\"}}", env!("CARGO_PKG_VERSION"));
    scrape.is(&info, 1.0);
    for name in ["httpmq_store_bytes", "httpmq_store_free_bytes", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(scrape.get(name) > 1.0, "{name}");
    }
    let commits = scrape.get("httpmq_commits_total");
    scrape.is("httpmq_commit_duration_seconds_count", commits);
    scrape.is("httpmq_commit_duration_seconds_bucket{le=\"+Inf\"}", commits);
    // Four that waited for their commit; the topic's may still be on its way.
    assert!(commits >= 4.0 && scrape.get("httpmq_commit_duration_seconds_sum") > 0.0);
    wait_for("the topic's commit", || {
        (Scrape::of(&mut client).get("httpmq_commit_operations_sum") >= 5.0).then_some(())
    });
}

#[test]
fn every_refusal_is_counted_with_its_reason() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("LIMITS_MAX_QUEUES", 1).set("LIMITS_MAX_MESSAGE_BYTES", 64);
        setup.file("[queue_defaults]\nmax_len = 1\n");
    });
    let mut client = daemon.connect();
    client.put("q", "1");
    let put = |name: &str, data: &str| request("PUT", "/queue/", format!(r#"{{"name":"{name}","data":{data}}}"#));
    let long = format!("\"{}\"", "x".repeat(99));
    for bytes in [
        put("q", "1"),
        put("r", "1"),
        put("q", &long),
        get("/nothing"),
        get("/v1/queues/nobody"),
        get("/v1/queues?limit=0"),
        get("/view/?name=q&position=x"),
        request("POST", "/queue/", ""),
        get("/ws"),
    ] {
        client.ask(bytes);
    }
    let mut wire = daemon.wire();
    wire.publish("q", "{\"x\":1}");
    wire.send(frame("q", "[]"));
    wire.answer();
    let mut broken = daemon.connect();
    broken.send("no http\r\n\r\n");
    broken.read();
    let scrape = wait_for("the counts", || {
        let scrape = Scrape::of(&mut client);
        (scrape.get("httpmq_refused_requests_total{listener=\"http\",reason=\"malformed\"}") > 0.0).then_some(scrape)
    });
    for (listener, reason, expected) in [
        ("http", "queue_full", 1.0),
        ("http", "too_many_queues", 1.0),
        ("http", "too_long", 1.0),
        ("http", "not_found", 2.0),
        ("http", "parameter", 3.0),
        ("http", "method", 1.0),
        ("http", "malformed", 1.0),
        ("http", "storage_full", 0.0),
        ("coremq", "queue_full", 1.0),
        ("coremq", "malformed", 1.0),
    ] {
        scrape.is(&format!("httpmq_refused_requests_total{{listener=\"{listener}\",reason=\"{reason}\"}}"), expected);
    }
}

#[test]
fn a_name_of_a_queue_is_bounded_and_cannot_break_the_text() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("HTTP_METRICS_QUEUES", 2).file("[queues.\"calm\"]\nmax_len = 7\n");
    });
    let mut client = daemon.connect();
    client.put("calm", "1");
    for _ in 0..3 {
        client.put("a\\\\\\\"} 1", "1");
    }
    client.put("b", "1");
    client.put("_other", "1");
    let scrape = Scrape::of(&mut client);
    scrape.is("httpmq_queue_puts_total{queue=\"calm\"}", 1.0);
    scrape.is("httpmq_queue_puts_total{queue=\"a\\\\\\\"} 1\"}", 3.0);
    scrape.is("httpmq_queue_puts_total{queue=\"_other\"}", 2.0);
    scrape.is("httpmq_queue_unread_messages{queue=\"_other\"}", 2.0);
    assert!(!scrape.has("httpmq_queue_puts_total{queue=\"b\"}"));
}

#[test]
fn ready_says_no_when_the_disk_is_below_its_reserve() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_DISK_RESERVE_BYTES", "1024 GiB");
    });
    let mut client = daemon.connect();
    assert_eq!((client.ask(get("/healthz")).status, client.ask(get("/readyz")).status), (200, 503));
    client.ask(request("PUT", "/queue/", "{\"name\":\"q\",\"data\":1}"));
    let scrape = Scrape::of(&mut client);
    scrape.is("httpmq_ready", 0.0);
    scrape.is("httpmq_refused_requests_total{listener=\"http\",reason=\"storage_full\"}", 1.0);
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    assert_eq!(client.ask(get("/readyz")).text(), r#"{"status":"ready"}"#);
}

#[test]
fn prometheus_reads_it_without_a_complaint() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    client.put("é \\\\ \\\"", "1");
    let text = text(&mut client);
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: promtool check metrics, because there is no promtool (Debian package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_dashboard_and_the_readme_name_the_metrics_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    client.put("q", "1");
    let scrape = Scrape::of(&mut client);
    let is_part = |name: &str| ["_bucket", "_sum", "_count"].iter().any(|part| name.ends_with(part));
    let mut families: BTreeSet<&str> =
        text(&mut client).leak().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(scrape.names().iter().all(|name| is_part(name) || families.contains(name)));

    // Is there with TLS only, see tests/tls.rs.
    families.insert("httpmq_tls_certificate_expiry_timestamp_seconds");

    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(root.join("packaging/grafana.json")).unwrap()).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    let asked: BTreeSet<&str> = asked.iter().flat_map(|expression| metrics_in(expression)).collect();
    let missing: Vec<_> = asked.difference(&scrape.names()).copied().collect();
    assert!(missing.is_empty(), "the dashboard asks for {missing:?}");
    assert!(asked.len() >= 20, "{asked:?}");

    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let told: BTreeSet<&str> =
        readme.split('`').skip(1).step_by(2).map(|word| word.split('{').next().unwrap()).collect();
    let untold: Vec<_> = families.iter().filter(|family| !told.contains(*family)).collect();
    assert!(untold.is_empty(), "the README does not name {untold:?}");
    let all_told = told.iter().filter(|word| word.starts_with("httpmq_") || word.starts_with("process_"));
    let wrong: Vec<_> = all_told.filter(|word| !families.contains(*word)).collect();
    assert!(wrong.is_empty(), "the README names {wrong:?}");
}

/// Every query of a dashboard.
fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text) if key == "expr" || key == "query" => into.push(text.clone()),
                    other => expressions(other, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        _ => {}
    }
}

/// The words of a query that name metrics of ours.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("httpmq_") || word.starts_with("process_"))
}
