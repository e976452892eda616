//! Which queues have a name in the metrics. Every label value is a time series for each metric, kept for weeks by whoever collects
//! them, so their number is bounded; the other queues are added up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    ring::Own,
    store::{Listing, QueueReport, Traffic},
};

/// The queues that have a name, and since when.
///
/// A queue keeps its name in the metrics until it is gone: one that comes and goes would leave a new series each time. What it had
/// counted before it got its name was counted with the others and stays there, so that no sum ever falls. Nor does it when a queue is
/// deleted: what went through one without a name stays with the others.
#[derive(Debug)]
pub struct Named {
    limit: usize,
    /// Queues that the operator has set something for: they get a name before all others.
    preferred: BTreeSet<String>,
    named: HashMap<String, Account>,
    /// What was shown of queues that had a name and are gone. It stays in their own series, which have ended.
    retired: Traffic,
    /// Whether some queues were counted with the others the last time.
    had_rest: bool,
}

/// How a queue with a name is counted.
#[derive(Debug)]
struct Account {
    id: u32,
    /// What was counted with the others before it got its name.
    base: Traffic,
    /// What was shown last.
    shown: Traffic,
}

/// What the metrics show of queues.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// Those with a name, sorted by it.
    pub named: BTreeMap<String, QueueReport>,
    /// What went through all others.
    pub rest: Traffic,
    /// How many unread messages all others have.
    pub rest_unread: u64,
}

impl Named {
    /// Names for at most `limit` queues, the preferred ones first.
    pub fn new(limit: usize, preferred: impl IntoIterator<Item = String>) -> Named {
        Named {
            limit,
            preferred: preferred.into_iter().collect(),
            named: HashMap::new(),
            retired: Traffic::default(),
            had_rest: false,
        }
    }

    /// Divides all queues into those with a name and the rest. A queue called `reserved` is always among the rest.
    pub fn choose(&mut self, listing: Listing, reserved: &str) -> Shown {
        let Listing { queues, gone, .. } = listing;
        self.retire(&queues);
        self.give_names(&queues, reserved);
        // What went through a queue that is gone is here, but for what its own series has.
        let mut shown = Shown { rest: gone, ..Shown::default() };
        subtract(&mut shown.rest, &self.retired);
        for mut queue in queues {
            match self.named.get_mut(&queue.name) {
                Some(account) => {
                    add(&mut shown.rest, &account.base);
                    subtract(&mut queue.traffic, &account.base);
                    account.shown = queue.traffic;
                    shown.named.insert(queue.name.clone(), queue);
                }
                None => {
                    add(&mut shown.rest, &queue.traffic);
                    shown.rest_unread += queue.status.unread;
                }
            }
        }
        shown
    }

    /// Takes the names of queues that are gone; another queue of such a name may get it again.
    fn retire(&mut self, queues: &[QueueReport]) {
        let there: BTreeSet<(&str, u32)> = queues.iter().map(|queue| (queue.name.as_str(), queue.id)).collect();
        let retired = &mut self.retired;
        self.named.retain(|name, account| {
            let is_there = there.contains(&(name.as_str(), account.id));
            if !is_there {
                add(retired, &account.shown);
            }
            is_there
        });
    }

    fn give_names(&mut self, queues: &[QueueReport], reserved: &str) {
        let mut nameless: Vec<&QueueReport> =
            queues.iter().filter(|queue| queue.name != reserved && !self.named.contains_key(&queue.name)).collect();
        let free = self.limit.saturating_sub(self.named.len());
        if nameless.len() > free {
            let work = |queue: &QueueReport| queue.status.unread + queue.traffic.puts + queue.traffic.gets;
            let is_set = |queue: &QueueReport| self.preferred.contains(&queue.name) || queue.own != Own::default();
            nameless.sort_by_key(|queue| (!is_set(queue), std::cmp::Reverse(work(queue)), queue.name.clone()));
        }
        let had_rest = std::mem::replace(&mut self.had_rest, nameless.len() > free);
        for queue in nameless.into_iter().take(free) {
            let base = if had_rest { queue.traffic } else { Traffic::default() };
            self.named.insert(queue.name.clone(), Account { id: queue.id, base, shown: Traffic::default() });
        }
    }
}

fn add(to: &mut Traffic, other: &Traffic) {
    to.puts += other.puts;
    to.gets += other.gets;
    to.put_bytes += other.put_bytes;
    to.got_bytes += other.got_bytes;
    to.dropped += other.dropped;
}

