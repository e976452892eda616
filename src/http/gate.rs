//! Who may ask for what, and what those are answered who may not. It is asked before a body is read.

use std::sync::Arc;

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::origin;
use crate::{
    access::{Denial, Need},
    guard::{Client, Guard, Pass},
};

/// The guard, as HTTP asks it.
#[derive(Debug)]
pub(super) struct Gate {
    guard: Arc<Guard>,
    allowed_origins: Vec<String>,
}

/// A denial in the terms of HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// In the envelope of the five operations.
    pub(super) message: &'static str,
    /// In a problem.
    pub(super) code: &'static str,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Gate {
    pub(super) fn new(guard: Arc<Guard>, allowed_origins: &[String]) -> Gate {
        Gate { guard, allowed_origins: allowed_origins.to_vec() }
    }

    /// Whether a request came by one of our names, which every request has to.
    pub(super) fn name(&self, headers: &HeaderMap) -> Result<(), Denial> {
        // Who sends none is no browser.
        headers.get_all(HOST).iter().try_for_each(|host| self.guard.host(host.as_bytes()))
    }

    /// Whether whoever asks may change something, as far as it matters whose page it is.
    pub(super) fn page(&self, headers: &HeaderMap) -> Result<(), Denial> {
        if origin::is_allowed(headers, &self.allowed_origins) { Ok(()) } else { Err(Denial::ForeignPage) }
    }

    /// Lets somebody in who needs this.
    pub(super) fn enter(&self, headers: &HeaderMap, client: Client, need: Need) -> Result<Pass, Denial> {
        // Without tokens, what could be one is not even looked for.
        match self.guard.open() {
            Some(pass) => Ok(pass),
            None => self.enter_with(bearer(headers), client, need),
        }
    }

    /// The same for a secret that did not come in its header.
    pub(super) fn enter_with(&self, secret: Option<&[u8]>, client: Client, need: Need) -> Result<Pass, Denial> {
        let pass = self.guard.enter(secret, client)?;
        // Requests that are refused count as well: who asks in a loop for what it may not is to stop.
        pass.ask()?;
        pass.meets(need)?;
        Ok(pass)
    }

    /// Whether a connection needs a token at all.
    pub(super) fn is_open(&self) -> bool {
        self.guard.is_open()
    }
}

/// The secret of `Authorization: Bearer SECRET` (RFC 6750, section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next()?.as_bytes();
    let (scheme, secret) = value.split_at_checked("Bearer ".len())?;
    let is_one = all.next().is_none() && scheme.eq_ignore_ascii_case(b"Bearer ");
    is_one.then(|| secret.trim_ascii())
}

impl Refused {
    pub(super) fn of(denial: &Denial) -> Refused {
        let (status, message, code, header) = match denial {
            Denial::NoToken => {
                (StatusCode::UNAUTHORIZED, "HTTPMQ_UNAUTHORIZED", "unauthorized", Some(challenge("Bearer")))
            }
            Denial::WrongToken | Denial::Replaced => {
                let header = challenge("Bearer error=\"invalid_token\"");
                (StatusCode::UNAUTHORIZED, "HTTPMQ_UNAUTHORIZED", "unauthorized", Some(header))
            }
            Denial::TooManyWrong { wait_s } => {
                (StatusCode::TOO_MANY_REQUESTS, "HTTPMQ_THROTTLED", "throttled", Some(after(*wait_s)))
            }
            Denial::TooMany { wait_s, .. } => {
                let header = Some(after(*wait_s));
                (StatusCode::TOO_MANY_REQUESTS, "HTTPMQ_TOO_MANY_REQUESTS", "too_many_requests", header)
            }
            Denial::NoRight { .. } | Denial::NotAllQueues { .. } | Denial::ForeignPage => {
                (StatusCode::FORBIDDEN, "HTTPMQ_FORBIDDEN", "forbidden", None)
            }
            Denial::ForeignHost { .. } => (StatusCode::MISDIRECTED_REQUEST, "HTTPMQ_MISDIRECTED", "misdirected", None),
        };
        Refused { status, message, code, header }
    }
}

fn challenge(text: &'static str) -> (HeaderName, HeaderValue) {
    (WWW_AUTHENTICATE, HeaderValue::from_static(text))
}

fn after(wait_s: u64) -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, HeaderValue::from(wait_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_stands_behind_the_one_bearer() {
        for (values, expected) in [
            (&["Bearer abc"][..], Some(&b"abc"[..])),
            (&["bEARER  abc "], Some(b"abc")),
            (&["Bearer "], Some(b"")),
            (&[], None),
            (&["Bearer"], None),
            (&["Bearerabc"], None),
            (&["Basic abc"], None),
            (&["Bearer abc", "Bearer abc"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer(&headers), expected, "{values:?}");
        }
    }
}
