//! How a message's way to one session ends; each that was routed has one end.

use super::queued::Queued;
use crate::metrics::{DropReason, RuleId, Tally};

/// What became of a message that was routed to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Written to the socket, whole.
    Delivered,
    /// A newer one of its topic took its place.
    Conflated,
    /// Given up.
    Dropped(DropReason),
}

impl End {
    /// Books that a message of `rule` has ended so.
    pub fn book(self, rule: RuleId, tally: &mut Tally) {
        match self {
            Self::Delivered => tally.delivered(rule, 1),
            Self::Conflated => tally.conflated(rule, 1),
            Self::Dropped(reason) => tally.dropped(rule, reason, 1),
        }
    }
}

/// Books how a message that was in a queue has ended.
pub fn settle(queued: &Queued, end: End, tally: &mut Tally) {
    let Some(message) = queued.message() else { return };
    tally.queued(message.rule.id, -1);
    end.book(message.rule.id, tally);
}
