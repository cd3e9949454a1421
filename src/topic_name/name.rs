//! `TopicName`: one topic.

use std::str::FromStr;
use std::sync::Arc;

use super::error::TopicNameError;
use super::tokens::{Shape, shape_of, shown_as_text};

/// The first token of the gateway's own topics.
const OWN_TOKEN: &str = "$belfry";

/// One topic's name, checked once at the door; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(pub(super) Arc<str>);

impl TopicName {
    /// Checks `text` as the name of one topic.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        match shape_of(text, false)? {
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
        self.tokens().next() == Some(OWN_TOKEN)
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, TopicNameError> {
        Self::parse(text)
    }
}

shown_as_text!(TopicName);

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
