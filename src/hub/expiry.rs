//! What ends: messages by age, histories by their total, topics that nobody needs.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::lifetime::Upkeep;
use super::order::Order;
use super::rank::Rank;
use super::registry::Registry;
use super::topic::Topic;
use crate::clock::Moment;

/// How long a topic without messages and named subscribers lives on, so that a subscriber who comes back soon finds its epoch.
/// The contract gives 5 s; the rest is for the slices.
const GRACE: Duration = Duration::from_secs(3);

/// Topics that are looked after in one slice.
const SLICE: usize = 4_096;

/// Topics that one publisher trims, or asks to give way, at most.
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

/// What is to be looked after, and the orders in which topics and histories give way.
pub struct Expiry {
    /// Held for one step of the heap; no other lock is taken under it.
    due: Mutex<BinaryHeap<Reverse<Timed>>>,
    /// Topics without named subscribers.
    unused: Order,
    /// Topics with a history.
    histories: Order,
    /// Held while histories are trimmed: each publisher frees what is over at its moment, which is nothing behind another.
    trimming: Mutex<()>,
}

impl Default for Expiry {
    fn default() -> Self {
        let (unused, histories) = (Order::new(Rank::LastUse), Order::new(Rank::LastPublish));
        Self { due: Mutex::default(), unused, histories, trimming: Mutex::default() }
    }
}

impl Expiry {
    /// Looks after `topic` at `at`.
    pub fn await_topic(&self, topic: &Arc<Topic>, at: Moment) {
        self.due.lock().push(Reverse(Timed { at, topic: Arc::downgrade(topic) }));
    }

    /// Notes that `topic` was used, or came to have something to give or no longer has.
    pub fn place(&self, topic: &Arc<Topic>) {
        self.unused.place(topic);
        self.histories.place(topic);
    }

    /// One slice of what is due at `now`; whether more is.
    pub fn look_after(&self, registry: &Registry, now: Moment) -> bool {
        self.forget_gone(registry.len());
        for _ in 0..SLICE {
            let Some(topic) = self.next_due(now) else { return false };
            let Some(topic) = topic.upgrade() else { continue };
            match topic.look_after(GRACE, now) {
                Upkeep::Again(at) => self.await_topic(&topic, at.max(now + Duration::from_millis(100))),
                Upkeep::Rests => {}
                Upkeep::Dead => registry.remove(&topic),
            }
            if topic.is_misplaced() {
                self.place(&topic);
            }
        }
        true
    }

    /// Topics that gave way are still awaited, and each keeps its memory; past a quarter of those that live, they are let go.
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

    /// The topic without named subscribers that was unused longest gives way, those with a history or a feed after those without;
    /// `false`: there is none.
    pub fn make_room(&self, registry: &Registry) -> bool {
        for _ in 0..STEPS_MAX {
            let Some((topic, rank)) = self.unused.first() else { return false };
            let gave_way = topic.give_way(rank);
            if gave_way {
                registry.remove(&topic);
            }
            self.place(&topic);
            if gave_way {
                return true;
            }
        }
        false
    }

    /// The oldest messages of the topics published to longest ago give way, as long as histories are `over` their bound by some bytes.
    /// Whether more have to, which are left to the next call.
    pub fn trim_histories(&self, over: impl Fn() -> usize) -> bool {
        let _alone = self.trimming.lock();
        for _ in 0..STEPS_MAX {
            let bytes = over();
            if bytes == 0 {
                return false;
            }
            let Some((topic, _)) = self.histories.first() else { return false };
            topic.give_up_history(bytes);
            self.histories.place(&topic);
        }
        over() > 0
    }

    /// How many topics could give way, and how many have a history.
    #[cfg(test)]
    pub fn placed(&self) -> (usize, usize) {
        (self.unused.len(), self.histories.len())
    }
}
