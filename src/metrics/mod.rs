//! Every metric by its name, help and buckets (PROTOCOL section 9).

mod labels;
mod tally;

pub use labels::{CloseReason, CommandOp, DropReason, LimitKey, PublishSource, Recovery, RejectReason};
pub use tally::Tally;

use std::time::Duration;

use crate::codes::ErrorCode;
use crate::config::RuleId;

/// The process's metrics; shared by all parts, each of which calls what it has seen happen.
#[derive(Debug, Default)]
pub struct Metrics {}

/// Sums for `$belfry.stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the contract's key")]
pub struct Totals {
    pub sessions: u64,
    pub topics: u64,
    pub subscriptions: u64,
    pub published: u64,
    pub delivered: u64,
    pub outbox_bytes: u64,
}

impl Metrics {
    /// A fresh set, everything at zero.
    pub fn new() -> Self {
        Self {}
    }
    /// A message got its offset.
    pub fn published(&self, _rule: RuleId, _source: PublishSource) {}
    /// A connection did not become a session.
    pub fn handshake_rejected(&self, _reason: RejectReason) {}
    /// A limit of section 7 bit.
    pub fn limit_hit(&self, _limit: LimitKey) {}
    /// Log lines that were held back by the rate limit of the log.
    pub fn log_suppressed(&self, _lines: u64) {}
    /// Topics that live now.
    pub fn set_topics(&self, _topics: usize) {}
    /// Bytes of all histories now.
    pub fn set_history_bytes(&self, _bytes: usize) {}
    /// Sets `shard_inbox_messages{shard}`.
    pub fn set_shard_inbox(&self, _shard: usize, _messages: usize) {}
    /// A command refused over HTTP or in a session.
    pub fn command_error(&self, _code: ErrorCode) {}
    /// What `$belfry.stats` tells.
    pub fn totals(&self) -> Totals {
        Totals::default()
    }
    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        String::new()
    }
}

#[allow(dead_code, reason = "stub")]
fn stub(_: Duration) {}
