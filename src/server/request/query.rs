//! Query strings and path segments, percent-decoded once (RFC 3986 §2.1).

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::metrics::RejectReason;
use crate::server::response::{Problem, Refused};
use crate::topic_name::{Pattern, TopicNameError};

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("{name} is not UTF-8 once its percent signs are decoded")]
    NotUtf8 {
        /// The parameter, or the part of the path.
        name: &'static str,
    },
    #[error("{name} is not {right}")]
    Value {
        name: &'static str,
        /// The values that fit.
        right: &'static str,
    },
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

    /// The whole number of a parameter.
    pub fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        number.map(Some).ok_or(QueryError::Value { name, right: "a whole number from 0" })
    }

    /// Whether a parameter is `true`; `false` if it is absent.
    pub fn flag(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(QueryError::Value { name, right: "true or false" }),
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
        assert_eq!(query.number("last"), Ok(Some(1_usize)));
        assert_eq!(query.text("token").unwrap().as_deref(), Some("a+b"));
        assert_eq!(query.flag("echo"), Ok(false));
    }

    #[test]
    fn errors_name_the_parameter() {
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
