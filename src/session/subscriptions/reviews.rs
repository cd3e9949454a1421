//! Reviews of a session's subscriptions: each is checked, and may end. A review is executed in slices, because a session may have many
//! subscriptions, and a reload reviews those of all sessions.

use std::collections::VecDeque;

use super::ended::Ended;
use super::steps::STEPS_PER_SLICE;
use crate::session_id::Member;
use crate::shard::{Answer, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The number of subscriptions that are listed in one step.
const LISTED_PER_STEP: usize = 16;

/// The cost of a check, in steps.
const STEPS_PER_CHECK: usize = 1;

/// The cost of the end of a subscription, or of a new user's name in presence, in steps.
const STEPS_PER_CHANGE: usize = 4;

/// The reviews of one session that are not complete, in their order. No command is executed before they are. No review allocates nothing.
#[derive(Default)]
pub struct Reviews(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    reviews: VecDeque<Review>,
}

/// Why subscriptions are reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The session has other grants or, if `is_renamed`, another user.
    Identity {
        /// Presence is to show the new user.
        is_renamed: bool,
    },
    /// An operator ends the subscription to this topic; `None`: all subscriptions.
    Operator(Option<TopicName>),
    /// The authorizations of subscriptions have expired.
    Expired,
}

/// A review that is complete.
pub struct Reviewed {
    /// Why the subscriptions were reviewed.
    pub cause: Cause,
    /// The subscriptions that have ended, oldest first.
    pub ended: Vec<Pattern>,
}

struct Review {
    cause: Cause,
    /// The subscriptions that are not checked yet; `None`: no slice was run yet.
    unchecked: Option<std::vec::IntoIter<Pattern>>,
    ended: Ended,
}

impl Reviews {
    /// Whether no review is left.
    pub fn are_done(&self) -> bool {
        self.0.is_none()
    }

    /// The approximate memory of the reviews, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().flat_map(|waiting| &waiting.reviews).map(Review::bytes).sum()
    }

    /// Adds a review. [`Reviews::next`] has to follow.
    pub fn add(&mut self, cause: Cause) {
        let waiting = &mut self.0.get_or_insert_default().reviews;
        // A review of which no slice was run yet checks the subscriptions against the identity of then.
        let has_begun = |review: &Review| review.unchecked.is_some();
        let same = waiting.iter_mut().rev().find(|review| !has_begun(review) && review.cause.joins(&cause));
        match same {
            Some(review) => review.cause.join(&cause),
            None => waiting.push_back(Review { cause, unchecked: None, ended: Ended::default() }),
        }
    }

    /// Runs slices until a review is complete. Returns `None` if the next slice has to wait, or if no review is left. `ends` says whether a
    /// subscription ends for a cause. `member` is the session as presence shows it in a topic.
    pub fn next(
        &mut self,
        ends: impl Fn(&Cause, &Pattern) -> bool,
        member: impl Fn(&TopicName) -> Member,
        context: &mut SessionContext<'_>,
    ) -> Option<Reviewed> {
        let waiting = &mut self.0.as_mut()?.reviews;
        let review = waiting.front_mut()?;
        if review.run_slice(ends, member, context) == Answer::Pending {
            return None;
        }
        let done = waiting.pop_front()?;
        if !waiting.iter().any(|review| review.cause.is_of_identity()) {
            context.end_denying();
        }
        if waiting.is_empty() {
            self.0 = None;
        }
        Some(Reviewed { cause: done.cause, ended: done.ended.into_list() })
    }
}

impl Cause {
    fn is_of_identity(&self) -> bool {
        matches!(self, Self::Identity { .. })
    }

    /// Whether one review serves both causes.
    fn joins(&self, other: &Self) -> bool {
        self.is_of_identity() && other.is_of_identity() || self == other
    }

    fn join(&mut self, other: &Self) {
        if let (Self::Identity { is_renamed }, Self::Identity { is_renamed: more }) = (self, other) {
            *is_renamed |= more;
        }
    }

