//! Requests and answers as bytes, for those who send so many that building and taking apart each one would cost more than the
//! server does. A request is written once and sent again and again; an answer is read where it lies. Pure.

use httparse::{EMPTY_HEADER, Response, Status};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::Envelope;
use super::{MAX_ANSWER_BYTES, Server};

/// More header lines than httpmq sends, or a proxy in front of it adds.
const MAX_HEADERS: usize = 64;

/// One answer in the bytes that came.
#[derive(Debug)]
pub struct Whole<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What the answer says.
    pub envelope: Envelope<'a>,
    /// How many bytes it takes; what follows is of the next one.
    pub used: usize,
}

/// Why bytes are no answer of an httpmq server; the connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what answers is not httpmq: {0}")]
pub struct Foreign(String);

/// The bytes of a put of `data_json`.
#[must_use]
pub fn put(server: &Server, queue: &str, data_json: &str) -> Vec<u8> {
    let name = serde_json::Value::from(queue).to_string();
    let body = format!(r#"{{"name":{name},"data":{data_json}}}"#);
    let head = format!(
        "PUT /queue/ HTTP/1.1\r\nHost: {}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.host_header(),
        server.authorization_line(),
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// The bytes of a get.
#[must_use]
pub fn get(server: &Server, queue: &str) -> Vec<u8> {
    let name = utf8_percent_encode(queue, NON_ALPHANUMERIC);
    let (host, authorization) = (server.host_header(), server.authorization_line());
    format!("GET /queue/?name={name} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n").into_bytes()
}

/// Reads the answer that the bytes begin with; `None`: more have to come.
///
/// # Errors
/// [`Foreign`].
pub fn answer(bytes: &[u8]) -> Result<Option<Whole<'_>>, Foreign> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Foreign(format!("no HTTP ({error})"))),
    };
    let status = response.code.unwrap_or_default();
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let Some(body_bytes) = length.filter(|length| *length <= MAX_ANSWER_BYTES) else {
        return Err(Foreign(format!("its answer (HTTP status {status}) does not say its length")));
    };
    let used = head_bytes + body_bytes;
    let Some(body) = bytes.get(head_bytes..used) else { return Ok(None) };
    let no_envelope = |error| Foreign(format!("its answer (HTTP status {status}) is no envelope: {error}"));
    Ok(Some(Whole { status, envelope: serde_json::from_slice(body).map_err(no_envelope)?, used }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed test may panic.
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte_and_not_before() {
        let body = r#"{"code":1,"message":"HTTPMQ_SUCCEED","data":{"b": 1.0}}"#;
        let one = format!("HTTP/1.1 200 OK\r\ncontent-LENGTH: {}\r\n\r\n{body}", body.len());
        let two = format!("{one}{one}");
        for cut in 0..one.len() {
            assert!(answer(&one.as_bytes()[..cut]).unwrap().is_none(), "{cut}");
        }
        for bytes in [&one, &two] {
            let whole = answer(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!((whole.status, whole.envelope.code, whole.used), (200, 1, one.len()));
            assert_eq!((&*whole.envelope.message, whole.envelope.data.get()), ("HTTPMQ_SUCCEED", r#"{"b": 1.0}"#));
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (bytes, reason) in [
            ("220 mail.example ESMTP\r\n", "no HTTP"),
            ("HTTP/1.1 200 OK\r\n\r\n", "does not say its length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "does not say its length"),
            ("HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n{}", "status 404) is no envelope"),
        ] {
            let why = answer(bytes.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn requests_say_their_queue_and_their_length() {
        let server = Server::parse("http://[::1]:9", None).unwrap();
        let put = String::from_utf8(put(&server, "é\"", "1")).unwrap();
        assert!(put.starts_with("PUT /queue/ HTTP/1.1\r\nHost: [::1]:9\r\n"), "{put}");
        assert!(put.ends_with("Content-Length: 24\r\n\r\n{\"name\":\"é\\\"\",\"data\":1}"), "{put}");
        let get = String::from_utf8(get(&server, "é &")).unwrap();
        assert!(get.starts_with("GET /queue/?name=%C3%A9%20%26 HTTP/1.1\r\n"), "{get}");
    }
}
