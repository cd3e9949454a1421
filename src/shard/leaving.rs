//! How subscriptions end: by a command, or with their session.

use super::delivery::{Ended, Written};
use super::pattern_set::PatternSet;
use super::state::ShardState;
use crate::topic_name::{Pattern, TopicName};

impl ShardState {
    /// Ends subscriptions of a session. What they alone brought is not replayed or held back any more.
    pub fn end_subscriptions(&mut self, slot: u32, patterns: &[Pattern]) {
        let mut gone = PatternSet::default();
        for pattern in patterns {
            if self.end_subscription(slot, pattern) {
                gone.insert(pattern);
            }
        }
        self.begin_to_leave(slot);
        self.leave(slot, &gone, usize::MAX);
    }

    /// Ends one subscription of a session; `false`: it has none such. [`ShardState::begin_to_leave`] is to follow.
    pub fn end_subscription(&mut self, slot: u32, pattern: &Pattern) -> bool {
        let Some(id) = self.table.get(slot).map(|connection| connection.id()) else { return false };
        let Some(last) = self.delivery.subscribers.remove(pattern, slot) else { return false };
        self.pacing.end_interval(slot, pattern);
        self.env.unsubscribe(pattern, id, last);
        true
    }

    /// Subscriptions of a session have ended; [`ShardState::leave`] is to follow, and no history is read for it before that is done.
    pub fn begin_to_leave(&mut self, slot: u32) {
        self.catch_up.begin_to_leave(slot);
        self.pacing.begin_to_follow(slot);
    }

    /// What `gone`, subscriptions that have ended, alone have brought a session is not replayed or held back any more: a part of no more
    /// than `most` topics, for which it is to pay. How many there were; fewer than `most`: that was all.
    pub fn leave(&mut self, slot: u32, gone: &PatternSet, most: usize) -> usize {
        let subscribers = &self.delivery.subscribers;
        // Others may have ended between two parts.
        let left = |topic: &TopicName| !subscribers.take(slot, topic);
        let looked_at = self.catch_up.leave(slot, most, left);
        self.unpaid.add(slot, looked_at);
        let looked_at = looked_at + self.follow_part(slot, most - looked_at);
        if looked_at < most {
            self.catch_up.await_history(slot);
            self.mark_left(slot, gone);
        }
        looked_at
    }

    fn mark_left(&mut self, slot: u32, gone: &PatternSet) {
        let Self { table, delivery, env, .. } = self;
        if let Some(connection) = table.get(slot)
            && delivery.mark_left(slot, gone, connection, env) == Written::Overflowed
        {
            self.cut_off_slow(slot);
        }
    }

    /// Ends a share of the subscriptions of sessions that have ended.
    pub fn end_departed(&mut self) {
        while let Some(ended) = self.delivery.subscribers.next_ended() {
            match ended {
                Ended::Subscription { session, pattern, last } => self.env.unsubscribe(&pattern, session, last),
                Ended::Session { slot } => self.table.release_slot(slot),
            }
        }
    }
}
