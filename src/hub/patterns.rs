//! Tries by token, of patterns and of living topics, so that neither direction of matching scans.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use crate::topic_name::{Pattern, TopicName};

/// Room for children that a node keeps though most of them have gone.
const CHILDREN_KEPT: usize = 64;

/// Values by pattern; a topic finds all that match it in steps bounded by its tokens.
#[derive(Debug)]
pub struct PatternTrie<V> {
    root: PatternNode<V>,
}

#[derive(Debug)]
struct PatternNode<V> {
    /// By token; `*` and `>` are tokens like others here. Hashed, since every message looks here: a sorted map took six times
    /// as long among 100,000 patterns as among one.
    children: HashMap<Box<str>, PatternNode<V>>,
    value: Option<V>,
}

impl<V> Default for PatternNode<V> {
    fn default() -> Self {
        Self { children: HashMap::default(), value: None }
    }
}

impl<V> Default for PatternTrie<V> {
    fn default() -> Self {
        Self { root: PatternNode::default() }
    }
}

impl<V> PatternTrie<V> {
    /// The place of `pattern`'s value, made if it wasn't there.
    pub fn entry(&mut self, pattern: &Pattern) -> &mut Option<V> {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            if !node.children.contains_key(token) {
                node.children.insert(token.into(), PatternNode::default());
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

    /// Takes `pattern`'s value out, with the nodes that nothing else needs.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<V> {
        fn below<'t, V>(node: &mut PatternNode<V>, mut tokens: impl Iterator<Item = &'t str>) -> Option<V> {
            let Some(token) = tokens.next() else { return node.value.take() };
            let child = node.children.get_mut(token)?;
            let value = below(child, tokens);
            if child.value.is_none() && child.children.is_empty() {
                node.children.remove(token);
                if node.children.capacity() > CHILDREN_KEPT && node.children.len() < node.children.capacity() / 4 {
                    node.children.shrink_to_fit();
                }
            }
            value
        }
        // The iterator's type would grow with each level of a generic recursion, so it goes by reference.
        let tokens: &mut dyn Iterator<Item = &str> = &mut pattern.tokens();
        below(&mut self.root, tokens)
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.root.children.is_empty()
    }

    /// Calls `found` with the value of each pattern that matches `topic`.
    pub fn matches<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a V)) {
        visit_patterns(&self.root, topic.as_str(), true, &mut found);
    }
}

fn visit_patterns<'a, V>(node: &'a PatternNode<V>, rest: &str, first: bool, found: &mut impl FnMut(&'a V)) {
    let (token, behind) = rest.split_once('.').map_or((rest, None), |(token, behind)| (token, Some(behind)));
    let wildcards = !(first && token.starts_with('$'));
    if let Some(child) = node.children.get(">").filter(|_| wildcards) {
        child.value.iter().for_each(&mut *found);
    }
    let named = node.children.get(token);
    let any = node.children.get("*").filter(|_| wildcards);
    for child in named.into_iter().chain(any) {
        match behind {
            None => child.value.iter().for_each(&mut *found),
            Some(behind) => visit_patterns(child, behind, false, found),
        }
    }
}

/// Living topics by token; a pattern finds those that it matches without looking at others.
#[derive(Debug)]
pub struct TopicTree<T> {
    root: TopicNode<T>,
}

#[derive(Debug)]
struct TopicNode<T> {
    children: BTreeMap<Box<str>, TopicNode<T>>,
    topic: Option<Arc<T>>,
}

impl<T> Default for TopicNode<T> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), topic: None }
    }
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self { root: TopicNode::default() }
    }
}

impl<T> TopicTree<T> {
    /// Puts a topic under its name.
    pub fn insert(&mut self, name: &TopicName, topic: Arc<T>) {
        let mut node = &mut self.root;
        for token in name.tokens() {
            if !node.children.contains_key(token) {
                node.children.insert(token.into(), TopicNode::default());
            }
            node = node.children.get_mut(token).expect("the child was there or has just been made");
        }
        node.topic = Some(topic);
    }

