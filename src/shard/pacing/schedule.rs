//! When the paced topics of a shard's sessions are due.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Moment;
use crate::topic_name::TopicName;

/// So many may wait before they are looked through for the first time.
const LOOK_AT: usize = 1_024;

/// By due time. A topic that is left or moved leaves its old entry behind, and nobody else takes that out before its time, up to an
/// hour away; so they are looked through whenever there are twice as many as counted the last time.
pub struct Schedule {
    entries: BinaryHeap<Due>,
    look_at: usize,
}

/// A topic's interval for one session is over then. The earliest is the greatest, as a heap has it.
#[derive(PartialEq, Eq)]
pub struct Due {
    /// When the message is due.
    pub at: Moment,
    /// Whose. Another session may have the slot by then; the entry counts only where its topic is due at that very moment.
    pub slot: u32,
    /// The message's topic.
    pub topic: TopicName,
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), look_at: LOOK_AT }
    }
}

impl Schedule {
    /// Notes `due`. Where too many wait, those that do not count any more are dropped first.
    pub fn note(&mut self, due: Due, counts: impl Fn(&Due) -> bool) {
        if self.entries.len() >= self.look_at {
            self.entries.retain(counts);
            self.look_at = LOOK_AT.max(2 * self.entries.len());
            self.entries.shrink_to(self.look_at);
        }
        self.entries.push(due);
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Moment> {
        self.entries.peek().map(|due| due.at)
    }

    /// Takes the next, if it is due by `now`.
    pub fn take_due(&mut self, now: Moment) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        self.entries.pop()
    }

    /// How many messages wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
