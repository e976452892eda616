//! The connections of the HTTP listener.

use std::{convert::Infallible, future::Future, iter, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::{Request, body::Incoming, header::HeaderValue, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    answer::{Answer, SPEAKS_TLS, TOO_MANY_CONNECTIONS, is_closing, reason_of},
    body::BodyReader,
    gate::Gate,
    log_line::Entry,
    service::Service,
    show::Shown,
    timed::{Served, TimedStream, Timeouts},
    websocket::Sockets,
};
use crate::{
    accept::{Acceptor, stopped},
    broker::Broker,
    config::{self, Config},
    guard::{Client, Guard},
    metrics::{Listener, Open, Reason},
    pubsub, route,
    store::Store,
    tls::{self, Speaks, Stream},
};

/// More headers than any client of a queue sends; a longer list is answered 431.
const MAX_HEADERS: usize = 64;
/// What a put's body needs beside its name and its data: keys, quotes, spaces.
const ENVELOPE_BYTES: usize = 1024;
/// A name in JSON can take this many bytes for one of its own (`\u0041`).
const ESCAPED: usize = 6;
/// How many connections over the limit are told so at a time, and waited for until they have read it; more are just closed.
const MAX_REFUSED: usize = 256;

/// What the HTTP listener is opened with.
#[derive(Debug)]
pub struct Door<S> {
    service: Service<S>,
    timeouts: Timeouts,
    drain: Duration,
    max_header_bytes: usize,
    connections: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    tls: Option<Arc<tls::Server>>,
    counted: Arc<Listener>,
}

/// What a connection holds for as long as it is there, whatever it speaks.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its place among `max_connections`.
    _place: OwnedSemaphorePermit,
    _open: Open,
    /// Who is at the other end.
    pub(super) peer: SocketAddr,
    /// True when it is to end. Who stops waits until nobody listens any more.
    pub(super) stop: watch::Receiver<bool>,
}

impl Slot {
    /// Who has it.
    pub(super) fn client(&self) -> Client {
        Client::at(self.peer.ip())
    }
}

impl<S: Store> Door<S> {
    /// A door to a broker; WebSockets are passed on to the live one.
    pub fn new(
        broker: Arc<Broker<S>>,
        live: Arc<pubsub::Door<S>>,
        guard: Arc<Guard>,
        tls: Option<Arc<tls::Server>>,
        config: &Config,
    ) -> Door<S> {
        let memory = broker.memory().clone();
        let Config { http, limits, pubsub, .. } = config;
        let max_body_bytes = limits.max_message_bytes + ESCAPED * limits.max_name_bytes + ENVELOPE_BYTES;
        let seconds = Duration::from_secs;
        let counted = Listener::new("http");
        Door {
            service: Service {
                broker,
                shown: Shown::new(live.clone(), counted.clone(), tls.clone(), config),
                bodies: BodyReader::new(max_body_bytes, seconds(http.body_timeout_s), memory),
                limits: route::Limits {
                    max_name_bytes: limits.max_name_bytes,
                    max_message_bytes: limits.max_message_bytes,
                },
                server: server(&config.store),
                gate: Gate::new(guard, &pubsub.allowed_origins),
                sockets: pubsub.enabled.then(|| Sockets::new(live)),
            },
            timeouts: Timeouts {
                header: seconds(http.header_timeout_s),
                idle: seconds(http.idle_timeout_s),
                write: seconds(http.write_timeout_s),
            },
            drain: seconds(http.drain_timeout_s),
            max_header_bytes: limits.max_header_bytes,
            connections: Arc::new(Semaphore::new(limits.max_connections)),
            refused: Arc::new(Semaphore::new(MAX_REFUSED)),
            tls,
            counted,
        }
    }
}

/// Serves connections until `shutdown` completes; then stops accepting, lets requests under way finish within the drain time, says
/// BYE to WebSockets, and returns.
pub async fn serve<S: Store>(listener: TcpListener, door: Arc<Door<S>>, shutdown: impl Future<Output = ()>) {
    let stop = watch::Sender::new(false);
    let mut shutdown = pin!(shutdown);
    let mut acceptor = Acceptor::new(listener);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = acceptor.next() => accepted,
            () = &mut shutdown => break,
        };
        match door.connections.clone().try_acquire_owned() {
            Ok(place) => {
                let slot = Slot { _place: place, _open: door.counted.open(), peer, stop: stop.subscribe() };
                tokio::spawn(serve_connection(stream, slot, door.clone()));
            }
            Err(_) => refuse(stream, peer, &door),
        }
    }
    drop(acceptor);
    stop.send_replace(true);
    if tokio::time::timeout(door.drain, stop.closed()).await.is_err() {
        log::warn!("{} connections did not finish in time", stop.receiver_count());
    }
}

