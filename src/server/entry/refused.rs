//! A refused request for a session.

use crate::hub::PublishError;
use crate::metrics::RejectReason;
use crate::server::request::QueryError;
use crate::server::response::Problem;

/// A request that is refused by its head: the label of `handshakes_rejected_total`, and the answer.
pub struct Refused(pub RejectReason, pub Problem);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(RejectReason::BadUpgrade, Problem::bad_request(error.to_string()))
    }
}

/// No topic could be made for the session.
impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Self(RejectReason::Topics, error.into())
    }
}
