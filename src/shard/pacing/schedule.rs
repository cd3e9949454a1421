//! The due times of the paced topics of a shard's sessions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Moment;
use crate::topic_name::TopicName;

/// The number of entries at which obsolete ones are removed for the first time.
const CLEAN_AT: usize = 1_024;

/// Entries by due time. A topic that ends or is moved leaves an obsolete entry, whose time may be an hour away. So
/// obsolete entries are removed whenever the number of entries has doubled since the last removal.
pub struct Schedule {
    entries: BinaryHeap<Reverse<Due>>,
    clean_at: usize,
}

/// The due time of a topic for one session.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The moment at which the topic is due.
    pub at: Moment,
    /// The slot of the session. Another session may have the slot by then, so the entry counts only if the topic is due
    /// for that slot at exactly this moment.
    pub slot: u32,
    /// The topic.
    pub topic: TopicName,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), clean_at: CLEAN_AT }
    }
}

impl Schedule {
    /// Adds `due`. If there are too many entries, those for which `counts` does not hold are removed first.
    pub fn add(&mut self, due: Due, counts: impl Fn(&Due) -> bool) {
        if self.entries.len() >= self.clean_at {
            self.entries.retain(|Reverse(due)| counts(due));
            self.clean_at = CLEAN_AT.max(2 * self.entries.len());
            self.entries.shrink_to(self.clean_at);
        }
        self.entries.push(Reverse(due));
    }

    /// The moment of the next entry.
    pub fn next(&self) -> Option<Moment> {
        self.entries.peek().map(|Reverse(due)| due.at)
    }

    /// Takes the next entry, if it is due by `now`.
    pub fn take_due(&mut self, now: Moment) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        self.entries.pop().map(|Reverse(due)| due)
    }

    /// The number of entries.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
