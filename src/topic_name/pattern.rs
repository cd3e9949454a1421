//! `Pattern`: what a subscription covers.

use std::sync::Arc;

use super::error::TopicNameError;
use super::name::TopicName;
use super::tokens::{Shape, TOKENS_MAX, covers, shape_of, shown_as_text};

/// What a subscription covers: a topic's name, or one with `*` and a last `>` in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    pub(super) text: Arc<str>,
    wild: bool,
}

impl Pattern {
    /// Checks `text` as a name or a pattern.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        let wild = matches!(shape_of(text, false)?, Shape::Pattern);
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

    /// Which of its tokens are `*`.
    pub fn stars(&self) -> Stars {
        let at = |(index, token)| if token == "*" { 1_u16 << index } else { 0 };
        Stars(self.tokens().take(TOKENS_MAX).enumerate().map(at).sum())
    }

    /// Whether `topic` is one of its topics. A wildcard as first token never matches one that begins with `$`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        #[cfg(test)]
        super::tokens::COMPARISONS.set(super::tokens::COMPARISONS.get() + 1);
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

/// A pattern's shape: which of its tokens are `*`, the first at the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stars(u16);

impl Stars {
    /// How many tokens are `*`.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl From<TopicName> for Pattern {
    fn from(name: TopicName) -> Self {
        Self { text: name.0, wild: false }
    }
}

shown_as_text!(Pattern);
