//! Who shows wrong tokens too often. Pure: the time is given.
//!
//! Each address has its own count, so nobody can use up that of another. The table has a bound: when it is full, the address that is in
//! it for the longest time is forgotten, and begins anew. So who has more addresses than the table has room may guess on, at
//! 256 random bits; what must not happen is that they keep others out, or fill the memory.

use std::collections::{HashMap, VecDeque};

use super::rate::{Rate, seconds};

/// Wrong tokens that an address may show in a minute: enough for somebody who pastes the wrong one, far too few to guess.
const WRONG: Rate = Rate::new(10, 60);
/// How many addresses are remembered, at some 60 bytes each.
const MAX_ADDRESSES: usize = 10_000;

/// The addresses that showed wrong tokens.
#[derive(Debug, Default)]
pub struct Throttle {
    used_ns: HashMap<u64, u64>,
    /// In the order in which they came into the table.
    order: VecDeque<u64>,
}

impl Throttle {
    /// Whether nobody ever showed a wrong one.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// For how many seconds no token of this address is looked at; `None`: it is.
    pub fn wait_s(&self, address: u64, now_ns: u64) -> Option<u64> {
        let wait_ns = WRONG.wait_ns(*self.used_ns.get(&address)?, now_ns);
        (wait_ns > 0).then(|| seconds(wait_ns))
    }

    /// Counts a wrong token.
    pub fn note(&mut self, address: u64, now_ns: u64) {
        if !self.used_ns.contains_key(&address) {
            if self.order.len() >= MAX_ADDRESSES
                && let Some(oldest) = self.order.pop_front()
            {
                self.used_ns.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let used_ns = self.used_ns.entry(address).or_default();
        *used_ns = WRONG.take(*used_ns, now_ns).used_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn an_address_that_guesses_waits_and_no_other_does() {
        let mut throttle = Throttle::default();
        let start_ns = SECOND_NS;
        for _ in 0..10 {
            assert_eq!(throttle.wait_s(1, start_ns), None);
            throttle.note(1, start_ns);
        }
        assert_eq!(throttle.wait_s(1, start_ns), Some(6));
        assert_eq!(throttle.wait_s(2, start_ns), None);
        assert_eq!(throttle.wait_s(1, start_ns + 6 * SECOND_NS), None, "a tenth of a minute later there is one more");
        throttle.note(1, start_ns + 6 * SECOND_NS);
        assert_eq!(throttle.wait_s(1, start_ns + 6 * SECOND_NS), Some(6));
    }

    #[test]
    fn the_table_has_a_bound_and_keeps_the_latest() {
        let mut throttle = Throttle::default();
        for address in 0..3 * MAX_ADDRESSES as u64 {
            (0..10).for_each(|_| throttle.note(address, SECOND_NS));
        }
        assert_eq!((throttle.used_ns.len(), throttle.order.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert_eq!(throttle.wait_s(0, SECOND_NS), None);
        assert!(throttle.wait_s(3 * MAX_ADDRESSES as u64 - 1, SECOND_NS).is_some());
    }
}