fn subtract(from: &mut Traffic, base: &Traffic) {
    from.puts = from.puts.saturating_sub(base.puts);
    from.gets = from.gets.saturating_sub(base.gets);
    from.dropped = from.dropped.saturating_sub(base.dropped);
    from.put_bytes = from.put_bytes.saturating_sub(base.put_bytes);
    from.got_bytes = from.got_bytes.saturating_sub(base.got_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ring::{Kind, Overflow},
        store::Status,
    };

    fn queue(name: &str, puts: u64) -> QueueReport {
        let status = Status { kind: Kind::Work, put_pos: 0, get_pos: None, unread: puts, max_len: 9, sync: "always" };
        let traffic = Traffic { puts, put_bytes: 2 * puts, ..Traffic::default() };
        let (overflow, own) = (Overflow::Reject, Own::default());
        let (history, kept, oldest_unread_ms) = (0, 0, None);
        QueueReport { id: 0, name: name.into(), status, history, overflow, own, kept, traffic, oldest_unread_ms }
    }

    /// The puts of those with a name, and of the rest.
    fn puts(named: &mut Named, queues: &[(&str, u64)]) -> (Vec<(String, u64)>, u64) {
        puts_of(named, queues.iter().map(|(name, puts)| queue(name, *puts)).collect(), 0)
    }

    fn puts_of(named: &mut Named, queues: Vec<QueueReport>, gone: u64) -> (Vec<(String, u64)>, u64) {
        let gone = Traffic { puts: gone, ..Traffic::default() };
        let shown = named.choose(Listing { matched: queues.len(), queues, more: false, gone }, "reserved");
        (shown.named.values().map(|queue| (queue.name.clone(), queue.traffic.puts)).collect(), shown.rest.puts)
    }

    fn all(queues: &[(&str, u64)]) -> Vec<(String, u64)> {
        queues.iter().map(|(name, puts)| ((*name).to_owned(), *puts)).collect()
    }

    #[test]
    fn few_queues_all_have_their_names() {
        let mut named = Named::new(3, []);
        assert_eq!(puts(&mut named, &[]), (vec![], 0));
        assert_eq!(puts(&mut named, &[("b", 2), ("a", 1)]), (all(&[("a", 1), ("b", 2)]), 0));
        assert_eq!(puts(&mut named, &[("a", 5), ("b", 2), ("c", 7)]), (all(&[("a", 5), ("b", 2), ("c", 7)]), 0));
        assert_eq!(puts(&mut named, &[("reserved", 4)]), (vec![], 4));
    }

    #[test]
    fn the_busiest_and_the_preferred_get_the_names_and_keep_them() {
        let mut named = Named::new(2, ["calm".to_owned()]);
        let first = puts(&mut named, &[("busy", 9), ("calm", 0), ("new", 5)]);
        assert_eq!(first, (all(&[("busy", 9), ("calm", 0)]), 5));
        let later = puts(&mut named, &[("busy", 9), ("calm", 1), ("new", 500)]);
        assert_eq!(later, (all(&[("busy", 9), ("calm", 1)]), 500));
    }

    #[test]
    fn no_sum_falls_when_a_name_becomes_free() {
        let mut named = Named::new(1, []);
        let another = |name, puts| QueueReport { id: 1, ..queue(name, puts) };
        assert_eq!(puts(&mut named, &[("a", 9), ("b", 5), ("c", 1)]), (all(&[("a", 9)]), 6));
        // Two more were put to a before it was deleted, which nobody saw in its own series; b takes its name.
        let after = puts_of(&mut named, vec![queue("b", 7), queue("c", 1)], 11);
        assert_eq!(after, (all(&[("b", 0)]), 10), "7 of b, 1 of c, 2 of a");
        let after = puts_of(&mut named, vec![queue("b", 10), queue("c", 1)], 11);
        assert_eq!(after, (all(&[("b", 3)]), 10));
        // Another queue of that name begins anew, however busy it was.
        let after = puts_of(&mut named, vec![another("b", 50), queue("c", 1)], 21);
        assert_eq!(after, (all(&[("b", 0)]), 60), "21 - 9 - 3, and 50 of the new one, and 1");
        let after = puts_of(&mut named, vec![another("b", 52)], 22);
        assert_eq!(after, (all(&[("b", 2)]), 60), "the rest keeps what it had of c");
    }
}
