//! The asking side of HTTP: one keep-alive connection to an httpmq server, with one request on it at a time.

mod address;
mod answer;
mod error;
pub mod raw;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, SERVER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

pub use address::{AddressError, Server};
pub use answer::{Answer, Shown};
pub use error::ClientError;

use super::answer::SPEAKS_TLS;
use crate::route::v1::MAX_LIMIT;
use crate::tls::Stream;

/// How long to wait for a connection: ten times a slow way around the globe, and short enough to wait for at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer. A put waits for the disk, and a disk that is busy with others may take seconds;
/// after a minute nobody believes in it any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that has been idle for longer is replaced before use. Servers close idle connections (ours after 75 s unless
/// told otherwise, proxies sooner), and a request that crosses with such a close has an unknown fate.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// The largest answer: more than any message that CoreMQ allows (100,000,000 bytes) in its envelope.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// What an answer says, in one spelling or the other, to a token that asks too often.
const TOO_MANY_REQUESTS: &[u8] = b"too_many_requests";

const PUT_ORDER: HeaderName = HeaderName::from_static("put-order");
const POS: HeaderName = HeaderName::from_static("pos");

/// One connection. When the server has closed it between two requests, the next request opens it again.
#[derive(Debug)]
pub struct Connection {
    server: Server,
    link: Option<Link>,
}

/// The place of a put among the puts of its stream. The server stores those of one stream strictly in the order of their
/// numbers, whichever connections they come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Names the stream; random, so that two runs never share one.
    pub stream: u64,
    /// 0, 1, 2, … without a gap.
    pub number: u64,
}

