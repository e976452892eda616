//! The commands with a token, and what is written down of it.

use std::fs;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::json;

use crate::common::{Daemon, get};
use crate::tokens::{daemon, secret, with_token};
use crate::websocket::Socket;

fn run(daemon: Option<&Daemon>, words: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).env_clear();
    if let Some(daemon) = daemon {
        command.env("HTTPMQ_URL", format!("http://{}", daemon.address()));
        command.env("HTTPMQ_TCP", daemon.tcp_address().to_string());
    }
    command.envs(token.map(|token| ("HTTPMQ_TOKEN", token)));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_new_token_opens_the_daemon_that_has_its_lines() {
    let words = ["token", "new", "worker", "--queue", "jobs", "--queue", "mail.*", "--right", "read", "--right=write"];
    let made = run(None, &words, None);
    assert!(made.status.success(), "{made:?}");
    let (lines, said) = (text(&made.stdout), text(&made.stderr));
    let new = said.trim().rsplit(' ').next().unwrap();
    assert!(new.starts_with("hmq_") && new.len() == 4 + 64, "{said}");
    assert!(!lines.contains(new), "the secret is in no file by accident");
    assert!(lines.starts_with("\n[auth.tokens.worker]\nsha256 = \""), "{lines}");
    assert!(lines.ends_with("queues = [\"jobs\", \"mail.*\"]\nrights = [\"read\", \"write\"]\n"), "{lines}");
    assert_ne!(text(&run(None, &words, None).stderr), said, "each is another one");

    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").file(&lines);
    });
    let put = run(Some(&daemon), &["put", "jobs", "one"], Some(new));
    assert!(put.status.success(), "{put:?}");
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("token");
    fs::write(&path, format!("{new}\n")).unwrap();
    let at_path = format!("@{}", path.display());
    assert_eq!(text(&run(Some(&daemon), &["get", "--token", &at_path, "jobs"], None).stdout), "one\n");
    assert!(run(Some(&daemon), &["publish", "jobs", "two"], Some(&at_path)).status.success());
    assert_eq!(
        text(&run(Some(&daemon), &["tail", "--raw", "--history", "-n", "1", "jobs"], Some(new)).stdout),
        "one\n"
    );

    for words in [&["put", "jobs", "x"][..], &["queues"], &["publish", "jobs", "x"], &["tail", "jobs"]] {
        for (token, why) in [(None, "asks for a token, and none came"), (Some("hmq_wrong"), "nobody has this token")] {
            let refused = run(Some(&daemon), words, token);
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{words:?} {said}");
            assert!(said.contains(why), "{words:?} {said}");
        }
    }
    let refused = run(Some(&daemon), &["reset", "--yes", "jobs"], Some(new));
    assert!(text(&refused.stderr).contains("the token worker lacks the right admin"), "{refused:?}");
}

#[test]
fn the_bench_shows_its_token_by_both_doors() {
    let daemon = daemon(|_| ());
    for work in ["put-get", "pubsub"] {
        let words = ["bench", work, "--count", "20", "--connections", "2"];
        let done = run(Some(&daemon), &words, Some(&secret("admin")));
        assert!(done.status.success(), "{work}: {done:?}");
        let refused = run(Some(&daemon), &words, Some(&secret("scraper")));
        assert_eq!(refused.status.code(), Some(2), "{work}: {refused:?}");
    }
}

#[test]
fn a_token_that_cannot_be_is_refused_with_its_reason() {
    for (words, why) in [
        (&["token", "new", "a b", "--queue", "q"][..], "the name must have"),
        (&["token", "new", "a"], "--queue"),
        (&["token", "new", "a", "--queue", ""], "no queue can have"),
        (&["token", "new", "a", "--queue", "q", "--right", "all"], "there are read, write, admin"),
        (&["get", "q", "--token", "a b"], "has a character that no token has"),
        (&["get", "q", "--token", "@/nowhere"], "cannot read the token from /nowhere"),
    ] {
        let refused = run(None, words, None);
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
        assert!(text(&refused.stderr).contains(why), "{words:?} {refused:?}");
        assert!(refused.stdout.is_empty());
    }
}

/// Retry: what a token may ask for in a second is not the end of a file of lines.
#[test]
fn a_command_waits_when_its_token_asks_too_often() {
    let daemon = Daemon::start_fast(|setup| {
        let admin = crate::tokens::lines(crate::tokens::ADMIN);
        setup.set("STORE_ENGINE", "memory").file(&format!("{admin}requests_per_s = 4\n"));
    });
    for n in 0..7 {
        let put = run(Some(&daemon), &["put", "jobs", &n.to_string()], Some(&secret("admin")));
        assert!(put.status.success(), "{put:?}");
    }
    let got = run(Some(&daemon), &["get", "--all", "jobs"], Some(&secret("admin")));
    assert_eq!(text(&got.stdout), "0\n1\n2\n3\n4\n5\n6\n");
}

#[test]
fn no_secret_is_in_the_log() {
    let daemon = daemon(|setup| {
        setup.set("LOG_LEVEL", "trace");
    });
    let client = &mut daemon.connect();
    for name in ["worker", "nobody"] {
        client.ask(with_token(get("/queue/?name=jobs"), name));
        let auth = json!({ "coremq_auth": secret(name) });
        daemon.wire().ask(&auth.to_string());
        Socket::connect(daemon.address()).ask(&auth);
        let protocols = format!("Sec-WebSocket-Protocol: httpmq, httpmq.token.{}", secret(name));
        let handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        daemon.connect().ask(format!("{handshake}{protocols}\r\n\r\n"));
    }
    let ended = daemon.stop(Signal::TERM);
    assert!(ended.said("a wrong token came from 127.0.0.1"), "{:?}", ended.lines);
    let wrong = ended.lines.iter().filter(|line| line.contains("wrong token")).count();
    assert_eq!(wrong, 1, "however many come");
    assert!(ended.lines.len() > 5 && !ended.said("secret-of"), "{:?}", ended.lines);
}
