//! A tiny broker for the self-check: it speaks enough CoreMQ for this benchmark, and misbehaves when it is told to.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::frame;

/// What a broker does wrong, to its first subscriber, with the message that has the number [`AT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Loses,
    Doubles,
    Reorders,
    /// Closes the connection of the subscriber right behind that message.
    Drops,
    /// Answers the publisher with an error.
    Refuses,
    /// Never answers the publisher.
    IsSilent,
    /// Sends something that is no frame.
    Garbles,
}

/// The message that a fault happens to: not the first, and early enough to come in the shortest round.
pub(crate) const AT: usize = 20;
const STAMP: &str = r#","coremq_sender":"fake","coremq_sent":1700000000.125}"#;

/// Starts a broker on a free port of loopback; it ends with the process.
///
/// # Errors
/// No port.
pub(crate) fn start(fault: Fault) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    let hub = Arc::new(Hub { fault, state: Mutex::default() });
    thread::spawn(move || {
        for (at, stream) in listener.incoming().flatten().enumerate() {
            let hub = Arc::clone(&hub);
            // A client that goes away is no event here.
            thread::spawn(move || hub.serve(stream, &format!("id{at}")));
        }
    });
    Ok(addr)
}

struct Hub {
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<String, Vec<TcpStream>>,
    published: usize,
    /// The message that is to come after the next one.
    held: Vec<u8>,
}

impl Hub {
    fn serve(&self, mut stream: TcpStream, id: &str) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.write_all(&frame::encode(id, r#"{"response":"OK: Welcome from CoreMQ!"}"#))?;
        let mut buffer = Vec::new();
        loop {
            let mut answers = Vec::new();
            while let Some((payload, used)) = frame::first(&buffer).map_err(io::Error::other)? {
                let payload = String::from_utf8_lossy(payload).into_owned();
                buffer.drain(..used);
                let answer = self.execute(&payload, &stream)?;
                if !answer.is_empty() {
                    answers.extend(frame::encode(id, &answer));
                }
            }
            stream.write_all(&answers)?;
            let mut bytes = [0; 16 * 1024];
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => buffer.extend_from_slice(&bytes[..count]),
            }
        }
    }

    fn execute(&self, payload: &str, stream: &TcpStream) -> io::Result<String> {
        let (queue, json) = payload.split_once(' ').ok_or_else(|| io::Error::other("no space"))?;
        if let Some(name) = json.strip_prefix(r#"{"coremq_subscribe":""#) {
            let name = name.trim_end_matches("\"}").to_owned();
            self.state().subscribers.entry(name).or_default().push(stream.try_clone()?);
            return Ok(r#"{"response":"OK: Subscribe successful"}"#.to_owned());
        }
        if json.starts_with(r#"{"coremq_status""#) {
            let connections: usize = self.state().subscribers.values().map(Vec::len).sum();
            return Ok(format!(r#"{{"connections":{connections}}}"#));
        }
        let stamped = frame::encode(queue, &format!("{}{STAMP}", json.trim_end_matches('}')));
        self.broadcast(queue, &stamped);
        Ok(match self.fault {
            Fault::Refuses => r#"{"response":"ERROR: HTTPMQ_FULL"}"#.to_owned(),
            Fault::IsSilent => String::new(),
            _ => r#"{"response":"OK: Message sent"}"#.to_owned(),
        })
    }

    fn broadcast(&self, queue: &str, message: &[u8]) {
        let mut state = self.state();
        let State { subscribers, published, held } = &mut *state;
        let number = *published;
        *published += 1;
        for (at, stream) in subscribers.entry(queue.to_owned()).or_default().iter_mut().enumerate() {
            let bytes = match (self.fault, at, number) {
                (Fault::Loses, 0, AT) => Vec::new(),
                (Fault::Doubles, 0, AT) => message.repeat(2),
                (Fault::Garbles, 0, AT) => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                (Fault::Reorders, 0, AT) => {
                    held.extend_from_slice(message);
                    Vec::new()
                }
                (Fault::Drops, 0, AT) => {
                    let _ = stream.write_all(message);
                    // Clones of a socket live on, so that dropping one would close nothing.
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    continue;
                }
                (_, 0, _) => [message, &std::mem::take(held)].concat(),
                _ => message.to_vec(),
            };
            // A subscriber that is gone is no event here.
            let _ = stream.write_all(&bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
