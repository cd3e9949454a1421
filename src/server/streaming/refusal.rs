//! The answers to refused requests for streams.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use super::accept_header::{AcceptMatch, accept_match};
use super::kind::StreamKind;
use crate::metrics::RejectReason;
use crate::server::request::{Fields, Head};
use crate::server::response::{Answer, Problem, of_type};

/// The answer to a refused request for a stream of `kind`. An EventSource never reconnects after an HTTP error. So a
/// temporary refusal is a stream that only has `retry:` and ends; each gets another time.
pub fn answer<'a>(reason: RejectReason, problem: Problem, head: &Head<'a, impl Fields<'a>>, kind: StreamKind) -> Answer {
    let is_for_now = matches!(
        reason,
        RejectReason::Draining
            | RejectReason::Sessions
            | RejectReason::SessionsPerAddress
            | RejectReason::OutboxTotalBytes
            | RejectReason::CommandsPerSecond
            | RejectReason::Topics
            | RejectReason::TopicsPerAddress
    );
    let is_event_source = kind == StreamKind::Events && accept_match(head.fields, kind) == AcceptMatch::Exact;
    if !(is_for_now && is_event_source) {
        return problem.into();
    }
    let after = Duration::from_secs(problem.retry_after_seconds().unwrap_or(1)).mul_f64(1.0 + rand::rng().random::<f64>());
    of_type(kind.content_type(), Bytes::from(format!("retry: {}\n\n", after.as_millis())))
}
