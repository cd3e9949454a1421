//! The index of topics by token, in which patterns find the topics that they match, a slice at a time.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::hub::patterns::{Selection, State};
use crate::topic_name::TopicName;

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

/// The tokens of the node at which a search has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Box<str>);

/// A slice of a search.
#[derive(Debug)]
pub struct Slice<T> {
    /// The topics that were found.
    pub topics: Vec<Arc<T>>,
    /// How many steps the slice took, which is its cost.
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
    /// Adds a topic under its name.
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

    /// Removes a topic, with the nodes that no other topic needs.
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

    /// The topics that `selection` matches from behind `after`, as far as about `most` steps find them.
    pub fn slice(&self, selection: &mut Selection, after: Option<&Cursor>, most: usize) -> Slice<T> {
        let root = selection.begin();
        let mut walk = Walk { selection, found: Vec::new(), path: Vec::new(), visited: 0, most };
        let stopped = walk.below(&self.root, root, after.map(|cursor| &*cursor.0)).is_break();
        let next = stopped.then(|| Cursor(walk.path.join(".").into()));
        Slice { topics: walk.found, visited: walk.visited, next }
    }
}

impl Cursor {
    /// Whether a search that has stopped here would have found `topic`, if the topic was there.
    pub fn has_passed(&self, topic: &TopicName) -> bool {
        topic.tokens().cmp(self.0.split('.')).is_le()
    }
}

struct Walk<'a, 's, T> {
    selection: &'s mut Selection,
    found: Vec<Arc<T>>,
    /// The tokens of the node that is visited.
    path: Vec<&'a str>,
    visited: usize,
    most: usize,
}

