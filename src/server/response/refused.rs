//! A refused request for a session.

use hyper::StatusCode;

use super::problem::Problem;
use crate::codes::ErrorCode;
use crate::hub::NotMade;
use crate::metrics::RejectReason;
use crate::topic_name::TopicName;

/// A request for a session that is refused: the label of `handshakes_rejected_total`, and the answer.
#[derive(Debug)]
pub struct Refused(pub RejectReason, pub Problem);

impl Refused {
    /// `topic` could not be made for the session. Its address pays for topics, whatever its credential.
    pub fn not_made(topic: &TopicName, error: NotMade) -> Self {
        let (reason, why) = match error {
            NotMade::TopicsFull => (RejectReason::Topics, error.to_string()),
            NotMade::TopicsOfPayerFull => {
                let why = "this address has as many living topics as limits.topics_per_address allows";
                (RejectReason::TopicsPerAddress, why.to_owned())
            }
        };
        let detail = format!("{topic} can't be made: {why}");
        Self(reason, Problem::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail).retry_after(1))
    }
}
