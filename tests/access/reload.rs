//! Tokens that change at a SIGHUP.

use rustix::process::Signal;

use crate::{
    common::{Daemon, get, wait_for},
    tokens::{ADMIN, WORKER, daemon, lines, with_token},
};

fn reload(daemon: &Daemon, file: &str) -> Vec<String> {
    let before = daemon.lines().len();
    daemon.set_file(file);
    daemon.process().signal(Signal::HUP);
    wait_for("the last line of a reload", || {
        let said = daemon.lines().split_off(before);
        said.iter().any(|line| line.contains("SIGHUP: ")).then_some(said)
    })
}

fn status_of(daemon: &Daemon, token: &str) -> u16 {
    daemon.connect().ask(with_token(get("/v1/stats"), token)).status
}

#[test]
fn a_sighup_puts_other_tokens_in_force_and_names_them() {
    let daemon = daemon(|_| {});
    assert_eq!([status_of(&daemon, "worker"), status_of(&daemon, "late")], [200, 401]);
    let late = ("late", WORKER.1, WORKER.2);
    let said = reload(&daemon, &[ADMIN, late].map(lines).concat());
    assert!(said.iter().any(|line| line.ends_with("changed tokens new: late; gone: scraper, worker")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("sha256") || line.contains("restart")), "{said:?}");
    assert_eq!([status_of(&daemon, "worker"), status_of(&daemon, "late")], [401, 200]);

    let said = reload(&daemon, &lines(ADMIN).replace("sha256 = \"", "sha256 = \"x"));
    assert!(said.iter().any(|line| line.contains("SIGHUP: nothing is changed: ")), "{said:?}");
    assert_eq!(status_of(&daemon, "late"), 200);
}

#[test]
fn a_reload_does_not_open_what_others_reach() {
    let daemon = daemon(|setup| {
        setup.arg("--host=0.0.0.0");
    });
    let said = reload(&daemon, "");
    assert!(
        said.iter().any(|line| line.contains("auth stays as it is: without tokens whoever reaches it")),
        "{said:?}"
    );
    assert_eq!(daemon.connect().ask(get("/v1/stats")).status, 401);
    reload(&daemon, "auth.allow_open = true");
    assert_eq!(daemon.connect().ask(get("/v1/stats")).status, 200);
}
