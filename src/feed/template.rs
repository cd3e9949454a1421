//! The topic of `[[feed.replay]]`, with `{column}` in it.

use std::borrow::Cow;

use crate::config::Problem;
use crate::topic_name::TopicName;

/// A topic, or a topic with `{column}` in it.
pub(super) enum TopicTemplate {
    /// A topic.
    Whole(TopicName),
    /// Texts and columns in their order.
    Parts(Vec<Part>),
}

/// One part of a template.
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// A column, replaced by the record's value.
    Column(String),
}

impl TopicTemplate {
    /// Parses and checks `text`. A topic without a column is checked completely.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = after
                .split_once('}')
                .ok_or_else(|| Problem(format!("feed.replay.topic: {text:?} has a `{{` without its `}}`; write `quotes.{{symbol}}`")))?;
            parts.extend([Part::Text(before.to_owned()), Part::Column(column.to_owned())]);
            rest = after;
        }
        if parts.is_empty() {
            return match TopicName::parse(text) {
                Ok(topic) if topic.is_own() => {
                    Err(Problem(format!("feed.replay.topic: {text:?} is the gateway's own; a feed publishes elsewhere")))
                }
                Ok(topic) => Ok(Self::Whole(topic)),
                Err(error) => Err(Problem(format!("feed.replay.topic: {error}"))),
            };
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self::Parts(parts))
    }

    /// The columns of the template.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let parts = if let Self::Parts(parts) = self { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|part| if let Part::Column(column) = part { Some(column.as_str()) } else { None })
    }

    /// The topic of one record.
    pub fn fill<'a>(&self, cell: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<TopicName, String> {
        let parts = match self {
            Self::Whole(topic) => return Ok(topic.clone()),
            Self::Parts(parts) => parts,
        };
        let mut name = String::new();
        for part in parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Column(column) => name.push_str(&cell(column).ok_or_else(|| format!("it has no {column:?}"))?),
            }
        }
        match TopicName::parse(&name) {
            Ok(topic) if topic.is_own() => Err(format!("topic {name:?} is the gateway's own")),
            Ok(topic) => Ok(topic),
            Err(error) => Err(error.to_string()),
        }
    }
}
