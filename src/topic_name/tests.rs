//! Names and patterns: which are valid, and what they match.

use super::*;
use proptest::prelude::*;

pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn valid_names_are_accepted() {
    for name in ["a", "quotes.AAPL", "$belfry.stats", "聊天.大厅", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"] {
        assert_eq!(TopicName::parse(name).unwrap().as_str(), name);
    }
    assert!(TopicName::parse(&"x".repeat(255)).is_ok());
}

#[test]
fn invalid_names_and_patterns_are_refused() {
    for name in ["", ".", "a.", ".a", "a..b", "a b", "a\u{3000}b", "a\u{0}", "a/b", "a\"", "a\\b", "a*b", "a>", "*", "a.>"] {
        assert!(TopicName::parse(name).is_err(), "{name:?}");
    }
    assert!(TopicName::parse(&"x".repeat(256)).is_err());
    assert!(TopicName::parse("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q").is_err());
    assert!(Pattern::parse("a.>.b").is_err());
    assert!(Pattern::parse("a*.b").is_err());
}

/// PROTOCOL 2: only the first token `$belfry` is the gateway's own.
#[test]
fn names_of_the_gateway_are_recognized() {
    let is_own = |text| name(text).is_own();
    assert!(is_own("$belfry.stats") && is_own("$belfry"));
    assert!(!is_own("$belfry:a") && !is_own("$belfryx.a") && !is_own("$mine.a") && !is_own("a.$belfry"));
}

#[test]
fn wildcards_match_as_in_nats() {
    assert!(pattern("quotes.*").matches(&name("quotes.AAPL")));
    assert!(!pattern("quotes.*").matches(&name("quotes.us.AAPL")));
    assert!(pattern("quotes.>").matches(&name("quotes.us.AAPL")));
    assert!(!pattern("quotes.>").matches(&name("quotes")));
    assert!(!pattern(">").matches(&name("$belfry.stats")));
    assert!(!pattern("*.stats").matches(&name("$belfry.stats")));
    assert!(pattern("$belfry.>").matches(&name("$belfry.stats")));
}

#[test]
fn a_grant_covers_a_pattern_only_as_a_whole() {
    assert!(pattern("a.>").covers(&pattern("a.*")));
    assert!(pattern("a.>").covers(&pattern("a.b")));
    assert!(pattern("a.>").covers(&pattern("a.>")));
    assert!(!pattern("a.>").covers(&pattern(">")));
    assert!(!pattern("a.*").covers(&pattern("a.>")));
    assert!(!pattern(">").covers(&pattern("$belfry.>")));
}

proptest! {
    /// A pattern that covers another matches each topic that the other matches.
    #[test]
    fn covering_implies_matching(wide in "([ab*]\\.){0,3}[ab*>]", narrow in "([ab*]\\.){0,3}[ab*>]", topic in "([ab]\\.){0,4}[ab]") {
        let (wide, narrow, topic) = (pattern(&wide), pattern(&narrow), name(&topic));
        if wide.covers(&narrow) && narrow.matches(&topic) {
            prop_assert!(wide.matches(&topic));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,300}") {
        let _ = (TopicName::parse(&text), Pattern::parse(&text));
    }
}
