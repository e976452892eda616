//! WebSockets from a real browser. Goal: the snippet of the README works in a page, and a page from elsewhere gets nowhere.
//!
//! Method: a headless Chromium opens a page from a small HTTP server of this test, on another port than the daemon's, so that it is of
//! another origin. The page reports what it sees with requests to that same server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

#[path = "common/browser.rs"]
mod browser;
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use browser::{Browser, PATIENCE};
use common::{Daemon, put_message};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// What a machine without a browser does not show.
const SKIPPED: &str = "WebSockets from a browser";

/// What the README's snippet says where it prints a message, and the address it connects to.
const PRINTS: &str = "console.log(";
const SHOWN: &str = "127.0.0.1:8200";
/// In front of the snippet: reports go to the test one after the other.
const BEFORE: &str = r#"<!doctype html><meta charset="utf-8"><title>test</title><script>
let reports = Promise.resolve();
const report = what => reports = reports.then(() => fetch("/report?" + encodeURIComponent(JSON.stringify(what))));
"#;
/// Behind it.
const AFTER: &str = r#"
socket.addEventListener("message", event => {
    if (JSON.parse(event.data).data == "answer me") socket.send(JSON.stringify({queue: "replies", text: "é from the page"}));
});
socket.onerror = () => report("error");
socket.onclose = event => report({closed: event.code, clean: event.wasClean});
</script>"#;

/// The page: the README's snippet, which connects to the address in the page's query and reports instead of printing.
fn page() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let snippet = readme.split_once("```js\n").and_then(|(_, rest)| rest.split_once("```")).expect("a snippet").0;
    assert!(snippet.contains(PRINTS) && snippet.contains(SHOWN), "{snippet}");
    let snippet = snippet.replace(PRINTS, "report(").replace(SHOWN, r#"" + location.search.slice(1) + ""#);
    [BEFORE, &snippet, AFTER].concat()
}

/// Serves the page, and gives what it reports.
fn page_server() -> (SocketAddr, Receiver<Value>) {
    let page = page();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (reports, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (reports, page) = (reports.clone(), page.clone());
            thread::spawn(move || {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                // A browser may open a connection ahead of its need.
                let Some(Ok(first)) = lines.next() else { return };
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let target = first.split(' ').nth(1).unwrap();
                let body = if target.starts_with("/page") { page.as_str() } else { "" };
                if let Some(report) = target.strip_prefix("/report?") {
                    let text = percent_decode_str(report).decode_utf8().unwrap();
                    let _ = reports.send(serde_json::from_str(&text).unwrap());
                }
                let length = body.len();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
                let _ = write!(&stream, "{head} {length}\r\n\r\n{body}");
            });
        }
    });
    (address, received)
}

#[test]
fn a_page_of_an_allowed_origin_gets_what_is_put_and_can_publish() {
    let (pages, reports) = page_server();
    let daemon = Daemon::start_fast(|setup| {
        setup.set("PUBSUB_ALLOWED_ORIGINS", format!("http://{pages}"));
    });
    let Some(_browser) = Browser::open(&format!("http://{pages}/page?{}", daemon.address()), SKIPPED) else { return };
    let next = || reports.recv_timeout(PATIENCE).expect("a report from the page");
    assert_eq!(next()["response"], "OK: Welcome from CoreMQ!");
    assert_eq!(next()["response"], "OK: Subscribe successful");
    let mut client = daemon.connect();
    for n in 0..3 {
        assert_eq!(client.ask(put_message("news", &json!({ "n": n, "é": "世" }).to_string())).code(), 1);
        let got = next();
        assert_eq!((&got["n"], &got["é"], &got["queue"]), (&json!(n), &json!("世"), &json!("news")));
        assert_eq!(got["coremq_sender"], "http");
    }
    assert_eq!(client.ask(put_message("news", r#"{"data":"answer me"}"#)).code(), 1);
    assert_eq!(next()["data"], "answer me");
    assert_eq!(next()["response"], "OK: Message sent");
    let reply = client.ask(common::get("/queue/?name=replies"));
    assert_eq!(reply.json()["data"], json!({ "text": "é from the page" }));

    let ended = daemon.stop(rustix::process::Signal::TERM);
    assert_eq!(ended.code(), Some(0));
    assert_eq!(next()["response"], "BYE");
    assert_eq!(next(), json!({ "closed": 1001, "clean": true }));
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let (pages, reports) = page_server();
    let daemon = Daemon::start_fast(|setup| {
        // Another port is another origin.
        setup.set("PUBSUB_ALLOWED_ORIGINS", "http://127.0.0.1:1");
    });
    let Some(_browser) = Browser::open(&format!("http://{pages}/page?{}", daemon.address()), SKIPPED) else { return };
    let next = || reports.recv_timeout(PATIENCE).expect("a report from the page");
    assert_eq!(next(), "error");
    assert_eq!(next(), json!({ "closed": 1006, "clean": false }));
}
