//! The requests over HTTP: one connection, as many requests under way on it as it may have, each answer looked at.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::books::{Books, Seen};
use super::load::{Alarm, Early, Load};
use super::text::{Said, Template, Texts};
use crate::args::Work;
use crate::client::stop::{Exit, Stop};
use crate::http::client::raw::{self, Whole};
use crate::http::client::{Server, stream};
use crate::tls::{ReadHalf, WriteHalf};

/// Room for an ordinary answer; it grows for a larger one.
const BUFFER_BYTES: usize = 16 * 1024;
/// As many bytes as are gathered for one write.
const MAX_WRITE_BYTES: usize = 256 * 1024;

/// The messages of a run, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// So many numbers are given away.
    pub(super) put: Cell<u64>,
    got: RefCell<Seen>,
}

/// What all connections of a run share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) work: Work,
    pub(super) pipeline: usize,
    pub(super) texts: &'a Texts,
    pub(super) load: &'a Load,
    pub(super) books: &'a RefCell<Books>,
    pub(super) messages: &'a Messages,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    shared: Shared<'a>,
    read: ReadHalf,
    write: WriteHalf,
    alarm: Alarm,
    put: Template,
    get: Vec<u8>,
    /// Requests; those before `written` are on their way.
    out: Vec<u8>,
    written: usize,
    /// All is written, but TLS may hold something back.
    unflushed: bool,
    /// Answers; what came ends at `filled`.
    buffer: Vec<u8>,
    filled: usize,
    under_way: VecDeque<Sent>,
    /// When the next request is due, which is not yet.
    next: Option<Instant>,
    puts_next: bool,
}

/// A request without an answer.
#[derive(Debug, Clone, Copy)]
struct Sent {
    is_put: bool,
    due: Instant,
}

/// The kinds of operations of a run, in the order of [`Books::latencies`].
pub(super) fn kinds(work: Work) -> &'static [&'static str] {
    match work {
        Work::Put => &["put"],
        Work::Get => &["get"],
        Work::PutGet => &["put", "get"],
        Work::PubSub => &["delivery"],
    }
}

impl<'a> Worker<'a> {
    /// Connects.
    pub(super) async fn open(server: &Server, queue: &str, shared: Shared<'a>) -> Result<Worker<'a>, Stop> {
        let (read, write) = stream(server).await?.into_split();
        let put = shared.texts.template(raw::put(server, queue, &shared.texts.json()));
        Ok(Worker {
            shared,
            read,
            write,
            alarm: Alarm::new().map_err(|e| Stop::usage(format!("cannot make a timer: {e}")))?,
            put: put.ok_or_else(|| Stop::usage("a message has no place in its request"))?,
            get: raw::get(server, queue),
            out: Vec::new(),
            written: 0,
            unflushed: false,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
            under_way: VecDeque::new(),
            next: None,
            puts_next: true,
        })
    }

    /// Sends until the run is over and every request is answered.
    pub(super) async fn run(mut self) {
        if let Err(why) = self.talk().await {
            let lost = self.under_way.len().max(1) as u64;
            self.shared.books.borrow_mut().wrong(lost, &why, Exit::NoConnection);
        }
    }

    async fn talk(&mut self) -> Result<(), String> {
        let broken = |error: io::Error| format!("the connection broke before the answer came: {error}");
        loop {
            self.fill(Instant::now());
            if self.under_way.is_empty() && self.next.is_none() {
                return Ok(());
            }
            let has_room = self.under_way.len() < self.shared.pipeline;
            let due = self.next.filter(|_| has_room);
            // Both ways at once: the server may not read on while its answers are not read.
            tokio::select! {
                biased;
                count = send(&mut self.write, &self.out[self.written..]), if self.written < self.out.len() || self.unflushed => {
                    let count = count.map_err(broken)?;
                    self.written += count;
                    self.unflushed = count > 0 && self.write.needs_flush();
                }
                count = self.read.read(&mut self.buffer[self.filled..]), if !self.under_way.is_empty() => {
                    match count.map_err(broken)? {
                        0 => return Err("the server closed the connection instead of an answer".to_owned()),
                        count => self.filled += count,
                    }
                    self.take()?;
                }
                rang = self.alarm.wait(due.unwrap_or_else(Instant::now)), if due.is_some() => rang.map_err(broken)?,
            }
        }
    }

    /// Makes the requests that may be sent now.
    fn fill(&mut self, now: Instant) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let Shared { load, pipeline, .. } = self.shared;
        while self.under_way.len() < pipeline && self.out.len() < MAX_WRITE_BYTES {
            let next = self.next.take().or_else(|| load.next(now));
            // It may have ended after this one was taken.
            let Some(due) = next.filter(|due| load.end().is_none_or(|end| *due < end)) else { break };
            if due > now {
                self.next = Some(due);
                break;
            }
            self.send(due);
        }
    }

