//! Clients that work until their daemon is killed, and say what they know then.

#![allow(dead_code)] // Each file in tests/ is a crate of its own and uses a part of this.

mod resets;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use resets::Resets;

use crate::common::{
    Client, CoreMq, Daemon, Ended, Id, Ledger, Message, Outcome, Positions, Random, Response, get, put_message,
};

/// Queues with producers and consumers.
pub(crate) const QUEUES: [&str; 4] = ["jobs", "mail", "logs", "live"];
/// The queue that is also published to by TCP.
const LIVE: &str = "live";
const PRODUCERS_PER_QUEUE: u32 = 3;
const TCP_PUBLISHERS: u32 = 2;
/// One queue has two, so that gets run beside each other.
const CONSUMERS: [&str; 5] = ["jobs", "jobs", "mail", "logs", "live"];

const SMALL_BYTES: usize = 20;
const MAX_USUAL_BYTES: usize = 40 << 10;
/// Larger than a record of the engine by far: stored in parts.
const LARGE_BYTES: std::ops::Range<usize> = 100 << 10..500 << 10;

/// All clients of all lives.
pub(crate) struct Load {
    producers: Vec<Producer>,
    resets: Resets,
    random: Random,
}

struct Producer {
    id: u32,
    queue: &'static str,
    by_tcp: bool,
    next: u64,
    random: Random,
}

/// What a consumer was answered, and when; and whether one more get was sent.
type Got = (Vec<(u64, Option<Message>, Instant)>, bool);

impl Load {
    pub(crate) fn new(mut random: Random) -> Load {
        let http = QUEUES.iter().flat_map(|queue| (0..PRODUCERS_PER_QUEUE).map(move |_| (*queue, false)));
        let tcp = (0..TCP_PUBLISHERS).map(|_| (LIVE, true));
        let producers = (0..).zip(http.chain(tcp)).map(|(id, (queue, by_tcp))| {
            let random = random.fork();
            Producer { id, queue, by_tcp, next: 0, random }
        });
        let producers = producers.collect();
        Load { producers, resets: Resets::new(random.fork()), random }
    }

    /// Puts the first message into each queue by HTTP. That makes them work queues, which keep what is published to them.
    pub(crate) fn begin(&mut self, daemon: &Daemon, ledger: &mut Ledger) {
        let mut client = daemon.connect();
        for queue in QUEUES {
            let producer = self.producers.iter_mut().find(|producer| producer.queue == queue).unwrap();
            let (message, outcome) = producer.put(&mut client);
            assert_ne!(outcome, Outcome::Unknown);
            ledger.put(queue, message, outcome);
        }
    }

    /// Lets everybody work for a while, kills the daemon under them, and writes down what they say.
    pub(crate) fn until_kill(&mut self, daemon: Daemon, time: Duration, ledger: &mut Ledger) -> Ended {
        self.until(daemon, ledger, |daemon| {
            thread::sleep(time);
            (daemon.kill(), None)
        })
    }

    /// Lets everybody work until `fault` has ended the daemon, and writes down what they say. What was answered after the moment
    /// that `fault` names is not owed.
    pub(crate) fn until(
        &mut self,
        daemon: Daemon,
        ledger: &mut Ledger,
        fault: impl FnOnce(Daemon) -> (Ended, Option<Instant>),
    ) -> Ended {
        let (http, tcp) = (daemon.address(), daemon.tcp_address());
        let Load { producers, resets, random } = self;
        // Without its consumers a queue gets a backlog, which is not in memory after the restart.
        let consuming: Vec<&str> = CONSUMERS.into_iter().filter(|_| random.chance(70)).collect();
        let (ended, owed_until) = thread::scope(|scope| {
            let producers: Vec<_> =
                producers.iter_mut().map(|p| (p.queue, scope.spawn(move || p.until_kill(http, tcp)))).collect();
            let consumers: Vec<_> =
                consuming.into_iter().map(|queue| (queue, scope.spawn(move || consume(http, queue, false)))).collect();
            let resetting = scope.spawn(|| resets.until_kill(http, usize::MAX));
            let (ended, owed_until) = fault(daemon);
            for (queue, producer) in producers {
                for (message, outcome, at) in producer.join().unwrap() {
                    let is_owed = owed_until.is_none_or(|end| at < end);
                    ledger.put(queue, message, if is_owed { outcome } else { Outcome::Unknown });
                }
            }
            for (queue, consumer) in consumers {
                write_down(ledger, queue, &consumer.join().unwrap(), owed_until);
            }
            resetting.join().unwrap();
            (ended, owed_until)
        });
        if let Some(end) = owed_until {
            resets.doubt_after(end);
        }
        ended
    }

    /// Checks the positions of all queues after a start.
    pub(crate) fn check(&mut self, daemon: &Daemon, ledger: &mut Ledger) {
        let mut client = daemon.connect();
        for queue in QUEUES {
            ledger.restarted(queue, positions(&mut client, queue));
        }
        self.resets.check(&mut client);
    }
}

/// Gets all that is left; the status must have said how much that is.
pub(crate) fn drain(daemon: &Daemon, ledger: &mut Ledger) -> u64 {
    let http = daemon.address();
    let mut client = daemon.connect();
    let before = QUEUES.map(|queue| positions(&mut client, queue));
    thread::scope(|scope| {
        let consumers: Vec<_> = QUEUES
            .into_iter()
            .flat_map(|queue| (0..8).map(move |_| (queue, scope.spawn(move || consume(http, queue, true)))))
            .collect();
        for (queue, consumer) in consumers {
            write_down(ledger, queue, &consumer.join().unwrap(), None);
        }
    });
    for (queue, before) in QUEUES.into_iter().zip(before) {
        // Each position from the first unread one to the end must have been got.
        let after = Positions { put: before.put, get: before.put, unread: 0 };
        assert_eq!(positions(&mut client, queue), after, "{queue}");
        ledger.restarted(queue, after);
    }
    before.iter().map(|positions| positions.unread).sum()
}

