//! Tests of cursors, watermarks and expansions.

use std::sync::Arc;
use std::task::Waker;

use foldhash::HashSet;

use super::Expansion;
use super::replays::Replays;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Live, Rule, Rules};
use crate::hub::{Attempt, Hub, PayloadKind, Publication, ReplayGap, ReplayPiece, ReplayRequest, Selection, Topic};
use crate::metrics::{Metrics, PublishSource};
use crate::position::{Epoch, Offset, Position};
use crate::shard::tests::{name, pattern};
use crate::topic_name::{Pattern, TopicName};

/// A hub whose topics keep 100 messages.
struct Archive {
    hub: Arc<Hub>,
    clock: Clock,
}

impl Archive {
    fn new() -> Self {
        let rules = Rules::new(vec![Rule { history: 100, ..Rule::plain(Some(pattern(">").into())) }]);
        let (clock, metrics) = (Clock::by_hand(Timestamp(0)), Arc::new(Metrics::new()));
        let live = Live::new(&Config { rules, ..Config::default() }, &metrics);
        Self { hub: Hub::new(Arc::new(live), metrics, clock.clone()), clock }
    }

    fn publish(&self, topic: &str, count: usize, bytes: usize) -> Arc<Topic> {
        let payload = vec![b'1'; bytes];
        let publication = Publication::new(&payload, PayloadKind::Json, PublishSource::Http);
        for _ in 0..count {
            assert!(matches!(self.hub.try_publish(&name(topic), &publication, Waker::noop()), Ok(Attempt::Published(_))));
        }
        self.hub.start(&name(topic), ReplayRequest::default()).unwrap().topic
    }

    /// Reads a piece. If the topic has caught up, its watermark goes once the shard has processed `pushed` items.
    fn pull(&self, replays: &mut Replays, pushed: u64) -> (String, ReplayPiece, Vec<u64>) {
        let (topic, piece, live_above) = replays.pull(self.clock.moment()).unwrap();
        live_above.into_iter().for_each(|position| replays.set_watermark(topic.clone(), position, pushed));
        let offsets = piece.messages.iter().map(|message| message.position.offset.0).collect();
        (topic.as_str().to_owned(), piece, offsets)
    }
}

/// The position of `offset` in the current epoch of `topic`.
fn at(topic: &Topic, offset: u64) -> Position {
    Position { offset: Offset(offset), ..topic.info().position }
}

fn gap(from: u64, to: u64) -> Option<ReplayGap> {
    Some(ReplayGap { from: Offset(from), to: Offset(to), epoch: None })
}

/// PROTOCOL 3: a replay reads a topic to its end in pieces, with the messages published meanwhile. Live messages are
/// withheld until then. Live messages that the replay has brought are withheld as long as the inbox may hold them.
#[test]
fn a_replay_goes_on_until_it_has_caught_up() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 70, 1);
    replays.add(Arc::clone(&topic), at(&topic, 3));
    let (of, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((of.as_str(), piece.gap, piece.caught_up, offsets), ("t.a", None, false, (3..=66).collect()));
    assert!(replays.is_replaying(&name("t.a")) && replays.withholds(&name("t.a"), at(&topic, 1_000)));
    archive.publish("t.a", 5, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 75);
    assert_eq!((piece.caught_up, offsets), (true, (67..=75).collect()));
    assert!(!replays.has_more() && !replays.is_replaying(&name("t.a")));
    assert!(replays.withholds(&name("t.a"), at(&topic, 75)) && !replays.withholds(&name("t.a"), at(&topic, 76)));
    assert!(!replays.withholds(&name("t.b"), at(&topic, 1)));
    assert!(replays.forget_passed(74) && replays.withholds(&name("t.a"), at(&topic, 75)), "the inbox may still hold it");
    assert!(!replays.forget_passed(75) && !replays.withholds(&name("t.a"), at(&topic, 75)));
}

/// PROTOCOL 3: if history drops messages before a session has read them, a gap tells exactly these.
#[test]
fn a_replay_tells_a_gap_for_messages_that_history_dropped() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 50, 1);
    replays.add(Arc::clone(&topic), at(&topic, 10));
    archive.publish("t.a", 80, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((piece.gap, offsets.first()), (gap(10, 30), Some(&31)));
    archive.publish("t.a", 300, 1);
    let (_, piece, offsets) = archive.pull(&mut replays, 0);
    assert_eq!((piece.gap, offsets.first()), (gap(95, 330), Some(&331)));
}

/// The replay of a topic whose history is empty ends with a gap and no message. Messages that the gap tells are not
/// delivered live either.
#[test]
fn an_empty_history_ends_a_replay_with_a_gap() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.b", 5, 1);
    topic.trim_history(usize::MAX);
    replays.add(Arc::clone(&topic), at(&topic, 2));
    let (_, piece, offsets) = archive.pull(&mut replays, 5);
    assert_eq!((piece.gap, piece.caught_up, offsets), (gap(2, 5), true, vec![]));
    assert!(replays.withholds(&name("t.b"), at(&topic, 5)) && !replays.withholds(&name("t.b"), at(&topic, 6)));
}

/// A piece is bounded in bytes, and one message of any size makes a piece.
#[test]
fn a_piece_is_bounded_in_bytes() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 4, 60 << 10);
    replays.add(Arc::clone(&topic), at(&topic, 1));
    let pieces: Vec<_> = (0..2).map(|_| archive.pull(&mut replays, 0).2).collect();
    assert_eq!(pieces, [[1, 2], [3, 4]]);
    let (mut replays, topic) = (Replays::default(), archive.publish("t.b", 2, 200 << 10));
    replays.add(Arc::clone(&topic), at(&topic, 1));
    assert_eq!(archive.pull(&mut replays, 0).2, [1]);
}

