//! Names, patterns and what they match, beside a matcher that is plain to read (PROTOCOL section 2).
//! The input is patterns, a line each, and a name behind them.
#![no_main]

use belfry::hub::PatternTrie;
use belfry::topic_name::{Pattern, Scope, TopicName};
use libfuzzer_sys::fuzz_target;

/// Patterns that are looked at, so that an input of many lines stays cheap.
const PATTERNS_MAX: usize = 16;

fuzz_target!(|text: &str| {
    let Some((patterns, name)) = text.rsplit_once('\n') else { return };
    let name = TopicName::parse(name);
    if let Ok(name) = &name {
        assert!(name.tokens().all(|token| !token.is_empty()) && name.tokens().count() <= 16);
        assert!(Pattern::parse(name.as_str()).is_ok_and(|pattern| !pattern.is_wild() && pattern.matches(name)));
    }
    if let Ok(name) = &name {
        scopes_cover_what_they_match(patterns, name);
    }
    let patterns: Vec<Pattern> = patterns.split('\n').take(PATTERNS_MAX).filter_map(|text| Pattern::parse(text).ok()).collect();
    let Ok(name) = name else { return };
    for pattern in &patterns {
        assert_eq!(pattern.matches(&name), matches(pattern.as_str(), name.as_str()), "{pattern} and {name}");
    }
    for (wide, narrow) in patterns.iter().flat_map(|wide| patterns.iter().map(move |narrow| (wide, narrow))) {
        assert!(!(wide.covers(narrow) && narrow.matches(&name)) || wide.matches(&name), "{wide} covers {narrow}, and not {name}");
    }
    find_in_trie(&patterns, &name);
});

/// What grants and rules cover: no scope covers another that matches more than itself, and a pattern is the same as a scope.
fn scopes_cover_what_they_match(texts: &str, name: &TopicName) {
    let scopes: Vec<Scope> = texts.split('\n').take(PATTERNS_MAX).filter_map(|text| Scope::parse(text).ok()).collect();
    for (wide, narrow) in scopes.iter().flat_map(|wide| scopes.iter().map(move |narrow| (wide, narrow))) {
        assert!(!(wide.covers_all_of(narrow) && narrow.matches(name)) || wide.matches(name), "{wide} covers {narrow}, and not {name}");
    }
    for scope in &scopes {
        if let Ok(pattern) = Pattern::parse(scope.as_str()) {
            assert_eq!(pattern.matches(name), scope.matches(name), "{scope} and {name}");
        }
        assert!(scope.for_user(Some(name.as_str())).is_none_or(|scope| !scope.as_str().is_empty()));
    }
}

/// The trie finds what matching each pattern finds, also after some of them have gone; without any it is empty.
fn find_in_trie(patterns: &[Pattern], name: &TopicName) {
    let mut trie = PatternTrie::default();
    patterns.iter().for_each(|pattern| *trie.entry(pattern) = Some(pattern.clone()));
    for gone in 0..=patterns.len() {
        let (removed, kept) = patterns.split_at(gone);
        let mut expected: Vec<_> = kept.iter().filter(|pattern| !removed.contains(pattern) && pattern.matches(name)).cloned().collect();
        let mut found = Vec::new();
        trie.matches(name, |pattern| found.push(pattern.clone()));
        found.sort();
        expected.sort();
        expected.dedup();
        assert_eq!(found, expected, "of {kept:?} for {name}");
        if let Some(next) = kept.first() {
            assert_eq!(trie.remove(next).is_some(), !removed.contains(next), "{next}");
        }
    }
    assert!(trie.is_empty());
}

fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('$') && (pattern.starts_with('*') || pattern == ">") {
        return false;
    }
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), name.split('.').collect());
    match pattern.split_last() {
        Some((&">", front)) => {
            name.len() > front.len() && front.iter().zip(&name).all(|(pattern, token)| pattern == token || *pattern == "*")
        }
        _ => pattern.len() == name.len() && pattern.iter().zip(&name).all(|(pattern, token)| pattern == token || *pattern == "*"),
    }
}