/// A get that was answered too late to be owed may have taken its message or not.
fn write_down(ledger: &mut Ledger, queue: &str, (answers, in_doubt): &Got, owed_until: Option<Instant>) {
    let owed = answers.iter().filter(|(_, _, at)| owed_until.is_none_or(|end| *at < end));
    let owed: Vec<_> = owed.map(|(position, message, _)| (*position, *message)).collect();
    ledger.got(queue, &owed);
    for _ in owed.len()..answers.len() + usize::from(*in_doubt) {
        ledger.get_in_doubt(queue);
    }
}

/// Resets the queues with producers and consumers; the producers go on counting.
pub(crate) fn reset(daemon: &Daemon) {
    let mut client = daemon.connect();
    for queue in QUEUES {
        assert_eq!(client.ask(get(&format!("/reset/?name={queue}"))).message(), "HTTPMQ_RESET_OK");
    }
}

fn positions(client: &mut Client, queue: &str) -> Positions {
    let response = client.ask(get(&format!("/status/?name={queue}")));
    if response.message() == "HTTPMQ_NOT_EXISTS" {
        return Positions::default();
    }
    let data = &response.json()["data"];
    let number = |key: &str| data[key].as_u64().unwrap_or(0);
    assert_eq!(data["kind"], "work", "{queue}");
    Positions { put: number("put_pos"), get: number("get_pos"), unread: number("unread") }
}

/// Gets until the daemon is gone, or until the queue is empty.
fn consume(http: SocketAddr, queue: &str, until_empty: bool) -> Got {
    let mut answers = Vec::new();
    let Ok(mut client) = Client::try_connect(http) else { return (answers, false) };
    loop {
        let Some(response) = ask(&mut client, &get(&format!("/queue/?name={queue}"))) else { return (answers, true) };
        match response.message().as_str() {
            "HTTPMQ_EMPTY" if until_empty => return (answers, false),
            "HTTPMQ_EMPTY" => thread::sleep(Duration::from_millis(2)),
            "HTTPMQ_SUCCEED" => {
                answers.push((position(&response), Message::parse(&response.json()["data"]), Instant::now()));
            }
            "HTTPMQ_STORAGE_FAILED" => return (answers, true),
            other => panic!("a get was answered {other}"),
        }
    }
}

fn position(response: &Response) -> u64 {
    response.header("Pos").unwrap().parse().unwrap()
}

/// Sends a request; `None` when the answer does not come.
fn ask(client: &mut Client, request: &[u8]) -> Option<Response> {
    use std::io::Write as _;
    client.stream.write_all(request).ok()?;
    client.try_read().ok().flatten()
}

impl Producer {
    /// Sends one message after the other until the daemon is gone; gives what became of each, and when that was known.
    fn until_kill(&mut self, http: SocketAddr, tcp: SocketAddr) -> Vec<(Message, Outcome, Instant)> {
        if self.by_tcp {
            let Ok(mut client) = CoreMq::connect(tcp) else { return Vec::new() };
            until_unknown(|| self.publish(&mut client))
        } else {
            let Ok(mut client) = Client::try_connect(http) else { return Vec::new() };
            until_unknown(|| self.put(&mut client))
        }
    }

    fn put(&mut self, client: &mut Client) -> (Message, Outcome) {
        let is_large = self.random.chance(2);
        let (message, json) = self.next(is_large);
        let Some(response) = ask(client, &put_message(self.queue, &json.to_string())) else {
            return (message, Outcome::Unknown);
        };
        match response.message().as_str() {
            "HTTPMQ_PUT_OK" => (message, Outcome::Acknowledged(Some(position(&response)))),
            "HTTPMQ_STORAGE_FAILED" => (message, Outcome::Unknown),
            other => panic!("a put was answered {other}"),
        }
    }

    fn publish(&mut self, client: &mut CoreMq) -> (Message, Outcome) {
        let (message, json) = self.next(false);
        let Ok((_, answer)) = client.send_message(self.queue, &json) else { return (message, Outcome::Unknown) };
        match answer["response"].as_str() {
            Some("OK: Message sent") => (message, Outcome::Acknowledged(None)),
            // Refusals have a name; what has none is that the store failed.
            Some(text) if text.starts_with("ERROR: ") && !text.contains("HTTPMQ_") => (message, Outcome::Unknown),
            other => panic!("a publish was answered {other:?}"),
        }
    }

    fn next(&mut self, is_large: bool) -> (Message, Value) {
        let id: Id = (self.id, self.next);
        self.next += 1;
        let bytes = if is_large { large(&mut self.random) } else { usual(&mut self.random) };
        Message::make(id, bytes, &mut self.random)
    }
}

fn until_unknown(mut send: impl FnMut() -> (Message, Outcome)) -> Vec<(Message, Outcome, Instant)> {
    let mut sent = Vec::new();
    loop {
        let (message, outcome) = send();
        sent.push((message, outcome, Instant::now()));
        if outcome == Outcome::Unknown {
            return sent;
        }
    }
}

/// Most messages are small, some are not: each power of two is as likely.
fn usual(random: &mut Random) -> usize {
    let limit = SMALL_BYTES << random.below(12);
    SMALL_BYTES + random.index(limit.min(MAX_USUAL_BYTES - SMALL_BYTES))
}

fn large(random: &mut Random) -> usize {
    LARGE_BYTES.start + random.index(LARGE_BYTES.len())
}