    /// Takes a topic out, with the nodes that no other needs.
    pub fn remove(&mut self, name: &TopicName) {
        fn below<T>(node: &mut TopicNode<T>, tokens: &mut dyn Iterator<Item = &str>) {
            let Some(token) = tokens.next() else {
                node.topic = None;
                return;
            };
            let Some(child) = node.children.get_mut(token) else { return };
            below(child, tokens);
            if child.topic.is_none() && child.children.is_empty() {
                node.children.remove(token);
            }
        }
        below(&mut self.root, &mut name.tokens());
    }

    /// Calls `found` with each topic that `pattern` matches.
    pub fn matching<'a>(&'a self, pattern: &Pattern, mut found: impl FnMut(&'a Arc<T>)) {
        visit_topics(&self.root, pattern.as_str(), true, &mut found);
    }

    /// Calls `found` with each topic.
    pub fn all<'a>(&'a self, mut found: impl FnMut(&'a Arc<T>)) {
        visit_below(&self.root, &mut found);
    }
}

fn visit_topics<'a, T>(node: &'a TopicNode<T>, rest: &str, first: bool, found: &mut impl FnMut(&'a Arc<T>)) {
    let (token, behind) = rest.split_once('.').map_or((rest, None), |(token, behind)| (token, Some(behind)));
    let reached = |child: &'a TopicNode<T>, found: &mut _| match behind {
        None => child.topic.iter().for_each(found),
        Some(behind) => visit_topics(child, behind, false, found),
    };
    match token {
        ">" | "*" => {
            for (name, child) in &node.children {
                match token {
                    _ if first && name.starts_with('$') => {}
                    ">" => visit_below(child, found),
                    _ => reached(child, found),
                }
            }
        }
        _ => {
            if let Some(child) = node.children.get(token) {
                reached(child, found);
            }
        }
    }
}

fn visit_below<'a, T>(node: &'a TopicNode<T>, found: &mut impl FnMut(&'a Arc<T>)) {
    node.topic.iter().for_each(&mut *found);
    node.children.values().for_each(|child| visit_below(child, found));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Both tries agree with `Pattern::matches`, which looks at one pair at a time.
        #[test]
        fn tries_find_what_matching_says(
            patterns in proptest::collection::btree_set("(\\$?[ab*]\\.){0,3}[ab*>]", 0..12),
            topics in proptest::collection::btree_set("\\$?[ab](\\.[ab]){0,3}", 0..12),
        ) {
            let patterns: Vec<Pattern> = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            let topics: Vec<TopicName> = topics.iter().map(|text| TopicName::parse(text).unwrap()).collect();
            let mut trie = PatternTrie::default();
            let mut tree = TopicTree::default();
            for pattern in &patterns {
                *trie.entry(pattern) = Some(pattern.clone());
            }
            for topic in &topics {
                tree.insert(topic, Arc::new(topic.clone()));
            }
            for topic in &topics {
                let mut found = Vec::new();
                trie.matches(topic, |pattern| found.push(pattern.clone()));
                found.sort();
                let expected: Vec<_> = patterns.iter().filter(|pattern| pattern.matches(topic)).cloned().collect();
                prop_assert_eq!(found, expected);
            }
            for pattern in &patterns {
                let mut found = Vec::new();
                tree.matching(pattern, |topic| found.push((**topic).clone()));
                found.sort();
                let expected: Vec<_> = topics.iter().filter(|topic| pattern.matches(topic)).cloned().collect();
                prop_assert_eq!(found, expected);
            }
            for pattern in &patterns {
                prop_assert!(trie.remove(pattern).is_some());
            }
            for topic in &topics {
                tree.remove(topic);
            }
            prop_assert!(trie.is_empty());
            prop_assert!(tree.root.children.is_empty());
        }
    }
}
