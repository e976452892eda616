//! Where the history of a queue meets its live messages: none lost, none twice, as far as they can be told apart. Pure.
//!
//! The subscription is made first, then the history is asked for. Both are stretches of the same order without gaps, and the
//! history reaches at least to where the live messages begin. So together they have no gap either, and what is in both is
//! an end of the history. Nothing on the wire names a message, so the same one is known by being equal: sender, time and text.

use std::mem;

use crate::pubsub::client::Message;

/// A live message that was stamped so long after the last of the history is certainly behind it. Stamps are given just before the
/// places in the queue, so two messages can have them the other way round, but not by far.
const CERTAINLY_LATER_S: f64 = 1.0;

/// The state of one queue.
#[derive(Debug)]
pub(super) enum Seam {
    /// The history has not come; these live messages have.
    Waiting(Vec<Message>),
    /// The history was printed, and the end of it that may still come live.
    Joining(Vec<Message>),
    /// Only live messages from now on.
    Joined,
}

impl Seam {
    pub(super) fn new(has_history: bool) -> Seam {
        if has_history { Seam::Waiting(Vec::new()) } else { Seam::Joined }
    }

    /// What to print for a live message.
    pub(super) fn live(&mut self, message: Message) -> Option<Message> {
        match self {
            Seam::Waiting(held) => {
                held.push(message);
                None
            }
            Seam::Joining(expected) => {
                let is_later = expected.last().is_none_or(|last| seconds(&message) > seconds(last) + CERTAINLY_LATER_S);
                if !is_later && remove(expected, &message) {
                    return None;
                }
                if is_later {
                    *self = Seam::Joined;
                }
                Some(message)
            }
            Seam::Joined => Some(message),
        }
    }

    /// What to print when the history comes.
    pub(super) fn history(&mut self, history: Vec<Message>) -> Vec<Message> {
        let Seam::Waiting(held) = mem::replace(self, Seam::Joined) else { return history };
        let mut expected = history.clone();
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        for message in held {
            if remove(&mut expected, &message) {
                // What comes before a part of the history, and is none, is before all of it.
                older.append(&mut newer);
            } else if expected.len() == history.len() && is_older(&message, &history) {
                older.push(message);
            } else {
                newer.push(message);
            }
        }
        *self = Seam::Joining(expected);
        [older, history, newer].concat()
    }
}

/// Whether a live message is from before the history, as far as its time says it: more than the whole history may have come between
/// the subscription and the question.
fn is_older(message: &Message, history: &[Message]) -> bool {
    let time = |message: Option<&Message>| message.map(seconds).unwrap_or_default();
    seconds(message) <= time(history.first()) && seconds(message) < time(history.last())
}

/// Removes the message, and those before it, which will not come any more: live messages come in their order.
fn remove(expected: &mut Vec<Message>, message: &Message) -> bool {
    let found = expected.iter().position(|other| other == message);
    found.inspect(|at| drop(expected.drain(..=*at))).is_some()
}

fn seconds(message: &Message) -> f64 {
    message.sent.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message at a position; a few share their millisecond.
    fn message(position: usize) -> Message {
        let [queue, sender] = ["q", "\"http\""].map(str::to_owned);
        let sent = format!("1700000000.{:03}", position / 3);
        Message { queue, sender, sent, data: position.to_string() }
    }

    fn messages(positions: std::ops::Range<usize>) -> Vec<Message> {
        positions.map(message).collect()
    }

    #[test]
    fn a_quiet_queue_has_its_history_and_then_what_comes() {
        let mut seam = Seam::Waiting(Vec::new());
        assert_eq!(seam.history(messages(0..3)), messages(0..3));
        assert_eq!(seam.live(message(3)), Some(message(3)));
        let later = Message { sent: "1700000002.000".to_owned(), ..message(4) };
        assert_eq!(seam.live(later.clone()), Some(later));
        assert!(matches!(seam, Seam::Joined));
        // Were it still looking, this would be taken for a part of the history.
        assert_eq!(seam.live(message(0)), Some(message(0)));
    }

    #[test]
    fn without_a_history_everything_is_live() {
        let mut seam = Seam::Waiting(Vec::new());
        assert_eq!(seam.live(message(0)), None);
        assert_eq!(seam.history(Vec::new()), messages(0..1));
        assert_eq!(seam.live(message(0)), Some(message(0)));
    }

    #[test]
    fn what_came_before_the_history_and_is_older_stands_before_it() {
        let mut seam = Seam::Waiting(Vec::new());
        messages(0..18).into_iter().for_each(|message| assert_eq!(seam.live(message), None));
        assert_eq!(seam.history(messages(7..16)), messages(0..18));
        let mut seam = Seam::Waiting(Vec::new());
        messages(0..7).into_iter().for_each(|message| assert_eq!(seam.live(message), None));
        assert_eq!(seam.history(messages(7..16)), messages(0..16)); // 6 and 7 have the same time
    }

    proptest! {
        /// Whatever comes before the history's answer and whatever behind it: each message once, none missing, in order.
        #[test]
        fn none_is_lost_or_doubled(subscribed in 0_usize..30, more in 0_usize..10, kept in 0_usize..12, early in 0_usize..40) {
            let (asked, end) = (subscribed + more, subscribed + more + 20);
            let from = asked.saturating_sub(kept.max(more)); // the history reaches back to the subscription
            let mut seam = Seam::Waiting(Vec::new());
            let mut live = messages(subscribed..end).into_iter();
            let mut printed: Vec<Message> = live.by_ref().take(early).filter_map(|message| seam.live(message)).collect();
            printed.extend(seam.history(messages(from..asked)));
            printed.extend(live.filter_map(|message| seam.live(message)));
            prop_assert_eq!(printed, messages(from..end));
        }
    }
}
