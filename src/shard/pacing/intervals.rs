//! The intervals of one session's subscriptions, found by topic.

use std::time::Duration;

use foldhash::HashMap;

use crate::hub::PatternTrie;
use crate::topic_name::{Pattern, TopicName};

/// The interval of each subscription. Finding the interval of a topic does not compare the topic with each
/// subscription.
#[derive(Default)]
pub struct Intervals {
    names: HashMap<TopicName, Option<Duration>>,
    wild: PatternTrie<Option<Duration>>,
    /// The number of subscriptions with an interval.
    paced: usize,
    /// Whether a topic may have another interval than at the last [`Intervals::take_changed`].
    changed: bool,
    /// The number of look-ups.
    #[cfg(test)]
    pub looks: std::cell::Cell<usize>,
}

impl Intervals {
    /// Sets the interval of the subscription to `pattern`.
    pub fn set(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let former = match pattern.as_name() {
            Some(name) => self.names.insert(name, interval),
            None => self.wild.entry(pattern).replace(interval),
        };
        self.paced = self.paced + usize::from(interval.is_some()) - usize::from(former.flatten().is_some());
        self.changed |= former != Some(interval);
    }

    /// Removes the subscription to `pattern`, which has ended.
    pub fn remove(&mut self, pattern: &Pattern) {
        let former = match pattern.as_name() {
            Some(name) => self.names.remove(&name),
            None => self.wild.remove(pattern),
        };
        self.paced -= usize::from(former.flatten().is_some());
        self.changed |= former.is_some();
    }

    /// Whether a subscription has an interval.
    pub fn are_paced(&self) -> bool {
        self.paced > 0
    }

    /// Whether a topic may have another interval than at the last [`Intervals::take_changed`].
    pub fn have_changed(&self) -> bool {
        self.changed
    }

    /// Whether a topic may have another interval than at the last call. Resets this.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The smallest interval of the subscriptions that match `topic`. If one of them has no interval, the topic has
    /// none.
    pub fn of(&self, topic: &TopicName) -> Option<Duration> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        let mut smallest = self.names.get(topic).copied();
        if !self.wild.is_empty() {
            self.wild.matches(topic, |&interval| smallest = Some(smallest.map_or(interval, |other| other.min(interval))));
        }
        smallest.flatten()
    }
}
