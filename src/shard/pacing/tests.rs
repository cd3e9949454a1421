//! Pacing and its schedule.

use std::sync::Arc;
use std::time::Duration;

use super::paces::{Paced, Paces};
use super::schedule::{Due, Schedule};
use super::{Pacing, Passage};
use crate::clock::{Clock, Timestamp};
use crate::metrics::{Metrics, Tally};
use crate::position::Offset;
use crate::shard::tests::{message, name, pattern};
use crate::topic_name::Pattern;

const INTERVAL: Duration = Duration::from_millis(250);

/// A session whose every topic has that interval.
fn paced(interval: Duration) -> Paces {
    let mut paces = Paces::default();
    paces.intervals().set(&pattern("*.>"), Some(interval));
    paces
}

/// PROTOCOL 3: at most one message per topic in the interval, the first at once, always the newest.
#[test]
fn an_interval_lets_the_first_and_then_the_newest_through() {
    let (mut paces, clock) = (paced(INTERVAL), Clock::by_hand(Timestamp(0)));
    let due = clock.moment() + INTERVAL;
    assert!(matches!(paces.pace(&message("q.a", 1, &clock), clock.moment()), Paced::Now(at) if at == due));
    assert!(matches!(paces.pace(&message("q.a", 2, &clock), clock.moment()), Paced::Held(None)));
    let conflated = paces.pace(&message("q.a", 3, &clock), clock.moment());
    assert!(matches!(conflated, Paced::Held(Some(older)) if older.position.offset == Offset(2)));
    assert!(matches!(paces.pace(&message("q.b", 1, &clock), clock.moment()), Paced::Now(_)), "each topic has its own");
    assert_eq!((paces.bytes(), paces.oldest().map(|oldest| oldest.position.offset)), (5, Some(Offset(3))));
    assert!(paces.fall_due(&name("q.a"), clock.moment()).is_none(), "it is not over yet");
    clock.turn(INTERVAL);
    let (newest, next) = paces.fall_due(&name("q.a"), clock.moment()).unwrap();
    assert_eq!((newest.position.offset, next), (Offset(3), Some(clock.moment() + INTERVAL)));
    clock.turn(INTERVAL);
    assert!(paces.fall_due(&name("q.a"), clock.moment()).is_none() && !paces.is_empty(), "nothing was held");
    assert!(paces.fall_due(&name("q.b"), clock.moment()).is_none() && paces.is_empty());
    assert!(matches!(paces.pace(&message("q.a", 4, &clock), clock.moment()), Paced::Now(_)), "after silence at once again");
}

/// PROTOCOL 9: what is held back when its topic is left is given back, to be booked.
#[test]
fn leaving_gives_back_what_was_held() {
    let (mut paces, clock) = (paced(INTERVAL), Clock::by_hand(Timestamp(0)));
    for topic in ["q.a", "q.b"] {
        let _ = paces.pace(&message(topic, 1, &clock), clock.moment());
        let _ = paces.pace(&message(topic, 2, &clock), clock.moment());
    }
    let back = paces.leave(|topic| topic.as_str() == "q.a");
    assert_eq!(back.iter().map(|message| message.topic.as_str()).collect::<Vec<_>>(), ["q.a"]);
    assert_eq!(paces.leave(|_| true).len(), 1);
    assert!(paces.is_empty());
}

/// Threats, row 22: whoever takes a topic with a long interval, gets a message and leaves, again and again, leaves nothing behind that
/// grows. (Each left an entry, for up to an hour.) What still counts stays, and comes in its order.
#[test]
fn what_was_left_does_not_wait_for_its_time() {
    let (mut paces, mut schedule, clock) = (paced(Duration::from_secs(3600)), Schedule::default(), Clock::by_hand(Timestamp(0)));
    let (hour, mut most) = (Duration::from_secs(3600), 0);
    let mut pace = |paces: &mut Paces, topic: &str| {
        let Paced::Now(at) = paces.pace(&message(topic, 1, &clock), clock.moment()) else { panic!("{topic} is paced already") };
        schedule.note(Due { at, slot: 0, topic: name(topic) }, |older| paces.is_due_at(&older.topic, older.at));
        clock.turn(Duration::from_millis(1));
        most = most.max(schedule.len());
    };
    let kept: Vec<String> = (0..800).map(|number| format!("kept.{number}")).collect();
    kept.iter().for_each(|topic| pace(&mut paces, topic));
    for _ in 0..20_000 {
        pace(&mut paces, "q.a");
        paces.leave(|topic| topic.as_str() == "q.a");
    }
    assert!(most <= 2 * kept.len(), "{most} waited, and {} of them counted", kept.len());
    clock.turn(2 * hour);
    let due: Vec<String> = std::iter::from_fn(|| schedule.take_due(clock.moment())).map(|due| due.topic.to_string()).collect();
    assert_eq!(due.into_iter().filter(|topic| topic != "q.a").collect::<Vec<_>>(), kept);
}

/// Issue 14, row 1: what the same options cost again is nothing, and what other options cost is one look for each topic that is
/// paced now. (It was the paced topics times the subscriptions, for each subscription of the command.)
#[test]
fn replacing_options_costs_a_look_for_each_paced_topic() {
    const SUBSCRIPTIONS: usize = 1_000;
    const TOPICS: usize = 250;
    let (mut pacing, clock) = (Pacing::default(), Clock::by_hand(Timestamp(0)));
    let mut tally = Tally::new(Arc::new(Metrics::new()));
    let patterns: Vec<Pattern> = (0..SUBSCRIPTIONS).map(|number| pattern(&format!("*.t{number}.>"))).chain([pattern("*.*")]).collect();
    pacing.begin(0, patterns.iter().map(|pattern| (pattern, Some(INTERVAL))));
    pacing.follow(0, clock.moment(), &mut tally);
    for topic in 0..TOPICS {
        let through = [1, 2]
            .map(|offset| pacing.lets_through(0, &message(&format!("q.{topic}"), offset, &clock), usize::MAX, clock.moment(), &mut tally));
        assert_eq!(through, [Passage::Paced, Passage::Held]);
    }
    let mut replace = |interval| {
        let before = pacing.looks(0);
        patterns.iter().for_each(|pattern| pacing.set_interval(0, pattern, interval));
        let released = pacing.follow(0, clock.moment(), &mut tally).len();
        (pacing.looks(0).saturating_sub(before), released)
    };
    assert_eq!(replace(Some(INTERVAL)), (0, 0));
    assert_eq!(replace(Some(INTERVAL / 2)), (TOPICS, 0));
    assert_eq!(replace(None), (0, TOPICS), "and it is not paced any more");
    assert_eq!(pacing.bytes(0), 0);
}
