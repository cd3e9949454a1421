//! How the topics of a session follow its intervals, and what becomes of what these held.

use super::state::ShardState;
use crate::topic_name::TopicName;

/// Topics that follow new intervals in a tick: some tens of microseconds.
const FOLLOWING_PER_TICK: usize = 256;

impl ShardState {
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
            delivery.look_closer(slot);
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
        self.unpaid.add(slot, looked_at);
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
