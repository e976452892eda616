//! Publish and subscribe: connections that publish and count their answers, and connections that look at every delivery.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use tokio::time::timeout;

use super::books::Books;
use super::load::{Alarm, Load};
use super::text::{Said, Template, Texts};
use crate::client::ANSWER_TIMEOUT;
use crate::client::publish::{check, late, push};
use crate::client::stop::{Exit, Stop};
use crate::pubsub::client::incoming::{is_sent, plain_text};
use crate::pubsub::client::{ClientError, Receiver, Sender, Server, connect, request};
use crate::pubsub::frame;

/// As many bytes as wait to be written at most.
const MAX_WRITE_BYTES: usize = 256 * 1024;

/// What all connections of a run share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) queue: &'a str,
    pub(super) publishers: u64,
    pub(super) pipeline: usize,
    pub(super) texts: &'a Texts,
    pub(super) load: &'a Load,
    pub(super) books: &'a RefCell<Books>,
    /// Messages whose publisher has an OK for them.
    pub(super) published: &'a Cell<u64>,
}

/// A connection that publishes. Its messages have the numbers of `place`, `place` + publishers, `place` + 2 publishers, …
#[derive(Debug)]
pub(super) struct Publisher<'a> {
    shared: Shared<'a>,
    place: u64,
    sender: Sender,
    receiver: Receiver,
    alarm: Alarm,
    message: Template,
    sent: u64,
    answered: u64,
    /// When the next message is due, which is not yet.
    next: Option<Instant>,
}

/// A connection that gets what is published.
#[derive(Debug)]
pub(super) struct Subscriber<'a> {
    shared: Shared<'a>,
    /// Kept: without it the server would take the connection for closed.
    _sender: Sender,
    receiver: Receiver,
    /// How many messages of each publisher are behind, or were missed: the next one has this number among its own.
    expected: Vec<u64>,
}

impl<'a> Publisher<'a> {
    pub(super) async fn open(server: &Server, place: u64, shared: Shared<'a>) -> Result<Publisher<'a>, Stop> {
        let json = request::message(&shared.texts.json()).map_err(|error| Stop::usage(error.to_string()))?;
        let frame = frame::encode(shared.queue, &json);
        let message = frame.and_then(|frame| shared.texts.template(frame.to_vec()));
        let message = message.ok_or_else(|| Stop::usage("the message is too long for any CoreMQ server"))?;
        let alarm = Alarm::new().map_err(|e| Stop::usage(format!("cannot make a timer: {e}")))?;
        let (sender, receiver) = connect(server).await?;
        Ok(Publisher { shared, place, sender, receiver, alarm, message, sent: 0, answered: 0, next: None })
    }

    /// Publishes until the run is over and all is answered.
    pub(super) async fn run(mut self) {
        if let Err(why) = self.talk().await {
            let lost = (self.sent - self.answered).max(1);
            self.shared.books.borrow_mut().wrong(lost, &format!("publisher: {why}"), Exit::NoConnection);
        }
    }

    async fn talk(&mut self) -> Result<(), ClientError> {
        loop {
            self.fill(Instant::now());
            let waits = self.sent > self.answered;
            if !waits && self.next.is_none() {
                return Ok(());
            }
            let has_room = self.sent - self.answered < self.shared.pipeline as u64;
            let due = self.next.filter(|_| has_room);
            tokio::select! {
                biased;
                written = self.sender.write(), if self.sender.waiting_bytes() > 0 => written?,
                more = self.receiver.more(), if waits => {
                    more?;
                    self.take()?;
                }
                // Without a timer the next look comes too soon, which does no harm.
                _ = self.alarm.wait(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let Shared { load, pipeline, publishers, .. } = self.shared;
        while self.sent - self.answered < pipeline as u64 && self.sender.waiting_bytes() < MAX_WRITE_BYTES {
            let next = self.next.take().or_else(|| load.next(now));
            // It may have ended after this one was taken.
            let Some(due) = next.filter(|due| load.end().is_none_or(|end| *due < end)) else { break };
            if due > now {
                self.next = Some(due);
                break;
            }
            let time_us = u64::try_from((due - load.started()).as_micros()).unwrap_or(u64::MAX);
            let number = self.sent * publishers + self.place;
            self.sender.push_encoded(self.message.write(Said { number, time_us }));
            self.sent += 1;
        }
    }

    fn take(&mut self) -> Result<(), ClientError> {
        let Shared { books, published, .. } = self.shared;
        self.receiver.ready_raw(|_, json| {
            self.answered += 1;
            if is_sent(json) {
                published.set(published.get() + 1);
            } else {
                let why = format!("a publish was answered {}", String::from_utf8_lossy(json));
                books.borrow_mut().wrong(1, &why, Exit::Refused);
            }
        })?;
        if self.answered > self.sent {
            self.answered = self.sent;
            self.shared.books.borrow_mut().wrong(1, "an answer came that nobody asked for", Exit::Refused);
        }
        Ok(())
    }
}

impl<'a> Subscriber<'a> {
    /// Connects and subscribes.
    pub(super) async fn open(server: &Server, shared: Shared<'a>) -> Result<Subscriber<'a>, Stop> {
        let (mut sender, mut receiver) = connect(server).await?;
        push(&mut sender, receiver.id(), &request::subscribe(shared.queue))?;
        sender.flush().await?;
        check(shared.queue, timeout(ANSWER_TIMEOUT, receiver.answer()).await.map_err(|_| late())??)?;
        let expected = vec![0; usize::try_from(shared.publishers).unwrap_or_default()];
        Ok(Subscriber { shared, _sender: sender, receiver, expected })
    }

    /// Looks at what comes, until the connection ends.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.receiver.more().await.and_then(|()| self.take()) {
                let why = format!("subscriber: {error}");
                return self.shared.books.borrow_mut().wrong(1, &why, Exit::NoConnection);
            }
        }
    }

    fn take(&mut self) -> Result<(), ClientError> {
        let Shared { queue, texts, load, books, publishers, .. } = self.shared;
        let now = Instant::now();
        let now_ns = u64::try_from((now - load.started()).as_nanos()).unwrap_or(u64::MAX);
        let mut books = books.borrow_mut();
        self.receiver.ready_raw(|to, json| {
            let said = plain_text(json).filter(|_| to == queue.as_bytes()).and_then(|text| texts.read(text));
            let Some(Said { number, time_us }) = said else {
                return books.wrong(1, "a subscriber was sent what this run did not publish", Exit::Refused);
            };
            let place = usize::try_from(number % publishers).unwrap_or_default();
            let expected = &mut self.expected[place];
            let nth = number / publishers;
            if nth < *expected {
                return books.wrong(1, "a message came twice or out of order", Exit::Refused);
            }
            books.wrong(nth - *expected, "a message was missed", Exit::Refused);
            *expected = nth + 1;
            books.done(0, now_ns.saturating_sub(1000 * time_us), now, load);
        })
    }
}
