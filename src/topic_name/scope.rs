//! What a rule or a grant covers: a pattern, or a namespace.

use std::sync::Arc;

use super::error::TopicNameError;
use super::name::TopicName;
use super::pattern::Pattern;
use super::tokens::{covers, overlap, shape_of, shown_as_text};

/// The text in a grant that the session's user replaces.
const USER: &str = "{user}";

/// What a rule or a grant covers: a [`Pattern`], or one whose first token is a namespace. A namespace is a prefix that
/// ends with
/// `:` and a wildcard: `chat:*` is one token that begins with `chat:` and is longer, `chat:>` is that with any tokens
/// behind it. No session subscribes to a namespace.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Checks `text` as a name, a pattern or a namespace.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        shape_of(text, true)?;
        Ok(Self(text.into()))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `topic` is one of its topics. A wildcard as first token never matches one that begins with `$`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        #[cfg(test)]
        super::tokens::COMPARISONS.set(super::tokens::COMPARISONS.get() + 1);
        covers(self.tokens(), topic.tokens())
    }

    /// Whether every topic of `pattern` is one of its own: `a.>` covers `a.*` and `a.b`, not `>`.
    pub fn covers(&self, pattern: &Pattern) -> bool {
        covers(self.tokens(), pattern.tokens())
    }

    /// Whether some topic is one of its own and of `pattern`.
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        overlap(self.tokens(), pattern.tokens())
    }

    /// Whether every topic of `other` is one of its own: `*` covers `chat:*`, `chat:>` covers `chat:*` and `chat:a.b`.
    pub fn covers_all_of(&self, other: &Scope) -> bool {
        covers(self.tokens(), other.tokens())
    }

    /// Whether it holds `{user}`.
    pub fn names_user(&self) -> bool {
        self.0.contains(USER)
    }

    /// What it covers for `user`, in a grant: `{user}` is replaced. `None` without a user, and where the user is no
    /// token or the result no scope. A user can't spell a `$` at the beginning either, which only the grant itself may
    /// name.
    pub fn for_user(&self, user: Option<&str>) -> Option<Self> {
        if !self.names_user() {
            return Some(self.clone());
        }
        let user = user.filter(|user| TopicName::parse(user).is_ok_and(|name| name.tokens().count() == 1))?;
        let scope = Self::parse(&self.0.replace(USER, user)).ok()?;
        (self.0.starts_with('$') || !scope.0.starts_with('$')).then_some(scope)
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl From<Pattern> for Scope {
    fn from(pattern: Pattern) -> Self {
        Self(pattern.text)
    }
}

shown_as_text!(Scope);

#[cfg(test)]
mod tests {
    use super::super::tests::{name as topic, pattern};
    use super::*;
    use proptest::prelude::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    /// PROTOCOL 2: `chat:*` matches one token that continues after `chat:`. `chat:>` also matches with more tokens
    /// after it.
    #[test]
    fn a_namespace_matches_names_with_its_prefix() {
        for (text, taken, left) in [
            ("chat:*", vec!["chat:a", "chat:a:b", "chat:大廳"], vec!["chat:", "chat", "chat.a", "chatter:a", "chat:a.b", "x.chat:a"]),
            ("chat:>", vec!["chat:a", "chat:a.b", "chat:a.b.c"], vec!["chat:", "chat:.b", "chat.a", "chatter:a.b"]),
            ("chat:*.b", vec!["chat:a.b"], vec!["chat:a", "chat:.b", "chat:a.c", "chat:a.b.c"]),
            ("chat:*.>", vec!["chat:a.b", "chat:a.b.c"], vec!["chat:a", "chat:.b"]),
            ("a:b:*", vec!["a:b:c"], vec!["a:c", "a:b:"]),
            ("$own:>", vec!["$own:a", "$own:a.b"], vec!["own:a"]),
            (":*", vec![":a"], vec![":", "a:b"]),
        ] {
            taken.iter().for_each(|name| assert!(scope(text).matches(&topic(name)), "{text} matches {name}"));
            let left = left.iter().filter_map(|name| TopicName::parse(name).ok());
            left.for_each(|name| assert!(!scope(text).matches(&name), "{text} does not take {name}"));
        }
    }

    #[test]
    fn a_namespace_is_covered_by_wider_scopes() {
        for (wide, narrow) in [
            ("*", "chat:*"),
            (">", "chat:*"),
            (">", "chat:>"),
            ("chat:>", "chat:*"),
            ("chat:>", "chat:>"),
            ("chat:>", "chat:a.b"),
            ("chat:>", "chat:a.>"),
            ("chat:>", "chat:a:*"),
            ("chat:>", "chat:*.b"),
            ("chat:*", "chat:a:*"),
            ("chat:*.>", "chat:*.*"),
            ("*.>", "chat:*.b"),
        ] {
            assert!(scope(wide).covers_all_of(&scope(narrow)), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [
            ("*", "chat:>"),
            ("chat:*", "chat:>"),
            ("chat:*", "*"),
            ("chat:>", ">"),
            ("chat:a:*", "chat:*"),
            ("chat:a", "chat:*"),
            ("*.>", "chat:>"),
            (">", "$own:*"),
        ] {
            assert!(!scope(wide).covers_all_of(&scope(narrow)), "{wide} does not cover {narrow}");
        }
        assert!(scope("chat:>").covers(&pattern("chat:a.*")));
        assert!(!scope("chat:>").covers(&pattern("*")));
    }

    #[test]
    fn malformed_scopes_are_refused() {
        for text in ["chat*", "chat>", "a.chat:*", "chat:*x", "chat:>.b", "chat:>.>", "chat:**", "ch*at:*", "chat :*", "chat/:*", ""] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
        for text in ["chat:*", "chat:>", "a:*"] {
            assert!(Pattern::parse(text).is_err() && TopicName::parse(text).is_err(), "{text}");
        }
        let error = Scope::parse("chat*").unwrap_err().to_string();
        assert!(error.contains("chat*") && error.contains("chat:*"), "{error}");
    }

    /// PROTOCOL 2: `{user}` is the session's user. A session without a user does not have such a grant.
    #[test]
    fn the_user_is_inserted_into_a_grant() {
        let for_user = |text: &str, user| scope(text).for_user(user).map(|scope: Scope| scope.to_string());
        for (text, user, expected) in [
            ("#{user}", Some("42"), Some("#42")),
            ("a.{user}.>", Some("ann"), Some("a.ann.>")),
            ("{user}:*", Some("ann"), Some("ann:*")),
            ("{user}.{user}", Some("{user}"), Some("{user}.{user}")),
            ("$p.{user}", Some("$ann"), Some("$p.$ann")),
            ("a.>", None, Some("a.>")),
            ("#{user}", None, None),
        ] {
            assert_eq!(for_user(text, user).as_deref(), expected, "{text} {user:?}");
        }
        for user in ["", "a.b", "*", ">", "a b", "a/b", "a\"", "chat:*", &"x".repeat(255), "$belfry"] {
            assert_eq!(for_user("{user}.>", Some(user)), None, "{user}");
        }
    }

    proptest! {
        /// A scope that covers another matches each topic that the other matches. A pattern is the same as a scope.
        #[test]
        fn covering_implies_matching(
            wide in "(([ab]:)?[ab*>]|a:a:\\*)(\\.[ab*]){0,2}(\\.>)?",
            narrow in "(([ab]:)?[ab*>]|a:a:\\*)(\\.[ab*]){0,2}(\\.>)?",
            name in "\\$?([ab]:){0,2}[ab]?(\\.[ab]){0,3}",
        ) {
            let (Ok(wide), Ok(narrow), Ok(name)) = (Scope::parse(&wide), Scope::parse(&narrow), TopicName::parse(&name)) else {
                return Ok(());
            };
            if wide.covers_all_of(&narrow) && narrow.matches(&name) {
                prop_assert!(wide.matches(&name));
            }
            prop_assert!(wide.covers_all_of(&wide));
            prop_assert_eq!(wide.matches(&name), wide.covers(&Pattern::from(name.clone())));
            if let Ok(pattern) = Pattern::parse(wide.as_str()) {
                prop_assert_eq!(pattern.matches(&name), wide.matches(&name));
            }
        }

        /// A user's grant covers no topic of another user's, and one token only.
        #[test]
        fn a_user_is_one_token(user in "\\PC{0,20}", other in "[a-z*>.$:]{1,6}") {
            if let Some(scope) = scope("p.{user}.x").for_user(Some(&user)) {
                let own = topic(&format!("p.{user}.x"));
                prop_assert!(scope.matches(&own));
                if let Ok(name) = TopicName::parse(&format!("p.{other}.x")) {
                    prop_assert_eq!(scope.matches(&name), user == other);
                }
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}") {
            let _ = Scope::parse(&text).map(|scope| scope.for_user(Some(&text)));
        }
    }
}
