#![allow(clippy::unwrap_used)] // A failed test may panic.

use super::*;
use crate::access::{Pattern, Right, Secret};

fn token(name: &str, queues: &[&str], requests_per_s: u32) -> Token {
    Token {
        name: name.into(),
        sha256: Secret::parse(&format!("secret-of-{name}")).unwrap().sha256(),
        queues: queues.iter().map(|queue| Pattern::parse(queue).unwrap()).collect(),
        rights: Right::ALL.into_iter().collect(),
        requests_per_s,
    }
}

fn auth(tokens: &[Token]) -> Auth {
    Auth { allow_open: false, allowed_hosts: Vec::new(), tokens: tokens.to_vec() }
}

fn client(address: &str) -> Client {
    Client::at(address.parse().unwrap())
}

fn enter(guard: &Guard, name: &str, address: &str) -> Result<Pass, Denial> {
    guard.enter(Some(format!("secret-of-{name}").as_bytes()), client(address))
}

#[test]
fn without_tokens_everybody_comes_in_and_with_them_only_who_has_one() {
    let open = Guard::new(&auth(&[]));
    assert!(open.enter(None, client("::1")).unwrap().may(Right::Admin, "q").is_ok());
    let guard = Guard::new(&auth(&[token("a", &["jobs"], 0)]));
    assert_eq!(guard.enter(None, client("::1")).unwrap_err(), Denial::NoToken);
    assert_eq!(enter(&guard, "b", "::1").unwrap_err(), Denial::WrongToken);
    let pass = enter(&guard, "a", "::1").unwrap();
    assert!(pass.may(Right::Read, "jobs").is_ok() && pass.may(Right::Read, "mail").is_err());
}

#[test]
fn who_guesses_waits_and_neither_others_nor_known_tokens_of_the_same_place_do() {
    let guard = Guard::new(&auth(&[token("a", &["*"], 0), token("b", &["*"], 0)]));
    enter(&guard, "a", "10.0.0.1").unwrap();
    let wrong = (0..100).take_while(|_| enter(&guard, "x", "10.0.0.1").unwrap_err() == Denial::WrongToken).count();
    assert_eq!(wrong, 10);
    assert!(matches!(enter(&guard, "b", "10.0.0.1").unwrap_err(), Denial::TooManyWrong { wait_s: 1..=6 }));
    assert!(enter(&guard, "a", "10.0.0.1").is_ok(), "it came from there before");
    assert!(enter(&guard, "b", "10.0.0.2").is_ok());
    (0..11).for_each(|_| assert!(enter(&guard, "x", "2001:db8::1").is_err()));
    assert!(matches!(enter(&guard, "b", "2001:db8::ffff:2").unwrap_err(), Denial::TooManyWrong { .. }));
    assert!(enter(&guard, "b", "2001:db8:0:1::1").is_ok());
}

#[test]
fn a_rate_is_of_the_token_whoever_shows_it() {
    let guard = Guard::new(&auth(&[token("slow", &["*"], 2), token("free", &["*"], 0)]));
    let (one, two) = (enter(&guard, "slow", "::1").unwrap(), enter(&guard, "slow", "10.0.0.1").unwrap());
    assert_eq!((one.ask(), two.ask()), (Ok(()), Ok(())));
    assert_eq!(one.ask(), Err(Denial::TooMany { token: "slow".into(), wait_s: 1 }));
    let (third, fourth) = (two.turn().unwrap(), one.turn().unwrap());
    assert!(third < fourth && fourth <= Duration::from_secs(1), "{third:?} {fourth:?}");
    let free = enter(&guard, "free", "::1").unwrap();
    assert!((0..1000).all(|_| free.ask().is_ok() && free.turn().is_none()));
}

#[tokio::test]
async fn other_tokens_hold_at_once_and_say_what_changed() {
    let guard = Guard::new(&auth(&[token("a", &["*"], 0), token("b", &["*"], 0), token("c", &["*"], 0)]));
    let [a, b, c] = ["a", "b", "c"].map(|name| enter(&guard, name, "::1").unwrap());
    let mut changes = guard.changes();
    let replaced = guard.replace(&auth(&[token("a", &["*"], 0), token("b", &["jobs"], 0), token("d", &["*"], 0)]));
    let replaced = replaced.unwrap();
    assert_eq!(replaced.to_string(), "tokens new: d; changed: b; gone: c");
    changes.next().await;
    assert_eq!([&a, &b, &c].map(|pass| guard.still_holds(pass)), [true, false, false]);
    assert!(enter(&guard, "c", "::1").is_err() && enter(&guard, "d", "::1").is_ok());
    assert!(guard.replace(&auth(&[])).is_ok() && guard.is_open());
    let open = guard.enter(None, client("::1")).unwrap();
    assert!(guard.still_holds(&open) && !guard.still_holds(&a));
    assert!(guard.replace(&auth(&[token("a", &["*"], 0)])).is_ok() && !guard.still_holds(&open));
}

#[test]
fn what_is_remembered_of_a_token_outlives_a_change_of_the_others() {
    let guard = Guard::new(&auth(&[token("slow", &["*"], 1)]));
    let pass = enter(&guard, "slow", "10.0.0.1").unwrap();
    pass.ask().unwrap();
    (0..10).for_each(|_| drop(enter(&guard, "x", "10.0.0.1")));
    guard.replace(&auth(&[token("slow", &["*"], 1), token("new", &["*"], 0)])).unwrap();
    let again = enter(&guard, "slow", "10.0.0.1").unwrap();
    assert!(again.ask().is_err() && guard.still_holds(&pass));
}

#[test]
fn beyond_loopback_there_are_tokens_or_somebody_said_that_it_is_meant() {
    let listen = |auth: &Auth, address: &str| Guard::new(auth).may_listen(address.parse().unwrap());
    for (address, is_exposed) in [
        ("127.0.0.1", false),
        ("127.8.8.8", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("0.0.0.0", true),
        ("::", true),
        ("192.168.1.2", true),
        ("::ffff:10.0.0.1", true),
    ] {
        assert_eq!(listen(&auth(&[]), address).is_err(), is_exposed, "{address}");
        assert_eq!(listen(&auth(&[token("a", &[], 0)]), address), Ok(()));
        assert_eq!(listen(&Auth { allow_open: true, ..auth(&[]) }, address), Ok(()));
    }
    let guard = Guard::new(&auth(&[token("a", &["*"], 0)]));
    guard.may_listen("0.0.0.0".parse().unwrap()).unwrap();
    assert_eq!(guard.replace(&auth(&[])), Err(Exposed));
    assert!(enter(&guard, "a", "::1").is_ok(), "nothing has changed");
}

#[test]
fn names_matter_only_where_there_are_no_tokens() {
    let mut listed = auth(&[]);
    listed.allowed_hosts = vec!["mq.example.org".to_owned()];
    let guard = Guard::new(&listed);
    assert!(guard.host(b"localhost:8200").is_ok() && guard.host(b"mq.example.org").is_ok());
    assert!(guard.host(b"evil.example").unwrap_err().to_string().contains("allowed_hosts"));
    assert!(Guard::new(&auth(&[token("a", &[], 0)])).host(b"evil.example").is_ok());
}
