//! Keys: their order is that of what they stand for, their fields come back, and a range holds what it says and nothing else.
#![no_main]

use httpmq::key;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Arbitrary)]
struct Place {
    id: u32,
    epoch: u32,
    first: u64,
    part: u16,
}

impl Place {
    fn key(self) -> key::Key {
        key::block(self.id, self.epoch, self.first, self.part)
    }
}

fuzz_target!(|input: (Place, Place, bool)| {
    let (a, mut b, is_near) = input;
    if is_near {
        // Two places at random nearly never share a queue.
        (b.id, b.epoch) = (a.id, a.epoch.wrapping_add(b.epoch % 3).wrapping_sub(1));
    }
    assert_eq!(a.cmp(&b), a.key().cmp(&b.key()));
    let found = (key::queue_id(&a.key()), key::epoch(&a.key()), key::first_sequence(&a.key()));
    assert_eq!(found, (a.id, a.epoch, a.first));
    assert_eq!(key::queue_id(&key::queue(a.id)), a.id);
    assert_eq!(a.id.cmp(&b.id), key::queue(a.id).cmp(&key::queue(b.id)));

    let (low, high) = (a.first.min(b.first), a.first.max(b.first));
    for place in [a, b] {
        let middle = a.first.midpoint(b.first);
        for first in [place.first, middle, low.wrapping_sub(1), high.wrapping_add(1)] {
            let key = Place { first, ..place }.key();
            let is_in = place.id == a.id && place.epoch == a.epoch && (low..=high).contains(&first);
            assert_eq!(key::blocks(a.id, a.epoch, low, high).contains(&key), is_in);
            assert!(key::all_blocks().contains(&key) && !key::queues().contains(&key));
        }
        let before = key::blocks_before_epoch(a.id, a.epoch);
        let is_before = place.id == a.id && place.epoch < a.epoch;
        assert_eq!(before.is_some_and(|before| before.contains(&place.key())), is_before);
        assert!(key::queues().contains(&key::queue(place.id)) && !key::all_blocks().contains(&key::queue(place.id)));
        // What lies between the blocks and the small records is neither, and lies between.
        for spacer in key::spacers() {
            assert!(!key::all_blocks().contains(&spacer) && !key::queues().contains(&spacer));
            let ends = [key::commit(), key::queue(place.id), place.key()].map(|key| key.cmp(&spacer));
            assert!(!ends.contains(&std::cmp::Ordering::Equal));
        }
    }
    assert!(!key::all_blocks().contains(&key::commit()) && !key::queues().contains(&key::commit()));
});
