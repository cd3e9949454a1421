//! Cursors into histories and watermarks.

use std::sync::Arc;

use super::replays::Replays;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Live, Rule, Rules};
use crate::hub::{Attempt, Hub, PayloadKind, Publication, ReplayPiece, Topic, Wanted};
use crate::metrics::{Metrics, PublishSource};
use crate::position::Offset;
use crate::shard::tests::{name, pattern};

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
        let publication =
            Publication { payload: &vec![b'1'; bytes], kind: PayloadKind::Json, except: None, source: PublishSource::Http, payer: None };
        for _ in 0..count {
            assert!(matches!(self.hub.try_publish(&name(topic), &publication), Ok(Attempt::Published(_))));
        }
        self.hub.start(&name(topic), Wanted::default()).unwrap().0
    }

    /// Reads a piece; where it catches up, its watermark goes once the shard has taken `pushed` items.
    fn pull(&self, replays: &mut Replays, pushed: u64) -> (String, ReplayPiece, Vec<u64>) {
        let (topic, piece, live_above) = replays.pull(self.clock.moment()).unwrap();
        live_above.into_iter().for_each(|offset| replays.set_watermark(topic.clone(), offset, pushed));
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
    replays.set_watermark(name("t.c"), Offset(9), 10);
    replays.leave(|topic| topic.as_str() != "t.b");
    assert!(!replays.withholds(&name("t.c"), Offset(9)));
    assert_eq!(archive.pull(&mut replays, 0).2, [1, 2]);
    assert!(!replays.has_more());
}

/// Issue 14, row 12: a live message is looked up among what a session still replays, and not compared with each of it.
#[test]
fn a_topic_is_replayed_once_and_found_by_name() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 3, 1);
    replays.add(Arc::clone(&topic), Offset(1));
    replays.add(topic, Offset(2));
    assert_eq!(archive.pull(&mut replays, 3).2, [1, 2, 3]);
    assert!(!replays.has_more() && !replays.is_replaying(&name("t.a")));
    replays.set_watermark(name("t.a"), Offset(2), 2);
    assert!(replays.settle(2) && replays.withholds(&name("t.a"), Offset(3)), "the higher watermark counts");
}
