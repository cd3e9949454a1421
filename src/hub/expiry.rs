//! What ends: messages by age, histories by their total, topics that nobody needs.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::registry::Registry;
use super::topic::{Topic, Upkeep};
use crate::clock::Moment;

/// How long a topic without messages and named subscribers lives on, so that a quick return finds its epoch again.
/// The contract gives 5 s; the rest is for the slices.
const GRACE: Duration = Duration::from_secs(3);

/// Topics that are looked after in one slice.
const SLICE: usize = 4_096;

/// A topic and the moment at which something of it ends, or when it was last used.
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

type Earliest = BinaryHeap<Reverse<Timed>>;

/// What is to be looked after, and candidates for giving way. Each lock is held for one step of a heap;
/// no topic's lock is taken under it.
#[derive(Default)]
pub struct Expiry {
    due: Mutex<Earliest>,
    /// Topics by their last use as it was when the heap was filled; each is asked again before it gives way.
    unused: Mutex<Earliest>,
    /// Topics with a history by their last publish, likewise.
    histories: Mutex<Earliest>,
}

impl Expiry {
    /// Looks after `topic` at `at`.
    pub fn await_topic(&self, topic: &Arc<Topic>, at: Moment) {
        self.due.lock().push(Reverse(Timed { at, topic: Arc::downgrade(topic) }));
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

    /// The topic without named subscribers that was unused longest gives way; `false`: there is none.
    pub fn make_room(&self, registry: &Registry) -> bool {
        take_oldest(&self.unused, registry, Topic::idle_since, |topic, since| {
            let gave_way = topic.give_way(since);
            if gave_way {
                registry.remove(topic);
            }
            gave_way
        })
    }

    /// The oldest messages of the topic published to longest ago give way, up to `bytes`; what was freed.
    pub fn trim_histories(&self, registry: &Registry, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes {
            let trimmed = take_oldest(&self.histories, registry, Topic::history_since, |topic, _| {
                let from_topic = topic.give_up_history(bytes - freed);
                freed += from_topic;
                from_topic > 0
            });
            if !trimmed {
                break;
            }
        }
        freed
    }
}

/// Lets `take` have the candidate that is oldest by `since`. The candidates are collected once and used up before the next
/// collection, so that a flood does not scan all topics each time; one that was used meanwhile is passed over.
fn take_oldest(
    candidates: &Mutex<Earliest>,
    registry: &Registry,
    since: impl Fn(&Topic) -> Option<Moment>,
    mut take: impl FnMut(&Arc<Topic>, Moment) -> bool,
) -> bool {
    for collected in [false, true] {
        if collected {
            let all = registry.all();
            let timed = all.iter().filter_map(|topic| Some(Reverse(Timed { at: since(topic)?, topic: Arc::downgrade(topic) })));
            *candidates.lock() = timed.collect();
        }
        loop {
            let Some(Reverse(timed)) = candidates.lock().pop() else { break };
            let Some(topic) = timed.topic.upgrade() else { continue };
            if since(&topic) == Some(timed.at) && take(&topic, timed.at) {
                if since(&topic) == Some(timed.at) {
                    candidates.lock().push(Reverse(timed)); // it has more to give, and is still the oldest
                }
                return true;
            }
        }
    }
    false
}
