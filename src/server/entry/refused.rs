//! Why a request for a session is refused, and the label that the refusal is counted under.

use crate::metrics::RejectReason;
use crate::server::request::QueryError;
use crate::server::response::Problem;

/// A request that is refused before anything but its head is looked at, and the label that it is counted under.
pub struct Refused(pub RejectReason, pub Problem);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(RejectReason::BadUpgrade, Problem::bad_request(error.to_string()))
    }
}
