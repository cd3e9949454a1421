//! The operations of a session in its shard on its subscriptions: reserve, subscribe, begin to deliver, end.

use std::time::Duration;

use super::session_context::SessionContext;
use crate::hub::{PublishError, ReplayRequest, TopicStart};
use crate::metrics::LimitKey;
use crate::position::Position;
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

impl SessionContext<'_> {
    /// The session's subscriptions, oldest first.
    pub fn subscriptions(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).in_order()
    }

    /// The session's subscription to exactly `topic`, if there is one; `None`: all its subscriptions.
    pub fn subscriptions_to(&self, topic: Option<&TopicName>) -> Vec<Pattern> {
        let Some(topic) = topic else { return self.subscriptions() };
        Some(Pattern::from(topic.clone())).filter(|pattern| self.is_subscribed(pattern)).into_iter().collect()
    }

    /// The session's subscriptions, in no particular order.
    pub fn patterns(&self) -> Vec<Pattern> {
        self.state.delivery.subscribers.of(self.slot).iter().map(|subscription| subscription.pattern().clone()).collect()
    }

    /// Whether a subscription of the session matches `topic`.
    pub fn covers(&self, topic: &TopicName) -> bool {
        self.state.delivery.subscribers.covers(self.slot, topic)
    }

    /// The number of the session's subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.state.delivery.subscribers.of(self.slot).len()
    }

    /// Whether the session has a subscription to exactly `pattern`.
    pub fn is_subscribed(&self, pattern: &Pattern) -> bool {
        self.state.delivery.subscribers.of(self.slot).contains(pattern)
    }

    /// Reserves a subscription to `pattern` among those of all sessions. The error is the limit that refuses
    /// it.
    pub fn reserve_subscription(&mut self, pattern: &Pattern) -> Result<(), LimitKey> {
        self.state.env.reserve_subscription(pattern, self.address())
    }

    /// Releases a reservation whose subscription does not begin.
    pub fn release_subscription(&mut self, pattern: &Pattern) {
        self.state.env.release_subscription(pattern);
    }

    /// Subscribes to a topic by name, with at most one message in `interval`. The subscription was reserved.
    /// [`SessionContext::set_interval`] has to follow.
    ///
    /// A subscribe to one topic is never pending: the topic's lock covers the start of the replay and the shard's entry
    /// into the audience. A command with many topics is pending between its turns ([`SessionContext::wait_for_turn`]).
    pub fn subscribe(
        &mut self,
        topic: &TopicName,
        member: &Member,
        wanted: ReplayRequest<'_>,
        interval: Option<Duration>,
    ) -> Result<TopicStart, PublishError> {
        let start = self.state.env.subscribe(topic, member, self.payer().as_ref(), wanted)?;
        // The topic's own name, which all its subscriptions share.
        self.state.add_subscription(self.slot, &Pattern::from(start.topic.name().clone()), interval);
        Ok(start)
    }

    /// Subscribes to a pattern, with at most one message of each topic in `interval`. The subscription was reserved.
    /// [`SessionContext::set_interval`] has to follow.
    pub fn subscribe_pattern(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        if self.state.add_subscription(self.slot, pattern, interval) {
            self.state.env.subscribe_pattern(pattern);
        }
    }

    /// A start on one topic that a pattern of the session matches; `None`: the hub has no such topic.
    pub fn start(&self, topic: &TopicName, wanted: ReplayRequest<'_>) -> Option<TopicStart> {
        self.state.env.hub().start(topic, wanted)
    }

    /// Sets the interval of an existing subscription; `None` ends its pacing. [`SessionContext::adapt_intervals`] has
    /// to follow at once.
    pub fn set_interval(&mut self, pattern: &Pattern, interval: Option<Duration>) {
        self.state.set_interval(self.slot, pattern, interval);
    }

    /// Sets whether a subscription of the session receives joins and leaves from now on.
    pub fn watch(&mut self, pattern: &Pattern, watches: bool) {
        self.state.watch(self.slot, pattern, watches);
    }

    /// Whether a subscription of the session receives joins and leaves.
    pub fn is_watching(&self) -> bool {
        self.state.delivery.subscribers.is_watching(self.slot)
    }

    /// Whether the session has paced topics.
    pub fn is_paced(&self) -> bool {
        self.state.pacing.has(self.slot)
    }

    /// Adapts the pacing of the session's topics to the intervals of its subscriptions, which may have changed.
    pub fn adapt_intervals(&mut self) {
        self.state.adapt_intervals(self.slot);
    }

    /// Conflates the held message of `topic`: the client has it, or a replay brings it.
    pub fn conflate_held(&mut self, topic: &TopicName) {
        self.state.conflate_held(self.slot, topic);
    }

    /// Begins to deliver the topic of `start` to the session: first the history that was asked for, then live messages.
    pub fn begin(&mut self, TopicStart { topic, start }: TopicStart) {
        let pushed = self.pushed();
        self.state.catch_up.exclude(self.slot, topic.name());
        match start.replay_from {
            Some(next) => self.state.catch_up.read_from(self.slot, topic, Position { offset: next, ..start.position }),
            None if pushed > self.state.env.processed() => {
                self.state.catch_up.set_watermark(self.slot, topic.name().clone(), start.position, pushed);
            }
            None => return,
        }
        self.state.delivery.outgoing.use_slow_path(self.slot);
        self.state.table.schedule(self.slot);
    }

    /// Whether history of `topic` is being read for the session.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.state.catch_up.is_replaying_topic(self.slot, topic)
    }

    /// Ends subscriptions. Messages that no other subscription matches are not replayed or held back any more.
    pub fn unsubscribe(&mut self, patterns: &[Pattern]) {
        self.state.end_subscriptions(self.slot, patterns);
    }

    /// Changes the session's user in the presence of the topics that it is subscribed to by name.
    pub fn change_user(&mut self, member: &Member) {
        for topic in self.subscriptions().iter().filter_map(Pattern::as_name) {
            self.state.env.hub().change_user(&topic, member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::bench::Bench;
    use crate::shard::tests::name;

    /// A subscription holds no name of its own. (Each held the client's, a sixth more memory for a session of the market.)
    #[test]
    fn subscriptions_share_the_name_of_their_topic() {
        let mut bench = Bench::subscribed("c.a");
        let topic = bench.state().env.hub().find(&name("c.a")).unwrap();
        let [held] = &SessionContext::new(bench.state(), 0).subscriptions()[..] else { panic!("there is one subscription") };
        assert!(std::ptr::eq(held.as_str(), topic.name().as_str()));
    }
}
