//! The body of a request: read whole, within a size, a time, and the memory that all requests share.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap,
    body::{Body, Incoming},
    header::CONTENT_LENGTH,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies up to this size are not counted: with `max_connections` of them there is still room in a small machine.
const UNCOUNTED_BYTES: usize = 16 << 10;
/// What all larger bodies may take together. Who comes later waits for the memory, not the whole machine. Measured, a message on
/// its way to the disk takes eight times its size: as body, in its block, in the batch and in the engine.
const TOTAL_BYTES: usize = 32 << 20;

/// A whole body, and its share of the memory for as long as it is held.
#[derive(Debug, Default)]
pub(super) struct WholeBody<'a> {
    pub(super) bytes: Bytes,
    _counted: Option<SemaphorePermit<'a>>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than is allowed.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// The client went away, or what it sent is not HTTP.
    Broken,
}

/// Reads bodies under the limits of one listener.
#[derive(Debug)]
pub(super) struct BodyReader {
    max_bytes: usize,
    timeout: Duration,
    /// Permits are KiB.
    memory: Semaphore,
}

impl BodyReader {
    pub(super) fn new(max_bytes: usize, timeout: Duration) -> BodyReader {
        BodyReader { max_bytes, timeout, memory: Semaphore::new(TOTAL_BYTES >> 10) }
    }

    /// Reads a whole body.
    pub(super) async fn read(&self, headers: &HeaderMap, mut body: Incoming) -> Result<WholeBody<'_>, BodyError> {
        if body.is_end_stream() {
            return Ok(WholeBody::default());
        }
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.max_bytes) {
            return Err(BodyError::TooLong);
        }
        let reading = self.collect(&mut body, announced.unwrap_or(self.max_bytes));
        tokio::time::timeout(self.timeout, reading).await.unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect(&self, body: &mut Incoming, expected: usize) -> Result<WholeBody<'_>, BodyError> {
        let Some(first) = next_data(body).await? else { return Ok(WholeBody::default()) };
        if first.len() > self.max_bytes {
            return Err(BodyError::TooLong);
        }
        // Nearly every body comes in one piece, which is then the body, without a copy.
        if body.is_end_stream() {
            return Ok(WholeBody { bytes: first, _counted: None });
        }
        let mut whole = BytesMut::from(first);
        let mut counted = None;
        while let Some(data) = next_data(body).await? {
            let length = whole.len() + data.len();
            if length > self.max_bytes {
                return Err(BodyError::TooLong);
            }
            // Not before it is that long: who only says that much will come must not keep others waiting.
            if length > UNCOUNTED_BYTES && counted.is_none() {
                counted = self.count(expected).await;
                whole.reserve(expected.saturating_sub(whole.len()));
            }
            whole.extend_from_slice(&data);
        }
        Ok(WholeBody { bytes: whole.freeze(), _counted: counted })
    }

    async fn count(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from((bytes >> 10).min(TOTAL_BYTES >> 10)).unwrap_or(u32::MAX);
        self.memory.acquire_many(kib).await.ok()
    }
}

/// The next piece of a body; `None` at its end. Trailers are passed over.
async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
