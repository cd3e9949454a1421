//! The intervals of one session's subscriptions, found by topic.

use std::time::Duration;

use foldhash::HashMap;

use crate::hub::PatternTrie;
use crate::topic_name::{Pattern, TopicName};

/// Of each subscription its interval. Finding a topic's does not compare it with each subscription.
#[derive(Default)]
pub struct Intervals {
    names: HashMap<TopicName, Option<Duration>>,
    wild: PatternTrie<Option<Duration>>,
    /// How many subscriptions have one.
    paced: usize,
    /// A topic may have another interval than when this was last asked.
    changed: bool,
    /// How often a topic was looked up.
    #[cfg(test)]
    pub looks: std::cell::Cell<usize>,
}

impl Intervals {
    /// The subscription to `pattern` has this interval from now on.
    pub fn set(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        let former = match pattern.as_name() {
            Some(name) => self.names.insert(name, interval),
            None => self.wild.entry(pattern).replace(interval),
        };
        self.paced = self.paced + usize::from(interval.is_some()) - usize::from(former.flatten().is_some());
        self.changed |= former != Some(interval);
    }

    /// The subscription to `pattern` has ended.
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

    /// Whether a topic may have another interval than when [`Intervals::take_changed`] was last asked.
    pub fn have_changed(&self) -> bool {
        self.changed
    }

    /// Whether a topic may have another interval than when this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The smallest interval of the subscriptions that take `topic`; one without an interval counts as none.
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