#[derive(Debug)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    last_used: Instant,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NoConnection`].
    pub async fn open(server: &Server) -> Result<Connection, ClientError> {
        let link = Some(connect(server).await?);
        Ok(Connection { server: server.clone(), link })
    }

    /// Puts a message, given as JSON text, into a queue. When the answer is good, the message is on the server's disk.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn put(&mut self, queue: &str, data_json: &str, order: Option<Order>) -> Result<Answer, ClientError> {
        let name = serde_json::Value::from(queue).to_string();
        let body = format!(r#"{{"name":{name},"data":{data_json}}}"#);
        let mut request = Request::put("/queue/").header(CONTENT_TYPE, "application/json");
        if let Some(order) = order {
            request = request.header(PUT_ORDER, order.to_string());
        }
        self.ask(request, body).await
    }

    /// Takes the next message out of a queue.
    ///
    /// # Errors
    /// Any [`ClientError`]. The message is gone when the answer got lost on its way.
    pub async fn get(&mut self, queue: &str) -> Result<Answer, ClientError> {
        self.query("queue", queue, "").await
    }

    /// Asks for the positions of a queue.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn status(&mut self, queue: &str) -> Result<Answer, ClientError> {
        self.query("status", queue, "").await
    }

    /// Asks for the unread message at a position; it stays where it is.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn view(&mut self, queue: &str, position: u64) -> Result<Answer, ClientError> {
        self.query("view", queue, &format!("&position={position}")).await
    }

    /// Forgets all messages and positions of a queue.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn reset(&mut self, queue: &str) -> Result<Answer, ClientError> {
        self.query("reset", queue, "").await
    }

    /// Asks for a page of the queues, those behind `after` with a text in their name.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn queues(&mut self, text: &str, after: Option<&str>) -> Result<Shown, ClientError> {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let after = after.map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
        let path = format!("/v1/queues?limit={MAX_LIMIT}&name={}{after}", encoded(text));
        self.send(Request::get(path), String::new()).await?.shown(&self.server)
    }

    /// Asks whether the server is ready to take puts.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn ready(&mut self) -> Result<Shown, ClientError> {
        self.send(Request::get("/readyz"), String::new()).await?.shown(&self.server)
    }

    /// Forgets all messages of a queue, whose positions go on.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn purge(&mut self, queue: &str) -> Result<Shown, ClientError> {
        self.send(Request::delete(format!("{}/messages", queue_path(queue))), String::new()).await?.shown(&self.server)
    }

    /// Makes a queue; `body_json` says how, as `openapi.yaml` has it.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn create(&mut self, queue: &str, body_json: &str) -> Result<Shown, ClientError> {
        self.send(Request::put(queue_path(queue)), body_json.to_owned()).await?.shown(&self.server)
    }

    /// Changes settings of a queue; `body_json` says which, as `openapi.yaml` has it.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn set(&mut self, queue: &str, body_json: &str) -> Result<Shown, ClientError> {
        self.send(Request::patch(queue_path(queue)), body_json.to_owned()).await?.shown(&self.server)
    }

    /// Deletes a queue with all that is in it.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub async fn delete(&mut self, queue: &str) -> Result<Shown, ClientError> {
        self.send(Request::delete(queue_path(queue)), String::new()).await?.shown(&self.server)
    }

    async fn query(&mut self, resource: &str, queue: &str, more: &str) -> Result<Answer, ClientError> {
        let name = utf8_percent_encode(queue, NON_ALPHANUMERIC);
        self.ask(Request::get(format!("/{resource}/?name={name}{more}")), String::new()).await
    }

    async fn ask(&mut self, request: hyper::http::request::Builder, body: String) -> Result<Answer, ClientError> {
        self.send(request, body).await?.envelope(&self.server)
    }

    /// A server that has had enough of this token for now did nothing, so what it refused is asked again when it said.
    async fn send(&mut self, request: hyper::http::request::Builder, body: String) -> Result<Whole, ClientError> {
        let mut request = request.header(HOST, &self.server.authority);
        if let Some(authorization) = &self.server.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::<Bytes>::from(body))
            .map_err(|e| ClientError::NoConnection { server: self.server.to_string(), reason: e.to_string() })?;
        let asked = Instant::now();
        loop {
            let answer = self.send_once(request.clone()).await?;
            match answer.retry_after() {
                Some(wait) if asked.elapsed() + wait < ANSWER_TIMEOUT => sleep(wait).await,
                _ => return Ok(answer),
            }
        }
    }

    async fn send_once(&mut self, request: Request<Full<Bytes>>) -> Result<Whole, ClientError> {
        // The link is out of `self` while it is in use: a request that fails or is given up takes its connection along,
        // so that a late answer can never be taken for the answer to a later request.
        let mut link = self.usable_link().await?;
        let answer = match timeout(ANSWER_TIMEOUT, exchange(&self.server, &mut link.sender, request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(ClientError::Timeout { server: self.server.to_string() }),
        };
        // After this the server closes.
        if answer.wait.is_none() {
            self.link = Some(Link { last_used: Instant::now(), ..link });
        }
        Ok(answer)
    }

    async fn usable_link(&mut self) -> Result<Link, ClientError> {
        if let Some(mut link) = self.link.take()
            && link.last_used.elapsed() < IDLE_LIMIT
            && link.sender.ready().await.is_ok()
        {
            return Ok(link);
        }
        connect(&self.server).await
    }
}

fn queue_path(queue: &str) -> String {
    format!("/v1/queues/{}", utf8_percent_encode(queue, NON_ALPHANUMERIC))
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.stream, self.number)
    }
}

/// Connects, and no more than TLS needs.
///
/// # Errors
/// [`ClientError::NoConnection`], [`ClientError::NotSafe`].
pub async fn stream(server: &Server) -> Result<Stream, ClientError> {
    let none = |reason: String| ClientError::NoConnection { server: server.to_string(), reason };
    let connecting = async {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|e| none(e.to_string()))?;
        // A request is one small write that is answered before the next one: waiting for more to send only costs time.
        stream.set_nodelay(true).map_err(|e| none(e.to_string()))?;
        match &server.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => {
                let unsafe_for = |reason| ClientError::NotSafe { server: server.to_string(), reason };
                tls.connect(&server.host, stream).await.map_err(unsafe_for)
            }
        }
    };
    let silent = |_| none(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
    timeout(CONNECT_TIMEOUT, connecting).await.map_err(silent)?
}

