//! Query strings and path segments, percent-decoded once (RFC 3986 §2.1).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use crate::metrics::RejectReason;
use crate::server::response::{Problem, Refused};
use crate::topic_name::{Pattern, TopicNameError};

/// The most characters of a client's text that an error repeats.
const SHOWN_MAX: usize = 64;

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{name} is not UTF-8 once its percent signs are decoded")]
    NotUtf8 {
        /// The parameter, or the part of the path.
        name: &'static str,
    },
    #[error("`{name}` is {value}; it must be {right}")]
    Value {
        name: &'static str,
        /// The beginning of the text that was sent.
        value: String,
        /// The values that fit.
        right: String,
    },
}

impl QueryError {
    /// The parameter `name` has the text `value` and should be `right`.
    pub fn wrong(name: &'static str, value: &str, right: impl Into<String>) -> Self {
        Self::Value { name, value: value.chars().take(SHOWN_MAX).collect(), right: right.into() }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(RejectReason::BadUpgrade, error.into())
    }
}

/// A query string. If a parameter with one value is repeated, the first counts. Unknown parameters are ignored.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The query behind the question mark.
    pub fn new(text: Option<&'a str>) -> Self {
        Self(text.unwrap_or(""))
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.pairs().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The text of a parameter; `None` if it is absent or empty.
    pub fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, QueryError> {
        match self.raw(name) {
            None | Some("") => Ok(None),
            Some(raw) => decoded(raw, name).map(Some),
        }
    }

    /// The integer of a parameter, in `range`. As in commands, an integer that a `u64` can't hold counts as the largest that it can.
    pub fn number(&self, name: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let is_integer = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_integer.then(|| text.parse().unwrap_or(u64::MAX)).filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let right = match range.into_inner() {
                (min, u64::MAX) => format!("an integer of {min} or more"),
                (min, max) => format!("an integer from {min} to {max}"),
            };
            QueryError::wrong(name, &text, right)
        })
    }

    /// The integer of a parameter, at least `min`, as a size.
    pub fn size(&self, name: &'static str, min: u64) -> Result<Option<usize>, QueryError> {
        let number = self.number(name, min..=u64::MAX)?;
        Ok(number.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    /// Whether a parameter is `true`; `false` if it is absent.
    pub fn flag(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(QueryError::wrong(name, text, "true or false")),
        }
    }

    /// The patterns of a comma-separated parameter, each percent-decoded after the split. Repeated parameters add up.
    /// Invalid patterns stay in the list as errors.
    pub fn topics(&self, name: &'static str) -> Result<Vec<Result<Pattern, TopicNameError>>, QueryError> {
        let lists = self.pairs().filter(|&(key, list)| key == name && !list.is_empty());
        lists.flat_map(|(_, list)| list.split(',')).map(|item| decoded(item, name).map(|text| Pattern::parse(&text))).collect()
    }
}

/// Percent-decodes `raw`; `name` is for the error.
pub fn decoded<'a>(raw: &'a str, name: &'static str) -> Result<Cow<'a, str>, QueryError> {
    percent_decode_str(raw).decode_utf8().map_err(|_| QueryError::NotUtf8 { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 3: `/ws?topics=quotes.AAPL,chat.%3E&last=1`.
    #[test]
    fn the_query_of_the_contract_is_parsed() {
        let query = Query::new(Some("topics=quotes.AAPL,chat.%3E&last=1&token=a%2Bb"));
        let topics: Vec<_> = query.topics("topics").unwrap().into_iter().map(|topic| topic.unwrap().as_str().to_owned()).collect();
        assert_eq!(topics, ["quotes.AAPL", "chat.>"]);
        assert_eq!(query.size("last", 0), Ok(Some(1)));
        assert_eq!(query.text("token").unwrap().as_deref(), Some("a+b"));
        assert_eq!(query.flag("echo"), Ok(false));
    }

    #[test]
    fn errors_name_the_parameter() {
        let (long, shown) = ("9x".repeat(99), "9x".repeat(32));
        for (last, value) in [("x", "x"), ("-1", "-1"), ("1.5", "1.5"), ("+1", "+1"), ("%31x", "1x"), (&long, &shown)] {
            let text = format!("last={last}");
            let error = Query::new(Some(&text)).size("last", 0).unwrap_err();
            assert_eq!(error.to_string(), format!("`last` is {value}; it must be an integer of 0 or more"));
        }
        let error = |text, range| Query::new(Some(text)).number("n", range).unwrap_err().to_string();
        assert_eq!(error("n=0", 1..=u64::MAX), "`n` is 0; it must be an integer of 1 or more");
        assert_eq!(error("n=99999999999999999999", 10..=20), "`n` is 99999999999999999999; it must be an integer from 10 to 20");
        let error = Query::new(Some("echo=maybe")).flag("echo").unwrap_err();
        assert_eq!(error.to_string(), "`echo` is maybe; it must be true or false");
        assert_eq!(Query::new(Some("echo=true")).flag("echo"), Ok(true));
        assert!(Query::new(Some("token=%ff")).text("token").is_err());
        assert!(Query::new(Some("topics=%ff")).topics("topics").is_err());
    }

    /// The bug: an integer that a `u64` can't hold was refused, and a command accepted it.
    #[test]
    fn integers_may_have_any_number_of_digits() {
        for last in ["18446744073709551615", "18446744073709551616", "99999999999999999999999"] {
            let text = format!("last={last}");
            assert_eq!(Query::new(Some(&text)).size("last", 0), Ok(Some(usize::MAX)), "{last}");
        }
        assert_eq!(Query::new(Some("last=007")).size("last", 0), Ok(Some(7)));
    }

    /// An escaped comma belongs to the name. Invalid names stay in the list as errors.
    #[test]
    fn topics_are_split_at_commas_before_decoding() {
        let topics = Query::new(Some("topics=a%2Cb,c..d")).topics("topics").unwrap();
        assert_eq!(topics[0].as_ref().unwrap().as_str(), "a,b");
        assert!(topics[1].is_err());
        assert_eq!(Query::new(Some("topics=")).topics("topics").unwrap().len(), 0);
        assert_eq!(Query::new(None).topics("topics").unwrap().len(), 0);
    }
}