    /// The subscription that alone is reviewed; `None`: all are.
    fn only(&self) -> Option<&TopicName> {
        match self {
            Self::Operator(topic) => topic.as_ref(),
            Self::Identity { .. } | Self::Expired => None,
        }
    }
}

impl Review {
    fn bytes(&self) -> usize {
        let unchecked = self.unchecked.as_ref().map_or(0, ExactSizeIterator::len);
        size_of::<Self>() + unchecked * size_of::<Pattern>() + self.ended.bytes()
    }

    /// Runs the next slice.
    fn run_slice(
        &mut self,
        ends: impl Fn(&Cause, &Pattern) -> bool,
        member: impl Fn(&TopicName) -> Member,
        context: &mut SessionContext<'_>,
    ) -> Answer<()> {
        if context.begin_slice(false) == Answer::Pending {
            return Answer::Pending;
        }
        let mut steps = 0;
        while steps < STEPS_PER_SLICE {
            if self.unchecked.is_none() {
                let listed = match self.cause.only() {
                    Some(topic) => vec![Pattern::from(topic.clone())],
                    None => context.subscriptions(),
                };
                steps += listed.len() / LISTED_PER_STEP;
                self.unchecked = Some(listed.into_iter());
            }
            if let Some(pattern) = self.unchecked.as_mut().and_then(Iterator::next) {
                steps += self.check(&pattern, &ends, &member, context);
                continue;
            }
            let most = STEPS_PER_SLICE - steps;
            let visited = self.ended.prune(most, context);
            steps += visited;
            if visited < most {
                context.spend_steps(steps);
                return Answer::Ready(());
            }
        }
        context.spend_steps(steps);
        context.wait_for_slice()
    }

