//! Position arithmetic of one queue: what is full, what is empty, what must be kept. Pure: no clock, no locks, no I/O.
//!
//! Inside, a message has a *sequence*: 0, 1, 2, … counted since the last reset and never reused before the next one.
//! Users see *positions*: the slots 0 … `max_len` − 1 of a ring, derived from the sequence here and nowhere else. Nothing
//! is stored by position, so a change of `max_len` moves nothing.

mod lost;
mod settings;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use lost::Lost;
pub use settings::{Change, HISTORY, MAX_LEN, Overflow, Own, Settings};

/// What a queue is for; decided by who creates it, or by the door its first message came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Unread messages are kept, up to `max_len`, until somebody gets them.
    Work,
    /// Live messages: only the last `history` are kept, and it is never full.
    Topic,
}

/// The positions of one queue.
///
/// Invariant: `floor ≤ get ≤ put`, all three only grow until [`Ring::reset`], and every sequence in `floor..put` is stored but
/// for those in `lost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// The queue's settings in force.
    pub settings: Settings,
    /// Work queue or topic.
    pub kind: Kind,
    /// Counts resets. Records of an older epoch are garbage.
    pub epoch: u32,
    /// The sequence that the next put takes.
    pub put: u64,
    /// The sequence that the next get takes: the oldest unread message, or `put` when there is none.
    pub get: u64,
    /// The oldest sequence that is kept.
    pub floor: u64,
    /// Whether anything was ever got in this epoch; before that the get position is shown as absent.
    pub got: bool,
    /// What a repair could not save. It is passed over, and the messages around it keep their positions.
    pub lost: Lost,
}

/// What [`Ring::view`] found at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The unread message at that position has this sequence.
    Unread(u64),
    /// There are unread messages, but none at that position.
    NotUnread,
    /// Nothing is unread.
    Empty,
    /// The ring has no such slot.
    OutOfRange,
}

impl Ring {
    /// An empty queue.
    pub fn new(kind: Kind, settings: Settings) -> Ring {
        Ring { settings, kind, epoch: 0, put: 0, get: 0, floor: 0, got: false, lost: Lost::default() }
    }

    /// Makes room for one more message where the oldest give way to it, and says how many messages did. It is one, or more where
    /// `max_len` was lowered below the number of unread messages.
    pub fn make_room(&mut self) -> u64 {
        if self.settings.overflow == Overflow::Reject || !self.is_full() {
            return 0;
        }
        let next = self.put + 1 - self.settings.max_len;
        let dropped = next - self.get - self.lost.count(self.get..next);
        self.get = next;
        // A reader was passed over them, as by a get.
        self.got = true;
        self.raise_floor();
        dropped
    }

    /// Takes the next sequence for a new message; `None` when the ring is full, see [`Ring::make_room`].
    pub fn put(&mut self) -> Option<u64> {
        if self.is_full() {
            return None;
        }
        let sequence = self.put;
        self.put += 1;
        self.raise_floor();
        Some(sequence)
    }

    /// Takes the oldest unread sequence; `None` when nothing is unread.
    pub fn get(&mut self) -> Option<u64> {
        let sequence = self.next_unread()?;
        self.get = sequence + 1;
        self.got = true;
        self.raise_floor();
        Some(sequence)
    }

    /// The sequence that [`Ring::get`] would take.
    pub fn next_unread(&self) -> Option<u64> {
        let next = self.lost.skip(self.get);
        (next < self.put).then_some(next)
    }

    /// Which unread message is at a position.
    ///
    /// When `max_len` was lowered below the number of unread messages, two of them can share a slot: the older one is it.
    pub fn view(&self, position: u64) -> View {
        let max_len = self.settings.max_len;
        if position >= max_len {
            return View::OutOfRange;
        }
        if self.unread() == 0 {
            return View::Empty;
        }
        let ahead = (position + max_len - self.get % max_len) % max_len;
        let sequence = self.get + ahead;
        let is_unread = sequence < self.put && !self.lost.contains(sequence);
        if is_unread { View::Unread(sequence) } else { View::NotUnread }
    }

    /// Forgets all messages; positions start at 0 again.
    pub fn reset(&mut self) {
        *self = Ring { epoch: self.epoch.wrapping_add(1), ..Ring::new(self.kind, self.settings) };
    }

    /// Forgets all messages; positions go on from where they are.
    pub fn purge(&mut self) {
        self.got |= self.get < self.put;
        self.get = self.put;
        self.floor = self.put;
        self.lost.raise_floor(self.floor);
    }

