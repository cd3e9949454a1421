//! An index of rules by the shape of their patterns, so that a topic's rule is found without trying all.

use std::collections::HashMap;

use super::shape::{Piece, shape_of, texts};
use crate::topic_name::{Scope, TopicName};

/// The numbers of patterns, by shape and literal texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleIndex {
    /// Sorted by [`OfShape::first`].
    shapes: Vec<OfShape>,
}

/// The patterns of one shape.
#[derive(Debug, Clone, PartialEq)]
struct OfShape {
    shape: Vec<Piece>,
    /// The lowest number among them.
    first: usize,
    /// The lowest number for each sequence of literal texts, joined by dots.
    by_texts: HashMap<Box<str>, usize>,
}

impl RuleIndex {
    /// An index of `patterns`, whose numbers must ascend.
    pub fn new<'a>(patterns: impl Iterator<Item = (usize, &'a Scope)>) -> Self {
        let mut index = Self::default();
        let mut places: HashMap<Vec<Piece>, usize> = HashMap::new();
        let mut found = Vec::new();
        for (number, pattern) in patterns {
            let shape = shape_of(pattern.as_str());
            if !texts(pattern.as_str(), &shape, &mut found) {
                continue;
            }
            let place = *places.entry(shape.clone()).or_insert_with(|| {
                index.shapes.push(OfShape { shape, first: number, by_texts: HashMap::new() });
                index.shapes.len() - 1
            });
            index.shapes[place].by_texts.entry(found.join(".").into()).or_insert(number);
        }
        index
    }

    /// The lowest number of a pattern that may match `topic` and for which `matches` holds.
    pub fn first(&self, topic: &TopicName, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut lowest, mut found) = (usize::MAX, Vec::new());
        for OfShape { shape, first, by_texts } in &self.shapes {
            if *first > lowest {
                break;
            }
            if !texts(topic.as_str(), shape, &mut found) {
                continue;
            }
            let number = by_texts.get(&*found.join("."));
            lowest = number.copied().filter(|&number| number < lowest && matches(number)).unwrap_or(lowest);
        }
        (lowest < usize::MAX).then_some(lowest)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// The first of `patterns` that matches, and how many were tried.
    fn first(patterns: &[Scope], topic: &TopicName) -> (Option<usize>, usize) {
        let tried = Cell::new(0);
        let matches = |number: usize| {
            tried.set(tried.get() + 1);
            patterns[number].matches(topic)
        };
        (RuleIndex::new(patterns.iter().enumerate()).first(topic, matches), tried.get())
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    /// Among 10,000 rules few are tried. The bug: all were tried for each new topic.
    #[test]
    fn few_are_tried() {
        let texts = (0..10_000).map(|number| format!("t{number}.*.>")).chain(["*.b.*".to_owned(), "x:*.a".to_owned(), ">".to_owned()]);
        let patterns: Vec<Scope> = texts.map(|text| Scope::parse(&text).unwrap()).collect();
        for (topic, number) in [("t7.a.b", 7), ("t9999.b.c", 9_999), ("u.b.c", 10_000), ("x:y.a", 10_001), ("t7", 10_002)] {
            let (found, tried) = first(&patterns, &name(topic));
            assert_eq!(found, Some(number), "{topic}");
            assert!(tried <= 4, "{topic}: {tried}");
        }
    }

    proptest! {
        /// The result equals that of a search in order.
        #[test]
        fn the_first_is_found(
            texts in prop::collection::vec("(a|b|a:\\*|a:b:\\*|a:>|a:b|\\*|\\$a)(\\.(a|b|\\*)){0,2}(\\.>)?|>", 0..24),
            topics in prop::collection::vec("(a|b|a:b|a:b:c|a:|\\$a)(\\.(a|b)){0,3}", 1..12),
        ) {
            let patterns: Vec<Scope> = texts.iter().filter_map(|text| Scope::parse(text).ok()).collect();
            for topic in topics.iter().filter_map(|text| TopicName::parse(text).ok()) {
                prop_assert_eq!(first(&patterns, &topic).0, patterns.iter().position(|pattern| pattern.matches(&topic)), "{}", topic);
            }
        }
    }
}
