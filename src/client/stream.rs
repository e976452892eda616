//! The numbers that keep lines in order while they travel over many connections.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::http::client::Order;

/// After a rest of this length a new stream begins: servers forget a stream that nobody uses (ours after 60 s), and an
/// input such as `tail -f` can rest for days.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// Gives each line its place.
pub(super) struct Stream {
    id: u64,
    /// The line that has number 0 in this stream.
    first_line: u64,
    used: Instant,
}

impl Stream {
    pub(super) fn begin(first_line: u64, now: Instant) -> Stream {
        Stream { id: random(), first_line, used: now }
    }

    /// The place of `line`, which follows the one before. Only when no line is under way can a new stream begin without
    /// losing the order.
    pub(super) fn order(&mut self, line: u64, is_alone: bool, now: Instant) -> Order {
        if is_alone && now.saturating_duration_since(self.used) > REST_LIMIT {
            *self = Stream::begin(line, now);
        }
        self.used = now;
        Order { stream: self.id, number: line - self.first_line }
    }
}

/// A number that no other stream has. The standard library seeds its hash maps from the system's source of randomness,
/// which is all that is needed here.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_begins_after_a_rest_with_nothing_under_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stream = Stream::begin(0, start);
        let id = stream.id;
        let orders = [(0, true, 20), (1, false, 40), (2, true, 60), (3, false, 100), (4, true, 131), (5, false, 132)]
            .map(|(line, is_alone, seconds)| stream.order(line, is_alone, at(seconds)));
        assert_eq!(orders.map(|order| order.number), [0, 1, 2, 3, 0, 1]);
        assert_eq!(orders.map(|order| order.stream == id), [true, true, true, true, false, false]);
        assert_eq!(orders[4].stream, orders[5].stream);
    }
}
