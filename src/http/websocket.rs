//! `GET /ws`: from an HTTP request to a WebSocket connection, which [`crate::pubsub`] serves.
//!
//! A page may open a WebSocket to any server that its reader's browser can reach, and the browser asks neither of them. It only
//! says in `Origin` whose page it is. So this is looked at before anything else.

use std::sync::Arc;

use http_body_util::Full;
use hyper::{
    HeaderMap, Request,
    body::{Body, Incoming},
    header::{HOST, ORIGIN},
};
use hyper_util::rt::TokioIo;
use tungstenite::{Error, error::ProtocolError, handshake::server::create_response_with_body};

use super::{
    answer::{self, Answer},
    serve::Slot,
    timed::TimedStream,
};
use crate::{pubsub, route::Refusal, store::Store};

/// The WebSockets of a listener.
#[derive(Debug)]
pub(super) struct Sockets<S> {
    live: Arc<pubsub::Door<S>>,
    allowed_origins: Vec<String>,
}

impl<S: Store> Sockets<S> {
    pub(super) fn new(live: Arc<pubsub::Door<S>>, allowed_origins: &[String]) -> Sockets<S> {
        Sockets { live, allowed_origins: allowed_origins.to_vec() }
    }

    /// Whether a path is theirs.
    pub(super) fn is_path(path: &str) -> bool {
        path.strip_suffix('/').unwrap_or(path) == "/ws"
    }

    /// Answers a request for a WebSocket. When that is a yes, it is served as soon as the answer is sent.
    pub(super) fn open(&self, mut request: Request<Incoming>, slot: &Arc<Slot>) -> Answer {
        if let Some(answer) = self.refusal(&request) {
            return answer::unread(answer, request.body());
        }
        let answer = match create_response_with_body(&request, Full::default) {
            Ok(answer) => answer,
            Err(error) => return answer::unread(refuse(&error), request.body()),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let (live, slot) = (self.live.clone(), slot.clone());
        tokio::spawn(async move {
            // A client that is gone before it has the answer.
            let Ok(upgraded) = upgrade.await else { return };
            // It was put in by `serve_connection()`, so it comes out. The deadlines of requests end here.
            let Ok(parts) = upgraded.downcast::<TokioIo<TimedStream>>() else { return };
            let (read, write) = parts.io.into_inner().into_stream().into_split();
            let buffered = parts.read_buf.into();
            pubsub::serve_websocket(read, write, buffered, slot.peer, live, slot.stop.clone()).await;
        });
        answer
    }

    fn refusal(&self, request: &Request<Incoming>) -> Option<Answer> {
        if request.method() != hyper::Method::GET {
            return Some(answer::refusal(&Refusal::WrongMethod { allow: "GET" }));
        }
        if !request.body().is_end_stream() {
            return Some(answer::refusal(&Refusal::BadRequest("a request for a WebSocket has no body".into())));
        }
        if !is_allowed(request.headers(), &self.allowed_origins) {
            return Some(answer::foreign_origin());
        }
        None
    }
}

/// Whether whoever asks may: no page at all, a page from this very host and port, or one of those that are listed.
fn is_allowed(headers: &HeaderMap, allowed_origins: &[String]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.next().is_some() {
        return false;
    }
    let is_own = match (origin.split_once("://"), headers.get(HOST)) {
        (Some((_, place)), Some(host)) => host.as_bytes().eq_ignore_ascii_case(place.as_bytes()),
        _ => false,
    };
    is_own || allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// The answer to what is no handshake (RFC 6455, section 4.2).
fn refuse(error: &Error) -> Answer {
    match error {
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader
            | ProtocolError::WrongHttpVersion,
        ) => answer::upgrade_required(),
        error => answer::refusal(&Refusal::BadRequest(error.to_string().into())),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn an_origin_is_allowed_when_it_is_ours_or_listed() {
        let listed = ["https://example.org".to_owned(), "null".to_owned()];
        for (origins, host, expected) in [
            (&[][..], "a:8200", true),
            (&["http://a:8200"], "a:8200", true),
            (&["https://A:8200"], "a:8200", true),
            (&["http://a"], "a:8200", false),
            (&["http://a:82000"], "a:8200", false),
            (&["http://b:8200"], "a:8200", false),
            (&["http://[::1]:8200"], "[::1]:8200", true),
            (&["a:8200"], "a:8200", false),
            (&[""], "", false),
            (&["null"], "a", true),
            (&["https://Example.org"], "a", true),
            (&["http://example.org"], "a", false),
            (&["https://example.org.evil.net"], "a", false),
            (&["https://example.org", "https://example.org"], "a", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_allowed(&headers, &listed), expected, "{origins:?} {host}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!is_allowed(&headers, &[]), "without Host");
    }
}
