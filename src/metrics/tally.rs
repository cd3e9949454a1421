//! One shard's counts: plain additions without atomics, handed to the registry once a turn.

use std::sync::Arc;
use std::time::Duration;

use super::{CloseReason, CommandOp, DropReason, LimitKey, Metrics, Recovery};
use crate::codes::ErrorCode;
use crate::config::RuleId;

/// One shard's counts since its last [`Tally::hand_over`].
#[derive(Debug)]
pub struct Tally {
    _metrics: Arc<Metrics>,
}

impl Tally {
    /// An empty tally for `metrics`.
    pub fn new(metrics: Arc<Metrics>, _shard: usize) -> Self {
        Self { _metrics: metrics }
    }
    /// `messages` × subscribers were routed under `rule`.
    pub fn routed(&mut self, _rule: RuleId, _messages: u64) {}
    /// Messages wholly written to a socket.
    pub fn delivered(&mut self, _rule: RuleId, _messages: u64) {}
    /// Queued messages that gave way to newer ones.
    pub fn conflated(&mut self, _rule: RuleId, _messages: u64) {}
    /// Messages given up.
    pub fn dropped(&mut self, _rule: RuleId, _reason: DropReason, _messages: u64) {}
    /// The change of `outbox_messages{rule}`.
    pub fn queued(&mut self, _rule: RuleId, _change: i64) {}
    /// The change of `outbox_bytes`.
    pub fn outbox_bytes(&mut self, _change: i64) {}
    /// The change of `slow_sessions`.
    pub fn slow_sessions(&mut self, _change: i64) {}
    /// The change of `subscriptions`.
    pub fn subscriptions(&mut self, _change: i64) {}
    /// Bytes written to sockets.
    pub fn delivered_bytes(&mut self, _bytes: u64) {}
    /// Bytes read from sockets.
    pub fn received_bytes(&mut self, _bytes: u64) {}
    /// From a message's publish to this shard's last write of it.
    pub fn fanout(&mut self, _took: Duration) {}
    /// A session began.
    pub fn session_opened(&mut self) {}
    /// A session ended.
    pub fn session_closed(&mut self, _reason: CloseReason) {}
    /// Messages left in the shard's inbox.
    pub fn inbox_messages(&mut self, _messages: usize) {}
    /// A command came.
    pub fn command(&mut self, _op: CommandOp) {}
    /// A command was refused.
    pub fn command_error(&mut self, _code: ErrorCode) {}
    /// A `since` was kept or not.
    pub fn recovery(&mut self, _result: Recovery) {}
    /// A limit bit.
    pub fn limit_hit(&mut self, _limit: LimitKey) {}
    /// A message was deflated from `plain` to `packed` bytes.
    pub fn deflated(&mut self, _plain: u64, _packed: u64) {}
    /// Adds everything to the registry and starts over from zero; nothing is allocated when nothing happened.
    pub fn hand_over(&mut self) {}
}
