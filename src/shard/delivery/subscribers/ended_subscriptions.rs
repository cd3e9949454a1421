//! The subscriptions of ended sessions, which end a bounded share in each tick.

use std::collections::VecDeque;

use super::subscriptions::Subscriptions;
use crate::session_id::SessionId;
use crate::topic_name::Pattern;

/// The subscriptions of ended sessions that end in a tick: about half a millisecond's work.
const PER_TICK: usize = 128;

/// Ended sessions with subscriptions left, in the order in which the sessions ended.
#[derive(Debug)]
pub struct EndedSubscriptions {
    waiting: VecDeque<EndedSession>,
    left_in_tick: usize,
}

#[derive(Debug)]
struct EndedSession {
    slot: u32,
    session: SessionId,
    keeps_window: bool,
    patterns: std::vec::IntoIter<Pattern>,
}

/// A subscription that ends now, or the end of a session's last one.
#[derive(Debug)]
pub struct EndedSubscription {
    /// The slot of the ended session.
    pub slot: u32,
    /// The ended session.
    pub session: SessionId,
    /// Whether the session's client kept its deflate window.
    pub keeps_window: bool,
    /// The name or pattern; `None`: the session has no subscription left.
    pub pattern: Option<Pattern>,
}

impl Default for EndedSubscriptions {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), left_in_tick: PER_TICK }
    }
}

impl EndedSubscriptions {
    /// Begins a tick with a new budget.
    pub fn begin_tick(&mut self) {
        self.left_in_tick = PER_TICK;
    }

    /// Adds the subscriptions of `session`, which had `slot` and has ended.
    pub fn add(&mut self, slot: u32, session: SessionId, subscriptions: Subscriptions) {
        let keeps_window = subscriptions.keeps_window();
        self.waiting.push_back(EndedSession { slot, session, keeps_window, patterns: subscriptions.into_patterns() });
    }

    /// The next subscription to end, if the tick's budget allows it.
    pub fn next(&mut self) -> Option<EndedSubscription> {
        let EndedSession { slot, session, keeps_window, patterns } = self.waiting.front_mut().filter(|_| self.left_in_tick > 0)?;
        let ending = EndedSubscription { slot: *slot, session: *session, keeps_window: *keeps_window, pattern: patterns.next() };
        match ending.pattern {
            Some(_) => self.left_in_tick -= 1,
            None => drop(self.waiting.pop_front()),
        }
        Some(ending)
    }

    /// Whether no subscriptions are left.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::CloseReason;
    use crate::shard::tests::bench::Bench;

    use super::*;

    /// The subscriptions of ended sessions end a share in each tick. Until all have ended, a session's slot is not
    /// reused, and no other session gets its messages.
    #[test]
    fn many_subscriptions_end_in_shares() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let slot = bench.join();
        (0..TOPICS).for_each(|number| bench.subscribe_with(slot, &format!("h.{number}"), 0));
        bench.state().end(slot, CloseReason::Gone);
        bench.flush();
        let mut ticks = 0;
        while bench.state().delivery.subscribers.has_ended() {
            let next = bench.enter();
            assert_ne!(next, slot, "a slot that topics have still");
            bench.publish(&format!("h.{}", TOPICS - 1));
            assert!(bench.state().delivery.owes_nothing(next));
            bench.state().begin_tick();
            bench.state().unsubscribe_ended_sessions();
            bench.flush();
            ticks += 1;
        }
        assert_eq!(1 + ticks, TOPICS.div_ceil(PER_TICK), "the first share is that of the end itself");
        bench.flush();
        assert_eq!(bench.enter(), slot, "it is used anew");
    }
}
