//! A server for tests of the commands: it notes what comes and answers what the test says.

#![allow(dead_code)] // each test program uses a part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
}

/// What to do about a request.
pub(crate) enum Reply {
    /// HTTP status, position, body.
    Answer(u16, Option<u64>, String),
    /// As `Answer`, and then the connection is closed, as the answer says.
    Last(u16, String),
    /// These bytes, which need not be HTTP.
    Raw(&'static str),
    /// The connection is closed without an answer.
    Cut,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Fake {
    /// Listens on a free port; each connection has its thread, which lives until the connection or the test ends.
    pub(crate) fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shared, reply) = (Arc::<Shared>::default(), Arc::new(reply));
        let fake = Fake { url, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, reply) = (Arc::clone(&shared), Arc::clone(&reply));
                shared.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream.unwrap(), &shared, &*reply));
            }
        });
        fake
    }

    /// Answers every request with the same envelope.
    pub(crate) fn saying(status: u16, envelope: &'static str) -> Fake {
        Fake::start(move |_| Reply::Answer(status, None, envelope.to_owned()))
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn most_under_way(&self) -> usize {
        self.shared.most_under_way.load(Ordering::SeqCst)
    }

    /// Runs a command against this server.
    pub(crate) fn run(&self, words: &[&str], stdin: &[u8]) -> Ran {
        finish(self.spawn(words), stdin)
    }

    pub(crate) fn spawn(&self, words: &[&str]) -> Child {
        spawn(words, &self.url)
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The stream and the number of `Put-Order`.
    pub(crate) fn order(&self) -> (String, u64) {
        let (stream, number) = self.header("put-order").expect("a Put-Order").split_once('/').expect("STREAM/N");
        (stream.to_owned(), number.parse().expect("a number"))
    }
}

/// What a command left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Starts the program with all three streams in pipes.
pub(crate) fn spawn(words: &[&str], url: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpmq"));
    command.args(words).env("HTTPMQ_URL", url);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Feeds the program and waits for its end.
pub(crate) fn finish(mut child: Child, stdin: &[u8]) -> Ran {
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin).ok()); // a program may end without having read all
        ran(child.wait_with_output().unwrap())
    })
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn serve(stream: TcpStream, shared: &Shared, reply: &dyn Fn(&Request) -> Reply) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let under_way = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        shared.seen.lock().unwrap().push(request.clone());
        let reply = reply(&request);
        shared.under_way.fetch_sub(1, Ordering::SeqCst);
        let (bytes, more) = match reply {
            Reply::Answer(status, Some(position), body) => {
                (response(status, &format!("Pos: {position}\r\n"), &body), true)
            }
            Reply::Answer(status, None, body) => (response(status, "", &body), true),
            Reply::Last(status, body) => (response(status, "Connection: close\r\n", &body), false),
            Reply::Raw(bytes) => (bytes.to_owned(), false),
            Reply::Cut => (String::new(), false),
        };
        if writer.write_all(bytes.as_bytes()).is_err() || !more {
            return;
        }
    }
}

fn response(status: u16, header: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The next request; `None` when the client has gone.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut request = Request::default();
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    (request.method, request.target) = (words.next().unwrap(), words.next().unwrap());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((key, value)) = line.trim_end().split_once(": ") else { break };
        request.headers.push((key.to_ascii_lowercase(), value.to_owned()));
    }
    let mut body = vec![0; request.header("content-length").unwrap_or("0").parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
