//! A trie of patterns by token, in which a topic finds the patterns that match it.

use std::ops::ControlFlow;

use super::children::Children;
use crate::topic_name::{Pattern, TopicName};

/// Values by pattern.
#[derive(Debug)]
pub struct PatternTrie<V> {
    root: PatternNode<V>,
}

#[derive(Debug)]
struct PatternNode<V> {
    /// The children by token; `*` and `>` are tokens too. Each topic of a message is looked up here.
    children: Children<PatternNode<V>>,
    value: Option<V>,
}

impl<V> Default for PatternNode<V> {
    fn default() -> Self {
        Self { children: Children::default(), value: None }
    }
}

impl<V> Default for PatternTrie<V> {
    fn default() -> Self {
        Self { root: PatternNode::default() }
    }
}

impl<V> PatternTrie<V> {
    /// The place of `pattern`'s value, which is made if there was none.
    pub fn entry(&mut self, pattern: &Pattern) -> &mut Option<V> {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            if node.children.get(token).is_none() {
                node.children.insert(token, PatternNode::default());
            }
            node = node.children.get_mut(token).expect("the child was there or has just been made");
        }
        &mut node.value
    }

    /// The value of `pattern`, if it has one.
    pub fn find(&self, pattern: &Pattern) -> Option<&V> {
        let mut node = &self.root;
        for token in pattern.tokens() {
            node = node.children.get(token)?;
        }
        node.value.as_ref()
    }

    /// Removes `pattern`'s value, with the nodes that no other pattern needs.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<V> {
        fn below<'t, V>(node: &mut PatternNode<V>, mut tokens: impl Iterator<Item = &'t str>) -> Option<V> {
            let Some(token) = tokens.next() else { return node.value.take() };
            let child = node.children.get_mut(token)?;
            let value = below(child, tokens);
            if child.value.is_none() && child.children.is_empty() {
                node.children.remove(token);
            }
            value
        }
        // A generic recursion would wrap the iterator's type once more at each level; a reference keeps the type.
        let tokens: &mut dyn Iterator<Item = &str> = &mut pattern.tokens();
        below(&mut self.root, tokens)
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.root.children.is_empty()
    }

    /// Calls `found` with the value of each pattern that matches `topic`.
    pub fn matches<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a V)) {
        let all = |value| {
            found(value);
            ControlFlow::Continue(())
        };
        self.matches_until(topic, all);
    }

    /// Calls `found` with the value of each pattern that matches `topic`, until `found` breaks off. Returns how many
    /// nodes were visited.
    pub fn matches_until<'a>(&'a self, topic: &TopicName, found: impl FnMut(&'a V) -> ControlFlow<()>) -> usize {
        let mut search = Search { found, visited: 0 };
        let _ = search.visit(&self.root, topic.as_str(), true);
        search.visited
    }
}

struct Search<F> {
    found: F,
    visited: usize,
}

impl<F> Search<F> {
    fn visit<'a, V>(&mut self, node: &'a PatternNode<V>, rest: &str, first: bool) -> ControlFlow<()>
    where
        F: FnMut(&'a V) -> ControlFlow<()>,
    {
        self.visited += 1;
        let (token, behind) = rest.split_once('.').map_or((rest, None), |(token, behind)| (token, Some(behind)));
        let wildcards = !(first && token.starts_with('$'));
        if let Some(child) = node.children.get(">").filter(|_| wildcards) {
            child.value.iter().try_for_each(&mut self.found)?;
        }
        let named = node.children.get(token);
        let any = node.children.get("*").filter(|_| wildcards);
        named.into_iter().chain(any).try_for_each(|child| match behind {
            None => child.value.iter().try_for_each(&mut self.found),
            Some(behind) => self.visit(child, behind, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// `Pattern::matches` compares one pattern with one topic.
        #[test]
        fn the_trie_agrees_with_pattern_matches(
            patterns in proptest::collection::btree_set("(\\$?[ab*]\\.){0,3}[ab*>]", 0..12),
            topics in proptest::collection::btree_set("\\$?[ab](\\.[ab]){0,3}", 0..12),
        ) {
            let patterns: Vec<Pattern> = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            let mut trie = PatternTrie::default();
            for pattern in &patterns {
                *trie.entry(pattern) = Some(pattern.clone());
            }
            for topic in topics.iter().map(|text| TopicName::parse(text).unwrap()) {
                let mut found = Vec::new();
                trie.matches(&topic, |pattern| found.push(pattern.clone()));
                found.sort();
                let expected: Vec<_> = patterns.iter().filter(|pattern| pattern.matches(&topic)).cloned().collect();
                prop_assert_eq!(found, expected);
            }
            for pattern in &patterns {
                prop_assert!(trie.remove(pattern).is_some());
            }
            prop_assert!(trie.is_empty());
        }
    }
}
