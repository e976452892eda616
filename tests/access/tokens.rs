//! The tokens of these tests: the secret of `NAME` is `hmq_secret-of-NAME`.

use httpmq::access::{Secret, token::hex};

use crate::common::{Daemon, Setup};

/// May read and write some queues.
pub(crate) const WORKER: (&str, &[&str], &[&str]) = ("worker", &["jobs", "mail.*"], &["read", "write"]);
/// May do everything.
pub(crate) const ADMIN: (&str, &[&str], &[&str]) = ("admin", &["*"], &["read", "write", "admin"]);
/// May look at figures only.
pub(crate) const SCRAPER: (&str, &[&str], &[&str]) = ("scraper", &["*"], &[]);

pub(crate) fn secret(name: &str) -> String {
    format!("hmq_secret-of-{name}")
}

/// The lines of a token in httpmq.toml.
pub(crate) fn lines((name, queues, rights): (&str, &[&str], &[&str])) -> String {
    let sha256 = hex(&Secret::parse(&secret(name)).unwrap().sha256());
    format!("[auth.tokens.{name}]\nsha256 = \"{sha256}\"\nqueues = {queues:?}\nrights = {rights:?}\n")
}

/// A daemon with [`WORKER`], [`ADMIN`] and [`SCRAPER`].
pub(crate) fn daemon(setup: impl FnOnce(&mut Setup)) -> Daemon {
    Daemon::start_fast(|all| {
        all.set("STORE_ENGINE", "memory").file(&[WORKER, ADMIN, SCRAPER].map(lines).concat());
        setup(all);
    })
}

/// A request with a token put into it.
pub(crate) fn with_token(request: impl AsRef<[u8]>, name: &str) -> Vec<u8> {
    with_header(request, &format!("Authorization: Bearer {}", secret(name)))
}

/// A request with one more header.
pub(crate) fn with_header(request: impl AsRef<[u8]>, header: &str) -> Vec<u8> {
    let request = request.as_ref();
    let end = request.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    [&request[..end], header.as_bytes(), b"\r\n", &request[end..]].concat()
}
