//! Pacing and its schedule.

use std::time::Duration;

use super::paces::{Paced, Paces};
use super::schedule::{Due, Schedule};
use crate::clock::{Clock, Timestamp};
use crate::position::Offset;
use crate::shard::tests::{message, name};

const INTERVAL: Duration = Duration::from_millis(250);

/// PROTOCOL 3: at most one message per topic in the interval, the first at once, always the newest.
#[test]
fn an_interval_lets_the_first_and_then_the_newest_through() {
    let (mut paces, clock) = (Paces::default(), Clock::by_hand(Timestamp(0)));
    let due = clock.moment() + INTERVAL;
    assert!(matches!(paces.pace(&message("q.a", 1, &clock), INTERVAL, clock.moment()), Paced::Now(at) if at == due));
    assert!(matches!(paces.pace(&message("q.a", 2, &clock), INTERVAL, clock.moment()), Paced::Held(None)));
    let conflated = paces.pace(&message("q.a", 3, &clock), INTERVAL, clock.moment());
    assert!(matches!(conflated, Paced::Held(Some(older)) if older.position.offset == Offset(2)));
    assert!(matches!(paces.pace(&message("q.b", 1, &clock), INTERVAL, clock.moment()), Paced::Now(_)), "each topic has its own");
    assert_eq!((paces.bytes(), paces.oldest().map(|oldest| oldest.position.offset)), (5, Some(Offset(3))));
    assert!(paces.fall_due(&name("q.a"), Some(INTERVAL), clock.moment()).is_none(), "it is not over yet");
    clock.turn(INTERVAL);
    let (newest, next) = paces.fall_due(&name("q.a"), Some(INTERVAL), clock.moment()).unwrap();
    assert_eq!((newest.position.offset, next), (Offset(3), Some(clock.moment() + INTERVAL)));
    clock.turn(INTERVAL);
    assert!(paces.fall_due(&name("q.a"), Some(INTERVAL), clock.moment()).is_none() && !paces.is_empty(), "nothing was held");
    assert!(paces.fall_due(&name("q.b"), Some(INTERVAL), clock.moment()).is_none() && paces.is_empty());
    assert!(matches!(paces.pace(&message("q.a", 4, &clock), INTERVAL, clock.moment()), Paced::Now(_)), "after silence at once again");
}

/// PROTOCOL 9: what is held back when its topic is left is given back, to be booked.
#[test]
fn leaving_gives_back_what_was_held() {
    let (mut paces, clock) = (Paces::default(), Clock::by_hand(Timestamp(0)));
    for topic in ["q.a", "q.b"] {
        let _ = paces.pace(&message(topic, 1, &clock), INTERVAL, clock.moment());
        let _ = paces.pace(&message(topic, 2, &clock), INTERVAL, clock.moment());
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
    let (mut paces, mut schedule, clock) = (Paces::default(), Schedule::default(), Clock::by_hand(Timestamp(0)));
    let (hour, mut most) = (Duration::from_secs(3600), 0);
    let mut pace = |paces: &mut Paces, topic: &str| {
        let Paced::Now(at) = paces.pace(&message(topic, 1, &clock), hour, clock.moment()) else { panic!("{topic} is paced already") };
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
