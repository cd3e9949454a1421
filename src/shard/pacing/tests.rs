//! Tests of pacing and its schedule.

use std::sync::Arc;
use std::time::Duration;

use super::paced_topics::{Decision, PacedTopics};
use super::schedule::{Due, Schedule};
use super::{DroppedRange, Pacing, PacingDecision, Released};
use crate::clock::{Clock, Timestamp};
use crate::hub::Message;
use crate::metrics::{DropReason, Metrics, Tally};
use crate::position::Offset;
use crate::shard::tests::{message, name, pattern};
use crate::topic_name::Pattern;

const INTERVAL: Duration = Duration::from_millis(250);

/// A session whose topics all have `interval`.
fn paced(interval: Duration) -> PacedTopics {
    let mut topics = PacedTopics::default();
    topics.intervals().set(&pattern("*.>"), Some(interval));
    topics
}

/// The offset of the message that goes out.
fn offset(released: &Released) -> Option<u64> {
    released.message.as_ref().map(|message| message.position.offset.0)
}

/// PROTOCOL 3: at most one message per topic in the interval, the first at once, always the newest.
#[test]
fn an_interval_lets_the_first_and_then_the_newest_through() {
    let (mut topics, clock) = (paced(INTERVAL), Clock::by_hand(Timestamp(0)));
    let due = clock.moment() + INTERVAL;
    assert!(matches!(topics.decide(&message("q.a", 1, &clock), clock.moment()), Decision::Now(at) if at == due));
    assert!(matches!(topics.decide(&message("q.a", 2, &clock), clock.moment()), Decision::Held(None)));
    let conflated = topics.decide(&message("q.a", 3, &clock), clock.moment());
    assert!(matches!(conflated, Decision::Held(Some(older)) if older.position.offset == Offset(2)));
    assert!(matches!(topics.decide(&message("q.b", 1, &clock), clock.moment()), Decision::Now(_)), "each topic has its own");
    assert_eq!((topics.bytes(), topics.oldest().map(|oldest| oldest.position.offset)), (5, Some(Offset(3))));
    let fall_due =
        |topics: &mut PacedTopics, topic: &str, now| topics.fall_due(&name(topic), now).map(|(released, next)| (offset(&released), next));
    assert!(fall_due(&mut topics, "q.a", clock.moment()).is_none(), "it is not over yet");
    clock.advance(INTERVAL);
    assert_eq!(fall_due(&mut topics, "q.a", clock.moment()), Some((Some(3), Some(clock.moment() + INTERVAL))));
    clock.advance(INTERVAL);
    assert!(fall_due(&mut topics, "q.a", clock.moment()).is_none() && !topics.is_empty(), "nothing was held");
    assert!(fall_due(&mut topics, "q.b", clock.moment()).is_none() && topics.is_empty());
    assert!(matches!(topics.decide(&message("q.a", 4, &clock), clock.moment()), Decision::Now(_)), "after silence at once again");
}

/// PROTOCOL 9: when a topic is unsubscribed from, its held message is returned, to be booked.
#[test]
fn unsubscribing_gives_back_the_held_message() {
    let (mut topics, clock) = (paced(INTERVAL), Clock::by_hand(Timestamp(0)));
    for topic in ["q.a", "q.b"] {
        let _ = topics.decide(&message(topic, 1, &clock), clock.moment());
        let _ = topics.decide(&message(topic, 2, &clock), clock.moment());
    }
    assert_eq!(topics.end(&name("q.a")).as_ref().and_then(offset), Some(2));
    assert_eq!((topics.end_all().len(), topics.bytes()), (1, 0));
    assert!(topics.is_empty());
}

/// A session that subscribes to a topic with a long interval, gets a message and unsubscribes, again and again, leaves
/// no growing memory behind. (Each time left an entry for up to an hour.) Entries that still count stay in their order.
#[test]
fn entries_of_left_topics_are_removed_before_their_time() {
    let (mut topics, mut schedule, clock) = (paced(Duration::from_secs(3600)), Schedule::default(), Clock::by_hand(Timestamp(0)));
    let (hour, mut most) = (Duration::from_secs(3600), 0);
    let mut pace = |topics: &mut PacedTopics, topic: &str| {
        let Decision::Now(at) = topics.decide(&message(topic, 1, &clock), clock.moment()) else { panic!("{topic} is paced already") };
        schedule.add(Due { at, slot: 0, topic: name(topic) }, |older| topics.is_due_at(&older.topic, older.at));
        clock.advance(Duration::from_millis(1));
        most = most.max(schedule.len());
    };
    let kept: Vec<String> = (0..800).map(|number| format!("kept.{number}")).collect();
    kept.iter().for_each(|topic| pace(&mut topics, topic));
    for _ in 0..20_000 {
        pace(&mut topics, "q.a");
        topics.end(&name("q.a"));
    }
    assert!(most <= 2 * kept.len(), "{most} waited, and {} of them counted", kept.len());
    clock.advance(2 * hour);
    let due: Vec<String> = std::iter::from_fn(|| schedule.take_due(clock.moment())).map(|due| due.topic.to_string()).collect();
    assert_eq!(due.into_iter().filter(|topic| topic != "q.a").collect::<Vec<_>>(), kept);
}

