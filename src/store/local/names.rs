//! Which queues there are, by name, and what a new one begins with.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::AtomicUsize},
};

use super::{QueueSettings, group::Group, queue::Queue};
use crate::{
    ring::{Kind, Own, Ring},
    store::Traffic,
};

/// The queues. A queue's lock is taken under that of the names, never the other way round.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) by_name: HashMap<String, Arc<Queue>>,
    /// What the configuration says.
    pub(super) settings: QueueSettings,
    /// What went through queues that are gone.
    pub(super) gone: Traffic,
    /// Those in use, by queues that are there and by deleted ones of which something is left in the engine.
    ids: HashSet<u32>,
    next_id: u32,
    /// Deleted queues whose deletion is not committed yet: their ids, and who waits for that.
    leaving: HashMap<String, (u32, Arc<Group>)>,
}

impl Names {
    /// The queues that were found; `deleted` are the ids of those of which only something is left.
    pub(super) fn new(queues: Vec<Arc<Queue>>, deleted: HashSet<u32>, settings: QueueSettings) -> Names {
        let mut ids = deleted;
        ids.extend(queues.iter().map(|queue| queue.id));
        let next_id = ids.iter().max().map_or(0, |id| id.wrapping_add(1));
        let by_name = queues.into_iter().map(|queue| (queue.name.clone(), queue)).collect();
        Names { by_name, settings, gone: Traffic::default(), ids, next_id, leaving: HashMap::new() }
    }

    /// Makes a queue with a name that is free.
    pub(super) fn make(&mut self, name: &str, kind: Kind, own: Own, cached_bytes: &Arc<AtomicUsize>) -> Arc<Queue> {
        let ring = Ring::new(kind, own.over(self.settings.of(name)));
        let queue = Queue::new(self.free_id(), name.to_owned(), ring, own, 0, cached_bytes.clone());
        queue.lock().follow(self.leaving.get(name).map(|(_, group)| group.clone()));
        let queue = Arc::new(queue);
        self.by_name.insert(name.to_owned(), queue.clone());
        queue
    }

    /// Frees the name of a queue whose deletion is staged: `group` waits for it.
    pub(super) fn remove(&mut self, queue: &Queue, traffic: &Traffic, group: Arc<Group>) {
        self.by_name.remove(&queue.name);
        self.gone.add(&Traffic { puts_per_s: 0.0, gets_per_s: 0.0, ..*traffic });
        self.leaving.insert(queue.name.clone(), (queue.id, group));
    }

    /// The deletion of a queue is committed, and the observer knows all that was in it.
    pub(super) fn left(&mut self, queue: &Queue) {
        if self.leaving.get(&queue.name).is_some_and(|(id, _)| *id == queue.id) {
            self.leaving.remove(&queue.name);
        }
    }

    /// Nothing of these queues is in the engine any more.
    pub(super) fn free_ids(&mut self, ids: &[u32]) {
        ids.iter().for_each(|id| _ = self.ids.remove(id));
    }

    /// One that was not used for the longest time: there are far more ids than queues.
    fn free_id(&mut self) -> u32 {
        while !self.ids.insert(self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ring::{Overflow, Settings};

    #[test]
    fn no_two_queues_have_one_id_also_when_all_were_used() {
        let defaults = Settings { max_len: 1, history: 0, overflow: Overflow::Reject };
        let settings = QueueSettings { defaults, named: BTreeMap::new() };
        let mut names = Names::new(Vec::new(), HashSet::from([0, 2, u32::MAX - 1]), settings);
        let made = |names: &mut Names, name| names.make(name, Kind::Work, Own::default(), &Arc::default()).id;
        let ids = ["a", "b", "c"].map(|name| made(&mut names, name));
        assert_eq!(ids, [u32::MAX, 1, 3]);
        names.next_id = 0;
        names.free_ids(&[2]);
        assert_eq!([made(&mut names, "d"), made(&mut names, "e")], [2, 4]);
    }
}
