//! The race of publish and subscribe in the hub: a subscriber that does as a shard does subscribes with `since` while
//! threads publish at full speed. A second test shows that the first one fails without the lock or the watermark.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Instant;

use belfry::clock::Clock;
use belfry::config::{Config, Live, Sources};
use belfry::hub::{Attempt, Hub, Message, Outlet, OutletId, PayloadKind, PresenceChange, Publication, ReplayRequest, TopicStart};
use belfry::metrics::{Metrics, PublishSource};
use belfry::position::{Offset, Position};
use belfry::session_id::{Member, SessionId};
use belfry::topic_name::TopicName;

use crate::gateway::DEADLINE;

/// The way in which a subscriber subscribes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// As the gateway does.
    UnderTheLock,
    /// The start of the replay is read before the subscribe, so under the lock twice.
    PositionReadBefore,
    /// As the gateway does, but messages that are in the inbox already are not withheld.
    WithoutWatermark,
}

/// An inbox that counts the items that it has received, as a shard's does.
#[derive(Default)]
struct Inbox(Mutex<(VecDeque<Message>, u64)>);

impl Inbox {
    fn received(&self) -> u64 {
        self.0.lock().unwrap().1
    }

    fn take(&self, most: usize) -> Vec<Message> {
        let queue = &mut self.0.lock().unwrap().0;
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }
}

impl Outlet for Inbox {
    fn has_room(&self, _: &Waker) -> bool {
        self.0.lock().unwrap().0.len() < 500
    }
    fn when_room(&self, _: &Waker) {}
    fn offer(&self, message: &Message, _: &Waker) {
        let mut state = self.0.lock().unwrap();
        state.0.push_back(message.clone());
        state.1 += 1;
    }
    fn log_replaced(&self, _: &TopicName, _: Position) {}
    fn offer_presence(&self, _: &Arc<PresenceChange>) {}
}

/// A hub with one outlet, and the state of the outlet's shard.
struct Fixture {
    hub: Arc<Hub>,
    clock: Clock,
    inbox: Arc<Inbox>,
    outlet: OutletId,
    topic: TopicName,
    taken: u64,
}

impl Fixture {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[[topics]]\nmatch = \">\"\nhistory = 10000\n").unwrap();
        let config = Config::load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
        let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
        let hub = Hub::new(Arc::new(Live::new(&config, &metrics)), metrics, clock.clone());
        let inbox = Arc::<Inbox>::default();
        let outlet = hub.attach(Arc::clone(&inbox) as Arc<dyn Outlet>);
        Self { hub, clock, inbox, outlet, topic: TopicName::parse("race").unwrap(), taken: 0 }
    }

    /// A subscriber that has missed `missed` messages subscribes, receives 100 live messages, and unsubscribes.
    fn subscribe(&mut self, way: Way, missed: u64) -> Result<(), String> {
        let member = Member { session: SessionId::random(), user: None, info: None };
        let Some(known) = self.hub.position(&self.topic) else { return Ok(()) };
        let since = Offset(known.offset.0.saturating_sub(missed));
        let wanted = ReplayRequest { since: Some((Some(known.epoch.as_str()), since)), last: None };
        let before = (way == Way::PositionReadBefore).then(|| self.hub.start(&self.topic, wanted).unwrap().start);
        let TopicStart { topic, start } = self.hub.subscribe(&self.topic, self.outlet, &member, None, wanted).unwrap();
        let start = before.unwrap_or(start);
        // If the history has moved on meanwhile, the missed messages are lost, and the first message is that of the
        // replay.
        let before_first = start.replay_from.map_or(start.position.offset, |first| Offset(first.0 - 1));
        let mut last = LastOffset(if start.recovered == Some(true) { since } else { before_first });
        let mut reads_from = start.replay_from;
        let mut watermark = (way != Way::WithoutWatermark && reads_from.is_none()).then(|| (start.position.offset, self.inbox.received()));
        let deadline = Instant::now() + DEADLINE;
        let mut live = 0;
        while live < 100 {
            for message in self.inbox.take(64) {
                self.taken += 1;
                let offset = message.position.offset;
                if reads_from.is_none() && watermark.is_none_or(|(watermark, _)| offset > watermark) {
                    live += 1;
                    last.advance(offset)?;
                }
            }
            watermark = watermark.filter(|&(_, until_taken)| until_taken > self.taken);
            if let Some(next) = reads_from {
                let piece = topic.replay(Position { offset: next, ..start.position }, 64, 64 << 10, self.clock.moment());
                piece.gap.into_iter().for_each(|gap| last.0 = gap.to);
                piece.messages.iter().try_for_each(|message| last.advance(message.position.offset))?;
                reads_from = (!piece.caught_up).then(|| last.0.next());
                watermark = (piece.caught_up && way != Way::WithoutWatermark).then(|| (last.0, self.inbox.received()));
            }
            if Instant::now() > deadline {
                return Err(format!("no message came after {}", last.0));
            }
        }
        self.hub.unsubscribe(&self.topic, self.outlet, member.session);
        Ok(())
    }
}

/// The last offset received.
struct LastOffset(Offset);
impl LastOffset {
    fn advance(&mut self, offset: Offset) -> Result<(), String> {
        let last = std::mem::replace(&mut self.0, offset);
        if offset == last.next() { Ok(()) } else { Err(format!("{offset} came after {last}")) }
    }
}

/// Subscribes `rounds` times during publishes; the first error. `has_other` keeps another session of the shard
/// subscribed, so that the inbox always has messages of the topic.
fn race(way: Way, rounds: usize, has_other: bool) -> Result<(), String> {
    let mut fixture = Fixture::new();
    if has_other {
        let other = Member { session: SessionId::random(), user: None, info: None };
        fixture.hub.subscribe(&fixture.topic, fixture.outlet, &other, None, ReplayRequest::default()).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            let (hub, topic, stop) = (Arc::clone(&fixture.hub), fixture.topic.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Feed);
                while !stop.load(Ordering::Relaxed) {
                    if let Attempt::NoRoom(_) = hub.try_publish(&topic, &publication, Waker::noop()).unwrap() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let outcome = (0..rounds).try_for_each(|round| fixture.subscribe(way, if round % 2 == 0 { 0 } else { 40 }));
    stop.store(true, Ordering::Relaxed);
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    outcome
}

/// PROTOCOL 3: a session that subscribes during publishes gets each message once and in order.
#[test]
fn a_subscriber_during_publishes_gets_each_message_once() {
    assert_eq!(race(Way::UnderTheLock, 2_000, false), Ok(()));
    assert_eq!(race(Way::UnderTheLock, 2_000, true), Ok(()));
}

/// The test above can fail: a position that is read outside the lock loses messages, and an inbox without a watermark
/// repeats them.
#[test]
fn the_race_fails_without_the_lock_or_the_watermark() {
    let lost = race(Way::PositionReadBefore, 200_000, false);
    assert!(lost.is_err(), "no subscriber lost a message");
    let repeated = race(Way::WithoutWatermark, 200_000, true);
    assert!(repeated.is_err(), "no subscriber got a message twice");
}
