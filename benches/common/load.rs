//! The load generator: requests on many connections, from one thread, in a closed loop or at fixed times.
//!
//! Each connection sends its next request when the answer to its last one has come in whole; nothing is pipelined. An
//! answer costs two system calls, one read and one write, and its share of an `epoll_wait`. At fixed times the latency
//! counts from the time at which a request was due: one that had to wait for a free connection waited for the server.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use crate::{
    answer::Judge,
    connection::{Connection, Progress},
    schedule::{Pace, Turns},
    stop,
};

/// The loop looks at the clock for stalled connections and for Ctrl-C this often.
const TICK: Duration = Duration::from_millis(20);
/// Latencies are kept in nanoseconds, up to this one, to three digits.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// The events of the pace; connections have their numbers.
const PACE: Token = Token(usize::MAX);

/// What to send, on how many connections, for how long.
#[derive(Clone)]
pub(crate) struct Load<'a> {
    pub(crate) addr: SocketAddr,
    /// How answers are read.
    pub(crate) judge: Judge<'a>,
    pub(crate) connections: usize,
    /// The bytes of the requests, one at least, which take turns at random.
    pub(crate) requests: &'a [Vec<u8>],
    /// Requests a second, at fixed times; `None`: a connection sends as soon as it has its answer.
    pub(crate) per_s: Option<f64>,
    pub(crate) until: Until,
    /// An answer that takes longer counts as an error, and its connection is given up.
    pub(crate) answer_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Send for this long; answers that come later are awaited, but not counted in the rate.
    Time(Duration),
    /// Send this many requests and await their answers.
    Requests(u64),
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Answers within `elapsed`: these make the rate.
    pub(crate) answers: u64,
    /// Served after the end of the time; the server did them, so whoever compares its books counts them too.
    pub(crate) late_answers: u64,
    pub(crate) elapsed: Duration,
    /// Of all answers, the late ones too: to leave those out would hide a stall at the end.
    pub(crate) latency_ns: Histogram<u64>,
    /// The first refusal (the queue is empty or full). It ended the round, and `elapsed` with it.
    pub(crate) refused: Option<String>,
    /// Every kind of error with its number.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Outcome {
    pub(crate) fn per_s(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// An error that names what went wrong, and how often, if anything did: a rate with errors in it means nothing.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.errors.is_empty() {
            return Ok(self);
        }
        let kinds: Vec<String> = self.errors.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        Err(format!("errors beside {} good answers: {}", self.answers + self.late_answers, kinds.join(", ")))
    }
}

impl Load<'_> {
    /// Connects, sends until the end, and waits for what is still under way, so that the server is idle afterwards.
    ///
    /// # Errors
    /// No connection, no epoll, or Ctrl-C. What a server does wrong later is counted in the outcome instead.
    pub(crate) fn run(&self) -> io::Result<Outcome> {
        let mut run = Run::start(self)?;
        let mut events = Events::with_capacity(self.connections);
        let mut last_tick = Instant::now();
        while run.under_way > 0 || run.waits() {
            match run.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match (&run.pace, event.token()) {
                    (Some(pace), PACE) => pace.wind_up()?,
                    (_, Token(at)) => run.advance(at),
                }
            }
            run.send_due(Instant::now());
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                stop::check()?;
                run.give_up_stalled(last_tick);
            }
        }
        Ok(run.finish())
    }
}

