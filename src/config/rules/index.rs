//! An index of rules by the shape of their patterns, so that a topic's rule is found without trying all.

use std::collections::HashMap;

use super::shape::{Piece, shape_of, texts};
use crate::topic_name::Scope;

/// The numbers of patterns, by shape and literal texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleIndex {
    /// Sorted by [`PatternsOfShape::first`].
    shapes: Vec<PatternsOfShape>,
    /// The index of each shape in `shapes`.
    indices: HashMap<Vec<Piece>, usize>,
}

/// The patterns of one shape.
#[derive(Debug, Clone, PartialEq)]
struct PatternsOfShape {
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
        patterns.for_each(|(number, pattern)| index.add(number, pattern));
        index
    }

    /// Adds a pattern. Numbers must ascend.
    pub fn add(&mut self, number: usize, pattern: &Scope) {
        let (shape, mut found) = (shape_of(pattern.as_str()), Vec::new());
        if !texts(pattern.as_str(), &shape, &mut found) {
            return;
        }
        let index = *self.indices.entry(shape.clone()).or_insert_with(|| {
            self.shapes.push(PatternsOfShape { shape, first: number, by_texts: HashMap::new() });
            self.shapes.len() - 1
        });
        self.shapes[index].by_texts.entry(found.join(".").into()).or_insert(number);
    }

    /// The lowest number of a pattern that may match `name`, a topic or a narrower pattern, and for which `matches`
    /// holds.
    pub fn first(&self, name: &str, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut lowest, mut found) = (usize::MAX, Vec::new());
        for PatternsOfShape { shape, first, by_texts } in &self.shapes {
            if *first > lowest {
                break;
            }
            if !texts(name, shape, &mut found) {
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
    use crate::topic_name::TopicName;
    use crate::topic_name::tests::name;

    /// The first of `patterns` that matches, and how many were tried.
    fn first(patterns: &[Scope], topic: &TopicName) -> (Option<usize>, usize) {
        let tried = Cell::new(0);
        let matches = |number: usize| {
            tried.set(tried.get() + 1);
            patterns[number].matches(topic)
        };
        (RuleIndex::new(patterns.iter().enumerate()).first(topic.as_str(), matches), tried.get())
    }

    /// For each pattern, the first earlier one that covers it; and how many were tried in all.
    fn firsts(patterns: &[Scope]) -> (Vec<Option<usize>>, usize) {
        let tried = Cell::new(0);
        let mut earlier = RuleIndex::default();
        let first = |(number, pattern): (usize, &Scope)| {
            let first = earlier.first(pattern.as_str(), |wide| {
                tried.set(tried.get() + 1);
                patterns[wide].covers_all_of(pattern)
            });
            earlier.add(number, pattern);
            first
        };
        (patterns.iter().enumerate().map(first).collect(), tried.get())
    }

    /// For 10,000 rules few are tried, even if all begin with a wildcard. The bug: `check` compared each rule with all
    /// before it.
    #[test]
    fn few_patterns_are_tried_for_a_covering_one() {
        for beginning in ["t", "*.t", "t:*.t"] {
            let texts = (0..10_000).map(|number| format!("{beginning}{number}.*.>")).chain([">".to_owned(), "t3.>".to_owned()]);
            let (firsts, tried) = firsts(&texts.map(|text| Scope::parse(&text).unwrap()).collect::<Vec<_>>());
            assert!(firsts[..10_001].iter().all(Option::is_none) && firsts[10_001] == Some(10_000));
            assert!(tried < 20_000, "{beginning}: {tried}");
        }
    }

    /// Among 10,000 rules few are tried. The bug: all were tried for each new topic.
    #[test]
    fn few_patterns_are_tried_for_a_topic() {
        let texts = (0..10_000).map(|number| format!("t{number}.*.>")).chain(["*.b.*".to_owned(), "x:*.a".to_owned(), ">".to_owned()]);
        let patterns: Vec<Scope> = texts.map(|text| Scope::parse(&text).unwrap()).collect();
        for (topic, number) in [("t7.a.b", 7), ("t9999.b.c", 9_999), ("u.b.c", 10_000), ("x:y.a", 10_001), ("t7", 10_002)] {
            let (found, tried) = first(&patterns, &name(topic));
            assert_eq!(found, Some(number), "{topic}");
            assert!(tried <= 4, "{topic}: {tried}");
        }
    }

    proptest! {
        /// The first earlier pattern that covers another equals that of a full search.
        #[test]
        fn the_first_covering_pattern_is_found(
            texts in prop::collection::vec("(a|b|a:\\*|a:b:\\*|a:>|a:b|\\*|\\$a)(\\.(a|b|\\*)){0,2}(\\.>)?", 1..24),
        ) {
            let patterns: Vec<Scope> = texts.iter().filter_map(|text| Scope::parse(text).ok()).collect();
            let all = |index: usize| (0..index).find(|&earlier| patterns[earlier].covers_all_of(&patterns[index]));
            prop_assert_eq!(firsts(&patterns).0, (0..patterns.len()).map(all).collect::<Vec<_>>());
        }

        /// The first pattern that matches equals that of a search in order.
        #[test]
        fn the_first_matching_pattern_is_found(
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
