//! Finds the first rule that covers a later one, without a comparison of all pairs.

use std::collections::{BTreeMap, HashMap};

use crate::config::rules::{Piece, shape_of, texts};
use crate::topic_name::Scope;

/// The patterns of one shape with the first number of each, by their literal texts.
type ByTexts<'a> = HashMap<Vec<&'a str>, (usize, &'a Scope)>;

/// Numbered patterns. Two patterns with the same shape and literal texts are equal, so one look-up for each shape is
/// enough. Most files have few shapes.
#[derive(Default)]
pub(super) struct EarlierRules<'a> {
    by_shape: BTreeMap<Vec<Piece>, ByTexts<'a>>,
}

impl<'a> EarlierRules<'a> {
    /// Adds a pattern. Numbers must ascend.
    pub(super) fn add(&mut self, number: usize, pattern: &'a Scope) {
        let shape = shape_of(pattern.as_str());
        let Some(texts) = texts_of(pattern, &shape) else { return };
        self.by_shape.entry(shape).or_default().entry(texts).or_insert((number, pattern));
    }

    /// The lowest number of a pattern that may cover `pattern` and for which `covers` holds.
    pub(super) fn first(&self, pattern: &Scope, covers: impl Fn(&Scope) -> bool) -> Option<usize> {
        let alike = self.by_shape.iter().filter_map(|(shape, patterns)| patterns.get(&texts_of(pattern, shape)?));
        alike.filter(|(_, wide)| covers(wide)).map(|&(number, _)| number).min()
    }
}

/// The texts of a pattern at the literal places of a shape; `None` if the numbers of tokens do not fit.
fn texts_of<'s>(pattern: &'s Scope, shape: &[Piece]) -> Option<Vec<&'s str>> {
    let mut found = Vec::new();
    texts(pattern.as_str(), shape, &mut found).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn scopes(texts: impl IntoIterator<Item = String>) -> Vec<Scope> {
        texts.into_iter().filter_map(|text| Scope::parse(&text).ok()).collect()
    }

    /// For each pattern, the first earlier one that covers it; and how many were tried in all.
    fn firsts(patterns: &[Scope]) -> (Vec<Option<usize>>, usize) {
        let tried = Cell::new(0);
        let mut earlier = EarlierRules::default();
        let first = |(number, pattern)| {
            let first = earlier.first(pattern, |wide| {
                tried.set(tried.get() + 1);
                wide.covers_all_of(pattern)
            });
            earlier.add(number, pattern);
            first
        };
        (patterns.iter().enumerate().map(first).collect(), tried.get())
    }

    /// For 10,000 rules few are tried, even if all begin with a wildcard. The bug: `check` compared each rule with all
    /// before it.
    #[test]
    fn few_are_tried() {
        for beginning in ["t", "*.t", "t:*.t"] {
            let texts = (0..10_000).map(|number| format!("{beginning}{number}.*.>")).chain([">".to_owned(), "t3.>".to_owned()]);
            let (firsts, tried) = firsts(&scopes(texts));
            assert!(firsts[..10_001].iter().all(Option::is_none) && firsts[10_001] == Some(10_000));
            assert!(tried < 20_000, "{beginning}: {tried}");
        }
    }

    proptest! {
        /// The result equals that of a full search.
        #[test]
        fn the_first_is_found(texts in prop::collection::vec("(a|b|a:\\*|a:b:\\*|a:>|a:b|\\*|\\$a)(\\.(a|b|\\*)){0,2}(\\.>)?", 1..24)) {
            let patterns = scopes(texts);
            let all = |index: usize| (0..index).find(|&earlier| patterns[earlier].covers_all_of(&patterns[index]));
            prop_assert_eq!(firsts(&patterns).0, (0..patterns.len()).map(all).collect::<Vec<_>>());
        }
    }
}