/// One load on its way.
struct Run<'a> {
    load: &'a Load<'a>,
    poll: Poll,
    connections: Vec<Connection>,
    /// Connections that could send, the one that has been idle for longest first.
    idle: VecDeque<usize>,
    /// Connections that wait for an answer.
    under_way: usize,
    sent: u64,
    turns: Turns,
    pace: Option<Pace>,
    started: Instant,
    deadline: Option<Instant>,
    /// When the rate ended: at the last answer that counts, or at the refusal.
    ended: Instant,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn start(load: &'a Load<'a>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let open = |at| Connection::open(load.addr, poll.registry(), Token(at));
        let connections = (0..load.connections).map(open).collect::<io::Result<_>>()?;
        let latency_ns = Histogram::new_with_max(LATENCY_MAX_NS, 3).map_err(io::Error::other)?;
        let (answers, late_answers, refused, errors) = (0, 0, None, BTreeMap::new());
        let outcome = Outcome { answers, late_answers, elapsed: Duration::ZERO, latency_ns, refused, errors };
        let turns = Turns::new(load.requests.len());
        let pace = load.per_s.map(|per_s| Pace::start(per_s, poll.registry(), PACE)).transpose()?;
        let started = pace.as_ref().map_or_else(Instant::now, |pace| pace.due(0));
        let deadline = match load.until {
            Until::Time(duration) => Some(started + duration),
            Until::Requests(_) => None,
        };
        let (idle, under_way, sent, ended) = ((0..load.connections).collect(), 0, 0, started);
        let mut run =
            Self { load, poll, connections, idle, under_way, sent, turns, pace, started, deadline, ended, outcome };
        run.send_due(started);
        Ok(run)
    }

    /// Whether a connection is free for a request whose time will come.
    fn waits(&self) -> bool {
        !self.idle.is_empty() && self.due(Instant::now()).is_some()
    }

    /// When the next request is due; `None`: no more are to be sent.
    fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.pace.as_ref().map_or(now, |pace| pace.due(self.sent));
        let more = match self.load.until {
            Until::Requests(limit) => self.sent < limit,
            Until::Time(_) => self.deadline.is_none_or(|deadline| due < deadline),
        };
        (more && self.outcome.refused.is_none()).then_some(due)
    }

    /// Sends what is due by `now`, as far as connections are free.
    fn send_due(&mut self, now: Instant) {
        while let Some(&at) = self.idle.front()
            && let Some(due) = self.due(now).filter(|due| *due <= now)
        {
            self.idle.pop_front();
            self.sent += 1;
            self.under_way += 1;
            let number = self.turns.next();
            if let Err(error) = self.connections[at].send(number, &self.load.requests[number], due) {
                self.fail(at, format!("write: {error}"));
            }
        }
    }

    /// Takes connection `at` as far as it goes without waiting.
    fn advance(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let Some(due) = connection.due else { return };
        let progress = connection.advance(&self.load.requests[connection.request], self.load.judge);
        let now = Instant::now();
        match progress {
            Progress::Waiting => {}
            Progress::Served => {
                connection.due = None;
                self.under_way -= 1;
                self.count(now, now - due);
                self.idle.push_back(at);
                self.send_due(now);
            }
            Progress::Refused(answer) => {
                self.under_way -= 1;
                if self.outcome.refused.is_none() {
                    self.outcome.refused = Some(answer);
                    self.ended = now;
                }
                connection.due = None;
            }
            Progress::Failed(kind) => self.fail(at, kind),
        }
    }

    fn count(&mut self, now: Instant, latency: Duration) {
        self.outcome.latency_ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        if self.outcome.refused.is_some() || self.deadline.is_some_and(|deadline| now > deadline) {
            self.outcome.late_answers += 1;
            return;
        }
        self.outcome.answers += 1;
        self.ended = now;
    }

    /// Counts an error; the connection sends no more.
    fn fail(&mut self, at: usize, kind: String) {
        *self.outcome.errors.entry(kind).or_default() += 1;
        self.under_way -= 1;
        self.connections[at].due = None;
    }

    fn give_up_stalled(&mut self, now: Instant) {
        for at in 0..self.connections.len() {
            let stalled = self.connections[at].due.is_some_and(|due| now - due > self.load.answer_timeout);
            if stalled {
                self.fail(at, format!("no whole answer within {:?}", self.load.answer_timeout));
            }
        }
    }

    fn finish(mut self) -> Outcome {
        // The whole time counts, also when the server was silent at the end of it.
        let ended = match self.deadline {
            Some(deadline) if self.outcome.refused.is_none() => deadline,
            _ => self.ended,
        };
        self.outcome.elapsed = ended - self.started;
        self.outcome
    }
}
