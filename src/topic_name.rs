//! Topic names: `TopicName` for one topic, `Pattern` for what a subscription or a grant covers (PROTOCOL section 2).

use std::fmt;
use std::sync::Arc;

use crate::codes::ErrorCode;

/// A name's longest form, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The most tokens that a name may have.
pub const TOKENS_MAX: usize = 16;

/// Why a text is not a topic name or not a pattern; the message says what would be right. It repeats the text as it was given,
/// so that a client finds it there: whatever shows it to a terminal escapes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Nothing at all.
    #[error("the topic name is empty; write tokens joined by dots, as in `chat.lobby`")]
    Empty,
    /// More bytes than [`NAME_BYTES_MAX`].
    #[error("topic \"{name}…\" has {bytes} bytes, the most is 255")]
    TooLong {
        /// The first 32 characters of what was given.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// More tokens than [`TOKENS_MAX`].
    #[error("topic \"{name}\" has {tokens} tokens, the most is 16")]
    TooManyTokens {
        /// What was given.
        name: String,
        /// How many tokens it has.
        tokens: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("token {index} of topic \"{name}\" is empty; write `a.b`, not `a..b`")]
    EmptyToken {
        /// What was given.
        name: String,
        /// Which token, counted from 1.
        index: usize,
    },
    /// A character that no token may hold.
    #[error("topic \"{name}\" holds {character:?}; a token is text without white space, control characters and . * > / \" \\")]
    Character {
        /// What was given.
        name: String,
        /// The first such character.
        character: char,
    },
    /// A wildcard where one topic is meant.
    #[error("\"{name}\" is a pattern; one topic by its name is meant here")]
    Wildcard {
        /// What was given.
        name: String,
    },
    /// `>` before the last token.
    #[error("`>` in pattern \"{name}\" stands before the end; it may only be the last token")]
    TailNotLast {
        /// What was given.
        name: String,
    },
}

impl TopicNameError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::BadTopic
    }

    /// What was given, or how it begins.
    pub fn name(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::TooLong { name, .. }
            | Self::TooManyTokens { name, .. }
            | Self::EmptyToken { name, .. }
            | Self::Character { name, .. }
            | Self::Wildcard { name }
            | Self::TailNotLast { name } => name,
        }
    }
}

/// One topic's name, checked once at the door; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `text` as the name of one topic.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        match shape(text)? {
            Shape::Name => Ok(Self(text.into())),
            Shape::Pattern => Err(TopicNameError::Wildcard { name: text.to_owned() }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether it is one of the gateway's own (`$belfry.…`), where nobody else publishes.
    pub fn is_own(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// What a subscription or a grant covers: a topic's name, or one with `*` and a last `>` in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    text: Arc<str>,
    wild: bool,
}

impl Pattern {
    /// Checks `text` as a name or a pattern.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        let wild = matches!(shape(text)?, Shape::Pattern);
        Ok(Self { text: text.into(), wild })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its tokens, wildcards included, in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }

    /// The topic that it names, if it has no wildcard.
    pub fn as_name(&self) -> Option<TopicName> {
        (!self.wild).then(|| TopicName(Arc::clone(&self.text)))
    }

    /// Whether it holds a wildcard.
    pub fn is_wild(&self) -> bool {
        self.wild
    }

    /// Whether `topic` is one of its topics. A wildcard as first token never matches one that begins with `$`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        #[cfg(test)]
        COMPARISONS.set(COMPARISONS.get() + 1);
        if !self.wild {
            return self.text == topic.0;
        }
        covers(self.tokens(), topic.tokens())
    }

    /// Whether every topic of `other` is one of its own: `a.>` covers `a.*` and `a.b`, not `>`.
    pub fn covers(&self, other: &Pattern) -> bool {
        covers(self.tokens(), other.tokens())
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread has compared a pattern with a topic.
    pub static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl From<TopicName> for Pattern {
    fn from(name: TopicName) -> Self {
        Self { text: name.0, wild: false }
    }
}

fn covers<'a>(mut wide: impl Iterator<Item = &'a str>, mut narrow: impl Iterator<Item = &'a str>) -> bool {
    let mut first = true;
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(">" | "*"), Some(token)) if first && token.starts_with('$') => return false,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(wide), Some(narrow)) if wide == narrow => {}
            _ => return false,
        }
        first = false;
    }
}