/// Setting the same options again costs no look-up. Setting other options costs one look-up for each topic that is
/// paced now. (It cost paced topics times subscriptions, for each subscription of the command.)
#[test]
fn replacing_options_costs_a_look_for_each_paced_topic() {
    const SUBSCRIPTIONS: usize = 1_000;
    const TOPICS: usize = 250;
    let (mut pacing, clock) = (Pacing::default(), Clock::by_hand(Timestamp(0)));
    let mut tally = Tally::new(Arc::new(Metrics::new()));
    let patterns: Vec<Pattern> = (0..SUBSCRIPTIONS).map(|number| pattern(&format!("*.t{number}.>"))).chain([pattern("*.*")]).collect();
    pacing.begin(0, patterns.iter().map(|pattern| (pattern, Some(INTERVAL))));
    pacing.begin_adapting(0);
    for topic in 0..TOPICS {
        let through =
            [1, 2].map(|offset| pacing.decide(0, &message(&format!("q.{topic}"), offset, &clock), usize::MAX, clock.moment(), &mut tally));
        assert_eq!(through, [PacingDecision::Paced, PacingDecision::Held]);
    }
    let mut replace = |interval| {
        let before = pacing.looks(0);
        patterns.iter().for_each(|pattern| pacing.set_interval(0, pattern, interval));
        pacing.begin_adapting(0);
        let released = pacing.adapt(0, usize::MAX, clock.moment(), &mut tally).0.len();
        (pacing.looks(0).saturating_sub(before), released)
    };
    assert_eq!(replace(Some(INTERVAL)), (0, 0));
    assert_eq!(replace(Some(INTERVAL / 2)), (TOPICS, 0));
    assert_eq!(replace(None), (0, TOPICS), "and it is not paced any more");
    assert_eq!(pacing.bytes(0), 0);
}

/// A session's pacing with its environment.
struct Desk {
    pacing: Pacing,
    clock: Clock,
    tally: Tally,
}

impl Desk {
    /// A session with one subscription that has the interval `INTERVAL`.
    fn new(first: &str) -> Self {
        let mut pacing = Pacing::default();
        pacing.begin(0, [(&pattern(first), Some(INTERVAL))].into_iter());
        pacing.begin_adapting(0);
        Self { pacing, clock: Clock::by_hand(Timestamp(0)), tally: Tally::new(Arc::new(Metrics::new())) }
    }

    fn set_interval(&mut self, of: &str, interval: Option<Duration>) {
        self.pacing.set_interval(0, &pattern(of), interval);
        self.pacing.begin_adapting(0);
    }

    fn pass(&mut self, topic: &str, offset: u64) -> PacingDecision {
        self.pacing.decide(0, &message(topic, offset, &self.clock), usize::MAX, self.clock.moment(), &mut self.tally)
    }

    fn adapt(&mut self, most: usize) -> (Vec<Released>, usize) {
        self.pacing.adapt(0, most, self.clock.moment(), &mut self.tally)
    }

    /// What is due now, by topic: `q.a 2-4` is a gap, `q.a 6` a message.
    fn due(&mut self) -> Vec<String> {
        let due = std::iter::from_fn(|| self.pacing.take_due(self.clock.moment(), &mut self.tally));
        let gap = |dropped: Box<DroppedRange>| format!("{} {}-{}", dropped.topic, dropped.from.0, dropped.to.0);
        let message = |message: Message| format!("{} {}", message.topic, message.position.offset.0);
        let mut due: Vec<_> = due.flat_map(|(_, released)| [released.dropped.map(gap), released.message.map(message)]).flatten().collect();
        due.sort();
        due
    }
}