/// PROTOCOL 3: an unsubscribe ends the replay of its topic. The replays of other topics continue.
#[test]
fn unsubscribing_ends_a_replay() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 3, 1);
    replays.add(Arc::clone(&topic), at(&topic, 1));
    let topic = archive.publish("t.b", 2, 1);
    replays.add(Arc::clone(&topic), at(&topic, 1));
    let position = Position { epoch: Epoch::random(), offset: Offset(9) };
    replays.set_watermark(name("t.c"), position, 10);
    replays.begin_pruning();
    assert!(!replays.has_more(), "nothing is read before all were looked at");
    assert_eq!(replays.prune(usize::MAX, |topic| topic.as_str() != "t.b"), 2);
    assert!(!replays.withholds(&name("t.c"), position));
    assert_eq!(archive.pull(&mut replays, 0).2, [1, 2]);
    assert!(!replays.has_more());
}

/// When subscriptions end, the topics that the session reads are examined in parts, each topic once. (All were examined
/// at once.)
#[test]
fn unsubscribing_is_done_in_parts() {
    const TOPICS: usize = 1_000;
    let (archive, mut replays) = (Archive::new(), Replays::default());
    for number in 0..TOPICS {
        let topic = archive.publish(&format!("t.{number}"), 1, 1);
        replays.add(Arc::clone(&topic), at(&topic, 1));
    }
    replays.begin_pruning();
    let mut examined = Vec::new();
    while examined.last().is_none_or(|&part| part == 64) {
        assert!(!replays.has_more());
        examined.push(replays.prune(64, |topic| topic.as_str().ends_with('7')));
    }
    assert_eq!((examined.len(), examined.iter().sum()), (TOPICS / 64 + 1, TOPICS));
    let mut read = HashSet::default();
    while replays.has_more() {
        read.insert(archive.pull(&mut replays, 0).0);
    }
    assert!(read.len() == TOPICS * 9 / 10 && !read.iter().any(|topic| topic.ends_with('7')));
}

/// A live message is looked up among the topics that a session replays, and not compared with each of them.
#[test]
fn a_topic_is_replayed_once_and_found_by_name() {
    let (archive, mut replays) = (Archive::new(), Replays::default());
    let topic = archive.publish("t.a", 3, 1);
    replays.add(Arc::clone(&topic), at(&topic, 1));
    replays.add(Arc::clone(&topic), at(&topic, 2));
    assert_eq!(archive.pull(&mut replays, 3).2, [1, 2, 3]);
    assert!(!replays.has_more() && !replays.is_replaying(&name("t.a")));
    replays.set_watermark(name("t.a"), at(&topic, 2), 2);
    assert!(replays.forget_passed(2) && replays.withholds(&name("t.a"), at(&topic, 3)), "the higher watermark counts");
}

/// The sums over all slices of a search.
#[derive(Debug, Default)]
struct SearchTotals {
    slices: usize,
    /// The most topics that began in one slice.
    longest: usize,
    begun: usize,
    /// The charged work, in topics.
    work: usize,
}

/// Searches for the topics that `patterns` match. The session is still subscribed to the topics for which `covers`
/// holds.
fn looked_for(archive: &Archive, patterns: &[String], covers: impl Fn(&TopicName) -> bool + Copy) -> SearchTotals {
    let patterns: Vec<Pattern> = patterns.iter().map(|text| pattern(text)).collect();
    let mut expansion = Expansion::new(Box::new(Selection::of(&patterns)), Default::default(), HashSet::default(), Some(1));
    expansion.begin(0, true);
    expansion.note_ended_subscriptions();
    let mut looked = SearchTotals::default();
    loop {
        let expanded = expansion.run_slice(&archive.hub, 0, || 0, covers, &mut looked.work).unwrap();
        looked.slices += 1;
        looked.begun += expanded.cursors.len();
        looked.longest = looked.longest.max(expanded.cursors.len());
        if expanded.ended {
            return looked;
        }
    }
}

/// Topics that patterns match are searched in bounded slices. Each topic begins once, however many patterns match it,
/// and costs about one step. (The search cost patterns times topics, and made a cursor for each topic at once.)
#[test]
fn topics_that_patterns_match_are_searched_in_slices() {
    const TOPICS: usize = 3_000;
    let archive = Archive::new();
    (0..TOPICS).for_each(|number| _ = archive.publish(&format!("t.{number}.a.a"), 1, 1));
    let one = looked_for(&archive, &["t.*.a.a".to_owned()], |_| true);
    let tails = ["a.a", "a.*", "*.a", "*.*", "a.>", ">"];
    let each = (0..TOPICS).flat_map(|number| tails.map(|tail| format!("t.{number}.{tail}")));
    let many = looked_for(&archive, &each.chain(tails.map(|tail| format!("*.*.{tail}"))).collect::<Vec<_>>(), |_| true);
    for looked in [&one, &many] {
        assert_eq!(looked.begun, TOPICS, "{looked:?}");
        assert!(looked.longest <= 256 && looked.slices >= TOPICS / 256, "{looked:?}");
        assert!(looked.work >= TOPICS, "{looked:?}");
    }
    assert!(one.work <= 2 * TOPICS && many.work <= 4 * TOPICS, "{one:?} {many:?}");
    let kept = looked_for(&archive, &["t.*.a.a".to_owned()], |topic| topic.as_str().ends_with("7.a.a"));
    assert_eq!(kept.begun, TOPICS / 10, "what the session has left is not begun");
}
