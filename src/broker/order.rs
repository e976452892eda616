//! Ordered puts over several connections.
//!
//! A client that has many puts under way, each on its own connection, cannot know in which order they arrive. So it names a
//! *stream* and numbers its puts from 0; put `n` is staged only after put `n − 1` of the same stream was. What is stored is
//! then always a beginning of what was sent, also when the server dies half-way. A stream ends with the first of its puts
//! that is refused or does not come in time: those behind it are refused too.

use std::{
    cmp,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// How long a put waits for those before it. They are under way already; a client that keeps one back is stuck or gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// A stream that nobody used for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// More streams than this at a time are refused: each has a client with connections of its own.
const MAX_STREAMS: usize = 10_000;
/// The longest name of a stream, in bytes.
const MAX_STREAM_BYTES: usize = 64;

/// The place of one put in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    stream: String,
    number: u64,
}

/// Why a put does not get its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// One before it was refused, was lost or came too late.
    #[error("a put before this one in its stream was not stored")]
    Broken,
    /// The number was used before.
    #[error("a put with this number came already")]
    Repeated,
    /// Too many clients order their puts.
    #[error("there are too many streams")]
    TooManyStreams,
}

/// The streams of all clients.
#[derive(Debug, Default)]
pub(super) struct Orders {
    streams: Mutex<HashMap<String, Arc<Stream>>>,
}

#[derive(Debug)]
struct Stream {
    state: Mutex<StreamState>,
}

#[derive(Debug)]
struct StreamState {
    /// The number whose turn is next.
    next: u64,
    broken: bool,
    /// Those who came before their turn. Each is woken alone: to wake all of them for every put would cost more than the put.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    used: Instant,
}

/// A put's turn. Dropped when the put was not staged, it ends the stream.
#[derive(Debug)]
pub struct Turn {
    stream: Arc<Stream>,
    number: u64,
    passed: bool,
}

impl Order {
    /// Reads `STREAM/N`, as it stands in the header `Put-Order`.
    pub fn parse(text: &str) -> Option<Order> {
        let (stream, number) = text.split_once('/')?;
        let is_name =
            (1..=MAX_STREAM_BYTES).contains(&stream.len()) && stream.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        (is_name && is_number).then(|| number.parse().ok())?.map(|number| Order { stream: stream.to_owned(), number })
    }
}

impl Orders {
    /// Waits until all puts before this one are staged.
    pub(super) async fn turn(&self, order: Order) -> Result<Turn, OrderError> {
        let stream = self.stream(order.stream)?;
        let number = order.number;
        let my_turn = {
            let mut state = stream.lock();
            match number.cmp(&state.next) {
                _ if state.broken => return Err(OrderError::Broken),
                cmp::Ordering::Less => return Err(OrderError::Repeated),
                cmp::Ordering::Equal => None,
                cmp::Ordering::Greater => {
                    let (wake, woken) = oneshot::channel();
                    state.waiting.insert(number, wake);
                    Some(woken)
                }
            }
        };
        // Made before the wait: a client that goes away while it waits leaves a gap that nobody fills.
        let turn = Turn { stream, number, passed: false };
        match my_turn {
            None => Ok(turn),
            Some(woken) => match tokio::time::timeout(PATIENCE, woken).await {
                Ok(Ok(())) => Ok(turn),
                Ok(Err(_)) | Err(_) => Err(OrderError::Broken),
            },
        }
    }

    fn stream(&self, name: String) -> Result<Arc<Stream>, OrderError> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = streams.get(&name) {
            return Ok(stream.clone());
        }
        // Looked at only when a stream begins, which is rare.
        streams.retain(|_, stream| stream.lock().used.elapsed() < FORGET_AFTER);
        if streams.len() >= MAX_STREAMS {
            return Err(OrderError::TooManyStreams);
        }
        let state = StreamState { next: 0, broken: false, waiting: HashMap::new(), used: Instant::now() };
        let stream = Arc::new(Stream { state: Mutex::new(state) });
        streams.insert(name, stream.clone());
        Ok(stream)
    }
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Lets the next put of the stream go on.
    pub(super) fn pass(mut self) {
        self.passed = true;
        let mut state = self.stream.lock();
        state.next = self.number + 1;
        state.used = Instant::now();
        let next = state.next;
        // Who is gone does not hear it, and its own turn ends the stream.
        state.waiting.remove(&next).map(|wake| wake.send(()));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.passed {
            let mut state = self.stream.lock();
            state.broken = true;
            state.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u64) -> Order {
        Order { stream: "s".into(), number }
    }

    #[test]
    fn only_a_name_a_slash_and_a_number_are_an_order() {
        assert_eq!(Order::parse("s/7"), Some(order(7)));
        for text in ["", "s", "s/", "/1", "s/-1", "s/+1", "s/1/2", "a b/1", "s/99999999999999999999"] {
            assert_eq!(Order::parse(text), None, "{text:?}");
        }
        assert_eq!(Order::parse(&format!("{}/1", "s".repeat(65))), None);
    }

    #[tokio::test]
    async fn turns_come_in_order_however_they_are_asked_for() {
        let orders = Arc::new(Orders::default());
        let (done, mut seen) = tokio::sync::mpsc::unbounded_channel();
        for number in [3, 1, 0, 2] {
            let (orders, done) = (orders.clone(), done.clone());
            tokio::spawn(async move {
                let turn = orders.turn(order(number)).await.unwrap();
                done.send(number).unwrap();
                turn.pass();
            });
        }
        for expected in 0..4 {
            assert_eq!(seen.recv().await, Some(expected));
        }
        assert_eq!(orders.turn(order(2)).await.unwrap_err(), OrderError::Repeated);
    }

    #[tokio::test]
    async fn a_refused_put_ends_its_stream() {
        let orders = Orders::default();
        drop(orders.turn(order(0)).await.unwrap());
        assert_eq!(orders.turn(order(1)).await.unwrap_err(), OrderError::Broken);
        let other = Order { stream: "t".into(), number: 0 };
        assert!(orders.turn(other).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_does_not_wait_for_ever() {
        let orders = Orders::default();
        assert_eq!(orders.turn(order(1)).await.unwrap_err(), OrderError::Broken);
        assert_eq!(orders.turn(order(0)).await.unwrap_err(), OrderError::Broken);
    }
}
