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
        self.names.contains(topic) || self.matches_wild(topic)
    }

    /// Whether one of the patterns takes `topic`, the names left aside.
    pub fn matches_wild(&self, topic: &TopicName) -> bool {
        let mut found = false;
        if !self.wild.is_empty() {
            self.wild.matches(topic, |()| found = true);
        }
        found
    }

    /// Whether `topic` is one of the names.
    pub fn has_name(&self, topic: &TopicName) -> bool {
        self.names.contains(topic)
    }
}

impl<'a> FromIterator<&'a Pattern> for PatternSet {
    fn from_iter<I: IntoIterator<Item = &'a Pattern>>(patterns: I) -> Self {
        let mut set = Self::default();
        patterns.into_iter().for_each(|pattern| set.insert(pattern));
        set
    }
}
