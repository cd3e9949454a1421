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

/// What has left an outbox, for the client's window.
#[derive(Debug, Default)]
pub struct Departed {
    /// What the client inflates of it, in bytes.
    pub inflated_bytes: u64,
    /// How many live messages might have referred to earlier ones, had they not waited.
    pub unreferred: u64,
}

impl Departed {
    /// A frame has left whole.
    pub fn note(&mut self, queued: &Queued) {
        self.inflated_bytes += u64::from(queued.frame.inflated_bytes());
        self.unreferred += u64::from(queued.is_unreferred());
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

/// Books that a message has left whole, and how it was compressed.
pub fn book_delivered(queued: &Queued, tally: &mut Tally) {
    let Some(message) = queued.message() else { return };
    End::Delivered.book(message.rule.id, tally);
    if let Some(how) = queued.frame.deflated() {
        tally.deflated_messages(how, 1);
    }
}
