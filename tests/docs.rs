//! The pages in docs/ against the real daemon. Goal: what a reader copies works, and prints what is printed there. Method:
//! `tests/examples`; the page for browsers is opened by a real one, and what cannot be run here is at least read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stderr)] // Why a test is skipped.

#[path = "common/browser.rs"]
mod browser;
#[path = "common/devtools.rs"]
mod devtools;
mod examples;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use examples::{Daemon, blocks, check, files, has, read};
use serde_json::json;

/// Where the page is served that the browser opens.
const SHOWN_PAGES: &str = "127.0.0.1:8000";

#[test]
fn what_configure_shows_is_so() {
    check("docs/configure.md", 8);
}

#[test]
fn what_monitor_shows_is_so() {
    check("docs/monitor.md", 8);
}

#[test]
fn what_backup_shows_is_so() {
    check("docs/backup.md", 10);
}

#[test]
fn what_upgrade_shows_is_so() {
    check("docs/upgrade.md", 5);
}

#[test]
fn what_install_shows_is_so() {
    check("docs/install.md", 4);
}

#[test]
fn what_http_shows_is_so() {
    check("docs/http.md", 12);
}

#[test]
fn what_tcp_shows_is_so() {
    check("docs/tcp.md", 6);
}

#[test]
fn what_websocket_shows_is_so() {
    check("docs/websocket.md", 4);
}

/// The pages whose programs and commands are run here; others have tests of their own.
const RUN: [&str; 8] = ["configure", "monitor", "backup", "upgrade", "install", "http", "tcp", "websocket"];

/// Every page that there is, by name.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.sort();
    pages
}

#[test]
fn every_program_on_a_page_is_run() {
    let mut programs = 0;
    for page in RUN.map(|page| format!("docs/{page}.md")) {
        let blocks = blocks(&read(&page));
        let commands: String = examples::examples(&blocks).into_iter().map(|example| example.command + "\n").collect();
        for block in blocks.iter().filter(|block| ["python", "js", "yaml"].contains(&block.language.as_str())) {
            let name = block.file_name().unwrap_or_else(|| panic!("{page}: no name of a file:\n{}", block.text));
            assert!(commands.contains(name), "{page}: no command uses {name}");
            programs += 1;
        }
    }
    assert!(programs >= 6, "{programs} programs");
}

/// What needs root, systemd or another machine stands in `sh` blocks. Its httpmq command lines are read by httpmq itself, and files
/// of the repository must be there.
#[test]
fn command_lines_that_are_not_run_are_right() {
    let (mut lines, mut scripts) = (0, 0);
    for page in pages().into_iter().chain(["README.md".to_owned(), "packaging/RELEASE.md".to_owned()]) {
        let text = read(&page);
        for line in blocks(&text).iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines()) {
            let line = line.split(" #").next().unwrap().trim();
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            let line = line.strip_prefix("-u httpmq ").unwrap_or(line);
            if let Some(script) = line.split(' ').find(|word| word.starts_with("packaging/")) {
                scripts += 1;
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(script).exists(), "{page}: there is no {script}");
            }
            let Some(words) = line.strip_prefix("httpmq ") else { continue };
            let words: Vec<String> = words
                .split(['<', '>', '|'])
                .next()
                .unwrap()
                .split_whitespace()
                .map(|word| word.replace(['"', '\''], ""))
                .collect();
            let wrong = httpmq::args::parse("httpmq", &words).err().filter(|exit| exit.status.is_err());
            assert!(wrong.is_none(), "{page}: {line}: {wrong:?}");
            lines += 1;
        }
    }
    assert!(lines >= 5 && scripts >= 5, "{lines} command lines, {scripts} scripts");
}

/// What monitor.md tells operators to look for in the log is what the sources write.
#[test]
fn words_of_the_log_are_those_of_the_log() {
    let text = read("docs/monitor.md");
    let table = text.split_once("| in the log |").unwrap().1;
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for words in rows {
        let found = Command::new("grep").args(["-rqF", words, concat!(env!("CARGO_MANIFEST_DIR"), "/src")]).status();
        assert!(found.unwrap().success(), "no log line has {words}");
    }
}

/// No page points at a file or a heading that is not there.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for page in pages().into_iter().chain(["README.md".to_owned()]) {
        let text = read(&page);
        let prose: String = text.split("\n```").step_by(2).collect();
        for link in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { root.join(&page) } else { root.join(&page).parent().unwrap().join(file) };
            let there = fs::read_to_string(&target).unwrap_or_else(|error| panic!("{page}: {link}: {error}"));
            assert!(heading.is_none_or(|heading| headings(&there).contains(&heading.to_owned())), "{page}: {link}");
            links += 1;
        }
    }
    assert!(links > 40, "{links} links");
}

/// The headings of a page, as links name them.
fn headings(page: &str) -> Vec<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('#'));
    let texts = lines.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    texts.map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn the_page_of_the_websocket_works_in_a_browser() {
    let text = read("docs/websocket.md");
    let found = blocks(&text);
    let (_, page) = files(&found).into_iter().find(|(name, _)| name == "page.html").unwrap();
    let config = &found.iter().find(|block| block.language == "toml").unwrap().text;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pages = listener.local_addr().unwrap();
    assert!(config.contains(SHOWN_PAGES));
    let daemon = Daemon::start(&config.replace(SHOWN_PAGES, &pages.to_string()), Vec::new());
    let Some(mut tab) = devtools::Tab::open("the page of docs/websocket.md") else { return };
    let page = daemon.real(&page);
    thread::spawn(move || serve(&listener, &page));

    tab.go(&format!("http://{pages}/page.html"));
    tab.wait("document.getElementById('state').textContent == 'subscribed'");
    if !has("curl") {
        return eprintln!("skipped: a put for the page of docs/websocket.md, because there is no curl");
    }
    put(daemon.http());
    tab.wait("document.getElementById('list').innerText == '19.5 °C'");
    tab.press("Publish 21");
    tab.wait(&format!("document.getElementById('list').innerText == {}", json!("19.5 °C\n21 °C")));
}

/// The command line below the page.
fn put(http: &str) {
    let text = read("docs/websocket.md");
    let line = blocks(&text).into_iter().find(|block| block.language == "sh").unwrap().text;
    let line = line.replace("127.0.0.1:8200", http);
    let done = Command::new("sh").args(["-c", &line]).env("no_proxy", "*").output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Gives the page to whoever asks.
fn serve(listener: &TcpListener, page: &str) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        // A browser may open a connection ahead of its need.
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
        let _ = write!(&stream, "{head} {}\r\n\r\n{page}", page.len());
    }
}
