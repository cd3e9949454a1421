//! Names, patterns and what they match, beside a matcher that is plain to read (PROTOCOL section 2).
//! The input is two patterns and a name, a line each.
#![no_main]

use belfry::topic_name::{Pattern, TopicName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (Some(wide), Some(narrow), Some(name)) = (lines.next(), lines.next(), lines.next()) else { return };
    let name = TopicName::parse(name);
    if let Ok(name) = &name {
        assert!(name.tokens().all(|token| !token.is_empty()) && name.tokens().count() <= 16);
        assert!(Pattern::parse(name.as_str()).is_ok_and(|pattern| !pattern.is_wild() && pattern.matches(name)));
    }
    let (Ok(wide), Ok(narrow), Ok(name)) = (Pattern::parse(wide), Pattern::parse(narrow), name) else { return };
    for pattern in [&wide, &narrow] {
        assert_eq!(pattern.matches(&name), matches(pattern.as_str(), name.as_str()), "{pattern} and {name}");
    }
    assert!(!(wide.covers(&narrow) && narrow.matches(&name)) || wide.matches(&name), "{wide} covers {narrow}, and not {name}");
});

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
