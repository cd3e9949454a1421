//! Topics with columns of a record, as in `quotes.{symbol}`.

use std::borrow::Cow;

use crate::topic_name::TopicName;

/// A topic, or a topic with `{column}` in it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicTemplate {
    text: String,
    /// Texts and columns in their order.
    parts: Vec<Part>,
    /// The topic, if it has no column.
    topic: Option<TopicName>,
}

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Literal text.
    Text(String),
    /// A column, replaced by the record's value.
    Column(String),
}

impl TopicTemplate {
    /// Reads a topic's name. `{column}` may be anywhere in a token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let named = after.split_once('}').filter(|(column, _)| !column.is_empty());
            let (column, after) = named.ok_or("has a brace without column and end; write as in \"quotes.{symbol}\"")?;
            parts.extend([Part::Text(before.to_owned()), Part::Column(column.to_owned())]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let mut template = Self { text: text.to_owned(), parts, topic: None };
        let topic = TopicName::parse(&template.name(|_| Some("x".into()))?).map_err(|error| format!("is not a topic: {error}"))?;
        if topic.is_own() {
            return Err("is the gateway's own; write a topic whose first token is not $belfry".to_owned());
        }
        template.topic = Some(topic).filter(|_| template.columns().next().is_none());
        Ok(template)
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The columns of the template.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Column(column) = part { Some(column.as_str()) } else { None })
    }

    /// The topic of one record.
    pub fn fill<'a>(&self, cell: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<TopicName, String> {
        if let Some(topic) = &self.topic {
            return Ok(topic.clone());
        }
        let name = self.name(cell)?;
        match TopicName::parse(&name) {
            Ok(topic) if topic.is_own() => Err(format!("topic {name:?} is the gateway's own")),
            topic => topic.map_err(|error| error.to_string()),
        }
    }

    fn name<'a>(&self, cell: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<String, String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Column(column) => name.push_str(&cell(column).ok_or_else(|| format!("it has no {column:?}"))?),
            }
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_cannot_make_a_topic_is_refused() {
        for (text, part) in
            [("quotes.{name", "quotes.{symbol}"), ("a.{}", "without column"), ("$belfry.x", "the gateway's own"), ("a..b", "a topic")]
        {
            assert!(TopicTemplate::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