    /// Puts other settings in force. What they keep no longer is forgotten at once, but no unread message of a work queue.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.raise_floor();
    }

    /// Makes a topic a work queue, for good: from now on what is kept unread stays until it is got.
    pub fn become_work(&mut self) {
        self.kind = Kind::Work;
    }

    /// How many messages nobody has got yet.
    pub fn unread(&self) -> u64 {
        self.put - self.get - self.lost.count(self.get..self.put)
    }

    /// Whether a put would be refused, or the oldest unread message give way to it.
    pub fn is_full(&self) -> bool {
        // What is lost keeps its slots until the reader has passed it.
        self.kind == Kind::Work && self.put - self.get >= self.settings.max_len
    }

    /// The ring slot of a sequence: the position under which a message is put, viewed and got.
    pub fn position(&self, sequence: u64) -> u64 {
        sequence % self.settings.max_len
    }

    /// The put position as `/status/` shows it: 0 … `max_len` in the first lap, 1 … `max_len` in later ones.
    pub fn put_pos(&self) -> u64 {
        self.lap_position(self.put)
    }

    /// The get position, counted likewise; `None` until the first get.
    pub fn get_pos(&self) -> Option<u64> {
        self.got.then(|| self.lap_position(self.get))
    }

    /// The last messages, oldest first: those that history shows.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.last_messages().filter(|sequence| !self.lost.contains(*sequence))
    }

    fn last_messages(&self) -> Range<u64> {
        self.put.saturating_sub(self.settings.history).max(self.floor)..self.put
    }

    fn lap_position(&self, sequence: u64) -> u64 {
        match sequence {
            0 => 0,
            n => (n - 1) % self.settings.max_len + 1,
        }
    }

    /// What neither a reader nor the history needs may go. The floor never falls: what is gone stays gone, also when
    /// `history` was raised since.
    fn raise_floor(&mut self) {
        let remembered = self.put.saturating_sub(self.settings.history);
        if self.kind == Kind::Topic {
            self.get = self.get.max(remembered);
        }
        self.floor = self.floor.max(self.get.min(remembered));
        self.lost.raise_floor(self.floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(kind: Kind, max_len: u64, history: u64) -> Ring {
        Ring::new(kind, Settings { max_len, history, overflow: Overflow::Reject })
    }

    #[test]
    fn the_worked_example_of_a_ring_of_five() {
        let mut ring = ring(Kind::Work, 5, 0);
        for sequence in 0..5 {
            assert_eq!(ring.put(), Some(sequence));
        }
        assert_eq!((ring.put_pos(), ring.get_pos(), ring.unread(), ring.put()), (5, None, 5, None));
        for sequence in 0..3 {
            assert_eq!(ring.get(), Some(sequence));
        }
        assert_eq!((ring.get_pos(), ring.unread()), (Some(3), 2));
        assert_eq!((ring.put(), ring.put()), (Some(5), Some(6)));
        assert_eq!((ring.put_pos(), ring.get_pos(), ring.unread()), (2, Some(3), 4));
        assert_eq!(
            [3, 4, 0, 1, 2, 5].map(|position| ring.view(position)),
            [View::Unread(3), View::Unread(4), View::Unread(5), View::Unread(6), View::NotUnread, View::OutOfRange]
        );
        for sequence in 3..7 {
            assert_eq!(ring.get(), Some(sequence));
        }
        assert_eq!((ring.get(), ring.put_pos(), ring.get_pos(), ring.unread()), (None, 2, Some(2), 0));
        assert_eq!(ring.view(0), View::Empty);
    }

    #[test]
    fn a_reset_starts_at_zero_in_a_new_epoch() {
        let mut ring = ring(Kind::Work, 3, 1);
        ring.put();
        ring.get();
        ring.reset();
        assert_eq!((ring.epoch, ring.put_pos(), ring.get_pos(), ring.unread(), ring.floor), (1, 0, None, 0, 0));
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)] // One range is meant.
    fn a_purge_forgets_messages_and_keeps_positions() {
        let mut ring = ring(Kind::Work, 5, 3);
        ring.purge();
        assert_eq!((ring.put_pos(), ring.get_pos()), (0, None), "nothing was there");
        for _ in 0..5 {
            ring.put();
        }
        ring.lost = Lost::new(vec![1..3], 0..5).unwrap();
        ring.purge();
        assert_eq!((ring.epoch, ring.put_pos(), ring.get_pos(), ring.unread(), ring.floor), (0, 5, Some(5), 0, 5));
        assert_eq!(
            (ring.history().count(), ring.lost.ranges().len(), ring.put(), ring.get()),
            (0, 0, Some(5), Some(5))
        );
    }

    #[test]
    fn what_is_unread_or_in_the_history_is_kept() {
        let mut ring = ring(Kind::Work, 100, 3);
        for _ in 0..10 {
            ring.put();
        }
        assert_eq!((ring.floor, ring.last_messages()), (0, 7..10), "nothing was got");
        for _ in 0..9 {
            ring.get();
        }
        assert_eq!(ring.floor, 7, "the history keeps two that were got");
        ring.settings.history = 50;
        ring.put();
        assert_eq!((ring.floor, ring.last_messages()), (7, 7..11), "what is gone does not come back");
    }

    #[test]
    fn a_topic_is_never_full_and_keeps_its_history_only() {
        let mut ring = ring(Kind::Topic, 4, 3);
        for sequence in 0..10 {
            assert_eq!(ring.put(), Some(sequence));
        }
        assert_eq!((ring.unread(), ring.floor, ring.get_pos()), (3, 7, None));
        ring.become_work();
        assert_eq!((ring.put(), ring.put()), (Some(10), None), "now it is full at max_len");
        assert_eq!(ring.get(), Some(7));
    }

    #[test]
    fn max_len_may_change_under_messages() {
        let mut ring = ring(Kind::Work, 10, 0);
        for _ in 0..8 {
            ring.put();
        }
        ring.settings.max_len = 3;
        assert_eq!((ring.put(), ring.view(1), ring.view(3)), (None, View::Unread(1), View::OutOfRange));
        ring.settings.max_len = 9;
        assert_eq!((ring.put(), ring.put()), (Some(8), None));
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)] // One range is meant.
    fn the_oldest_give_way_where_they_shall() {
        let mut ring = ring(Kind::Work, 3, 2);
        ring.settings.overflow = Overflow::DropOldest;
        for sequence in 0..3 {
            assert_eq!((ring.make_room(), ring.put()), (0, Some(sequence)));
        }
        assert_eq!((ring.get_pos(), ring.make_room(), ring.put()), (None, 1, Some(3)));
        assert_eq!((ring.get_pos(), ring.unread(), ring.floor, ring.is_full()), (Some(1), 3, 1, true));
        // Fewer slots: nothing goes before the next put.
        ring.set(Settings { max_len: 1, ..ring.settings });
        assert_eq!((ring.unread(), ring.next_unread()), (3, Some(1)));
        assert_eq!((ring.make_room(), ring.make_room(), ring.put(), ring.get()), (3, 0, Some(4), Some(4)));
        // What is lost takes a slot, and is not dropped a second time.
        ring.set(Settings { max_len: 4, ..ring.settings });
        (0..4).for_each(|_| assert!(ring.put().is_some()));
        ring.lost = Lost::new(vec![5..7], ring.floor..ring.put).unwrap();
        assert_eq!((ring.unread(), ring.make_room(), ring.put()), (2, 0, Some(9)));
        assert_eq!((ring.make_room(), ring.put(), ring.make_room(), ring.next_unread()), (0, Some(10), 1, Some(8)));
        ring.settings.overflow = Overflow::Reject;
        assert_eq!((ring.put(), ring.make_room(), ring.put()), (Some(11), 0, None));
    }

    #[test]
    fn a_topic_drops_nothing_and_less_history_gives_room_at_once() {
        let mut ring = ring(Kind::Topic, 2, 5);
        ring.settings.overflow = Overflow::DropOldest;
        for sequence in 0..6 {
            assert_eq!((ring.make_room(), ring.put()), (0, Some(sequence)));
        }
        ring.set(Settings { history: 1, ..ring.settings });
        assert_eq!((ring.unread(), ring.floor), (1, 5));
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)] // One range is meant.
    fn what_is_lost_is_passed_over_and_positions_stay() {
        let mut ring = ring(Kind::Work, 10, 2);
        for _ in 0..8 {
            ring.put();
        }
        ring.lost = Lost::new(vec![0..2, 3..6], 0..8).unwrap();
        assert_eq!((ring.unread(), ring.view(1), ring.view(2)), (3, View::NotUnread, View::Unread(2)));
        assert_eq!((ring.get(), ring.get_pos()), (Some(2), Some(3)));
        assert_eq!((ring.get(), ring.get_pos(), ring.unread()), (Some(6), Some(7), 1));
        assert_eq!((ring.put(), ring.floor, ring.lost.ranges().len()), (Some(8), 7, 0));
        ring.lost = Lost::new(vec![7..9], 7..9).unwrap();
        assert_eq!((ring.unread(), ring.next_unread(), ring.history().count()), (0, None, 0));
        assert_eq!((ring.put(), ring.get(), ring.floor, ring.history().next()), (Some(9), Some(9), 8, Some(9)));
    }
}