impl<'a, T> Walk<'a, '_, T> {
    /// Visits the nodes that the selection matches below `node`, to which `state` belongs. `after`: the tokens from
    /// here to the node at which the last slice stopped.
    fn below(&mut self, node: &'a Node<T>, state: State, after: Option<&str>) -> ControlFlow<()> {
        let after = after.map(split);
        let begin = after.map_or(Bound::Unbounded, |(token, _)| Bound::Included(token));
        let Some(named) = self.selection.next_tokens(state) else {
            let mut children = node.children.range::<str, _>((begin, Bound::Unbounded));
            return children.try_for_each(|(name, child)| self.enter(name, child, state, after));
        };
        // Of the tokens that the patterns name, only those with living topics are visited. Each look-up counts as a
        // step.
        let first = after.map_or(0, |(token, _)| named.partition_point(|name| **name < *token));
        named[first..].iter().try_for_each(|name| {
            self.visited += 1;
            let living = node.children.get_key_value(name);
            living.map_or(ControlFlow::Continue(()), |(name, child)| self.enter(name, child, state, after))
        })
    }

    fn enter(&mut self, name: &'a str, node: &'a Node<T>, from: State, after: Option<(&str, Option<&str>)>) -> ControlFlow<()> {
        let next = self.selection.step(from, name);
        self.visited += 1 + self.selection.take_searched();
        let deeper = match after {
            Some((token, deeper)) if token == name => Some(deeper),
            _ => None,
        };
        let Some(state) = next else { return ControlFlow::Continue(()) };
        self.path.push(name);
        // An earlier slice has visited the node itself, if it stopped at it or below.
        if deeper.is_none() {
            self.found.extend(node.topic.iter().filter(|_| self.selection.is_match(state)).cloned());
            if self.visited >= self.most {
                return ControlFlow::Break(());
            }
        }
        self.below(node, state, deeper.flatten())?;
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
    use crate::topic_name::Pattern;
    use crate::topic_name::tests::{name, pattern};
    use proptest::prelude::*;

    /// The topics that a search finds, and the number of its steps.
    fn search(tree: &TopicTree<TopicName>, mut selection: Selection, most: usize) -> (Vec<TopicName>, usize) {
        let (mut found, mut visited, mut after) = (Vec::new(), 0, None);
        loop {
            let slice = tree.slice(&mut selection, after.as_ref(), most);
            visited += slice.visited;
            found.extend(slice.topics.iter().map(|topic| (**topic).clone()));
            after = slice.next;
            let Some(cursor) = &after else { return (found, visited) };
            assert!(found.iter().all(|topic| cursor.has_passed(topic)));
        }
    }

    fn selection(patterns: &[&str]) -> Selection {
        Selection::of(&patterns.iter().map(|text| pattern(text)).collect::<Vec<_>>())
    }

    /// The number of steps is proportional to the matching topics, for slices of any size.
    #[test]
    fn a_search_visits_only_nodes_that_may_match() {
        let mut tree = TopicTree::default();
        for number in 0..2_000 {
            tree.insert(&name(&format!("a.n{number}")), Arc::new(name(&format!("a.n{number}"))));
            tree.insert(&name(&format!("b.n{number}.c")), Arc::new(name(&format!("b.n{number}.c"))));
        }
        for (text, topics, steps) in [("a.n7", 1, 6), ("a.*", 2_000, 2_010), ("b.*.c", 2_000, 6_010), ("b.n7.>", 1, 10), ("c.>", 0, 1)] {
            for most in [1, 7, 1_000, 100_000] {
                let (found, taken) = search(&tree, selection(&[text]), most);
                assert_eq!(found.len(), topics, "{text} in slices of {most}");
                assert!(taken <= steps + 20 * steps / most, "{text} in slices of {most}: {taken} steps");
            }
        }
    }

    /// The number of steps is not the product of patterns and topics.
    #[test]
    fn many_patterns_are_searched_together() {
        const TOPICS: usize = 2_000;
        let mut tree = TopicTree::default();
        for number in 0..TOPICS {
            let topic = name(&format!("chat.n{number}.a.a.a.a.a.a.a.a"));
            tree.insert(&topic, Arc::new(topic.clone()));
        }
        let wild = |end: &str| -> Vec<String> {
            let tail = |bits: usize| (0..8).map(|bit| if bits >> bit & 1 == 1 { ".*" } else { ".a" }).collect::<String>();
            (0..256).map(|bits| format!("chat.*{}{end}", tail(bits))).collect()
        };
        // The first patterns match all topics. The second would match topics with one more token.
        for (patterns, topics) in [(wild(""), TOPICS), (wild(".b"), 0)] {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let (found, steps) = search(&tree, selection(&patterns), 256);
            assert_eq!(found.len(), topics);
            assert!(steps <= 10 * TOPICS + 2_000, "{steps} steps");
        }
        let named: Vec<String> = (0..1_000).map(|number| format!("chat.n{number}.*.>")).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let (found, steps) = search(&tree, selection(&named), 16);
        assert_eq!(found.len(), 1_000);
        assert!(steps <= 20 * 1_000, "{steps} steps");
    }

    proptest! {
        /// This holds for slices of any size.
        #[test]
        fn the_tree_agrees_with_pattern_matches(
            patterns in proptest::collection::btree_set("(\\$?[ab*]\\.){0,3}[ab*>]", 0..12),
            topics in proptest::collection::btree_set("\\$?[ab](\\.[ab]){0,3}", 0..12),
            most in 1_usize..5,
        ) {
            let topics: Vec<TopicName> = topics.iter().map(|text| name(text)).collect();
            let mut tree = TopicTree::default();
            topics.iter().for_each(|topic| tree.insert(topic, Arc::new(topic.clone())));
            let patterns: Vec<Pattern> = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            for some in (0..=patterns.len()).map(|end| &patterns[..end]).chain(patterns.chunks(1)) {
                let mut found = search(&tree, Selection::of(some), most).0;
                found.sort();
                let expected: Vec<_> = topics.iter().filter(|topic| some.iter().any(|pattern| pattern.matches(topic))).cloned().collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(search(&tree, Selection::all(), most).0.len(), topics.len());
            topics.iter().for_each(|topic| tree.remove(topic));
            prop_assert!(tree.root.children.is_empty());
        }
    }
}
