//! How often somebody may ask: so many times a second, and what was not used within the last second at once. Pure.
//!
//! It is the generic cell rate algorithm (ITU-T I.371): one number is kept, the time until which the requests so far have used up
//! what they may. Times are nanoseconds since any moment that stays the same.

const SECOND_NS: u64 = 1_000_000_000;

/// A number of requests in a time, which may be used up at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much time one request uses up.
    each_ns: u64,
    /// How much may be used up at once.
    burst_ns: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What is used up now.
    pub used_ns: u64,
    /// How long the request has to wait; 0: it may go on.
    pub wait_ns: u64,
}

impl Rate {
    /// So many a second, 1 at least.
    pub const fn per_s(requests: u32) -> Rate {
        Rate::new(requests, 1)
    }

    /// So many in so many seconds, 1 at least.
    pub const fn new(requests: u32, seconds: u32) -> Rate {
        let (requests, burst_ns) = (if requests == 0 { 1 } else { requests }, seconds as u64 * SECOND_NS);
        Rate { each_ns: burst_ns / requests as u64, burst_ns }
    }

    /// One more request at `now_ns`, when `used_ns` was used up until now.
    pub fn take(self, used_ns: u64, now_ns: u64) -> Turn {
        let used_ns = used_ns.max(now_ns).saturating_add(self.each_ns);
        Turn { used_ns, wait_ns: used_ns.saturating_sub(now_ns.saturating_add(self.burst_ns)) }
    }

    /// How long a request at `now_ns` would have to wait.
    pub fn wait_ns(self, used_ns: u64, now_ns: u64) -> u64 {
        self.take(used_ns, now_ns).wait_ns
    }
}

/// Whole seconds, as an answer says them: at least one, and never too few.
pub fn seconds(wait_ns: u64) -> u64 {
    wait_ns.div_ceil(SECOND_NS).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_may_be_used_up_at_once_and_then_each_waits_its_turn() {
        let rate = Rate::per_s(4);
        let start_ns = 7 * SECOND_NS;
        let mut used_ns = 0;
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                let turn = rate.take(used_ns, start_ns);
                used_ns = turn.used_ns;
                turn.wait_ns / 1_000_000
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500, 750]);
        assert_eq!(rate.wait_ns(used_ns, start_ns + 2 * SECOND_NS), 0);
        assert_eq!([0, 1, SECOND_NS, SECOND_NS + 1].map(seconds), [1, 1, 1, 2]);
    }

    proptest! {
        /// Whenever they come: no stretch of time has more than its share and one burst.
        #[test]
        fn no_time_has_more_than_its_share(per_s in 1_u32..50, gaps in proptest::collection::vec(0_u64..400_000_000, 1..200)) {
            let rate = Rate::per_s(per_s);
            let (mut now_ns, mut used_ns) = (SECOND_NS, 0);
            let mut taken = Vec::new();
            for gap in gaps {
                now_ns += gap;
                let turn = rate.take(used_ns, now_ns);
                if turn.wait_ns == 0 {
                    used_ns = turn.used_ns;
                    taken.push(now_ns);
                }
            }
            for (from, first) in taken.iter().enumerate() {
                for (number, last) in taken[from..].iter().enumerate() {
                    let share = (last - first) as f64 * f64::from(per_s) / 1e9 + f64::from(per_s) + 1.0;
                    prop_assert!(number as f64 + 1.0 <= share + 1e-6, "{} in {} ns", number + 1, last - first);
                }
            }
        }
    }
}
