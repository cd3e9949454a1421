//! A set of names and patterns that finds the match of a topic without comparing the topic with each.

use foldhash::HashSet;

use crate::hub::PatternTrie;
use crate::topic_name::{Pattern, TopicName};

/// A set of names and patterns. The cost of a look-up does not depend on the number of names.
#[derive(Default)]
pub struct PatternSet {
    names: HashSet<TopicName>,
    wild: PatternTrie<()>,
}

impl PatternSet {
    /// Adds a name or a pattern.
    pub fn insert(&mut self, pattern: &Pattern) {
        match pattern.as_name() {
            Some(name) => drop(self.names.insert(name)),
            None => *self.wild.entry(pattern) = Some(()),
        }
    }

    /// Removes a name or a pattern.
    pub fn remove(&mut self, pattern: &Pattern) {
        match pattern.as_name() {
            Some(name) => drop(self.names.remove(&name)),
            None => drop(self.wild.remove(pattern)),
        }
    }

    /// Whether a name or a pattern of the set matches `topic`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut found = self.names.contains(topic);
        if !found && !self.wild.is_empty() {
            self.wild.matches(topic, |()| found = true);
        }
        found
    }
}
