//! Expiry: messages expire by age, histories are trimmed to a total size, and unused topics end.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::eviction_order::EvictionOrder;
use super::registry::Registry;
use crate::clock::Moment;
use crate::hub::topic::{RankBy, Topic, Upkeep};

/// How long a topic without messages and named subscribers is kept, so that a subscriber that returns soon finds its epoch. The contract
/// allows 5 s. The difference is a margin for late slices.
const GRACE: Duration = Duration::from_secs(3);

/// The most topics in one slice of upkeep.
const SLICE: usize = 4_096;

/// The most topics that one publisher trims, or tries to evict.
const STEPS_MAX: usize = 256;

/// A topic and the moment of its next upkeep.
struct Timed {
    at: Moment,
    topic: Weak<Topic>,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

/// The topics by the time of their next upkeep, and the orders in which topics and histories give way.
pub struct Expiry {
    /// Locked for one step of the heap; no other lock is taken under this one.
    due: Mutex<BinaryHeap<Reverse<Timed>>>,
    /// Topics without named subscribers.
    unused: EvictionOrder,
    /// Topics with a history.
    histories: EvictionOrder,
    /// Locked while histories are trimmed, so that a publisher that waited for another one finds no more bytes to free.
    trimming: Mutex<()>,
}

impl Default for Expiry {
    fn default() -> Self {
        let (unused, histories) = (EvictionOrder::new(RankBy::LastUse), EvictionOrder::new(RankBy::LastPublish));
        Self { due: Mutex::default(), unused, histories, trimming: Mutex::default() }
    }
}

impl Expiry {
    /// Schedules the upkeep of `topic` at `at`.
    pub fn await_topic(&self, topic: &Arc<Topic>, at: Moment) {
        self.due.lock().push(Reverse(Timed { at, topic: Arc::downgrade(topic) }));
    }

    /// Moves the entry of `topic` to its rank in both orders.
    pub fn update_rank(&self, topic: &Arc<Topic>) {
        self.unused.update_rank(topic);
        self.histories.update_rank(topic);
    }

    /// Runs the upkeep of one slice of the topics that are due at `now`. Returns whether more are due.
    pub fn upkeep(&self, registry: &Registry, now: Moment) -> bool {
        self.forget_gone(registry.len());
        for _ in 0..SLICE {
            let Some(topic) = self.next_due(now) else { return false };
            let Some(topic) = topic.upgrade() else { continue };
            match topic.upkeep(GRACE, now) {
                Upkeep::DueAt(at) => self.await_topic(&topic, at.max(now + Duration::from_millis(100))),
                Upkeep::AfterNextUse => {}
                Upkeep::Dead => registry.remove(&topic),
            }
            if topic.is_rank_behind() {
                self.update_rank(&topic);
            }
        }
        true
    }

    /// Removes evicted topics from the heap once they are more than a quarter of the living ones. Each entry keeps the memory of its topic
    /// allocated.
    fn forget_gone(&self, living: usize) {
        let mut due = self.due.lock();
        if due.len() > living + living / 4 + SLICE {
            due.retain(|Reverse(timed)| timed.topic.strong_count() > 0);
            due.shrink_to_fit();
        }
    }

    fn next_due(&self, now: Moment) -> Option<Weak<Topic>> {
        let mut due = self.due.lock();
        match due.peek() {
            Some(Reverse(first)) if first.at <= now => due.pop().map(|Reverse(timed)| timed.topic),
            _ => None,
        }
    }

    /// Evicts the least recently used topic without named subscribers. Topics with a history or a feed come after those without.
    /// `false`: no topic can be evicted.
    pub fn make_room(&self, registry: &Registry) -> bool {
        for _ in 0..STEPS_MAX {
            let Some((topic, rank)) = self.unused.first() else { return false };
            let gave_way = topic.evict(rank);
            if gave_way {
                registry.remove(&topic);
            }
            self.update_rank(&topic);
            if gave_way {
                return true;
            }
        }
        false
    }

    /// Removes the oldest messages of the topics that were published to longest ago, while `over` returns a number of bytes beyond the bound.
    /// `true`: bytes are left, and the next call continues.
    pub fn trim_histories(&self, over: impl Fn() -> usize) -> bool {
        let _alone = self.trimming.lock();
        for _ in 0..STEPS_MAX {
            let bytes = over();
            if bytes == 0 {
                return false;
            }
            let Some((topic, _)) = self.histories.first() else { return false };
            topic.trim_history(bytes);
            self.histories.update_rank(&topic);
        }
        over() > 0
    }

    /// How many topics could be evicted, and how many have a history.
    #[cfg(test)]
    pub fn evictable(&self) -> (usize, usize) {
        (self.unused.len(), self.histories.len())
    }
}
