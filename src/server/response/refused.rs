//! A refused request for a session.

use super::problem::Problem;
use crate::hub::PublishError;
use crate::metrics::RejectReason;

/// A request for a session that is refused: the label of `handshakes_rejected_total`, and the answer.
#[derive(Debug)]
pub struct Refused(pub RejectReason, pub Problem);

/// No topic could be made for the session.
impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Self(RejectReason::Topics, error.into())
    }
}
