//! Which queues have a name in the metrics. Every label value is a time series for each metric, kept for weeks by whoever collects
//! them, so their number is bounded; the other queues are added up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::store::{QueueReport, Traffic};

/// The queues that have a name, and since when.
///
/// A queue keeps its name in the metrics until it is gone: one that comes and goes would leave a new series each time. What it had
/// counted before it got its name was counted with the others and stays there, so that no sum ever falls.
#[derive(Debug)]
pub struct Named {
    limit: usize,
    /// Queues that the operator has set something for: they get a name before all others.
    preferred: BTreeSet<String>,
    /// What was counted with the others.
    bases: HashMap<String, Traffic>,
    /// Whether some queues were counted with the others the last time.
    had_rest: bool,
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
        Named { limit, preferred: preferred.into_iter().collect(), bases: HashMap::new(), had_rest: false }
    }

    /// Divides all queues into those with a name and the rest. A queue called `reserved` is always among the rest.
    pub fn choose(&mut self, queues: Vec<QueueReport>, reserved: &str) -> Shown {
        let there: BTreeSet<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
        self.bases.retain(|name, _| there.contains(name.as_str()));
        self.give_names(&queues, reserved);
        let mut shown = Shown::default();
        for mut queue in queues {
            match self.bases.get_mut(&queue.name) {
                Some(base) => {
                    if queue.traffic.puts < base.puts || queue.traffic.gets < base.gets {
                        // Another queue of this name.
                        *base = Traffic::default();
                    }
                    add(&mut shown.rest, base);
                    subtract(&mut queue.traffic, base);
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

    fn give_names(&mut self, queues: &[QueueReport], reserved: &str) {
        let mut nameless: Vec<&QueueReport> =
            queues.iter().filter(|queue| queue.name != reserved && !self.bases.contains_key(&queue.name)).collect();
        let free = self.limit.saturating_sub(self.bases.len());
        if nameless.len() > free {
            let work = |queue: &QueueReport| queue.status.unread + queue.traffic.puts + queue.traffic.gets;
            nameless.sort_by_key(|queue| {
                (!self.preferred.contains(&queue.name), std::cmp::Reverse(work(queue)), queue.name.clone())
            });
        }
        let had_rest = std::mem::replace(&mut self.had_rest, nameless.len() > free);
        for queue in nameless.into_iter().take(free) {
            let base = if had_rest { queue.traffic } else { Traffic::default() };
            self.bases.insert(queue.name.clone(), base);
        }
    }
}

fn add(to: &mut Traffic, other: &Traffic) {
    to.puts += other.puts;
    to.gets += other.gets;
    to.put_bytes += other.put_bytes;
    to.got_bytes += other.got_bytes;
}

fn subtract(from: &mut Traffic, base: &Traffic) {
    from.puts -= base.puts;
    from.gets -= base.gets;
    from.put_bytes = from.put_bytes.saturating_sub(base.put_bytes);
    from.got_bytes = from.got_bytes.saturating_sub(base.got_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ring::Kind, store::Status};

    fn queue(name: &str, puts: u64) -> QueueReport {
        let status = Status { kind: Kind::Work, put_pos: 0, get_pos: None, unread: puts, max_len: 9, sync: "always" };
        let traffic = Traffic { puts, put_bytes: 2 * puts, ..Traffic::default() };
        QueueReport { name: name.into(), status, history: 0, kept: 0, traffic, oldest_unread_ms: None }
    }

    /// The puts of those with a name, and of the rest.
    fn puts(named: &mut Named, queues: &[(&str, u64)]) -> (Vec<(String, u64)>, u64) {
        let shown = named.choose(queues.iter().map(|(name, puts)| queue(name, *puts)).collect(), "reserved");
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
        assert_eq!(puts(&mut named, &[("a", 9), ("b", 5), ("c", 1)]), (all(&[("a", 9)]), 6));
        assert_eq!(puts(&mut named, &[("b", 7), ("c", 1)]), (all(&[("b", 0)]), 8), "its 7 stay with the rest");
        assert_eq!(puts(&mut named, &[("b", 10), ("c", 1)]), (all(&[("b", 3)]), 8));
        assert_eq!(puts(&mut named, &[("b", 2), ("c", 1)]), (all(&[("b", 2)]), 1), "another queue of that name");
    }
}
