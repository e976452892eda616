//! One connection that has a queue to itself, resets and deletes it now and then, and lets its oldest messages give way: it knows exactly
//! what must be in there.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use super::{Client, Message, Random, Response, ask, get, large, position, put_message, usual};
use crate::common::request;

const QUEUE: &str = "scratch";
const TARGET: &str = "/v1/queues/scratch";
/// What the queue is limited to when it is.
const MAX_LIMIT: u64 = 30;

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
    /// All since the last reset, by their number.
    messages: Vec<Message>,
    /// How many of them were got or gave way; `None` before the first.
    got: Option<usize>,
    /// Whether there was a put since it was last deleted.
    exists: bool,
    /// How many unread messages fit before the oldest gives way; `None`: more than there ever are.
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Put(Message),
    Get,
    Reset,
    Limit(Option<usize>),
    Delete,
}

/// Put and get position, the limit and how many are unread, as the status shows them. Without the last, a queue that is full could pass
/// for one that is empty.
type Positions = (Option<u64>, Option<u64>, Option<u64>, Option<u64>);

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
                75..93 => (Request::Get, get(&format!("/queue/?name={QUEUE}"))),
                93..96 => {
                    let limit = self.random.chance(70).then(|| 1 + self.random.below(MAX_LIMIT));
                    let overflow = limit.map(|_| "drop_oldest");
                    let body = json!({ "max_len": limit, "overflow": overflow }).to_string();
                    let limit = limit.map(|limit| usize::try_from(limit).unwrap());
                    (Request::Limit(limit), request("PATCH", TARGET, body))
                }
                96..98 => (Request::Delete, request("DELETE", TARGET, "")),
                _ => (Request::Reset, get(&format!("/reset/?name={QUEUE}"))),
            };
            let Some(response) = ask(&mut client, &bytes) else {
                self.in_doubt.push(request);
                return true;
            };
            if response.status == 500 {
                self.in_doubt.push(request);
                return true;
            }
            self.state.expect(request, &response);
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
        let limit = data["max_len"].as_u64().filter(|limit| *limit <= MAX_LIMIT);
        let found = (data["put_pos"].as_u64(), data["get_pos"].as_u64(), limit, data["unread"].as_u64());
        let before = self.state.positions();
        let in_doubt = std::mem::take(&mut self.in_doubt);
        // Two of these states can have the same positions, and other messages.
        let mut state = self.state.clone();
        let mut states = vec![state.clone()];
        for request in &in_doubt {
            state.apply(*request);
            states.push(state.clone());
        }
        let is = |state: &State| state.positions() == found && state.holds(client);
        let is = states.into_iter().find(is);
        self.state = is.unwrap_or_else(|| panic!("{before:?}, then {in_doubt:?} were not answered, then {status:?}"));
    }
}

impl State {
    /// Checks the answer to a request.
    fn expect(&self, request: Request, response: &Response) {
        let State { messages, exists, .. } = self;
        match request {
            Request::Limit(_) => assert_eq!(response.status, if *exists { 200 } else { 404 }),
            Request::Delete if *exists => assert_eq!(response.json()["unread"], self.unread()),
            Request::Delete => assert_eq!(response.status, 404),
            _ => match (request, response.message().as_str()) {
                (Request::Put(_), "HTTPMQ_PUT_OK") => assert_eq!(position(response), self.slot(messages.len())),
                (Request::Get, "HTTPMQ_EMPTY") => assert_eq!(self.unread(), 0),
                (Request::Get, "HTTPMQ_SUCCEED") => {
                    let (at, message) = (position(response), Message::parse(&response.json()["data"]));
                    let got = self.got();
                    assert_eq!((at, message), (self.slot(got), messages.get(got).copied()));
                }
                (Request::Reset, "HTTPMQ_RESET_OK") => {}
                (Request::Reset, "HTTPMQ_NOT_EXISTS") => assert!(!exists),
                (request, answer) => panic!("{request:?} was answered {answer}"),
            },
        }
    }

    /// Whether the unread messages are those that are there.
    fn holds(&self, client: &mut Client) -> bool {
        // With fewer slots than unread messages, a slot shows the older one.
        let seen = self.unread().min(self.limit.unwrap_or(usize::MAX));
        self.messages.iter().enumerate().skip(self.got()).take(seen).all(|(at, message)| {
            let response = client.ask(get(&format!("/view/?name={QUEUE}&position={}", self.slot(at))));
            Message::parse(&response.json()["data"]) == Some(*message)
        })
    }

    fn apply(&mut self, request: Request) {
        match request {
            Request::Put(message) => {
                let least = self.limit.map_or(0, |limit| (self.messages.len() + 1).saturating_sub(limit));
                if least > self.got() {
                    self.got = Some(least);
                }
                self.messages.push(message);
                self.exists = true;
            }
            Request::Get if self.unread() > 0 => self.got = Some(self.got() + 1),
            Request::Get => {}
            Request::Reset => (self.messages, self.got) = (Vec::new(), None),
            Request::Limit(limit) if self.exists => self.limit = limit,
            Request::Limit(_) => {}
            Request::Delete => *self = State::default(),
        }
    }

    fn got(&self) -> usize {
        self.got.unwrap_or(0)
    }

    fn unread(&self) -> usize {
        self.messages.len() - self.got()
    }

    fn positions(&self) -> Positions {
        let put = self.exists.then(|| self.lap(self.messages.len()));
        let unread = self.exists.then(|| self.unread() as u64);
        (put, self.got.map(|got| self.lap(got)), self.limit.map(|limit| limit as u64), unread)
    }

    /// The position of a message.
    fn slot(&self, at: usize) -> u64 {
        (at % self.limit.unwrap_or(usize::MAX)) as u64
    }

    /// A position as the status shows it: 0 only at the very beginning.
    fn lap(&self, at: usize) -> u64 {
        if at == 0 { 0 } else { self.slot(at - 1) + 1 }
    }
}
