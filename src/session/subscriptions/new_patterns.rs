//! The patterns that one subscribe adds to its session.

use crate::hub::{PatternTrie, Selection};
use crate::topic_name::{Pattern, TopicName};

/// The new patterns of one subscribe, each with the index of its entry in the answer.
#[derive(Default)]
pub struct NewPatterns {
    patterns: Vec<Pattern>,
    /// The same patterns, for a search through the index of topics.
    selection: Option<Box<Selection>>,
    /// The patterns for which no topic was found yet that `since` does not name. The values are the indexes in `patterns` and of the entry.
    unnoted: PatternTrie<(usize, usize)>,
}

impl NewPatterns {
    /// Adds `pattern`, whose entry has the index `entry`.
    pub fn add(&mut self, pattern: &Pattern, entry: usize) {
        *self.unnoted.entry(pattern) = Some((self.patterns.len(), entry));
        self.selection.get_or_insert_default().add(pattern);
        self.patterns.push(pattern.clone());
    }

    /// Whether a pattern matches `topic` for which no topic was noted yet.
    pub fn match_unnoted(&self, topic: &TopicName) -> bool {
        let mut matches = false;
        self.unnoted.matches(topic, |_| matches = true);
        matches
    }

    /// Notes `topic`, which `since` does not name. Returns the entries of the patterns for which it is the first such topic.
    pub fn note(&mut self, topic: &TopicName) -> Vec<usize> {
        let mut found = Vec::new();
        self.unnoted.matches(topic, |&place| found.push(place));
        found.iter().for_each(|&(index, _)| _ = self.unnoted.remove(&self.patterns[index]));
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Whether each pattern has a noted topic.
    pub fn are_noted(&self) -> bool {
        self.unnoted.is_empty()
    }

    /// The patterns, for a search through the index of topics.
    pub fn selection(&mut self) -> &mut Selection {
        self.selection.get_or_insert_default()
    }

    /// The patterns, for a search through the index of topics; `None`: there are none.
    pub fn into_selection(self) -> Option<Box<Selection>> {
        self.selection
    }

    /// Removes the patterns for which `is_kept` is false.
    pub fn retain(&mut self, is_kept: impl Fn(&Pattern) -> bool) {
        let before = self.patterns.len();
        self.patterns.retain(is_kept);
        if self.patterns.len() < before {
            self.selection = (!self.patterns.is_empty()).then(|| Box::new(Selection::of(&self.patterns)));
        }
    }
}
