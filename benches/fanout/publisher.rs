//! The publisher: one connection, from one thread, pipelined. Its answers are read as they come.

use std::{
    io::{self, ErrorKind, Write},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    frame::{Message, Template},
    incoming::{BUFFER_BYTES, Incoming, Left},
    round::{Plan, Shared},
    stop,
};

/// About as many bytes as go out with one write.
const BATCH_BYTES: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(20);
/// How long to sleep while the subscribers catch up; the least that epoll can sleep.
const CATCH_UP: Duration = Duration::from_millis(1);
/// The answer to a message that was taken ends with this.
const SENT: &[u8] = br#"OK: Message sent"}"#;

/// How fast to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As fast as TCP takes it.
    Flood,
    /// As fast as TCP takes it, but never more messages ahead of the slowest subscriber than this.
    Ahead(u64),
    /// Messages per second.
    PerSecond(f64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    /// When the first message was sent, and when the last answer came.
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// Publishes for the time of `plan`, then waits for all answers.
///
/// # Errors
/// A message is not answered in time, or not with OK; or the connection fails.
pub(crate) fn run(socket: TcpStream, plan: &Plan, shared: &Shared) -> Result<Outcome, String> {
    let mut run = Run::start(socket, plan, shared).map_err(|error| error.to_string())?;
    run.run()?;
    Ok(Outcome { sent: run.sent, began: run.began, ended: run.last_answer })
}

struct Run<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    poll: Poll,
    incoming: Incoming,
    template: Template,
    /// Messages to be written; those before `written` are.
    batch: Vec<u8>,
    written: usize,
    sent: u64,
    answered: u64,
    began: Instant,
    last_answer: Instant,
}

impl<'a> Run<'a> {
    fn start(mut socket: TcpStream, plan: &'a Plan, shared: &'a Shared) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let template = Template::new(plan.queue, plan.size);
        let (incoming, batch, began) = (Incoming::new(socket), Vec::new(), Instant::now());
        let (written, sent, answered, last_answer) = (0, 0, 0, began);
        Ok(Self { plan, shared, poll, incoming, template, batch, written, sent, answered, began, last_answer })
    }

    fn run(&mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(1);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut publishing = true;
        while publishing || self.answered < self.sent {
            let now = Instant::now();
            publishing = now - self.began < self.plan.duration;
            if publishing && self.written == self.batch.len() {
                self.fill(now);
            }
            self.write().map_err(|error| format!("publisher: {error}"))?;
            let timeout = self.pause(publishing);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
                _ => {}
            }
            if let Some(event) = events.iter().next() {
                self.read(&mut buffer, event.is_read_closed())?;
            }
            if timeout > CATCH_UP {
                stop::check().map_err(|error| error.to_string())?;
            }
            if self.answered < self.sent && self.last_answer.elapsed() > self.plan.patience {
                let missing = self.sent - self.answered;
                return Err(format!("{missing} of {} messages not answered in {:?}", self.sent, self.plan.patience));
            }
        }
        Ok(())
    }

    /// Makes a new batch of what may be sent now.
    fn fill(&mut self, now: Instant) {
        self.batch.clear();
        self.written = 0;
        let allowed = match self.plan.pace {
            Pace::Flood => u64::MAX,
            Pace::Ahead(ahead) => self.shared.slowest().saturating_add(ahead).saturating_sub(self.sent),
            Pace::PerSecond(per_s) => {
                let due = (now - self.began).as_secs_f64() * per_s;
                (due as u64 + 1).saturating_sub(self.sent)
            }
        };
        if allowed > 0 && self.answered == self.sent {
            // Whoever had nothing to wait for until now waits from now on.
            self.last_answer = now;
        }
        let end = self.sent.saturating_add(allowed);
        let time_us = self.shared.time_us(now);
        while self.sent < end && self.batch.len() < BATCH_BYTES {
            self.template.push(Message { number: self.sent, time_us }, &mut self.batch);
            self.sent += 1;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.written < self.batch.len() {
            match self.incoming.socket.write(&self.batch[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long epoll may sleep. A short sleep until the next message is due is slept here, since epoll counts milliseconds.
    fn pause(&self, publishing: bool) -> Duration {
        if !publishing || self.written < self.batch.len() {
            return TICK;
        }
        match self.plan.pace {
            Pace::Flood => Duration::ZERO,
            Pace::Ahead(_) if self.batch.is_empty() => CATCH_UP,
            Pace::Ahead(_) => Duration::ZERO,
            Pace::PerSecond(per_s) => {
                let due = self.began + Duration::from_secs_f64(self.sent as f64 / per_s);
                thread::sleep(due.saturating_duration_since(Instant::now()).min(TICK));
                Duration::ZERO
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8], ending: bool) -> Result<(), String> {
        let (mut answered, mut wrong) = (0, None);
        let left = self.incoming.drain(buffer, ending, |payload| {
            if payload.ends_with(SENT) {
                answered += 1;
            } else if wrong.is_none() {
                wrong = Some(String::from_utf8_lossy(payload).into_owned());
            }
        })?;
        if let Some(wrong) = wrong {
            return Err(format!("the publisher was answered {wrong}"));
        }
        if answered > 0 {
            self.answered += answered;
            self.last_answer = Instant::now();
        }
        match left {
            Left::Empty => Ok(()),
            Left::Closed => Err(format!("the publisher was closed after {} of {} answers", self.answered, self.sent)),
        }
    }
}

impl Outcome {
    pub(crate) fn per_s(&self) -> f64 {
        self.sent as f64 / (self.ended - self.began).as_secs_f64()
    }
}
