//! Living topics by token: a pattern finds those that it matches, a slice at a time.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::topic_name::{Pattern, TopicName};

/// Topics by the tokens of their names.
#[derive(Debug)]
pub struct TopicTree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    children: BTreeMap<Box<str>, Node<T>>,
    topic: Option<Arc<T>>,
}

/// The node at which a search has stopped, by its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// A part of a search.
#[derive(Debug)]
pub struct Slice<T> {
    /// The topics that it found.
    pub topics: Vec<Arc<T>>,
    /// How many nodes it visited: its cost.
    pub visited: usize,
    /// Where the next slice begins; `None`: the search is complete.
    pub next: Option<Cursor>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), topic: None }
    }
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> TopicTree<T> {
    /// Puts a topic under its name.
    pub fn insert(&mut self, name: &TopicName, topic: Arc<T>) {
        let mut node = &mut self.root;
        for token in name.tokens() {
            if !node.children.contains_key(token) {
                node.children.insert(token.into(), Node::default());
            }
            node = node.children.get_mut(token).expect("the child was there or has just been made");
        }
        node.topic = Some(topic);
    }

    /// Takes a topic out, with the nodes that no other needs.
    pub fn remove(&mut self, name: &TopicName) {
        fn below<T>(node: &mut Node<T>, tokens: &mut dyn Iterator<Item = &str>) {
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

    /// The topics that `pattern` matches, or all without one: from behind `after`, in a visit of at most `most` nodes.
    pub fn slice(&self, pattern: Option<&Pattern>, after: Option<&Cursor>, most: usize) -> Slice<T> {
        let mut search = Search { found: Vec::new(), path: Vec::new(), visited: 0, most };
        let rest = pattern.map_or(">", Pattern::as_str);
        let stopped = search.below(&self.root, Some(rest), pattern.is_some(), after.map(|cursor| &*cursor.0)).is_break();
        let next = stopped.then(|| Cursor(search.path.join(".")));
        Slice { topics: search.found, visited: search.visited, next }
    }
}

struct Search<'a, T> {
    found: Vec<Arc<T>>,
    /// The tokens of the node that is visited.
    path: Vec<&'a str>,
    visited: usize,
    most: usize,
}

impl<'a, T> Search<'a, T> {
    /// Visits the nodes below `node` that `rest`, the pattern's tokens from there on, may match. `after`: the tokens from here to
    /// the node at which the last slice stopped. `is_first`: wildcards do not match a token that begins with `$`.
    fn below(&mut self, node: &'a Node<T>, rest: Option<&str>, is_first: bool, after: Option<&str>) -> ControlFlow<()> {
        let Some(rest) = rest else { return ControlFlow::Continue(()) };
        let (token, behind) = split(rest);
        let after = after.map(split);
        let begin = after.map_or(Bound::Unbounded, |(token, _)| Bound::Included(token));
        let mut enter = |name: &'a str, child: &'a Node<T>| {
            let is_end = token == ">" || behind.is_none();
            let rest = if token == ">" { Some(">") } else { behind };
            match after {
                Some((token, deeper)) if token == name => self.resume(name, child, rest, deeper),
                _ => self.enter(name, child, rest, is_end),
            }
        };
        if token != "*" && token != ">" {
            return node.children.get_key_value(token).map_or(ControlFlow::Continue(()), |(name, child)| enter(name, child));
        }
        let children = node.children.range::<str, _>((begin, Bound::Unbounded));
        children.filter(|(name, _)| !(is_first && name.starts_with('$'))).try_for_each(|(name, child)| enter(name, child))
    }

    fn enter(&mut self, name: &'a str, node: &'a Node<T>, rest: Option<&str>, is_end: bool) -> ControlFlow<()> {
        self.path.push(name);
        self.visited += 1;
        self.found.extend(node.topic.iter().filter(|_| is_end).cloned());
        if self.visited >= self.most {
            return ControlFlow::Break(());
        }
        self.below(node, rest, false, None)?;
        self.path.pop();
        ControlFlow::Continue(())
    }

    /// Goes on below a node that an earlier slice has visited.
    fn resume(&mut self, name: &'a str, node: &'a Node<T>, rest: Option<&str>, deeper: Option<&str>) -> ControlFlow<()> {
        self.path.push(name);
        self.below(node, rest, false, deeper)?;
        self.path.pop();
        ControlFlow::Continue(())
    }
}

fn split(tokens: &str) -> (&str, Option<&str>) {
    tokens.split_once('.').map_or((tokens, None), |(token, behind)| (token, Some(behind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    /// All topics of a search, the nodes that it visited, and the most topics of a slice.
    fn search(tree: &TopicTree<TopicName>, pattern: Option<&Pattern>, most: usize) -> (Vec<TopicName>, usize) {
        let (mut found, mut visited, mut after) = (Vec::new(), 0, None);
        loop {
            let slice = tree.slice(pattern, after.as_ref(), most);
            assert!(slice.visited <= most);
            visited += slice.visited;
            found.extend(slice.topics.iter().map(|topic| (**topic).clone()));
            after = slice.next;
            if after.is_none() {
                return (found, visited);
            }
        }
    }

    /// A pattern visits what it matches and no more, however many topics there are; slices add nothing.
    #[test]
    fn a_pattern_visits_only_what_it_may_match() {
        let mut tree = TopicTree::default();
        for number in 0..2_000 {
            tree.insert(&name(&format!("a.n{number}")), Arc::new(name(&format!("a.n{number}"))));
            tree.insert(&name(&format!("b.n{number}.c")), Arc::new(name(&format!("b.n{number}.c"))));
        }
        let pattern = |text| Pattern::parse(text).unwrap();
        for (text, topics, visited) in [("a.n7", 1, 2), ("a.*", 2_000, 2_001), ("b.*.c", 2_000, 4_001), ("b.n7.>", 1, 3), ("c.>", 0, 0)] {
            for most in [1, 7, 1_000, 100_000] {
                let (found, steps) = search(&tree, Some(&pattern(text)), most);
                assert_eq!((found.len(), steps), (topics, visited), "{text} in slices of {most}");
            }
        }
    }

    proptest! {
        /// The tree agrees with `Pattern::matches`, in slices of any size.
        #[test]
        fn the_tree_finds_what_matching_says(
            patterns in proptest::collection::btree_set("(\\$?[ab*]\\.){0,3}[ab*>]", 0..12),
            topics in proptest::collection::btree_set("\\$?[ab](\\.[ab]){0,3}", 0..12),
            most in 1_usize..5,
        ) {
            let topics: Vec<TopicName> = topics.iter().map(|text| name(text)).collect();
            let mut tree = TopicTree::default();
            topics.iter().for_each(|topic| tree.insert(topic, Arc::new(topic.clone())));
            for pattern in patterns.iter().filter_map(|text| Pattern::parse(text).ok()) {
                let mut found = search(&tree, Some(&pattern), most).0;
                found.sort();
                let expected: Vec<_> = topics.iter().filter(|topic| pattern.matches(topic)).cloned().collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(search(&tree, None, most).0.len(), topics.len());
            topics.iter().for_each(|topic| tree.remove(topic));
            prop_assert!(tree.root.children.is_empty());
        }
    }
}
