//! One client that does one thing after the other, the same for the same seed: it knows what was promised, and when.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::common::{Client, CoreMq, Daemon, Ledger, Message, Outcome, Positions, Random, Response, get, put_message};
use crate::round::HANG;

/// The second one is also published to by TCP.
const QUEUES: [&str; 2] = ["steps", "wire"];
/// By queue, and this one by TCP.
const PUBLISHER: usize = 2;
const PRODUCERS: usize = 3;
const MAX_SMALL_BYTES: usize = 2000;
/// Larger than a record of an engine by far.
const LARGE_BYTES: std::ops::Range<usize> = 20_000..200_000;
/// How many more requests are tried after one has failed: none of them may be answered OK.
const STEPS_AFTER_FAILURE: usize = 5;

/// The client; it goes on where it was in the daemon's next life.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Of each of the producers.
    next: [u64; PRODUCERS],
    /// The name of the first of them.
    first: usize,
    random: Random,
}

/// What one life of the daemon told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Requests that were done.
    pub(crate) done: usize,
    /// Of these, puts and publishes.
    pub(crate) puts: usize,
    /// Gets that found nothing.
    pub(crate) empty: usize,
    /// Puts and publishes that were refused for want of space.
    pub(crate) refused_puts: usize,
    /// Requests that failed.
    pub(crate) failed: usize,
    /// Requests that were done after one had failed.
    pub(crate) done_after_failure: usize,
    pub(crate) last_done: Option<SystemTime>,
    pub(crate) slowest: Duration,
}

impl Told {
    fn steps(&self) -> usize {
        self.done + self.empty + self.refused_puts + self.failed
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Put,
    Got,
    Empty,
    Refused,
    Failed,
    /// There is nobody to ask.
    Gone,
}

/// The connections of one life.
struct Connections<'a> {
    daemon: &'a Daemon,
    http: Option<Client>,
    tcp: Option<CoreMq>,
}

impl Script {
    pub(crate) fn new(random: Random) -> Script {
        Script { next: [0; PRODUCERS], first: 0, random }
    }

    /// A second client of the same queues.
    pub(crate) fn other(random: Random) -> Script {
        Script { next: [0; PRODUCERS], first: PRODUCERS, random }
    }

    /// Does so many steps, fewer when the daemon goes away.
    pub(crate) fn run(&mut self, daemon: &Daemon, ledger: &mut Ledger, steps: usize) -> Told {
        self.run_while(daemon, ledger, |told| told.steps() < steps)
    }

    pub(crate) fn run_while(
        &mut self,
        daemon: &Daemon,
        ledger: &mut Ledger,
        mut goes_on: impl FnMut(&Told) -> bool,
    ) -> Told {
        let mut connections = Connections { daemon, http: None, tcp: None };
        let mut told = Told::default();
        while goes_on(&told) && told.failed <= STEPS_AFTER_FAILURE {
            let began = Instant::now();
            let became = self.step(&mut connections, ledger);
            told.slowest = told.slowest.max(began.elapsed());
            match became {
                Became::Put | Became::Got => {
                    told.done += 1;
                    told.puts += usize::from(became == Became::Put);
                    told.done_after_failure += usize::from(told.failed > 0);
                    told.last_done = Some(SystemTime::now());
                }
                Became::Empty => told.empty += 1,
                Became::Refused => told.refused_puts += 1,
                Became::Failed => told.failed += 1,
                Became::Gone => break,
            }
        }
        told
    }

    fn step(&mut self, connections: &mut Connections<'_>, ledger: &mut Ledger) -> Became {
        // By HTTP first: that makes them work queues.
        if let Some(queue) = self.next[..2].iter().position(|next| *next == 0) {
            return self.put(connections, ledger, queue);
        }
        let queue = self.random.index(2);
        match self.random.below(100) {
            0..55 => self.put(connections, ledger, queue),
            55..70 => self.publish(connections, ledger),
            _ => take(connections, ledger, QUEUES[queue]),
        }
    }

    fn put(&mut self, connections: &mut Connections<'_>, ledger: &mut Ledger, queue: usize) -> Became {
        let Some(client) = connections.http() else { return Became::Gone };
        let (message, json) = self.message(queue);
        let name = QUEUES[queue];
        let response = ask(client, &put_message(name, &json.to_string()));
        let answer = response.as_ref().map(Response::message);
        let (outcome, became) = match answer.as_deref() {
            Some("HTTPMQ_PUT_OK") => (Outcome::Acknowledged(position(response.as_ref())), Became::Put),
            Some("HTTPMQ_STORAGE_FULL") => return Became::Refused,
            _ => (Outcome::Unknown, Became::Failed),
        };
        ledger.put(name, message, outcome);
        connections.keep_if(became == Became::Put);
        became
    }