    fn send(&mut self, due: Instant) {
        let Shared { work, load, messages, .. } = self.shared;
        let is_put = match work {
            Work::PutGet => self.puts_next,
            work => work == Work::Put,
        };
        self.puts_next = !is_put;
        if is_put {
            let number = messages.put.replace(messages.put.get() + 1);
            let time_us = u64::try_from((due - load.started()).as_micros()).unwrap_or(u64::MAX);
            self.out.extend_from_slice(self.put.write(Said { number, time_us }));
        } else {
            self.out.extend_from_slice(&self.get);
        }
        self.under_way.push_back(Sent { is_put, due });
    }

    /// Books the answers that came.
    fn take(&mut self) -> Result<(), String> {
        let now = Instant::now();
        let mut at = 0;
        while let Some(whole) = raw::answer(&self.buffer[at..self.filled]).map_err(|error| error.to_string())? {
            let sent = self.under_way.pop_front().ok_or("an answer came that nobody asked for")?;
            self.shared.settle(sent, &whole, now);
            at += whole.used;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        Ok(())
    }
}

/// Writes some bytes; when there are none, has TLS send what it holds back. Cancel safe.
async fn send(write: &mut WriteHalf, bytes: &[u8]) -> io::Result<usize> {
    match bytes {
        [] => write.flush().await.map(|()| 0),
        bytes => write.write(bytes).await,
    }
}

impl Shared<'_> {
    fn settle(&self, sent: Sent, whole: &Whole<'_>, now: Instant) {
        if sent.is_put && whole.envelope.message == "HTTPMQ_FULL" {
            // That is where this run has its end, and no fault of the server.
            return self.load.end_early(Early::Full);
        }
        let mut books = self.books.borrow_mut();
        match self.fault(sent, whole) {
            Ok(()) => {
                let latency_ns = u64::try_from((now - sent.due).as_nanos()).unwrap_or(u64::MAX);
                let kind = usize::from(self.work == Work::PutGet && !sent.is_put);
                books.done(kind, latency_ns, now, self.load);
            }
            Err((why, exit)) => books.wrong(1, &why, exit),
        }
    }

    /// What is wrong with an answer.
    fn fault(&self, sent: Sent, whole: &Whole<'_>) -> Result<(), (String, Exit)> {
        let (envelope, refused) = (&whole.envelope, |why: &str| Err((why.to_owned(), Exit::Refused)));
        if envelope.code != 1 || whole.status != 200 {
            let verb = if sent.is_put { "put" } else { "get" };
            let exit = if envelope.message.ends_with("_FULL") { Exit::Full } else { Exit::Refused };
            let (message, code, status) = (&envelope.message, envelope.code, whole.status);
            return Err((format!("a {verb} was answered {message} (code {code}, HTTP status {status})"), exit));
        }
        if sent.is_put {
            return if envelope.message == "HTTPMQ_PUT_OK" {
                Ok(())
            } else {
                refused("a put was answered as if it were none")
            };
        }
        let text = envelope.data.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match text.and_then(|text| self.texts.read(text.as_bytes())) {
            Some(said) if said.number >= self.messages.put.get() => refused("a message came that was never put"),
            Some(said) if !self.messages.got.borrow_mut().insert(said.number) => refused("a message came twice"),
            Some(_) => Ok(()),
            None => refused("a message came that this run did not put"),
        }
    }
}
