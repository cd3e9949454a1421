//! The order in which topics are evicted.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::hub::topic::{Rank, Topic};

/// The most topics that a search moves to their places before it accepts the first one where it is.
const STEPS_MAX: usize = 64;

/// Topics by a [`Rank`]; the first one is evicted first. A topic's place may be up to a second behind its rank, so that a topic with many
/// publications is not moved for each of them. A search moves such topics before it finds the first.
pub struct EvictionOrder {
    rank: Rank,
    /// The topics by rank and address in memory. The address is unique as long as the entry exists. One topic's lock may be taken under
    /// this lock.
    topics: Mutex<BTreeMap<(u64, usize), Weak<Topic>>>,
}

impl EvictionOrder {
    /// No topics yet.
    pub fn new(rank: Rank) -> Self {
        Self { rank, topics: Mutex::default() }
    }

    /// Moves `topic` to its place, or takes the topic out if it has nothing to give.
    pub fn place(&self, topic: &Arc<Topic>) {
        self.place_in(&mut self.topics.lock(), topic);
    }

    /// The topic that is to be evicted first, with its rank.
    pub fn first(&self) -> Option<(Arc<Topic>, u64)> {
        let mut topics = self.topics.lock();
        let mut steps = 0;
        loop {
            let (&(placed, _), topic) = topics.first_key_value()?;
            let Some(topic) = topic.upgrade() else {
                topics.pop_first();
                continue;
            };
            let rank = self.place_in(&mut topics, &topic);
            steps += 1;
            if rank != 0 && (rank == placed || steps > STEPS_MAX) {
                return Some((topic, rank));
            }
        }
    }

    /// How many topics have something to give.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.topics.lock().len()
    }

    fn place_in(&self, topics: &mut BTreeMap<(u64, usize), Weak<Topic>>, topic: &Arc<Topic>) -> u64 {
        let rank = topic.rank(self.rank);
        let before = topic.placed().replace(self.rank, rank);
        if before != rank {
            let address = Arc::as_ptr(topic).addr();
            topics.remove(&(before, address));
            if rank != 0 {
                topics.insert((rank, address), Arc::downgrade(topic));
            }
        }
        rank
    }
}