    fn publish(&mut self, connections: &mut Connections<'_>, ledger: &mut Ledger) -> Became {
        let Some(client) = connections.tcp() else { return Became::Gone };
        let (message, json) = self.message(PUBLISHER);
        let sent = client.send(QUEUES[1], &json).and_then(|()| client.get_message(HANG));
        let answer = sent.ok().flatten().and_then(|(_, answer)| answer["response"].as_str().map(str::to_owned));
        let (outcome, became) = match answer.as_deref() {
            Some("OK: Message sent") => (Outcome::Acknowledged(None), Became::Put),
            Some("ERROR: HTTPMQ_STORAGE_FULL") => return Became::Refused,
            _ => (Outcome::Unknown, Became::Failed),
        };
        ledger.put(QUEUES[1], message, outcome);
        connections.keep_if(became == Became::Put);
        became
    }

    fn message(&mut self, producer: usize) -> (Message, Value) {
        let number = self.next[producer];
        self.next[producer] += 1;
        let is_large = self.random.chance(15);
        let bytes = match is_large {
            true => LARGE_BYTES.start + self.random.index(LARGE_BYTES.len()),
            false => 1 + self.random.index(MAX_SMALL_BYTES),
        };
        Message::make((u32::try_from(self.first + producer).unwrap(), number), bytes, &mut self.random)
    }
}

fn take(connections: &mut Connections<'_>, ledger: &mut Ledger, queue: &str) -> Became {
    let Some(client) = connections.http() else { return Became::Gone };
    let response = ask(client, &get(&format!("/queue/?name={queue}")));
    let answer = response.as_ref().map(Response::message);
    let became = match (answer.as_deref(), response) {
        (Some("HTTPMQ_SUCCEED"), Some(response)) => {
            let at = position(Some(&response)).unwrap();
            ledger.got(queue, &[(at, Message::parse(&response.json()["data"]))]);
            Became::Got
        }
        (Some("HTTPMQ_EMPTY"), _) => Became::Empty,
        _ => {
            ledger.get_in_doubt(queue);
            Became::Failed
        }
    };
    connections.keep_if(became != Became::Failed);
    became
}

/// Compares the positions of the queues with the books, after a start.
pub(crate) fn check(daemon: &Daemon, ledger: &mut Ledger) {
    assert!(check_if_there(daemon, ledger).is_some(), "nobody answers: {:?}", daemon.lines());
}

/// The same for a daemon that may end at any moment; `None`: it did.
pub(crate) fn check_if_there(daemon: &Daemon, ledger: &mut Ledger) -> Option<()> {
    let mut client = Client::try_connect(daemon.address()).ok()?;
    for queue in QUEUES {
        let status = ask(&mut client, &get(&format!("/status/?name={queue}")))?;
        ledger.restarted(queue, positions(&status));
    }
    Some(())
}

/// Gets all that is left. An error says what cannot be got, and that the daemon said so.
pub(crate) fn drain(daemon: &Daemon, ledger: &mut Ledger) -> Result<(), String> {
    let mut connections = Connections { daemon, http: None, tcp: None };
    for queue in QUEUES {
        loop {
            match take(&mut connections, ledger, queue) {
                Became::Got => {}
                Became::Empty => break,
                _ => return Err(format!("a message of {queue} cannot be got: {:?}", daemon.lines().last())),
            }
        }
    }
    check(daemon, ledger);
    Ok(())
}

fn positions(status: &Response) -> Positions {
    if status.message() == "HTTPMQ_NOT_EXISTS" {
        return Positions::default();
    }
    assert_eq!(status.message(), "HTTPMQ_SUCCEED");
    let data = &status.json()["data"];
    let number = |key: &str| data[key].as_u64().unwrap_or(0);
    Positions { put: number("put_pos"), get: number("get_pos"), unread: number("unread") }
}

fn position(response: Option<&Response>) -> Option<u64> {
    response?.header("Pos")?.parse().ok()
}

fn ask(client: &mut Client, request: &[u8]) -> Option<Response> {
    client.stream.write_all(request).ok()?;
    client.try_read().ok().flatten()
}

impl Connections<'_> {
    fn http(&mut self) -> Option<&mut Client> {
        if self.http.is_none() {
            let client = Client::try_connect(self.daemon.address()).ok()?;
            // A little longer, so that it is seen that it was too long.
            client.stream.set_read_timeout(Some(HANG * 2)).ok()?;
            self.http = Some(client);
        }
        self.http.as_mut()
    }

    fn tcp(&mut self) -> Option<&mut CoreMq> {
        if self.tcp.is_none() {
            self.tcp = Some(CoreMq::connect(self.daemon.tcp_address()).ok()?);
        }
        self.tcp.as_mut()
    }

    /// After a failure a connection may be closed or out of step.
    fn keep_if(&mut self, is_well: bool) {
        if !is_well {
            (self.http, self.tcp) = (None, None);
        }
    }
}
