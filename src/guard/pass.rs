//! What somebody may do who came in, and what is remembered of each token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::nanoseconds;
use crate::access::{Denial, Need, Pattern, Right, Token, rate, rate::Rate};

/// How many addresses a token is remembered to have come from.
const KNOWN_ADDRESSES: usize = 16;

/// Somebody who may come in.
#[derive(Debug, Clone)]
pub struct Pass {
    /// `None`: nobody needs a token.
    pub(super) holder: Option<Arc<Holder>>,
}

#[derive(Debug)]
pub(super) struct Holder {
    pub(super) token: Token,
    rate: Option<Rate>,
    pub(super) memory: Arc<Memory>,
}

/// What is remembered of a token for as long as its secret is the same.
#[derive(Debug)]
pub(super) struct Memory {
    since: Instant,
    /// What is used up of its rate.
    used_ns: AtomicU64,
    /// Addresses from which it came last, 0 where there is none.
    known: [AtomicU64; KNOWN_ADDRESSES],
    next: AtomicUsize,
}

impl Pass {
    /// Whether it is good for what a request needs, as far as this is known without its queue.
    ///
    /// # Errors
    /// As [`Token::meets`].
    pub fn meets(&self, need: Need) -> Result<(), Denial> {
        self.token().map_or(Ok(()), |token| token.meets(need))
    }

    /// Whether it is good for this.
    ///
    /// # Errors
    /// As [`Token::may`].
    pub fn may(&self, right: Right, queue: &str) -> Result<(), Denial> {
        self.token().map_or(Ok(()), |token| token.may(right, queue))
    }

    /// Which queues it is for; `None`: for all.
    pub fn queues(&self) -> Option<Vec<Pattern>> {
        self.token().filter(|token| !token.is_for_all()).map(|token| token.queues.clone())
    }

    /// Takes one request out of what the token may ask for.
    ///
    /// # Errors
    /// [`Denial::TooMany`], and then nothing is taken.
    pub fn ask(&self) -> Result<(), Denial> {
        let Some((holder, rate)) = self.rate() else { return Ok(()) };
        match holder.memory.take(rate, false) {
            0 => Ok(()),
            wait_ns => Err(Denial::TooMany { token: holder.token.name.clone(), wait_s: rate::seconds(wait_ns) }),
        }
    }

    /// The same for who can be made to wait: takes it in any case, and says after what time it may be done; `None`: now.
    pub fn turn(&self) -> Option<Duration> {
        let (holder, rate) = self.rate()?;
        let wait_ns = holder.memory.take(rate, true);
        (wait_ns > 0).then(|| Duration::from_nanos(wait_ns))
    }

    /// Whether there is no rate that [`Pass::turn`] could wait for.
    pub fn is_unpaced(&self) -> bool {
        self.rate().is_none()
    }

    fn token(&self) -> Option<&Token> {
        self.holder.as_ref().map(|holder| &holder.token)
    }

    fn rate(&self) -> Option<(&Holder, Rate)> {
        let holder = self.holder.as_deref()?;
        Some((holder, holder.rate?))
    }
}

impl Holder {
    /// The holder of a token; what is remembered of it is that of the same secret before, if there was one.
    pub(super) fn new(token: &Token, memory: Option<Arc<Memory>>) -> Holder {
        let rate = (token.requests_per_s > 0).then(|| Rate::per_s(token.requests_per_s));
        Holder { token: token.clone(), rate, memory: memory.unwrap_or_default() }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            since: Instant::now(),
            used_ns: AtomicU64::new(0),
            known: [const { AtomicU64::new(0) }; KNOWN_ADDRESSES],
            next: AtomicUsize::new(0),
        }
    }
}

impl Memory {
    /// Whether the token came from this place lately.
    pub(super) fn knows(&self, place: u64) -> bool {
        self.known.iter().any(|known| known.load(Ordering::Relaxed) == place)
    }

    /// Notes that it came from there.
    pub(super) fn note(&self, place: u64) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % KNOWN_ADDRESSES;
        self.known[at].store(place, Ordering::Relaxed);
    }

    /// Gives the time to wait. When there is one, the request is counted only if it `waits`.
    fn take(&self, rate: Rate, waits: bool) -> u64 {
        let now_ns = nanoseconds(self.since);
        let mut wait_ns = 0;
        // That nothing is to be taken is no failure here.
        let _ = self.used_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used_ns| {
            let turn = rate.take(used_ns, now_ns);
            wait_ns = turn.wait_ns;
            (waits || turn.wait_ns == 0).then_some(turn.used_ns)
        });
        wait_ns
    }
}
