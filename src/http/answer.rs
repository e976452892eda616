//! What goes back: the envelope `{"code":…,"message":…,"data":…}`, never chunked.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_VERSION, SERVER, UPGRADE},
};

use super::{body::BodyError, gate::Refused};
use serde::Serialize;

use crate::{
    access::Denial,
    broker::OrderError,
    guard,
    message::Message,
    metrics::Reason,
    ring::Kind,
    route::Refusal,
    store::{Get, Put, Status, StoreError, View},
};

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

const POS: HeaderName = HeaderName::from_static("pos");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

const OK: u8 = 1;
const FAILED: u8 = 2;
const PARAM_ERROR: u8 = 3;

pub(super) fn put(outcome: Put) -> Answer {
    match outcome {
        Put::Stored { position } => at(position, fixed(r#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#)),
        Put::Full => refused(Reason::QueueFull, fixed(r#"{"code":2,"message":"HTTPMQ_FULL","data":{}}"#)),
        Put::TooManyQueues => {
            refused(Reason::TooManyQueues, fixed(r#"{"code":2,"message":"HTTPMQ_TOO_MANY_QUEUES","data":{}}"#))
        }
        Put::StorageFull => {
            let answer = fixed(r#"{"code":2,"message":"HTTPMQ_STORAGE_FULL","data":{}}"#);
            refused(Reason::StorageFull, with_status(StatusCode::INSUFFICIENT_STORAGE, answer))
        }
    }
}

pub(super) fn get(outcome: &Get) -> Answer {
    match outcome {
        Get::Message { position, message } => at(*position, body(message)),
        Get::Empty => fixed(EMPTY),
    }
}

pub(super) fn view(position: u64, outcome: &View) -> Answer {
    match outcome {
        View::Message(message) => at(position, body(message)),
        View::NotUnread => fixed(r#"{"code":2,"message":"HTTPMQ_FAILED","data":{}}"#),
        View::Empty => fixed(EMPTY),
        View::OutOfRange => {
            let answer = reason(PARAM_ERROR, "HTTPMQ_PARAM_ERROR", "the queue has no such position");
            refused(Reason::Parameter, answer)
        }
        View::Unknown => fixed(NOT_EXISTS),
    }
}

/// `server` says what serves, known queue or not; only here, because every other answer is better short.
pub(super) fn status(name: &str, status: Option<&Status>, server: &HeaderValue) -> Answer {
    let mut answer = positions(name, status);
    answer.headers_mut().insert(SERVER, server.clone());
    answer
}

fn positions(name: &str, status: Option<&Status>) -> Answer {
    let Some(status) = status else { return fixed(NOT_EXISTS) };
    let Status { kind, put_pos, get_pos, unread, max_len, sync } = *status;
    let data = StatusData { name, put_pos, get_pos, unread, kind, max_len, sync };
    // Names and numbers: there is nothing in it that could fail to be JSON.
    envelope(OK, "HTTPMQ_SUCCEED", &serde_json::to_string(&data).unwrap_or_default())
}

/// The first four keys are the original's, in its order.
#[derive(Serialize)]
struct StatusData<'a> {
    name: &'a str,
    put_pos: u64,
    get_pos: Option<u64>,
    unread: u64,
    kind: Kind,
    max_len: u64,
    sync: &'static str,
}

pub(super) fn reset(known: bool) -> Answer {
    if known { fixed(r#"{"code":1,"message":"HTTPMQ_RESET_OK","data":{}}"#) } else { fixed(NOT_EXISTS) }
}

/// A request that is no operation.
pub(super) fn refusal(refusal: &Refusal) -> Answer {
    let parameter = |text: &str| reason(PARAM_ERROR, "HTTPMQ_PARAM_ERROR", text);
    let answer = match refusal {
        Refusal::Parameter(text) => parameter(text),
        Refusal::BadRequest(text) => with_status(StatusCode::BAD_REQUEST, parameter(text)),
        Refusal::TooLong(text) => with_status(StatusCode::PAYLOAD_TOO_LARGE, too_long(text)),
        Refusal::UnknownPath => {
            let text = "the paths are /queue/, /status/, /view/ and /reset/";
            with_status(StatusCode::NOT_FOUND, reason(PARAM_ERROR, "HTTPMQ_NOT_FOUND", text))
        }
        Refusal::WrongMethod { allow } => {
            let text = format!("this path takes {allow}");
            let mut answer = reason(PARAM_ERROR, "HTTPMQ_METHOD_NOT_ALLOWED", &text);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            with_status(StatusCode::METHOD_NOT_ALLOWED, answer)
        }
    };
    refused(why_refused(refusal), answer)
}

/// What a request that is no operation counts as.
pub(super) fn why_refused(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::Parameter(_) | Refusal::BadRequest(_) => Reason::Parameter,
        Refusal::TooLong(_) => Reason::TooLong,
        Refusal::UnknownPath => Reason::NotFound,
        Refusal::WrongMethod { .. } => Reason::Method,
    }
}

/// Marks an answer as a refusal, to be counted when it is given.
pub(super) fn refused(reason: Reason, mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(reason);
    answer
}

/// Why an answer is a refusal, if it is one.
pub(super) fn reason_of(answer: &Answer) -> Option<Reason> {
    answer.extensions().get().copied()
}

/// Who asks may not.
pub(super) fn denied(denial: &Denial) -> Answer {
    let Refused { status, message, header, .. } = Refused::of(denial);
    // Later it may be fine.
    let code = if status == StatusCode::TOO_MANY_REQUESTS { FAILED } else { PARAM_ERROR };
    let mut answer = with_status(status, reason(code, message, &denial.to_string()));
    answer.headers_mut().extend(header);
    refused(guard::reason(denial), answer)
}

/// A path that only WebSocket is spoken at.
pub(super) fn upgrade_required() -> Answer {
    let text = "this path takes WebSocket handshakes, of version 13";
    let mut answer = reason(PARAM_ERROR, "HTTPMQ_UPGRADE_REQUIRED", text);
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    refused(Reason::Parameter, with_status(StatusCode::UPGRADE_REQUIRED, answer))
}

pub(super) fn body_error(error: BodyError) -> Answer {
    let (why, status, answer) = match error {
        BodyError::TooLong => (Reason::TooLong, StatusCode::PAYLOAD_TOO_LARGE, too_long("the body is too long")),
        BodyError::TooSlow => {
            let answer = reason(PARAM_ERROR, "HTTPMQ_TIMEOUT", "the body did not come in time");
            (Reason::TooSlow, StatusCode::REQUEST_TIMEOUT, answer)
        }
        BodyError::NoMemory => {
            let text = "others have the memory for a body of this length; try again";
            (Reason::TooMany, StatusCode::SERVICE_UNAVAILABLE, reason(FAILED, "HTTPMQ_BUSY", text))
        }
        BodyError::Broken => {
            let answer = reason(PARAM_ERROR, "HTTPMQ_PARAM_ERROR", "the body cannot be read");
            (Reason::Malformed, StatusCode::BAD_REQUEST, answer)
        }
    };
    refused(why, closing(with_status(status, answer)))
}

pub(super) fn order_error(error: OrderError) -> Answer {
    let (why, status) = match error {
        OrderError::Broken | OrderError::Repeated => (Reason::Order, StatusCode::CONFLICT),
        OrderError::TooManyStreams => (Reason::TooMany, StatusCode::SERVICE_UNAVAILABLE),
    };
    refused(why, with_status(status, reason(FAILED, "HTTPMQ_ORDER", &error.to_string())))
}

pub(super) fn store_error(error: &StoreError) -> Answer {
    let answer = reason(FAILED, "HTTPMQ_STORAGE_FAILED", &error.to_string());
    refused(Reason::StorageFailed, with_status(StatusCode::INTERNAL_SERVER_ERROR, answer))
}

/// An answer that does not wait for the body: when there is one, the connection ends with it.
pub(super) fn unread(answer: Answer, body: &Incoming) -> Answer {
    if body.is_end_stream() { answer } else { closing(answer) }
}

/// Whether the connection ends with this answer, because its request has a body that was not read to the end and must not be
/// taken for a request.
pub(super) fn is_closing(answer: &Answer) -> bool {
    answer.headers().get(CONNECTION).is_some_and(|connection| connection == "close")
}

pub(super) fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer to a connection over the limit, as bytes: there is no hyper for it yet.
pub(super) const TOO_MANY_CONNECTIONS: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\nconnection: close\r\ncontent-length: 60\r\n\r\n\
    {\"code\":2,\"message\":\"HTTPMQ_TOO_MANY_CONNECTIONS\",\"data\":{}}";

/// The answer to a request without TLS where TLS is spoken, likewise. Text, because it is a person who has mistyped an address.
pub(super) const SPEAKS_TLS: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\nconnection: close\r\ncontent-length: 48\r\n\r\n\
    this port speaks TLS: ask https://, not http://\n";

/// An answer that hyper gives to what it cannot read as a request, by status alone; with an envelope, as bytes. `None`: it is not one
/// of those.
pub(super) fn unparsed(bare: &[u8]) -> Option<Bytes> {
    let status = bare.strip_prefix(b"HTTP/1.1 ").or_else(|| bare.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let (line, message, text) = match status {
        b"400" => ("400 Bad Request", "HTTPMQ_PARAM_ERROR", "this is no HTTP/1.1 request"),
        b"414" => ("414 URI Too Long", "HTTPMQ_TOO_LONG", "the address of the request is too long"),
        b"431" => (
            "431 Request Header Fields Too Large",
            "HTTPMQ_TOO_LONG",
            "the head of the request is too long, or has too many headers",
        ),
        _ => return None,
    };
    let body = format!(r#"{{"code":{PARAM_ERROR},"message":"{message}","data":{{"reason":"{text}"}}}}"#);
    let length = body.len();
    Some(Bytes::from(format!(
        "HTTP/1.1 {line}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )))
}

const EMPTY: &str = r#"{"code":2,"message":"HTTPMQ_EMPTY","data":{}}"#;
const NOT_EXISTS: &str = r#"{"code":2,"message":"HTTPMQ_NOT_EXISTS","data":{}}"#;

fn body(message: &Message) -> Answer {
    let before = br#"{"code":1,"message":"HTTPMQ_SUCCEED","data":"#;
    let mut text = BytesMut::with_capacity(before.len() + message.body.len() + 1);
    text.put_slice(before);
    text.put_slice(&message.body);
    text.put_u8(b'}');
    json(text.freeze())
}

fn too_long(text: &str) -> Answer {
    reason(PARAM_ERROR, "HTTPMQ_TOO_LONG", text)
}

fn reason(code: u8, message: &str, text: &str) -> Answer {
    envelope(code, message, &format!(r#"{{"reason":{}}}"#, json_string(text)))
}

fn envelope(code: u8, message: &str, data: &str) -> Answer {
    json(Bytes::from(format!(r#"{{"code":{code},"message":"{message}","data":{data}}}"#)))
}

fn fixed(text: &'static str) -> Answer {
    json(Bytes::from_static(text.as_bytes()))
}

fn json(text: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(text));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

fn at(position: u64, mut answer: Answer) -> Answer {
    answer.headers_mut().insert(POS, HeaderValue::from(position));
    answer
}

pub(super) fn with_status(status: StatusCode, mut answer: Answer) -> Answer {
    *answer.status_mut() = status;
    answer
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_written_by_hand_have_their_lengths() {
        for answer in [TOO_MANY_CONNECTIONS, SPEAKS_TLS] {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        }
        let (_, body) = TOO_MANY_CONNECTIONS.split_once("\r\n\r\n").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
