//! Names and patterns by which a topic is found without comparing it with each.

use foldhash::HashSet;

use crate::hub::PatternTrie;
use crate::topic_name::{Pattern, TopicName};

/// A set of names and patterns. Asking costs the same however many names there are.
#[derive(Default)]
pub struct PatternSet {
    names: HashSet<TopicName>,
    wild: PatternTrie<()>,
}

impl PatternSet {
    /// Adds one.
    pub fn insert(&mut self, pattern: &Pattern) {
        match pattern.as_name() {
            Some(name) => drop(self.names.insert(name)),
            None => *self.wild.entry(pattern) = Some(()),
        }
    }

    /// Whether one of them takes `topic`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut found = self.names.contains(topic);
        if !found && !self.wild.is_empty() {
            self.wild.matches(topic, |()| found = true);
        }
        found
    }
}
