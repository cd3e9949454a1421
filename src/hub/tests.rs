//! The hub with outlets that record what they receive, and a clock that is set by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Live, Sources};
use crate::metrics::{Metrics, PublishSource};
use crate::position::{Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;
use crate::topic_name::tests::{name, pattern};

#[derive(Default)]
struct RecordingOutlet {
    messages: Mutex<Vec<Message>>,
    changes: Mutex<Vec<Arc<PresenceChange>>>,
}

impl Outlet for RecordingOutlet {
    fn has_room(&self, _: &Waker) -> bool {
        true
    }
    fn when_room(&self, _: &Waker) {}
    fn offer(&self, message: &Message, _: &Waker) {
        self.messages.lock().push(message.clone());
    }
    fn log_replaced(&self, _: &TopicName, _: Position) {}
    fn offer_presence(&self, change: &Arc<PresenceChange>) {
        self.changes.lock().push(Arc::clone(change));
    }
}

impl RecordingOutlet {
    fn offsets(&self) -> Vec<u64> {
        self.messages.lock().iter().map(|message| message.position.offset.0).collect()
    }
}

struct Fixture {
    hub: Arc<Hub>,
    clock: Clock,
    outlet: Arc<RecordingOutlet>,
    id: OutletId,
}

fn fixture(settings: &[(&str, &str)]) -> Fixture {
    let settings = settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let config = Config::load(&Sources { settings, ..Sources::default() }).unwrap();
    let (clock, metrics) = (Clock::by_hand(Timestamp(1_000)), Arc::new(Metrics::new()));
    let hub = Hub::new(Arc::new(Live::new(&config, &metrics)), metrics, clock.clone());
    let outlet = Arc::<RecordingOutlet>::default();
    let id = hub.attach(Arc::clone(&outlet) as Arc<dyn Outlet>);
    Fixture { hub, clock, outlet, id }
}

fn member() -> Member {
    Member { session: SessionId::random(), user: None, info: None }
}

impl Fixture {
    fn publish(&self, topic: &str, payload: &'static str) -> Position {
        let publication = Publication::new(payload.as_bytes(), PayloadKind::Text, PublishSource::Http);
        match self.hub.try_publish(&name(topic), &publication, Waker::noop()) {
            Ok(Attempt::Published(position)) => position,
            Ok(_) => panic!("this outlet always has room, and there is no engine"),
            Err(error) => panic!("{error}"),
        }
    }

    fn start(&self, topic: &str, since: Option<(&str, u64)>, last: Option<usize>) -> Start {
        let wanted = ReplayRequest { since: since.map(|(epoch, offset)| (Some(epoch), Offset(offset))), last };
        self.hub.subscribe(&name(topic), self.id, &member(), None, wanted).unwrap().start
    }

    /// Why `publication` is refused; `None`: it was accepted.
    fn refusal(&self, topic: &str, publication: &Publication<'_>) -> Option<PublishError> {
        self.hub.try_publish(&name(topic), publication, Waker::noop()).err()
    }

    fn topics(&self) -> Vec<String> {
        self.hub.topic_infos(None, None, 10).iter().map(|info| info.topic.to_string()).collect()
    }

    fn upkeep(&self, later: Duration) {
        self.clock.advance(later);
        while self.hub.upkeep() {}
    }
}

/// PROTOCOL 1: the offsets of a topic are 1, 2, 3 … without holes.
#[test]
fn offsets_count_per_topic() {
    let fixture = fixture(&[]);
    assert_eq!([1, 2, 3].map(|_| fixture.publish("chat.a", "x").offset.0), [1, 2, 3]);
    assert_eq!(fixture.publish("chat.b", "x").offset.0, 1);
}

/// PROTOCOL 3: every case of `since`.
#[test]
fn since_is_recovered_if_the_history_reaches_back() {
    let fixture = fixture(&[]);
    for _ in 0..150 {
        fixture.publish("chat.a", "x"); // history = 100, so 51 is the first that is left
    }
    let epoch = fixture.hub.position(&name("chat.a")).unwrap().epoch;
    let started = |epoch: &str, offset| {
        let start = fixture.start("chat.a", Some((epoch, offset)), Some(2));
        (start.recovered, start.replay_from.map(|offset| offset.0))
    };
    assert_eq!(started(epoch.as_str(), 149), (Some(true), Some(150)));
    assert_eq!(started(epoch.as_str(), 150), (Some(true), None), "nothing was missed");
    assert_eq!(started(epoch.as_str(), 50), (Some(true), Some(51)), "history just reaches back");
    assert_eq!(started(epoch.as_str(), 49), (Some(false), Some(149)), "history no longer reaches back: as with `last`");
    assert_eq!(started("another1", 149), (Some(false), Some(149)), "another epoch");
    assert_eq!(started(epoch.as_str(), 151), (Some(false), Some(149)), "past the newest offset");
}

/// PROTOCOL 2: a topic exists from its first use until it has neither a named subscriber nor a history.
#[test]
fn an_unused_topic_is_removed_within_5_s() {
    let fixture = fixture(&[("topics", r#"[{ match = "short.>", history = 5, history_ttl = "1m" }]"#)]);
    fixture.publish("plain.a", "x");
    fixture.publish("short.a", "x");
    let subscriber = member();
    fixture.hub.subscribe(&name("plain.b"), fixture.id, &subscriber, None, ReplayRequest::default()).unwrap();
    fixture.upkeep(Duration::from_secs(5));
    let exists = |topic: &str| fixture.hub.find(&name(topic)).is_some();
    assert_eq!([exists("plain.a"), exists("short.a"), exists("plain.b")], [false, true, true]);
    fixture.upkeep(Duration::from_secs(60));
    fixture.upkeep(Duration::from_secs(5));
    assert_eq!([exists("short.a"), exists("plain.b")], [false, true]);
    fixture.hub.unsubscribe(&name("plain.b"), fixture.id, subscriber.session);
    fixture.upkeep(Duration::from_secs(5));
    assert!(!exists("plain.b"));
}

/// PROTOCOL 7: past `history_bytes`, the oldest messages of the topics without a publish for the longest time are
/// removed. Epochs stay.
#[test]
fn histories_are_trimmed_from_the_least_recently_published_topic() {
    let fixture = fixture(&[("limits.history_bytes", "2000")]);
    let old = fixture.publish("chat.old", "x");
    fixture.clock.advance(Duration::from_secs(1));
    for _ in 0..15 {
        fixture.publish("chat.new", "x");
    }
    let kept = |topic: &str| fixture.hub.history(&name(topic), None, 1_000).unwrap().messages.len();
    assert_eq!(kept("chat.old"), 0);
    assert_eq!(kept("chat.new"), 15, "only the bytes past the bound are freed");
    assert_eq!(fixture.hub.position(&name("chat.old")), Some(old));
}

/// Each of 16 publishers frees only the bytes that are past the bound at its moment.
#[test]
fn concurrent_publishers_do_not_empty_the_histories() {
    let fixture = fixture(&[("limits.history_bytes", "40000"), ("topics", r#"[{ match = ">", history = 1000 }]"#)]);
    (0..320).for_each(|message| _ = fixture.publish(&format!("chat.t{}", message % 50), "x"));
    let publish = &|thread| {
        for message in 0..200 {
            fixture.publish(&format!("chat.t{}", (thread * 7 + message) % 50), "x");
            let bytes = fixture.hub.topics.histories_bytes();
            assert!((36_000..46_000).contains(&bytes), "{bytes} bytes of 40,000");
        }
    };
    std::thread::scope(|scope| (0..16).for_each(|thread| _ = scope.spawn(move || publish(thread))));
}

/// An engine with a stream for every topic. It accepts every publication and answers none, unless it refuses all or is
/// full.
#[derive(Default)]
struct StubEngine {
    refuses: bool,
    is_full: bool,
    forgotten: Mutex<usize>,
}

impl Engine for StubEngine {
    fn accepts(&self, _: &TopicName) -> Option<bool> {
        Some(!self.refuses)
    }
    fn publish(&self, _: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
        Some(match (self.refuses, self.is_full) {
            (true, _) => Err(PublishError::Unavailable("")),
            (false, true) => Ok(EngineAttempt::NoRoom),
            (false, false) => Ok(EngineAttempt::Awaited(Receipt::pair().1)),
        })
    }
    fn forget(&self, _: &Waker) {
        *self.forgotten.lock() += 1;
    }
    fn when_room(&self, _: &Waker) {}
}

/// PROTOCOL 7: `topics_per_address` bounds the existing topics that one payer has made by publishing and subscribing.
/// Other payers are not affected.
#[test]
fn the_topics_of_a_payer_are_bounded() {
    expect_bounded_topics(&fixture(&[("limits.topics_per_address", "2")]));
}

/// PROTOCOL 13: the limits are those of the gateway that receives the publish. The bug: a publish to a stream's topic
/// made a topic without a payer.
#[test]
fn topics_of_a_stream_count_for_their_payer() {
    let fixture = fixture(&[("limits.topics_per_address", "2")]);
    fixture.hub.follow_stream(&pattern("plain.>"));
    fixture.hub.set_engine(Arc::new(StubEngine::default()));
    expect_bounded_topics(&fixture);
}

/// The bug: a publication that the engine refused made a topic, which was charged to its payer and evicted another.
#[test]
fn a_publication_that_the_engine_refuses_makes_no_topic() {
    let fixture = fixture(&[("limits.topics", "1")]);
    fixture.publish("chat.a", "x");
    fixture.clock.advance(Duration::from_secs(2));
    fixture.hub.follow_stream(&pattern("chat.>"));
    fixture.hub.set_engine(Arc::new(StubEngine { refuses: true, ..StubEngine::default() }));
    let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Session);
    assert_eq!(fixture.refusal("chat.b", &publication), Some(PublishError::Unavailable("")));
    assert_eq!(fixture.topics(), ["chat.a"]);
}

/// The bug: the engine kept room for a publisher that had been dropped while it waited, and woke it.
#[test]
fn the_engine_forgets_a_dropped_publisher() {
    let (fixture, engine) = (fixture(&[]), Arc::new(StubEngine { is_full: true, ..StubEngine::default() }));
    fixture.hub.set_engine(Arc::clone(&engine) as Arc<dyn Engine>);
    let topic = name("chat.a");
    let mut submitting = Box::pin(fixture.hub.submit(&topic, Publication::new(b"1", PayloadKind::Json, PublishSource::Http)));
    assert!(submitting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(*engine.forgotten.lock(), 0);
    drop(submitting);
    assert_eq!(*engine.forgotten.lock(), 1);
}

fn expect_bounded_topics(fixture: &Fixture) {
    let payers = ["192.0.2.1", "192.0.2.2"].map(|address| Payer::of_address(address.parse().unwrap()));
    let publish = |topic: &str, payer| {
        let publication = Publication { payer: Some(payer), ..Publication::new(b"1", PayloadKind::Json, PublishSource::Session) };
        fixture.refusal(topic, &publication)
    };
    let subscribe =
        |topic: &str, payer| fixture.hub.subscribe(&name(topic), fixture.id, &member(), Some(payer), ReplayRequest::default()).err();
    assert_eq!((publish("plain.a", &payers[0]), subscribe("plain.b", &payers[0])), (None, None));
    let refused = Some(PublishError::NotMade(NotMade::TopicsOfPayerFull));
    assert_eq!((publish("plain.c", &payers[0]), subscribe("plain.c", &payers[0])), (refused.clone(), refused));
    assert_eq!((publish("plain.a", &payers[0]), publish("plain.c", &payers[1])), (None, None), "the topic exists; the payer is another");
    assert_eq!(publish("plain.c", &payers[0]), None, "another payer has made the topic");
    fixture.upkeep(Duration::from_secs(5));
    assert_eq!(
        (publish("plain.d", &payers[0]), publish("plain.a", &payers[1])),
        (None, None),
        "plain.a was removed, and its place is free"
    );
}

/// A search for a topic to evict therefore skips none.
#[test]
fn the_eviction_orders_have_exactly_the_evictable_topics() {
    let fixture = fixture(&[]);
    for number in 0..1_000 {
        fixture.start(&format!("chat.named{number}"), None, None);
    }
    assert_eq!(fixture.hub.topics.evictable(), (0, 0));
    fixture.publish("chat.named1", "x");
    fixture.publish("chat.unnamed", "x");
    assert_eq!(fixture.hub.topics.evictable(), (1, 2));
    fixture.upkeep(Duration::from_secs(3600 * 24));
    assert_eq!(fixture.hub.topics.evictable().1, 0, "the histories have expired");
}

/// PROTOCOL 7: topics with a history or a feed are evicted after those without.
#[test]
fn topics_with_a_history_or_a_feed_are_evicted_last() {
    let fixture = fixture(&[("limits.topics", "4"), ("topics", r#"[{ match = "chat.>", history = 5 }]"#)]);
    fixture.publish("chat.a", "x");
    fixture.clock.advance(Duration::from_secs(2));
    let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Feed);
    assert_eq!(fixture.refusal("fed.b", &publication), None);
    for topic in ["plain.c", "plain.d", "plain.e", "plain.f"] {
        fixture.clock.advance(Duration::from_secs(2));
        fixture.publish(topic, "x");
    }
    assert_eq!(fixture.topics(), ["chat.a", "fed.b", "plain.e", "plain.f"]);
    fixture.start("plain.e", None, None);
    fixture.start("plain.f", None, None);
    fixture.publish("plain.g", "x");
    assert_eq!(fixture.topics(), ["fed.b", "plain.e", "plain.f", "plain.g"], "the oldest of those with a history or a feed");
}

/// A publish to a topic that 1,024 patterns match visits 11 nodes, after which all outlets are found.
#[test]
fn a_publish_visits_few_nodes_among_many_patterns() {
    let fixture = fixture(&[]);
    for number in 0..1 << 10 {
        let tokens: Vec<&str> = (0..10).map(|bit| if number >> bit & 1 == 0 { "a" } else { "*" }).collect();
        fixture.hub.subscribe_pattern(&pattern(&format!("chat.{}", tokens.join("."))), fixture.id);
    }
    let topic = format!("chat.{}", ["a"; 10].join("."));
    let (_, visited) = fixture.hub.topics.shared.patterns.outlets_of(&name(&topic), |_, _| {});
    assert!(visited <= 11, "{visited} nodes");
    fixture.publish(&topic, "x");
    assert_eq!(fixture.outlet.offsets(), [1], "one outlet, once");
}

/// Gauges are computed at the scrape.
#[test]
fn gauges_have_the_values_of_the_scrape() {
    let fixture = fixture(&[]);
    for number in 0..3 {
        fixture.publish(&format!("chat.{number}"), "x");
        let expected = format!("belfry_topics {}\n", number + 1);
        let text = fixture.hub.topics.metrics.render();
        assert!(text.contains(&expected) && text.contains(&format!("belfry_history_bytes {}\n", 129 * (number + 1))), "{text}");
    }
}

/// PROTOCOL 7: past `topics`, the least recently used topic without named subscribers is evicted. If there is none,
/// publishing is refused.
#[test]
fn the_least_recently_used_topic_is_evicted() {
    let fixture = fixture(&[("limits.topics", "2")]);
    fixture.publish("chat.a", "x");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.publish("chat.b", "x");
    fixture.publish("chat.c", "x");
    assert_eq!(fixture.topics(), ["chat.b", "chat.c"]);
    fixture.start("chat.b", None, None);
    fixture.start("chat.c", None, None);
    let publication = Publication::new(b"", PayloadKind::Text, PublishSource::Http);
    assert_eq!(fixture.refusal("chat.d", &publication), Some(PublishError::NotMade(NotMade::TopicsFull)));
}

/// The outlet of a pattern gets each message once.
#[test]
fn a_pattern_matches_existing_and_later_topics() {
    let fixture = fixture(&[]);
    fixture.publish("chat.old", "x");
    let pattern = pattern("chat.*");
    fixture.hub.subscribe_pattern(&pattern, fixture.id);
    fixture.start("chat.old", None, None);
    fixture.publish("chat.old", "x");
    fixture.publish("chat.new", "x");
    assert_eq!(fixture.outlet.offsets(), [2, 1]);
    fixture.hub.unsubscribe_pattern(&pattern, fixture.id);
    fixture.publish("chat.new", "x");
    fixture.publish("chat.old", "x");
    assert_eq!(fixture.outlet.offsets(), [2, 1, 3], "the named subscription stays");
}

/// PROTOCOL 3: outlets get joins and leaves. A member that subscribes again does not join twice.
#[test]
fn a_member_joins_and_leaves_once() {
    let fixture = fixture(&[]);
    let subscriber = member();
    fixture.hub.subscribe(&name("chat.a"), fixture.id, &subscriber, None, ReplayRequest::default()).unwrap();
    assert_eq!(fixture.hub.presence(&name("chat.a")).unwrap(), vec![subscriber.clone()]);
    fixture.start("chat.a", None, None);
    fixture.hub.unsubscribe(&name("chat.a"), fixture.id, subscriber.session);
    let joined: Vec<bool> = fixture.outlet.changes.lock().iter().map(|change| change.joined).collect();
    assert_eq!(joined, [true, false], "the first join had no outlet yet");
    assert_eq!(fixture.hub.presence(&name("quotes.a")), Err(Disabled::Presence));
}

/// With publishers on several threads, the offsets of a topic have no holes.
#[test]
fn outlets_get_offsets_in_order() {
    let fixture = fixture(&[]);
    fixture.start("chat.a", None, None);
    let publish = || (0..500).for_each(|_| _ = fixture.publish("chat.a", "x"));
    std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(publish)));
    assert_eq!(fixture.outlet.offsets(), (1..=2_000).collect::<Vec<u64>>());
}

/// A hub restores positions, histories and ages, and no subscribers. A use of the exported topic begins a new epoch, so
/// that no offset is assigned twice.
#[test]
fn an_exported_topic_is_restored_by_another_hub() {
    let rules = [("topics", "[{ match = \"chat.>\", history = 2, history_ttl = \"10s\" }]")];
    let (one, other) = (fixture(&rules), fixture(&rules));
    let topic = name("chat.a");
    ["1", "2", "3"].into_iter().for_each(|payload| _ = one.publish("chat.a", payload));
    let newest = one.publish("plain.b", "x");
    one.clock.advance(Duration::from_secs(4));
    other.clock.advance(Duration::from_secs(8)); // four seconds pass between the export and the restore
    let exported: Vec<TopicState> = one.hub.export().collect();
    assert_eq!(
        exported.iter().map(|state| (state.name.as_str(), state.messages.len())).collect::<BTreeMap<_, _>>(),
        [("chat.a", 2), ("plain.b", 0)].into()
    );
    assert_ne!(one.publish("plain.b", "x").epoch, newest.epoch, "a new epoch");
    for state in exported {
        assert!(other.hub.restore(state, Duration::from_secs(60)));
    }
    let page = other.hub.history(&topic, None, 10).unwrap();
    assert_eq!(page.messages.iter().map(|message| message.position.offset.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(other.publish("plain.b", "x"), Position { offset: Offset(2), ..newest });
    other.clock.advance(Duration::from_secs(3)); // the messages are 11 s old
    other.hub.upkeep();
    assert!(other.hub.history(&topic, None, 10).unwrap().messages.is_empty());
    assert_eq!(other.hub.position(&topic).unwrap().offset, Offset(3), "kept for subscribers that return");
    other.clock.advance(Duration::from_secs(70));
    while other.hub.upkeep() {}
    assert!(other.hub.find(&topic).is_none(), "no subscriber returned");
}