/// The header `Server` (RFC 9110, section 10.2.4), for who measures: a product, and in the comment what decides its speed.
fn server(store: &config::Store) -> HeaderValue {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("httpmq/{version} (engine {}; sync {})", store.engine.name(), store.sync.name());
    // Names and a version: there is nothing in it that a header does not take.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("httpmq"))
}

async fn serve_connection<S: Store>(stream: TcpStream, slot: Slot, door: Arc<Door<S>>) {
    let mut stop = slot.stop.clone();
    let secured = tokio::select! {
        secured = secure(stream, slot.peer, &door) => secured,
        () = stopped(&mut stop) => None,
    };
    let Some(stream) = secured else { return };
    let served = Served::default();
    let stream = TimedStream::new(stream, door.timeouts, served.clone());
    let (max_header_bytes, counted) = (door.max_header_bytes, door.counted.clone());
    // In one place, so that a request takes one reference to it.
    let visit = Arc::new(Visit { door, slot: Arc::new(slot), served });
    let service = service_fn(move |request| visit.clone().answer(request));
    let connection = http1::Builder::new()
        // TimedStream has the timeouts; hyper's own would need a timer for each request.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        // A client may close its side behind its request, as `printf … | nc -N` does; a message that it gets must not be lost.
        .half_close(true)
        .max_buf_size(max_header_bytes)
        // `Pos:` as it is documented; some scripts look for it with grep.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // By itself it would be asked whenever the connection is, under a lock that all connections share; like this, only when it is woken.
    let mut stopping: FuturesUnordered<_> = iter::once(stopped(&mut stop)).collect();
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = stopping.next() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            counted.refused(Reason::Malformed);
        }
        log::debug!("an HTTP connection ended: {error}");
    }
}

/// A connection, as its requests see it.
struct Visit<S> {
    door: Arc<Door<S>>,
    slot: Arc<Slot>,
    served: Served,
}

impl<S: Store> Visit<S> {
    /// What is done at once is not part of the future: hyper moves that into its place for each request, and a connection has room for it.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Result<Answer, Infallible>> {
        self.served.step();
        let entry = Entry::begin(&request);
        let begun = self.door.service.begin(request, &self.slot);
        async move {
            let answer = self.door.service.answer(begun, &self.slot).await;
            if is_closing(&answer) {
                self.served.leave_body();
            }
            if let Some(reason) = reason_of(&answer) {
                self.door.counted.refused(reason);
            }
            if let Some(entry) = entry {
                entry.end(&answer, self.slot.peer);
            }
            self.served.step();
            Ok(answer)
        }
    }
}

/// What is behind the handshake, where there is one. `None`: the connection is of no use.
async fn secure<S: Store>(stream: TcpStream, peer: SocketAddr, door: &Door<S>) -> Option<Stream> {
    let speaks = (Speaks::Http, door.timeouts.header);
    match tls::secure(door.tls.as_deref(), stream, peer, speaks, &door.counted).await {
        Ok(stream) => return Some(stream),
        Err(Some(plain)) => Box::pin(tell(Stream::Plain(plain), SPEAKS_TLS, door.timeouts)).await,
        Err(None) => {}
    }
    None
}

/// Says that there are too many connections and closes this one.
fn refuse<S: Store>(stream: TcpStream, peer: SocketAddr, door: &Arc<Door<S>>) {
    log::debug!("refused a connection: there are as many as max_connections allows");
    door.counted.refused(Reason::TooMany);
    let Ok(permit) = door.refused.clone().try_acquire_owned() else { return };
    let door = door.clone();
    tokio::spawn(async move {
        let _permit = permit;
        if let Some(stream) = secure(stream, peer, &door).await {
            tell(stream, TOO_MANY_CONNECTIONS, door.timeouts).await;
        }
    });
}

/// Gives an answer that does not depend on the request, which is not read, and closes.
async fn tell(stream: Stream, answer: &str, timeouts: Timeouts) {
    let served = Served::default();
    served.leave_body();
    let mut stream = TimedStream::new(stream, timeouts, served.clone());
    // It counts as answered, so that these are not taken for hyper's own words.
    served.step();
    served.step();
    // A client that does not take even this has gone.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
