//! `GET /ws`: from an HTTP request to a WebSocket connection, which [`crate::pubsub`] serves.
//!
//! A page may open a WebSocket to any server that its reader's browser can reach. So whose page it is comes before anything else.
//!
//! A page cannot send a header of its own with the handshake. So its token comes as a subprotocol (RFC 6455, section 1.9), beside the
//! one that is spoken: only that one is in the answer. A token can also come in `Authorization`, or in the first message.

use std::sync::Arc;

use http_body_util::Full;
use hyper::{
    HeaderMap, Request,
    body::{Body, Incoming},
    header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL},
};
use hyper_util::rt::TokioIo;
use tungstenite::{Error, error::ProtocolError, handshake::server::create_response_with_body};

use super::{
    answer::{self, Answer},
    gate::{Gate, bearer},
    serve::Slot,
    timed::TimedStream,
};
use crate::{
    access::Need,
    guard::{Client, Pass},
    pubsub::{self, Visitor},
    route::Refusal,
    store::Store,
};

/// What is spoken.
const PROTOCOL: &str = "httpmq";
/// Stands in front of a secret.
const TOKEN: &str = "httpmq.token.";

/// The WebSockets of a listener.
#[derive(Debug)]
pub(super) struct Sockets<S> {
    live: Arc<pubsub::Door<S>>,
}

impl<S: Store> Sockets<S> {
    pub(super) fn new(live: Arc<pubsub::Door<S>>) -> Sockets<S> {
        Sockets { live }
    }

    /// Whether a path is theirs.
    pub(super) fn is_path(path: &str) -> bool {
        path.strip_suffix('/').unwrap_or(path) == "/ws"
    }

    /// Answers a request for a WebSocket. When that is a yes, it is served as soon as the answer is sent.
    pub(super) fn open(&self, mut request: Request<Incoming>, slot: &Arc<Slot>, gate: &Gate) -> Answer {
        let pass = match admit(&request, slot.client(), gate) {
            Ok(pass) => pass,
            Err(answer) => return answer::unread(*answer, request.body()),
        };
        let mut answer = match create_response_with_body(&request, Full::default) {
            Ok(answer) => answer,
            Err(error) => return answer::unread(refuse(&error), request.body()),
        };
        if protocols(request.headers()).any(|protocol| protocol == PROTOCOL) {
            answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (live, slot) = (self.live.clone(), slot.clone());
        tokio::spawn(async move {
            // A client that is gone before it has the answer.
            let Ok(upgraded) = upgrade.await else { return };
            // It was put in by `serve_connection()`, so it comes out. The deadlines of requests end here.
            let Ok(parts) = upgraded.downcast::<TokioIo<TimedStream>>() else { return };
            let (read, write) = parts.io.into_inner().into_stream().into_split();
            let visitor = Visitor { peer: slot.peer, pass };
            pubsub::serve_websocket(read, write, parts.read_buf.into(), live, visitor, slot.stop.clone()).await;
        });
        answer
    }
}

/// Lets a client in. Without a pass it has to show its token in a message.
fn admit(request: &Request<Incoming>, client: Client, gate: &Gate) -> Result<Option<Pass>, Box<Answer>> {
    if request.method() != hyper::Method::GET {
        return Err(Box::new(answer::refusal(&Refusal::WrongMethod { allow: "GET" })));
    }
    if !request.body().is_end_stream() {
        return Err(bad("a request for a WebSocket has no body"));
    }
    let headers = request.headers();
    let denied = |denial| Box::new(answer::denied(&denial));
    gate.page(headers).map_err(denied)?;
    let offered = protocols(headers).find_map(|protocol| protocol.strip_prefix(TOKEN));
    if offered.is_some() && !protocols(headers).any(|protocol| protocol == PROTOCOL) {
        return Err(bad(
            "offer the subprotocol httpmq beside the one with the token: the answer must name one, never a token",
        ));
    }
    match offered.map(str::as_bytes).or_else(|| bearer(headers)) {
        None if !gate.is_open() => Ok(None),
        secret => gate.enter_with(secret, client, Need::Token).map(Some).map_err(denied),
    }
}

fn bad(text: &'static str) -> Box<Answer> {
    Box::new(answer::refusal(&Refusal::BadRequest(text.into())))
}

/// The subprotocols that a client offers.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
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
