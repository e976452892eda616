//! What the daemon says about access when it starts, or instead of it.

use crate::common::{Daemon, Ended, get, wait_for};
use crate::tokens::{self, ADMIN, WORKER, lines, with_token};

fn refused(args: &[&str], file: &str) -> Box<Ended> {
    let started = Daemon::try_start(|setup| {
        for arg in args {
            setup.arg(arg);
        }
        setup.set("STORE_ENGINE", "memory").file(file);
    });
    started.expect_err("it must not start")
}

/// Waits for a line of the log.
fn says(daemon: &Daemon, end: &str) {
    wait_for(end, || daemon.lines().iter().any(|line| line.ends_with(end)).then_some(()));
}

#[test]
fn open_to_others_without_tokens_is_refused_with_what_to_do() {
    for (args, file, address) in [
        (&["--host=0.0.0.0"][..], "", "0.0.0.0:0"),
        (&["--host", "::"], "", ":::0"),
        (&[], "[pubsub]\nhost = '0.0.0.0'\n", "0.0.0.0:0"),
        (&["--host=0.0.0.0", "--check"], "", "0.0.0.0:8200"),
    ] {
        let ended = refused(args, file);
        assert_eq!(ended.code(), Some(2), "{args:?}");
        let said = ended.lines.join("\n");
        for part in
            ["refusing to listen on ", "httpmq token new", "127.0.0.1", "allow_open = true", "HTTPMQ_AUTH_ALLOW_OPEN"]
        {
            assert!(said.contains(part), "{args:?}: no {part} in {said}");
        }
        assert!(said.contains(address) || args.contains(&"--check"), "{said}");
        assert!(!ended.dir.path().join("data").exists(), "nothing was opened");
    }
}

#[test]
fn with_tokens_or_when_it_is_meant_it_listens_anywhere() {
    let open = Daemon::start_fast(|setup| {
        setup.arg("--host=0.0.0.0").set("AUTH_ALLOW_OPEN", true).set("STORE_ENGINE", "memory");
    });
    assert_eq!(open.connect().ask(get("/v1/stats")).status, 200);
    says(&open, "access: open to everybody who reaches it (allow_open)");
    let guarded = tokens::daemon(|setup| {
        setup.arg("--host=0.0.0.0");
    });
    assert_eq!(guarded.connect().ask(get("/v1/stats")).status, 401);
    assert_eq!(guarded.connect().ask(with_token(get("/v1/stats"), "worker")).status, 200);
    says(&guarded, "access: 3 tokens");
}

#[test]
fn on_loopback_nobody_needs_a_token_until_there_is_one() {
    let open = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory");
    });
    says(&open, "access: open (loopback only)");
    assert_eq!(open.connect().ask(with_token(get("/v1/stats"), "nobody")).status, 200);
    let one = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory").file(&lines(ADMIN));
    });
    says(&one, "access: 1 token");
    assert_eq!(one.connect().ask(get("/v1/stats")).status, 401);
}

#[test]
fn a_mistake_in_a_token_is_named_with_its_place() {
    let fine = lines(WORKER);
    for (file, place, expected) in [
        (fine.replace("worker", "'w w'"), ":1:14: ", "the name of a token"),
        (fine.replace("sha256 = \"", "sha256 = \"0"), ":2:10: ", "`sha256` must be the SHA-256 of a secret"),
        (fine.replace("rights = ", "rights = \"read\" #"), ":4:10: ", "`rights` must be a list out of"),
        (fine.replace("\"write\"", "\"delete\""), ":4:10: ", "`rights` must be a list out of"),
        (fine.replace("mail.*", ""), ":3:10: ", "`queues` must be a list of queue names"),
        (fine.replace("queues", "queue"), ":3:1: ", "there are sha256, queues, rights, requests_per_s"),
        (fine.lines().take(3).collect::<Vec<_>>().join("\n"), ":1:14: ", "has no `rights`"),
        (format!("{fine}{}", fine.replace("worker", "twin")), ":1:14: ", "the same `sha256`"),
        (format!("{fine}requests_per_s = -1\n"), ":5:18: ", "`requests_per_s` must be a whole number"),
        ("[auth]\nallowed_hosts = ['http://a.b']\n".to_owned(), ":2:17: ", "`allowed_hosts` must be a list of names"),
        ("[auth]\ntokens = 5\n".to_owned(), ":2:1: ", "a section"),
    ] {
        let ended = refused(&[], &file);
        assert_eq!(ended.code(), Some(2));
        assert!(ended.said(expected) && ended.said(place), "{file}{:?}", ended.lines);
    }
}