    /// Checks one subscription. Returns the cost, in steps.
    fn check(
        &mut self,
        pattern: &Pattern,
        ends: impl Fn(&Cause, &Pattern) -> bool,
        member: impl Fn(&TopicName) -> Member,
        context: &mut SessionContext<'_>,
    ) -> usize {
        if ends(&self.cause, pattern) {
            self.ended.end(pattern, context);
            return STEPS_PER_CHANGE;
        }
        match (&self.cause, pattern.as_name()) {
            (Cause::Identity { is_renamed: true }, Some(name)) => {
                context.rename(&name, &member(&name));
                STEPS_PER_CHANGE
            }
            _ => STEPS_PER_CHECK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_id::SessionId;
    use crate::shard::tests::bench::Bench;
    use crate::shard::tests::name;

    const TOPICS: usize = 1_000;

    fn member() -> Member {
        Member { session: SessionId::from_number(1), user: None, info: None }
    }

    fn subscribed_to_many() -> Bench {
        let mut bench = Bench::new();
        (0..TOPICS).for_each(|number| bench.subscribe(&format!("h.{number}")));
        bench
    }

    /// Runs slices, each in a tick of its own, until a review is complete. Returns it with their number.
    fn run(reviews: &mut Reviews, ends: impl Fn(&Cause, &Pattern) -> bool, bench: &mut Bench) -> (Reviewed, usize) {
        let mut slices = 1;
        loop {
            if let Some(done) = reviews.next(&ends, |_| member(), &mut bench.context_for_slice()) {
                return (done, slices);
            }
            slices += 1;
        }
    }

    /// PROTOCOL 3 and 8: new grants count at once, although a session's subscriptions end in slices. A topic that they do not cover is
    /// neither delivered nor read from history from then on; others are. (All subscriptions of all sessions ended in one tick.)
    #[test]
    fn subscriptions_that_lose_their_grants_end_in_slices() {
        let (mut bench, mut reviews) = (subscribed_to_many(), Reviews::default());
        bench.publish("h.7");
        bench.flush();
        bench.subscribe_with(0, "h.7", 1);
        bench.subscribe("d.a");
        let is_denied = |text: &str| text.starts_with("h.");
        bench.context().deny_beyond(Box::new(move |topic| !is_denied(topic.as_str())));
        let cause = Cause::Identity { is_renamed: false };
        reviews.add(cause.clone());
        assert!(reviews.next(|_, pattern| is_denied(pattern.as_str()), |_| member(), &mut bench.context_for_slice()).is_none());
        let before = bench.context().subscription_count();
        assert!((2..TOPICS).contains(&before), "{before} subscriptions are left after a slice");
        bench.publish(&format!("h.{}", TOPICS - 1));
        assert!(bench.state().delivery.owes_nothing(0) && !bench.state().catch_up.is_replaying(0));
        bench.publish("d.a");
        assert!(!bench.state().delivery.owes_nothing(0));
        let (done, slices) = run(&mut reviews, |_, pattern| is_denied(pattern.as_str()), &mut bench);
        assert!(slices + 1 >= TOPICS * STEPS_PER_CHANGE / STEPS_PER_SLICE, "{slices} slices");
        assert_eq!((done.cause, done.ended.len(), reviews.are_done()), (cause, TOPICS, true));
        assert!(bench.context().covers(&name("d.a")) && bench.context().subscription_count() == 1);
        assert!(!bench.state().catch_up.denies(0, &name("h.7")));
    }

    /// Sessions are reviewed in turn, and a tick has a bounded number of steps for all of them.
    #[test]
    fn many_sessions_share_a_tick() {
        const SESSIONS: usize = 8;
        let mut bench = Bench::new();
        let slots: Vec<u32> = (0..SESSIONS).map(|_| bench.join()).collect();
        for &slot in &slots {
            (0..100).for_each(|number| bench.subscribe_with(slot, &format!("h.{number}"), 0));
        }
        bench.state().slices.begin_tick();
        for &slot in &slots {
            let mut reviews = Reviews::default();
            reviews.add(Cause::Operator(None));
            _ = reviews.next(|_, _| true, |_| member(), &mut SessionContext::new(bench.state(), slot));
        }
        let ended = slots.iter().filter(|&&slot| bench.state().delivery.subscribers.of(slot).len() < 100).count();
        assert!((1..SESSIONS).contains(&ended), "{ended} sessions were reviewed in one tick");
    }

    /// A new user is told to presence in slices, in each topic that the session keeps. (All topics were told of it at once.)
    #[test]
    fn a_member_is_renamed_in_slices() {
        let (mut bench, mut reviews) = (subscribed_to_many(), Reviews::default());
        [false, true].into_iter().for_each(|is_renamed| reviews.add(Cause::Identity { is_renamed }));
        let (done, slices) = run(&mut reviews, |_, pattern| pattern.as_str() == "h.7", &mut bench);
        assert!(slices >= TOPICS * STEPS_PER_CHANGE / STEPS_PER_SLICE, "{slices} slices");
        assert_eq!((done.cause, done.ended.len()), (Cause::Identity { is_renamed: true }, 1));
        assert!(reviews.are_done(), "one review serves both");
    }

    /// The topics that a session reads from history are examined in slices when one of its subscriptions ends.
    #[test]
    fn replays_are_examined_in_slices() {
        let (mut bench, mut reviews) = (Bench::new(), Reviews::default());
        for topic in (0..TOPICS).map(|number| format!("h.{number}")) {
            bench.publish(&topic);
            bench.subscribe_with(0, &topic, 1);
        }
        reviews.add(Cause::Operator(Some(name("h.7"))));
        assert!(reviews.bytes() > 0);
        let (done, slices) = run(&mut reviews, |_, _| true, &mut bench);
        assert!(slices >= TOPICS / STEPS_PER_SLICE, "{slices} slices");
        assert_eq!((done.ended.len(), bench.context().subscription_count()), (1, TOPICS - 1));
        assert!(bench.state().catch_up.is_replaying(0));
    }
}
