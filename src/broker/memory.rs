//! The memory for what clients send: bounded for all doors together.
//!
//! Many clients can each send something long, and stop in the midst of it. So what is long takes its share of one budget
//! before more of it is read, and who comes when that is used up waits for the others.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies and frames up to this size are not counted: with `max_connections` of them there is still room in a small machine, and
/// nearly all messages are shorter, so that these never wait for long ones.
pub const UNCOUNTED_BYTES: usize = 16 << 10;
/// What all longer ones may take together. Measured, a message on its way to the disk takes eight times its size: as body, in its
/// block, in the batch and in the engine.
const TOTAL_BYTES: usize = 32 << 20;

/// The budget. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Permits are KiB.
    kib: Arc<Semaphore>,
}

/// A part of the budget, for as long as it is held.
#[derive(Debug)]
pub struct Share {
    /// `None` is for a budget that was closed, which none ever is.
    _permit: Option<OwnedSemaphorePermit>,
}

/// What one connection has of the budget, or waits for, when it must be able to do other things meanwhile.
#[derive(Default)]
pub struct Claim {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Waiting(Pin<Box<dyn Future<Output = Share> + Send>>),
    Held {
        _share: Share,
    },
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory { kib: Arc::new(Semaphore::new(TOTAL_BYTES >> 10)) }
    }

    /// Waits for a share of that many bytes, which more than there are becomes all of them. Who came first has it first.
    pub async fn take(&self, bytes: usize) -> Share {
        let kib = u32::try_from(bytes.min(TOTAL_BYTES) >> 10).unwrap_or(u32::MAX);
        Share { _permit: self.kib.clone().acquire_many_owned(kib).await.ok() }
    }
}

impl Claim {
    /// Gets the claim its share, of that many bytes; at once when it has one. Called again and again while it waits, it keeps its
    /// place among those who wait.
    pub fn poll_take(&mut self, memory: &Memory, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if let State::None = self.state {
            let memory = memory.clone();
            self.state = State::Waiting(Box::pin(async move { memory.take(bytes).await }));
        }
        if let State::Waiting(share) = &mut self.state {
            self.state = State::Held { _share: ready!(share.as_mut().poll(cx)) };
        }
        Poll::Ready(())
    }

    /// Whether it has its share.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Whether others have to give theirs back first.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Gives the share back, or the place among those who wait.
    pub fn give_back(&mut self) {
        self.state = State::None;
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("held", &self.is_held()).field("waiting", &self.is_waiting()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_comes_when_all_is_taken_waits_in_turn() {
        let memory = Memory::new();
        let (mut first, mut second, mut third) = (Claim::default(), Claim::default(), Claim::default());
        poll_fn(|cx| first.poll_take(&memory, usize::MAX, cx)).await;
        for _ in 0..2 {
            assert!(poll!(poll_fn(|cx| second.poll_take(&memory, TOTAL_BYTES, cx))).is_pending());
            assert!(poll!(poll_fn(|cx| third.poll_take(&memory, 1 << 10, cx))).is_pending());
        }
        assert!(first.is_held() && second.is_waiting() && third.is_waiting());
        first.give_back();
        assert!(poll!(poll_fn(|cx| third.poll_take(&memory, 1 << 10, cx))).is_pending(), "the second came first");
        poll_fn(|cx| second.poll_take(&memory, TOTAL_BYTES, cx)).await;
        // Who gives up waiting keeps nobody else waiting.
        second.give_back();
        third.give_back();
        drop(memory.take(TOTAL_BYTES).await);
    }
}
