//! The end of a message on its way to one session. Each routed message has exactly one end.

use super::queued::Queued;
use crate::metrics::{DropReason, RuleId, Tally};

/// The end of a message that was routed to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The message was written to the socket completely.
    Delivered,
    /// A newer message of its topic replaced it.
    Conflated,
    /// The message was given up.
    Dropped(DropReason),
}

impl End {
    /// Books this end of a message of `rule`.
    pub fn book(self, rule: RuleId, tally: &mut Tally) {
        match self {
            Self::Delivered => tally.delivered(rule, 1),
            Self::Conflated => tally.conflated(rule, 1),
            Self::Dropped(reason) => tally.dropped(rule, reason, 1),
        }
    }
}

/// Books the end of a message that was in a queue.
pub fn book_end(queued: &Queued, end: End, tally: &mut Tally) {
    let Some(message) = queued.message() else { return };
    tally.queued(message.rule.id, -1);
    match end {
        End::Delivered => book_delivered(queued, tally),
        End::Conflated | End::Dropped(_) => end.book(message.rule.id, tally),
    }
}

/// Books that a message was written completely, and how it was compressed.
pub fn book_delivered(queued: &Queued, tally: &mut Tally) {
    let Some(message) = queued.message() else { return };
    End::Delivered.book(message.rule.id, tally);
    if let Some(how) = queued.frame.deflated() {
        tally.count(how, 1);
    }
}
