//! The body of a request: read whole, within a size, a time, and the memory that all requests share.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::poll;
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Memory, Share, UNCOUNTED_BYTES};

/// A whole body, and its share of the memory for as long as it is held.
#[derive(Debug, Default)]
pub(super) struct WholeBody {
    pub(super) bytes: Bytes,
    _counted: Option<Share>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than is allowed.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// Others had the memory for it, all the time that it may take.
    NoMemory,
    /// The client went away, or what it sent is not HTTP.
    Broken,
}

/// Reads bodies under the limits of one listener.
#[derive(Debug)]
pub(super) struct BodyReader {
    max_bytes: usize,
    timeout: Duration,
    memory: Memory,
}

impl BodyReader {
    pub(super) fn new(max_bytes: usize, timeout: Duration, memory: Memory) -> BodyReader {
        BodyReader { max_bytes, timeout, memory }
    }

    /// Reads a whole body.
    pub(super) async fn read(&self, mut body: Incoming) -> Result<WholeBody, BodyError> {
        if body.is_end_stream() {
            return Ok(WholeBody::default());
        }
        // As it was announced, if it was.
        let length = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > self.max_bytes) {
            return Err(BodyError::TooLong);
        }
        let first = match poll!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))) {
            Poll::Pending => Bytes::new(),
            Poll::Ready(None) => return Ok(WholeBody::default()),
            Poll::Ready(Some(frame)) => data(frame)?,
        };
        if first.len() > self.max_bytes {
            return Err(BodyError::TooLong);
        }
        // Nearly every body has come with its head and in one piece, which is then the body, without a copy.
        if body.is_end_stream() {
            return Ok(WholeBody { bytes: first, _counted: None });
        }
        // In a box: no connection keeps room for a wait that few requests need.
        Box::pin(self.collect(&mut body, first, length.unwrap_or(self.max_bytes))).await
    }

    async fn collect(&self, body: &mut Incoming, first: Bytes, expected: usize) -> Result<WholeBody, BodyError> {
        let mut deadline = Deadline { timeout: self.timeout, at: None };
        let mut whole = BytesMut::from(first);
        let mut counted = None;
        while let Some(data) = next_data(body, &mut deadline).await? {
            let length = whole.len() + data.len();
            if length > self.max_bytes {
                return Err(BodyError::TooLong);
            }
            // Not before it is that long: who only says that much will come must not keep others waiting.
            if length > UNCOUNTED_BYTES && counted.is_none() {
                let share = timeout_at(deadline.at(), self.memory.take(expected)).await;
                counted = Some(share.map_err(|_| BodyError::NoMemory)?);
                whole.reserve(expected.saturating_sub(whole.len()));
            }
            whole.extend_from_slice(&data);
        }
        Ok(WholeBody { bytes: whole.freeze(), _counted: counted })
    }
}

/// When a body is to be there. Its time begins when it is first waited for: nearly every body has come with its head, and costs no
/// look at the clock.
struct Deadline {
    timeout: Duration,
    at: Option<Instant>,
}

impl Deadline {
    fn at(&mut self) -> Instant {
        *self.at.get_or_insert_with(|| Instant::now() + self.timeout)
    }
}

/// The next piece of a body; `None` at its end.
async fn next_data(body: &mut Incoming, deadline: &mut Deadline) -> Result<Option<Bytes>, BodyError> {
    let mut frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    let frame = match poll!(&mut frame) {
        Poll::Ready(frame) => frame,
        Poll::Pending => timeout_at(deadline.at(), frame).await.map_err(|_| BodyError::TooSlow)?,
    };
    frame.map(data).transpose()
}

/// What a frame brings of the body: trailers bring nothing.
fn data(frame: Result<Frame<Bytes>, hyper::Error>) -> Result<Bytes, BodyError> {
    let frame = frame.map_err(|_| BodyError::Broken)?;
    Ok(frame.into_data().unwrap_or_default())
}
