//! An order of eviction: topics by a rank.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::hub::topic::{RankBy, Topic};

/// The most topics that a search moves before it returns the first topic, whatever its rank.
const STEPS_MAX: usize = 64;

/// Topics by one of their ranks ([`RankBy`]). The first one is evicted first. The entry of a topic may be up to a second behind the topic's
/// rank, so that the entry is not moved for each publication. A search moves such entries first.
pub struct EvictionOrder {
    by: RankBy,
    /// The topics by rank and address in memory. The address is unique as long as the entry exists. One topic's lock may be taken under
    /// this lock.
    topics: Mutex<BTreeMap<(u64, usize), Weak<Topic>>>,
}

impl EvictionOrder {
    pub fn new(by: RankBy) -> Self {
        Self { by, topics: Mutex::default() }
    }

    /// Moves the entry of `topic` to its rank, or removes the entry if the topic can't be evicted.
    pub fn update_rank(&self, topic: &Arc<Topic>) {
        self.update_rank_in(&mut self.topics.lock(), topic);
    }

    /// The topic that is to be evicted first, with its rank.
    pub fn first(&self) -> Option<(Arc<Topic>, u64)> {
        let mut topics = self.topics.lock();
        let mut steps = 0;
        loop {
            let (&(listed, _), topic) = topics.first_key_value()?;
            let Some(topic) = topic.upgrade() else {
                topics.pop_first();
                continue;
            };
            let rank = self.update_rank_in(&mut topics, &topic);
            steps += 1;
            if rank != 0 && (rank == listed || steps > STEPS_MAX) {
                return Some((topic, rank));
            }
        }
    }

    /// The number of topics that can be evicted.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.topics.lock().len()
    }

    fn update_rank_in(&self, topics: &mut BTreeMap<(u64, usize), Weak<Topic>>, topic: &Arc<Topic>) -> u64 {
        let rank = topic.rank(self.by);
        let before = topic.ordered_ranks().replace(self.by, rank);
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