/// A second subscribe with an interval and another pattern leaves the topics of the first pattern paced. Held messages
/// stay held and fall due.
#[test]
fn another_pattern_leaves_the_first_paced() {
    let mut desk = Desk::new("*.a");
    assert_eq!([1, 2].map(|offset| desk.pass("q.a", offset)), [PacingDecision::Paced, PacingDecision::Held]);
    desk.set_interval("b.>", Some(2 * INTERVAL));
    assert!(desk.adapt(usize::MAX).0.is_empty());
    assert_eq!(
        [desk.pass("q.a", 3), desk.pass("b.c", 1), desk.pass("b.c", 2)],
        [PacingDecision::Held, PacingDecision::Paced, PacingDecision::Held]
    );
    assert_eq!(
        [desk.pass("b.a", 1), desk.pass("b.a", 2), desk.pass("q.c", 1)],
        [PacingDecision::Paced, PacingDecision::Held, PacingDecision::Free]
    );
    desk.clock.advance(INTERVAL);
    assert_eq!(desk.due(), ["b.a 2", "q.a 3"]);
}

/// PROTOCOL 3 and 7: held messages that were dropped are told as one gap, when their topic falls due. (A topic's newest
/// message was lost silently.)
#[test]
fn dropped_messages_are_told_as_a_gap() {
    let mut desk = Desk::new("q.*");
    for (topic, offset) in [("q.a", 1), ("q.b", 1), ("q.a", 2), ("q.b", 2), ("q.a", 3), ("q.a", 4)] {
        desk.pass(topic, offset);
        desk.pacing.shrink(0, 0, DropReason::Slow, &mut desk.tally);
    }
    desk.pass("q.a", 5);
    desk.clock.advance(INTERVAL);
    assert_eq!(desk.due(), ["q.a 2-4", "q.a 5", "q.b 2-2"]);
    assert_eq!((desk.pacing.bytes(0), desk.pacing.topics(0)), (0, 1), "the interval of q.a runs again");
}

/// Topics are adapted to new intervals in parts, with one look-up each. A newer message of a topic that was not adapted
/// yet goes out at once, behind the held message. (All topics were examined at once: 26,000 of them took a shard 10 ms
/// and more.)
#[test]
fn many_topics_follow_in_parts() {
    const TOPICS: usize = 10_000;
    const PART: usize = 256;
    let mut desk = Desk::new("q.*");
    for topic in 0..TOPICS {
        assert_eq!([1, 2].map(|offset| desk.pass(&format!("q.{topic}"), offset)), [PacingDecision::Paced, PacingDecision::Held]);
    }
    desk.set_interval("q.*", None);
    let (released, mut examined) = desk.adapt(PART);
    assert_eq!((released.len(), examined), (PART, PART));
    let held = desk.pacing.take_unpaced(0, &name("q.0"), &mut desk.tally);
    assert_eq!(held.as_ref().and_then(offset), Some(2), "it is the last to follow");
    assert!(desk.pacing.take_unpaced(0, &name("q.9999"), &mut desk.tally).is_none(), "it has adapted");
    assert_eq!([desk.pass("q.0", 3), desk.pass("q.9999", 3)], [PacingDecision::Free; 2]);
    while desk.pacing.is_adapting(0) {
        let (released, part) = desk.adapt(PART);
        assert!(part <= PART && released.len() == part);
        examined += part;
    }
    assert_eq!(examined, TOPICS - 1);
    assert!(!desk.pacing.has(0) && desk.pacing.bytes(0) == 0);
}

/// While subscriptions end one after the other, a newer message that another subscription matches goes out behind the
/// held message.
#[test]
fn a_held_message_goes_first_while_subscriptions_end() {
    let mut desk = Desk::new("q.*");
    desk.set_interval("*.a", None);
    desk.pacing.set_interval(0, &pattern("*.a"), Some(INTERVAL));
    desk.pacing.begin_adapting(0);
    assert_eq!([1, 2].map(|offset| desk.pass("q.a", offset)), [PacingDecision::Paced, PacingDecision::Held]);
    desk.pacing.end_interval(0, &pattern("q.*"));
    assert!(desk.pacing.take_unpaced(0, &name("q.a"), &mut desk.tally).is_none(), "the other is paced too");
    desk.pacing.set_interval(0, &pattern("*.a"), None);
    assert!(desk.pacing.take_unpaced(0, &name("q.a"), &mut desk.tally).is_some());
    assert_eq!(desk.pass("q.a", 3), PacingDecision::Free);
}

/// A shorter interval brings a topic's due time forward, even if it changes again before all topics are adapted.
#[test]
fn a_change_begins_anew() {
    let mut desk = Desk::new("q.*");
    for topic in 0..10 {
        assert_eq!([1, 2].map(|offset| desk.pass(&format!("q.{topic}"), offset)), [PacingDecision::Paced, PacingDecision::Held]);
    }
    desk.set_interval("q.*", Some(INTERVAL / 2));
    desk.adapt(5);
    desk.set_interval("q.*", Some(INTERVAL / 4));
    while desk.pacing.is_adapting(0) {
        desk.adapt(3);
    }
    desk.clock.advance(INTERVAL / 4);
    assert_eq!(desk.due().len(), 10);
}
