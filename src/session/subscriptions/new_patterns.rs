//! The patterns of one subscribe that its session had not.

use crate::hub::{PatternTrie, Selection};
use crate::topic_name::{Pattern, TopicName};

/// The patterns of one subscribe, each with its entry in the answer.
#[derive(Default)]
pub struct NewPatterns {
    patterns: Vec<Pattern>,
    /// The same, for a walk through the index of topics.
    selection: Option<Box<Selection>>,
    /// Those for which no topic was found that `since` does not name: their places in `patterns`, and their entries.
    whole: PatternTrie<(usize, usize)>,
}

impl NewPatterns {
    /// Adds one.
    pub fn add(&mut self, pattern: &Pattern, entry: usize) {
        *self.whole.entry(pattern) = Some((self.patterns.len(), entry));
        self.selection.get_or_insert_default().add(pattern);
        self.patterns.push(pattern.clone());
    }

    /// Whether one of them, of which nothing was noted yet, takes `topic`.
    pub fn take(&self, topic: &TopicName) -> bool {
        let mut takes = false;
        self.whole.matches(topic, |_| takes = true);
        takes
    }

    /// A topic was found that `since` does not name; the entries of the patterns of which that is news.
    pub fn note(&mut self, topic: &TopicName) -> Vec<usize> {
        let mut found = Vec::new();
        self.whole.matches(topic, |&place| found.push(place));
        found.iter().for_each(|&(index, _)| _ = self.whole.remove(&self.patterns[index]));
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Whether nothing can be noted any more.
    pub fn are_noted(&self) -> bool {
        self.whole.is_empty()
    }

    /// The patterns, for a walk through the index of topics.
    pub fn selection(&mut self) -> &mut Selection {
        self.selection.get_or_insert_default()
    }

    /// The same; `None`: there are none.
    pub fn into_selection(self) -> Option<Box<Selection>> {
        self.selection
    }

    /// Leaves out those that `is_kept` does not name.
    pub fn retain(&mut self, is_kept: impl Fn(&Pattern) -> bool) {
        let before = self.patterns.len();
        self.patterns.retain(is_kept);
        if self.patterns.len() < before {
            self.selection = (!self.patterns.is_empty()).then(|| Box::new(Selection::of(&self.patterns)));
        }
    }
}
