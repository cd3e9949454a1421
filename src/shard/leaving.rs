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
        self.leave(slot, &gone);
    }

    /// Ends one subscription of a session; `false`: it has none such. [`ShardState::leave`] is to follow.
    pub fn end_subscription(&mut self, slot: u32, pattern: &Pattern) -> bool {
        let Some(id) = self.table.get(slot).map(|connection| connection.id()) else { return false };
        let Some(last) = self.delivery.subscribers.remove(pattern, slot) else { return false };
        self.pacing.end_interval(slot, pattern);
        self.env.unsubscribe(pattern, id, last);
        true
    }

    /// What `gone`, subscriptions that have ended, alone have brought a session is not replayed or held back any more.
    pub fn leave(&mut self, slot: u32, gone: &PatternSet) {
        let Self { table, delivery, catch_up, pacing, env, .. } = self;
        let subscribers = &delivery.subscribers;
        let left = |topic: &TopicName| gone.matches(topic) && !subscribers.take(slot, topic);
        catch_up.leave(slot, left);
        catch_up.narrow(slot);
        let released = pacing.release(slot, left, &mut env.tally);
        released.iter().for_each(|message| delivery.queue_message(slot, message));
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
