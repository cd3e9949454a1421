//! Query strings and path segments, percent-decoded (RFC 3986 §2.1) once and checked.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::topic_name::{Pattern, TopicNameError};

/// Why a query can't be taken as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// What the percent signs stand for is not text.
    #[error("{name} is not UTF-8 once its percent signs are decoded")]
    NotUtf8 {
        /// The parameter, or what the path names.
        name: &'static str,
    },
    /// Not what the parameter takes.
    #[error("{name} is not {right}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        right: &'static str,
    },
}

/// A query string; of several parameters of one name the first counts where one value is meant, unknown ones are ignored.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// What stands behind the question mark.
    pub fn new(text: Option<&'a str>) -> Self {
        Self(text.unwrap_or(""))
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.pairs().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// A parameter's text; one that is there and empty counts as left out.
    pub fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, QueryError> {
        match self.raw(name) {
            None | Some("") => Ok(None),
            Some(raw) => decoded(raw, name).map(Some),
        }
    }

    /// A parameter that is a whole number from 0.
    pub fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, QueryError> {
        let wrong = || QueryError::Value { name, right: "a whole number from 0" };
        self.text(name)?
            .map(|text| match text.bytes().all(|byte| byte.is_ascii_digit()) {
                true => text.parse().map_err(|_| wrong()),
                false => Err(wrong()),
            })
            .transpose()
    }

    /// A parameter that is `true` or `false`.
    pub fn flag(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(QueryError::Value { name, right: "true or false" }),
        }
    }

    /// Patterns joined by commas, each percent-decoded after the commas were found; several parameters of the name add up. Those that
    /// are none stay in the list.
    pub fn topics(&self, name: &'static str) -> Result<Vec<Result<Pattern, TopicNameError>>, QueryError> {
        let lists = self.pairs().filter(|&(key, list)| key == name && !list.is_empty());
        lists.flat_map(|(_, list)| list.split(',')).map(|item| decoded(item, name).map(|text| Pattern::parse(&text))).collect()
    }
}

/// `raw` without its percent signs; `name` is for the error.
pub fn decoded<'a>(raw: &'a str, name: &'static str) -> Result<Cow<'a, str>, QueryError> {
    percent_decode_str(raw).decode_utf8().map_err(|_| QueryError::NotUtf8 { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 3: `/ws?topics=quotes.AAPL,chat.%3E&last=1`.
    #[test]
    fn the_contracts_example() {
        let query = Query::new(Some("topics=quotes.AAPL,chat.%3E&last=1&token=a%2Bb"));
        let topics: Vec<_> = query.topics("topics").unwrap().into_iter().map(|topic| topic.unwrap().as_str().to_owned()).collect();
        assert_eq!(topics, ["quotes.AAPL", "chat.>"]);
        assert_eq!(query.number("last"), Ok(Some(1_usize)));
        assert_eq!(query.text("token").unwrap().as_deref(), Some("a+b"));
        assert_eq!(query.flag("echo"), Ok(false));
    }

    #[test]
    fn bad_values_are_told_by_name() {
        for last in ["x", "-1", "1.5", "+1", "99999999999999999999999", "%31x"] {
            let text = format!("last={last}");
            let error = Query::new(Some(&text)).number::<usize>("last").unwrap_err();
            assert_eq!(error.to_string(), "last is not a whole number from 0", "{last}");
        }
        assert!(Query::new(Some("echo=maybe")).flag("echo").is_err());
        assert_eq!(Query::new(Some("echo=true")).flag("echo"), Ok(true));
        assert!(Query::new(Some("token=%ff")).text("token").is_err());
        assert!(Query::new(Some("topics=%ff")).topics("topics").is_err());
    }

    /// A comma inside an escaped name belongs to the name; bad names stay in the list as errors.
    #[test]
    fn commas_are_found_before_decoding() {
        let topics = Query::new(Some("topics=a%2Cb,c..d")).topics("topics").unwrap();
        assert_eq!(topics[0].as_ref().unwrap().as_str(), "a,b");
        assert!(topics[1].is_err());
        assert_eq!(Query::new(Some("topics=")).topics("topics").unwrap().len(), 0);
        assert_eq!(Query::new(None).topics("topics").unwrap().len(), 0);
    }
}
