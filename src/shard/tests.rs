//! The shard's pure parts: pacing, cursors into histories with their floors, and who takes a topic.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::pace::{Paced, Paces};
use super::replay::Replays;
use super::schedule::{Due, Schedule};
use super::subscribers::Subscribers;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Live, Rule, Rules};
use crate::hub::{About, Attempt, Hub, Message, PayloadKind, Publication, ReplayPiece, Topic, Wanted};
use crate::metrics::{Metrics, PublishSource};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName};

mod arrival;
pub(super) mod bench;
mod leaving;
mod lobby;
mod pass;
mod returning;

const INTERVAL: Duration = Duration::from_millis(250);

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn message(topic: &str, offset: u64, clock: &Clock) -> Message {
    let about = About {
        topic: name(topic),
        position: Position { epoch: Epoch::random(), offset: Offset(offset) },
        published_at: clock.now(),
        moment: clock.moment(),
        kind: PayloadKind::Json,
        except: None,
        rule: Arc::new(Rule::plain(None)),
    };
    Message::new(about, b"12345")
}

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
    let (hour, session, mut most) = (Duration::from_secs(3600), SessionId::random(), 0);
    let mut pace = |paces: &mut Paces, topic: &str| {
        let Paced::Now(at) = paces.pace(&message(topic, 1, &clock), hour, clock.moment()) else { panic!("{topic} is paced already") };
        schedule.note(Due { at, slot: 0, session, topic: name(topic) }, |older| paces.is_due_at(&older.topic, older.at));
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

/// A hub whose topics keep 100 messages.
struct Archive {
    hub: Arc<Hub>,
    clock: Clock,
}

impl Archive {
    fn new() -> Self {
        let rules = Rules::new(vec![Rule { history: 100, ..Rule::plain(Some(pattern(">"))) }]);
        let (clock, metrics) = (Clock::by_hand(Timestamp(0)), Arc::new(Metrics::new()));
        let live = Live::new(&Config { rules, ..Config::default() }, &metrics);
        Self { hub: Hub::new(Arc::new(live), metrics, clock.clone()), clock }
    }

    fn publish(&self, topic: &str, count: usize, bytes: usize) -> Arc<Topic> {
        let publication = Publication { payload: &vec![b'1'; bytes], kind: PayloadKind::Json, except: None, source: PublishSource::Http };
        for _ in 0..count {
            assert!(matches!(self.hub.try_publish(&name(topic), &publication), Ok(Attempt::Published(_))));
        }
        self.hub.start(&name(topic), Wanted::default()).unwrap().0
    }

    fn pull(&self, replays: &mut Replays, pushed: u64) -> (String, ReplayPiece, Vec<u64>) {
        let (topic, piece) = replays.pull(self.clock.moment(), || pushed).unwrap();
        let offsets = piece.messages.iter().map(|message| message.position.offset.0).collect();
        (topic.as_str().to_owned(), piece, offsets)
    }
}

/// PROTOCOL 3: a replay reads a topic to its end, in pieces, what is published meanwhile too; live ones are withheld until then,
/// and those that it has read for as long as the inbox may still hold them.
#[test]
fn a_replay_goes_on_until_it_has_caught_up() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 70, 1);
    replays.add(Arc::clone(&topic), Offset(3));
    let (of, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((of.as_str(), piece.gap, piece.caught_up, offsets), ("t.a", None, false, (3..=66).collect()));
    assert!(replays.is_replaying(&name("t.a")) && replays.withholds(&name("t.a"), Offset(1_000)));
    archive.publish("t.a", 5, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 75);
    assert_eq!((piece.caught_up, offsets), (true, (67..=75).collect()));
    assert!(!replays.has_more() && !replays.is_replaying(&name("t.a")));
    assert!(replays.withholds(&name("t.a"), Offset(75)) && !replays.withholds(&name("t.a"), Offset(76)));
    assert!(!replays.withholds(&name("t.b"), Offset(1)));
    assert!(replays.settle(74) && replays.withholds(&name("t.a"), Offset(75)), "the inbox may still hold it");
    assert!(!replays.settle(75) && !replays.withholds(&name("t.a"), Offset(75)));
}

