//! What follows where subscriptions end, by a command or with their session, and where their intervals change.

use super::delivery::{Ended, Overflow};
use super::pattern_set::PatternSet;
use super::state::ShardState;
use crate::topic_name::{Pattern, TopicName};

/// Topics that follow new intervals in a tick: some tens of microseconds.
const FOLLOWING_PER_TICK: usize = 256;

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
        self.delivery.begin_to_leave(slot);
    }

    /// What `gone`, subscriptions that have ended, alone have brought a session is not replayed or held back any more: a part of no more
    /// than `most` topics and messages, for which it is to pay. How many there were; fewer than `most`: that was all.
    pub fn leave(&mut self, slot: u32, gone: &PatternSet, most: usize) -> usize {
        let subscribers = &self.delivery.subscribers;
        // Others may have ended between two parts.
        let left = |topic: &TopicName| !subscribers.take(slot, topic);
        let looked_at = self.catch_up.leave(slot, most, left);
        self.slices.unpaid().add(slot, looked_at);
        let looked_at = looked_at + self.follow_part(slot, most - looked_at);
        if looked_at == most {
            return looked_at;
        }
        let looked_at = looked_at + self.mark_left(slot, gone, most - looked_at);
        if looked_at < most {
            self.catch_up.await_history(slot);
        }
        looked_at
    }

    fn mark_left(&mut self, slot: u32, gone: &PatternSet, most: usize) -> usize {
        let Self { table, delivery, slices, env, .. } = self;
        let Some(connection) = table.get(slot) else { return 0 };
        match delivery.mark_left(slot, gone, most, connection, env) {
            Ok(looked_at) => {
                slices.unpaid().add(slot, looked_at);
                looked_at
            }
            Err(Overflow) => {
                self.cut_off_slow(slot);
                0
            }
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

    /// The pacing of a session follows its subscriptions, which have changed; what is held of topics without an interval goes out. Where
    /// many topics are paced, this only begins with that.
    pub fn follow_intervals(&mut self, slot: u32) {
        let Self { delivery, pacing, .. } = self;
        let subscriptions = delivery.subscribers.of(slot);
        if subscriptions.are_paced() && !pacing.has(slot) {
            pacing.begin(slot, subscriptions.iter().map(|subscription| (subscription.pattern(), subscription.interval())));
        }
        if pacing.has(slot) {
            pacing.begin_to_follow(slot);
            delivery.use_slow_path(slot);
            self.follow_part(slot, FOLLOWING_PER_TICK);
            if self.pacing.is_behind(slot) {
                self.pacing.wait_to_follow(slot);
            }
        }
    }

    /// Goes on with topics that follow new intervals, as many as a tick may, a session after the other.
    pub fn follow_on(&mut self) {
        let mut left = FOLLOWING_PER_TICK;
        while left > 0
            && let Some(slot) = self.pacing.next_behind()
        {
            left -= self.follow_part(slot, left);
            if self.pacing.is_behind(slot) {
                self.pacing.wait_to_follow(slot);
            }
        }
    }

    /// At most so many topics of a session follow its intervals, and it is to pay for them; how many there were.
    pub fn follow_part(&mut self, slot: u32, most: usize) -> usize {
        let Self { delivery, pacing, env, .. } = self;
        let (released, looked_at) = pacing.follow(slot, most, env.now, &mut env.tally);
        released.iter().for_each(|message| delivery.queue_message(slot, message));
        self.slices.unpaid().add(slot, looked_at);
        looked_at
    }

    /// Ends the pacing of `topic`; what was held goes out now.
    pub fn release_held(&mut self, slot: u32, topic: &TopicName) {
        let Self { delivery, pacing, env, .. } = self;
        let released = pacing.release(slot, topic, &mut env.tally);
        released.iter().for_each(|message| delivery.queue_message(slot, message));
    }

    /// Ends the pacing of all topics; what was held goes out now.
    pub fn release_all_held(&mut self, slot: u32) {
        let Self { delivery, pacing, env, .. } = self;
        let released = pacing.release_all(slot, &mut env.tally);
        released.iter().for_each(|message| delivery.queue_message(slot, message));
    }

    /// Ends the pacing of `topic` for a session that reads it from history; what was held counts as conflated, for another comes in its
    /// place.
    pub fn give_up_held(&mut self, slot: u32, topic: &TopicName) {
        let Self { pacing, env, .. } = self;
        if let Some(message) = pacing.release(slot, topic, &mut env.tally) {
            env.tally.conflated(message.rule.id, 1);
        }
    }
}
