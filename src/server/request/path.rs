//! Topics in paths.

use hyper::StatusCode;

use super::query::{QueryError, decoded};
use crate::codes::ErrorCode;
use crate::server::response::Problem;
use crate::topic_name::TopicName;

/// The topic of a path's segment: percent-decoded, then checked.
pub fn topic_name(segment: &str) -> Result<TopicName, Problem> {
    let bad = |error: QueryError| Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BadTopic, error.to_string());
    Ok(TopicName::parse(&decoded(segment, "the topic").map_err(bad)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_in_a_path_is_decoded_and_then_checked() {
        assert_eq!(topic_name("chat.%E5%A4%A7").unwrap().as_str(), "chat.大");
        for segment in ["a%2Fb", "a.%3E", "%ff", "a%20b", "a..b"] {
            let problem = topic_name(segment).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code), (400, "bad_topic"), "{segment}");
        }
    }
}