/// PROTOCOL 3: where history gives way before a session has read it, a gap says so, exactly.
#[test]
fn a_replay_tells_what_gave_way() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    replays.add(archive.publish("t.a", 50, 1), Offset(10));
    archive.publish("t.a", 80, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((piece.gap, offsets.first()), (Some((Offset(10), Offset(30))), Some(&31)));
    archive.publish("t.a", 300, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((piece.gap, offsets.first()), (Some((Offset(95), Offset(330))), Some(&331)));
}

/// A topic whose history is empty ends its replay with a gap and no message, and what the gap tells is not given live either.
#[test]
fn an_empty_history_ends_a_replay_with_a_gap() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.b", 5, 1);
    topic.give_up_history(usize::MAX);
    replays.add(topic, Offset(2));
    let (_, piece, offsets) = archive.pull(&mut replays, 5);
    assert_eq!((piece.gap, piece.caught_up, offsets), (Some((Offset(2), Offset(5))), true, vec![]));
    assert!(replays.withholds(&name("t.b"), Offset(5)) && !replays.withholds(&name("t.b"), Offset(6)));
}

/// A piece is bounded in bytes, and one message of any size makes a piece.
#[test]
fn a_piece_is_bounded_in_bytes() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    replays.add(archive.publish("t.a", 4, 60 << 10), Offset(1));
    let pieces: Vec<_> = (0..2).map(|_| archive.pull(&mut replays, 0).2).collect();
    assert_eq!(pieces, [[1, 2], [3, 4]]);
    let (mut replays, topic) = (Replays::default(), archive.publish("t.b", 2, 200 << 10));
    replays.add(topic, Offset(1));
    assert_eq!(archive.pull(&mut replays, 0).2, [1]);
}

/// PROTOCOL 3: an unsubscribe ends a replay; the other topics' go on.
#[test]
fn leaving_ends_a_replay() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    replays.add(archive.publish("t.a", 3, 1), Offset(1));
    replays.add(archive.publish("t.b", 2, 1), Offset(1));
    replays.set_floor(name("t.c"), Offset(9), 10);
    replays.leave(|topic| topic.as_str() != "t.b");
    assert!(!replays.withholds(&name("t.c"), Offset(9)));
    assert_eq!(archive.pull(&mut replays, 0).2, [1, 2]);
    assert!(!replays.has_more());
}

fn takers(subscribers: &Subscribers, topic: &str) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let (mut slots, mut watchers) = (BTreeSet::new(), BTreeSet::new());
    subscribers.lists(&name(topic), |subscribed| {
        assert!(subscribed.slots.is_sorted() && subscribed.watchers.is_sorted());
        slots.extend(&subscribed.slots);
        watchers.extend(&subscribed.watchers);
    });
    (slots, watchers)
}

/// PROTOCOL 2: names and patterns find their sessions; the first and the last on each are told.
#[test]
fn subscribers_are_found_by_name_and_by_pattern() {
    let mut subscribers = Subscribers::default();
    assert!(subscribers.add(&pattern("q.a"), 7) && subscribers.add(&pattern("q.*"), 7) && subscribers.add(&pattern("q.>"), 2));
    assert!(!subscribers.add(&pattern("q.a"), 3) && !subscribers.add(&pattern("q.>"), 9));
    subscribers.set_watching(&pattern("q.a"), 3, true);
    subscribers.set_watching(&pattern("q.>"), 9, true);
    assert_eq!(takers(&subscribers, "q.a"), ([2, 3, 7, 9].into(), [3, 9].into()));
    assert_eq!(takers(&subscribers, "q.a.b"), ([2, 9].into(), [9].into()));
    subscribers.set_watching(&pattern("q.>"), 9, false);
    assert!(!subscribers.remove(&pattern("q.a"), 3) && subscribers.remove(&pattern("q.a"), 7));
    assert!(!subscribers.remove(&pattern("q.a"), 7), "nobody is on it any more");
    assert!(!subscribers.remove(&pattern("q.>"), 2) && subscribers.remove(&pattern("q.>"), 9));
    assert_eq!(takers(&subscribers, "q.a"), ([7].into(), [].into()));
    assert!(subscribers.remove(&pattern("q.*"), 7));
    assert_eq!(takers(&subscribers, "q.a"), ([].into(), [].into()));
}
