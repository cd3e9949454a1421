//! Consequences of ended subscriptions and of changed intervals for replays, the outbox and pacing.

use super::shard_state::ShardState;
use crate::shard::delivery::{Ended, Overflow};
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::{Pattern, TopicName};

/// The most topics that are adapted to new intervals in a tick: some tens of microseconds.
const ADAPTED_PER_TICK: usize = 256;

impl ShardState {
    /// Ends the subscriptions of a session to `patterns`. Messages that no other subscription matches are not replayed
    /// or held back any more.
    pub fn end_subscriptions(&mut self, slot: u32, patterns: &[Pattern]) {
        let mut gone = PatternSet::default();
        for pattern in patterns {
            if self.end_subscription(slot, pattern) {
                gone.insert(pattern);
            }
        }
        self.begin_pruning(slot);
        self.prune(slot, &gone, usize::MAX);
    }

    /// Ends one subscription of a session. Returns `false` if the session has no such subscription.
    /// [`ShardState::begin_pruning`] has to follow.
    pub fn end_subscription(&mut self, slot: u32, pattern: &Pattern) -> bool {
        let Some(id) = self.table.get(slot).map(|connection| connection.id()) else { return false };
        let Some(last) = self.delivery.subscribers.remove(pattern, slot) else { return false };
        self.pacing.end_interval(slot, pattern);
        self.catch_up.note_ended(slot, pattern);
        self.env.unsubscribe(pattern, id, last);
        true
    }

    /// Notes that subscriptions of a session have ended. [`ShardState::prune`] has to follow; no history is read for
    /// the session until that is complete.
    pub fn begin_pruning(&mut self, slot: u32) {
        self.catch_up.begin_pruning(slot);
        self.pacing.begin_adapting(slot);
        self.delivery.begin_marking(slot);
    }

    /// Gives up replays and held messages that only the ended subscriptions `gone` matched, for at most `most` topics
    /// and messages. The session is charged for them. Returns how many were examined; fewer than `most` means that all
    /// were.
    pub fn prune(&mut self, slot: u32, gone: &PatternSet, most: usize) -> usize {
        let subscribers = &self.delivery.subscribers;
        // The check uses the subscriptions of now, because others may have ended between two parts.
        let is_gone = |topic: &TopicName| !subscribers.covers(slot, topic);
        let examined = self.catch_up.prune(slot, most, is_gone);
        self.uncharged.add(slot, examined);
        let examined = examined + self.adapt_part(slot, most - examined);
        if examined == most {
            return examined;
        }
        let examined = examined + self.mark_unsubscribed(slot, gone, most - examined);
        if examined < most {
            self.catch_up.queue_for_history(slot);
        }
        examined
    }

    fn mark_unsubscribed(&mut self, slot: u32, gone: &PatternSet, most: usize) -> usize {
        let Self { table, delivery, uncharged, env, .. } = self;
        let Some(connection) = table.get(slot) else { return 0 };
        match delivery.mark_unsubscribed(slot, gone, most, connection, env) {
            Ok(examined) => {
                uncharged.add(slot, examined);
                examined
            }
            Err(Overflow) => {
                self.cut_off_slow(slot);
                0
            }
        }
    }

    /// Ends a bounded share of the subscriptions of ended sessions.
    pub fn unsubscribe_ended_sessions(&mut self) {
        while let Some(ended) = self.delivery.subscribers.next_ended() {
            match ended {
                Ended::Subscription { session, pattern, last } => self.env.unsubscribe(&pattern, session, last),
                Ended::Session { slot } => self.table.release_slot(slot),
            }
        }
    }

    /// Adapts the pacing of a session to its changed subscriptions. Held messages of topics that have no interval any
    /// more go out. With many topics, this adapts the first [`ADAPTED_PER_TICK`]; later ticks continue.
    pub fn adapt_intervals(&mut self, slot: u32) {
        let Self { delivery, pacing, .. } = self;
        let subscriptions = delivery.subscribers.of(slot);
        if subscriptions.are_paced() && !pacing.has(slot) {
            pacing.begin(slot, subscriptions.iter().map(|subscription| (subscription.pattern(), subscription.interval())));
        }
        if pacing.has(slot) {
            pacing.begin_adapting(slot);
            delivery.outgoing.use_slow_path(slot);
            self.adapt_part(slot, ADAPTED_PER_TICK);
            if self.pacing.is_adapting(slot) {
                self.pacing.queue_adapting(slot);
            }
        }
    }

    /// Continues to adapt topics to new intervals, at most [`ADAPTED_PER_TICK`] topics, one session after the other.
    pub fn continue_adapting(&mut self) {
        let mut left = ADAPTED_PER_TICK;
        while left > 0
            && let Some(slot) = self.pacing.next_adapting()
        {
            left -= self.adapt_part(slot, left);
            if self.pacing.is_adapting(slot) {
                self.pacing.queue_adapting(slot);
            }
        }
    }

    /// Adapts at most `most` topics of a session to its intervals and charges the session for them. Returns the number
    /// of topics.
    pub fn adapt_part(&mut self, slot: u32, most: usize) -> usize {
        let Self { delivery, pacing, env, .. } = self;
        let (released, examined) = pacing.adapt(slot, most, env.now, &mut env.tally);
        released.into_iter().for_each(|released| delivery.queue_released(slot, released, &mut env.tally));
        self.uncharged.add(slot, examined);
        examined
    }

    /// Ends the pacing of `topic` for a session. A held message goes out now.
    pub fn release_held(&mut self, slot: u32, topic: &TopicName) {
        let Self { delivery, pacing, env, .. } = self;
        let released = pacing.release(slot, topic, &mut env.tally);
        released.into_iter().for_each(|released| delivery.queue_released(slot, released, &mut env.tally));
    }

    /// Ends the pacing of all topics of a session. Held messages go out now.
    pub fn release_all_held(&mut self, slot: u32) {
        let Self { delivery, pacing, env, .. } = self;
        let released = pacing.release_all(slot, &mut env.tally);
        released.into_iter().for_each(|released| delivery.queue_released(slot, released, &mut env.tally));
    }

    /// Ends the pacing of `topic` for a session that reads the topic from history. A held message counts as conflated,
    /// because another message comes in its place.
    pub fn conflate_held(&mut self, slot: u32, topic: &TopicName) {
        let Self { pacing, env, .. } = self;
        if let Some(message) = pacing.release(slot, topic, &mut env.tally).and_then(|released| released.message) {
            env.tally.conflated(message.rule.id, 1);
        }
    }
}