enum Shape {
    Name,
    Pattern,
}

fn shape(text: &str) -> Result<Shape, TopicNameError> {
    if text.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(TopicNameError::TooLong { name: text.chars().take(32).collect(), bytes: text.len() });
    }
    let tokens = text.split('.').count();
    if tokens > TOKENS_MAX {
        return Err(TopicNameError::TooManyTokens { name: text.to_owned(), tokens });
    }
    let mut shape = Shape::Name;
    for (index, token) in text.split('.').enumerate() {
        match token {
            "" => return Err(TopicNameError::EmptyToken { name: text.to_owned(), index: index + 1 }),
            "*" => shape = Shape::Pattern,
            ">" if index + 1 == tokens => shape = Shape::Pattern,
            ">" => return Err(TopicNameError::TailNotLast { name: text.to_owned() }),
            _ => {
                if let Some(character) = token.chars().find(|&character| !may_stand_in_token(character)) {
                    return Err(TopicNameError::Character { name: text.to_owned(), character });
                }
            }
        }
    }
    Ok(shape)
}

fn may_stand_in_token(character: char) -> bool {
    !character.is_whitespace() && !character.is_control() && !matches!(character, '*' | '>' | '/' | '"' | '\\')
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn names_that_are_taken() {
        for name in ["a", "quotes.AAPL", "$belfry.stats", "聊天.大厅", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"] {
            assert_eq!(TopicName::parse(name).unwrap().as_str(), name);
        }
        assert!(TopicName::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn names_that_are_refused() {
        for name in ["", ".", "a.", ".a", "a..b", "a b", "a\u{3000}b", "a\u{0}", "a/b", "a\"", "a\\b", "a*b", "a>", "*", "a.>"] {
            assert!(TopicName::parse(name).is_err(), "{name:?}");
        }
        assert!(TopicName::parse(&"x".repeat(256)).is_err());
        assert!(TopicName::parse("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q").is_err());
        assert!(Pattern::parse("a.>.b").is_err());
        assert!(Pattern::parse("a*.b").is_err());
    }

    #[test]
    fn wildcards_match_as_in_nats() {
        let name = |text| TopicName::parse(text).unwrap();
        assert!(pattern("quotes.*").matches(&name("quotes.AAPL")));
        assert!(!pattern("quotes.*").matches(&name("quotes.us.AAPL")));
        assert!(pattern("quotes.>").matches(&name("quotes.us.AAPL")));
        assert!(!pattern("quotes.>").matches(&name("quotes")));
        assert!(!pattern(">").matches(&name("$belfry.stats")));
        assert!(!pattern("*.stats").matches(&name("$belfry.stats")));
        assert!(pattern("$belfry.>").matches(&name("$belfry.stats")));
    }

    #[test]
    fn a_grant_covers_a_pattern_only_whole() {
        assert!(pattern("a.>").covers(&pattern("a.*")));
        assert!(pattern("a.>").covers(&pattern("a.b")));
        assert!(pattern("a.>").covers(&pattern("a.>")));
        assert!(!pattern("a.>").covers(&pattern(">")));
        assert!(!pattern("a.*").covers(&pattern("a.>")));
        assert!(!pattern(">").covers(&pattern("$belfry.>")));
    }

    proptest! {
        /// What a grant covers, it covers for each topic that the narrower pattern matches.
        #[test]
        fn covering_is_matching_for_all(wide in "([ab*]\\.){0,3}[ab*>]", narrow in "([ab*]\\.){0,3}[ab*>]", topic in "([ab]\\.){0,4}[ab]") {
            let (wide, narrow, topic) = (pattern(&wide), pattern(&narrow), TopicName::parse(&topic).unwrap());
            if wide.covers(&narrow) && narrow.matches(&topic) {
                prop_assert!(wide.matches(&topic));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}") {
            let _ = (TopicName::parse(&text), Pattern::parse(&text));
        }
    }
}
