//! One connection that has a queue to itself and resets it now and then: it knows exactly what must be in there.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Client, Message, Random, ask, get, large, position, put_message, usual};

const QUEUE: &str = "scratch";

/// The client.
pub(crate) struct Resets {
    state: State,
    /// What the queue held when this life of the daemon began, and what was answered since.
    before: State,
    answered: Vec<(Instant, Request)>,
    /// What was asked for when the daemon was killed, in its order: so many of the first of these were done, and no other.
    in_doubt: Vec<Request>,
    next: u64,
    random: Random,
}

/// What the queue must hold.
#[derive(Debug, Clone, Default)]
struct State {
    /// All since the last reset, by position.
    messages: Vec<Message>,
    /// How many of them were got; `None` before the first get.
    got: Option<usize>,
    /// Whether there was ever a put.
    exists: bool,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Put(Message),
    Get,
    Reset,
}

impl Resets {
    pub(crate) fn new(random: Random) -> Resets {
        let (state, before) = (State::default(), State::default());
        Resets { state, before, answered: Vec::new(), in_doubt: Vec::new(), next: 0, random }
    }

    /// Puts, gets and resets, at most so many times; says whether the daemon went away under it.
    pub(crate) fn until_kill(&mut self, http: SocketAddr, requests: usize) -> bool {
        self.before = self.state.clone();
        self.answered.clear();
        let Ok(mut client) = Client::try_connect(http) else { return true };
        for _ in 0..requests {
            let (request, bytes) = match self.random.below(100) {
                0..75 => {
                    let bytes = if self.random.chance(15) { large(&mut self.random) } else { usual(&mut self.random) };
                    let (message, json) = Message::make((u32::MAX, self.next), bytes, &mut self.random);
                    self.next += 1;
                    (Request::Put(message), put_message(QUEUE, &json.to_string()))
                }
                75..97 => (Request::Get, get(&format!("/queue/?name={QUEUE}"))),
                _ => (Request::Reset, get(&format!("/reset/?name={QUEUE}"))),
            };
            let Some(response) = ask(&mut client, &bytes) else {
                self.in_doubt.push(request);
                return true;
            };
            let State { messages, exists, .. } = &self.state;
            match (request, response.message().as_str()) {
                (_, "HTTPMQ_STORAGE_FAILED") => {
                    self.in_doubt.push(request);
                    return true;
                }
                (Request::Put(_), "HTTPMQ_PUT_OK") => assert_eq!(position(&response), messages.len() as u64),
                (Request::Get, "HTTPMQ_EMPTY") => assert_eq!(self.state.unread(), 0),
                (Request::Get, "HTTPMQ_SUCCEED") => {
                    let (at, message) = (position(&response), Message::parse(&response.json()["data"]));
                    let got = self.state.got();
                    assert_eq!((at, message), (got as u64, messages.get(got).copied()));
                }
                (Request::Reset, "HTTPMQ_RESET_OK") => {}
                (Request::Reset, "HTTPMQ_NOT_EXISTS") => assert!(!exists),
                (request, answer) => panic!("{request:?} was answered {answer}"),
            }
            self.state.apply(request);
            self.answered.push((Instant::now(), request));
        }
        false
    }

    /// What was answered in this life after that moment is not owed: it was done or not.
    pub(crate) fn doubt_after(&mut self, end: Instant) {
        let owed = self.answered.partition_point(|(at, _)| *at < end);
        self.state = self.before.clone();
        self.answered[..owed].iter().for_each(|(_, request)| self.state.apply(*request));
        self.in_doubt.splice(..0, self.answered.drain(owed..).map(|(_, request)| request));
    }

    /// Checks after a start that the queue holds what it must; what was in doubt was done or not, as a whole and in its order.
    pub(crate) fn check(&mut self, client: &mut Client) {
        let status = client.ask(get(&format!("/status/?name={QUEUE}")));
        let data = &status.json()["data"];
        let found = (data["put_pos"].as_u64(), data["get_pos"].as_u64());
        let before = self.state.positions();
        let in_doubt = std::mem::take(&mut self.in_doubt);
        for request in &in_doubt {
            if self.state.positions() != found {
                self.state.apply(*request);
            }
        }
        assert_eq!(self.state.positions(), found, "{before:?}, then {in_doubt:?} were not answered, then {status:?}");
        for (at, message) in self.state.messages.iter().enumerate().skip(self.state.got()) {
            let response = client.ask(get(&format!("/view/?name={QUEUE}&position={at}")));
            assert_eq!(Message::parse(&response.json()["data"]), Some(*message), "at {at}: {}", response.message());
        }
    }
}

impl State {
    fn apply(&mut self, request: Request) {
        match request {
            Request::Put(message) => {
                self.messages.push(message);
                self.exists = true;
            }
            Request::Get if self.unread() > 0 => self.got = Some(self.got() + 1),
            Request::Get => {}
            Request::Reset => (self.messages, self.got) = (Vec::new(), None),
        }
    }

    fn got(&self) -> usize {
        self.got.unwrap_or(0)
    }

    fn unread(&self) -> usize {
        self.messages.len() - self.got()
    }

    /// Put and get position, as the status shows them.
    fn positions(&self) -> (Option<u64>, Option<u64>) {
        (self.exists.then_some(self.messages.len() as u64), self.got.map(|got| got as u64))
    }
}