async fn connect(server: &Server) -> Result<Link, ClientError> {
    let none = |reason: String| ClientError::NoConnection { server: server.to_string(), reason };
    let stream = TokioIo::new(stream(server).await?);
    let (sender, driver) = http1::handshake(stream).await.map_err(|e| none(with_source(&e)))?;
    // What goes wrong on the connection is told to the request that waits on it; the driver has nobody else to tell.
    tokio::spawn(async move { driver.await.ok() });
    Ok(Link { sender, last_used: Instant::now() })
}

async fn exchange(
    server: &Server,
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Whole, ClientError> {
    let failed = |e: &hyper::Error| {
        let (server, reason) = (server.to_string(), with_source(e));
        match e {
            // The request never left this side. A server that has no room says so at once and closes, often before it
            // has been asked anything, and hyper does not show such an answer.
            _ if e.is_canceled() => {
                ClientError::Busy { server, reason: "it closed this one before the request went out".to_owned() }
            }
            // Whoever talks there does not talk HTTP/1.1.
            _ if e.is_parse() => ClientError::NotHttpmq { server, reason },
            _ => ClientError::Broken { server, reason },
        }
    };
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let (status, position, wait) = (response.status(), position(&response), wait(&response));
    let software = response.headers().get(SERVER).and_then(|software| software.to_str().ok()).map(str::to_owned);
    let body = match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(e) => match e.downcast_ref::<hyper::Error>() {
            Some(e) => return Err(failed(e)),
            None => return Err(ClientError::NotHttpmq { server: server.to_string(), reason: e.to_string() }),
        },
    };
    // A problem has its own code; without one there is no room for this connection.
    if status == StatusCode::SERVICE_UNAVAILABLE && Shown::read(false, &body).is_err() {
        let answer = Answer::read(&body, position);
        let reason = answer.map_or_else(|_| status.to_string(), |answer| answer.reason().unwrap_or(answer.message));
        return Err(ClientError::Busy { server: server.to_string(), reason });
    }
    Ok(Whole { status, position, software, wait, body })
}

/// A whole answer, not read yet.
#[derive(Debug)]
struct Whole {
    status: StatusCode,
    position: Option<u64>,
    software: Option<String>,
    /// What the server asks to wait, which has had too many requests.
    wait: Option<Duration>,
    body: Bytes,
}

impl Whole {
    /// When to ask again. Not after wrong tokens: the next one would be as wrong.
    fn retry_after(&self) -> Option<Duration> {
        let is_rate =
            self.body.windows(TOO_MANY_REQUESTS.len()).any(|part| part.eq_ignore_ascii_case(TOO_MANY_REQUESTS));
        self.wait.filter(|_| is_rate)
    }

    fn envelope(self, server: &Server) -> Result<Answer, ClientError> {
        match Answer::read(&self.body, self.position) {
            Ok(answer) => Ok(Answer { software: self.software, ..answer }),
            Err(e) => Err(self.is_foreign(server, "envelope", &e)),
        }
    }

    fn shown(self, server: &Server) -> Result<Shown, ClientError> {
        Shown::read(self.status.is_success(), &self.body).map_err(|e| self.is_foreign(server, "JSON of httpmq", &e))
    }

    fn is_foreign(&self, server: &Server, form: &str, error: &serde_json::Error) -> ClientError {
        if SPEAKS_TLS.as_bytes().ends_with(&self.body) && !self.body.is_empty() {
            let reason = "this port speaks TLS; its address begins with https://".to_owned();
            return ClientError::NotSafe { server: server.to_string(), reason };
        }
        let reason = format!("its answer (HTTP status {}) is no {form}: {error}", self.status);
        ClientError::NotHttpmq { server: server.to_string(), reason }
    }
}

fn position(response: &Response<Incoming>) -> Option<u64> {
    response.headers().get(POS).map(HeaderValue::to_str)?.ok()?.parse().ok()
}

fn wait(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?.parse().ok()?;
    (response.status() == StatusCode::TOO_MANY_REQUESTS).then(|| Duration::from_secs(seconds))
}

fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
