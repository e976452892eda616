//! One connection that has a queue to itself and resets it now and then: it knows exactly what must be in there.

use std::net::SocketAddr;

use super::{Client, Message, Random, ask, get, large, position, put_message, usual};

const QUEUE: &str = "scratch";

/// What the queue must hold.
pub(crate) struct Resets {
    /// All since the last reset, by position.
    messages: Vec<Message>,
    /// How many of them were got; `None` before the first get.
    got: Option<usize>,
    /// Whether there was ever a put.
    exists: bool,
    /// What was asked for when the daemon was killed.
    in_doubt: Option<Request>,
    next: u64,
    random: Random,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Put(Message),
    Get,
    Reset,
}

impl Resets {
    pub(crate) fn new(random: Random) -> Resets {
        Resets { messages: Vec::new(), got: None, exists: false, in_doubt: None, next: 0, random }
    }

    /// Puts, gets and resets, at most so many times; says whether the daemon went away under it.
    pub(crate) fn until_kill(&mut self, http: SocketAddr, requests: usize) -> bool {
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
                self.in_doubt = Some(request);
                return true;
            };
            match (request, response.message().as_str()) {
                (Request::Put(_), "HTTPMQ_PUT_OK") => assert_eq!(position(&response), self.messages.len() as u64),
                (Request::Get, "HTTPMQ_EMPTY") => assert_eq!(self.unread(), 0),
                (Request::Get, "HTTPMQ_SUCCEED") => {
                    let (at, message) = (position(&response), Message::parse(&response.json()["data"]));
                    assert_eq!((at, message), (self.got() as u64, self.messages.get(self.got()).copied()));
                }
                (Request::Reset, "HTTPMQ_RESET_OK") => {}
                (Request::Reset, "HTTPMQ_NOT_EXISTS") => assert!(!self.exists),
                (request, answer) => panic!("{request:?} was answered {answer}"),
            }
            self.do_it(request);
        }
        false
    }

    /// Checks after a start that the queue holds what it must; what was in doubt was done or not, as a whole.
    pub(crate) fn check(&mut self, client: &mut Client) {
        let status = client.ask(get(&format!("/status/?name={QUEUE}")));
        let data = &status.json()["data"];
        let found = (data["put_pos"].as_u64(), data["get_pos"].as_u64());
        let before = self.positions();
        if let Some(request) = self.in_doubt.take()
            && before != found
        {
            self.do_it(request);
            assert_eq!(self.positions(), found, "{before:?}, then {request:?} was not answered, then {status:?}");
        }
        assert_eq!(self.positions(), found, "{status:?}");
        for (at, message) in self.messages.iter().enumerate().skip(self.got()) {
            let response = client.ask(get(&format!("/view/?name={QUEUE}&position={at}")));
            assert_eq!(Message::parse(&response.json()["data"]), Some(*message), "at {at}: {}", response.message());
        }
    }

    fn do_it(&mut self, request: Request) {
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
