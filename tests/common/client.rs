//! An HTTP client that sends bytes as they stand, so that a test can be as wrong as it wants.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In the order and spelling in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Client> {
        TcpStream::connect_timeout(&address, PATIENCE).map(Client::on)
    }

    /// On a connection that is there.
    pub(crate) fn on(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends, and does not mind that the server may have closed already.
    pub(crate) fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes);
        self.read()
    }

    /// Puts a JSON text, which must work; gives the position.
    pub(crate) fn put(&mut self, queue: &str, json: &str) -> u64 {
        let response = self.ask(put_message(queue, json));
        assert_eq!(response.message(), "HTTPMQ_PUT_OK", "{json}");
        response.header("Pos").unwrap().parse().unwrap()
    }

    /// Gets the oldest unread message: the exact text of the answer's data, or `None` when the queue is empty.
    pub(crate) fn take(&mut self, queue: &str) -> Option<String> {
        let response = self.ask(get(&format!("/queue/?name={queue}")));
        let message = response.message();
        if message == "HTTPMQ_EMPTY" {
            return None;
        }
        assert_eq!(message, "HTTPMQ_SUCCEED");
        let data = response.text().split_once(r#""data":"#).unwrap().1;
        Some(data.strip_suffix('}').unwrap().to_owned())
    }

    /// The data of a queue's status; `None` when the queue is unknown.
    pub(crate) fn status(&mut self, queue: &str) -> Option<serde_json::Value> {
        let response = self.ask(get(&format!("/status/?name={queue}")));
        let message = response.message();
        (message != "HTTPMQ_NOT_EXISTS").then(|| {
            assert_eq!(message, "HTTPMQ_SUCCEED");
            response.json()["data"].clone()
        })
    }

    /// Reads one answer.
    pub(crate) fn read(&mut self) -> Response {
        self.try_read().unwrap().expect("an answer, not the end of the connection")
    }

    /// Reads one answer to a HEAD: its length is said and there is no body.
    pub(crate) fn read_head(&mut self) -> Response {
        self.response(true).unwrap().expect("an answer, not the end of the connection")
    }

    /// Reads one answer; `None` when the server closed before its first byte.
    pub(crate) fn try_read(&mut self) -> io::Result<Option<Response>> {
        self.response(false)
    }

    /// Whether the server closes now without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.try_read() {
            Ok(None) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            other => panic!("expected the connection to be closed, got {other:?}"),
        }
    }

    fn response(&mut self, is_head: bool) -> io::Result<Option<Response>> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.more()? {
                return if self.read.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let mut response = Response::of_head(std::str::from_utf8(&head).unwrap());
        let length = match response.header("content-length") {
            _ if is_head || response.status < 200 => 0,
            Some(length) => length.parse().unwrap(),
            None => panic!("an answer without a length: {response:?}"),
        };
        while self.read.len() < length {
            if !self.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        response.body = self.read.drain(..length).collect();
        Ok(Some(response))
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let length = super::read_some(&mut self.stream, &mut piece)?;
        self.read.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }
}

impl Response {
    fn of_head(head: &str) -> Response {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Response { status, headers: headers.collect(), body: Vec::new() }
    }

    /// The value of a header; a header that comes twice is an error.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        assert_eq!(found.next(), None, "{name} comes twice");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The envelope's code.
    pub(crate) fn code(&self) -> u64 {
        self.json()["code"].as_u64().unwrap()
    }

    /// The envelope's message.
    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// A request with a body, as any client sends it.
pub(crate) fn request(method: &str, target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: httpmq\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A request without a body.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: httpmq\r\n\r\n").into_bytes()
}

/// The request that puts a JSON text.
pub(crate) fn put_message(queue: &str, json: &str) -> Vec<u8> {
    request("PUT", "/queue/", format!(r#"{{"name":"{queue}","data":{json}}}"#))
}
