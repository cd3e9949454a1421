//! The race of publish, subscribe and recover on the hub's core: threads publish at full speed while a subscriber, doing as a
//! shard does, joins in the midst of it with `since`. And that the test sees what it is there for: without the lock it fails.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Instant;

use belfry::clock::Clock;
use belfry::config::{Config, Live, Sources};
use belfry::hub::{Attempt, Hub, Message, Outlet, OutletId, PayloadKind, PresenceChange, Publication, ReplayRequest};
use belfry::metrics::{Metrics, PublishSource};
use belfry::position::{Offset, Position};
use belfry::session_id::{Member, SessionId};
use belfry::topic_name::TopicName;

use crate::gateway::DEADLINE;

/// How a subscriber joins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// As the gateway does.
    UnderTheLock,
    /// Where it begins is read first, and it is seated then: two locks in place of one.
    PositionReadBefore,
    /// As the gateway does, but what lies in the inbox already is not withheld.
    WithoutFloor,
}

/// An inbox that says how many items it has had, as a shard's does.
#[derive(Default)]
struct Mailbox(Mutex<(VecDeque<Message>, u64)>);

impl Mailbox {
    fn pushed(&self) -> u64 {
        self.0.lock().unwrap().1
    }

    fn take(&self, most: usize) -> Vec<Message> {
        let queue = &mut self.0.lock().unwrap().0;
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }
}

impl Outlet for Mailbox {
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
    fn tell(&self, _: &Arc<PresenceChange>) {}
}

struct House {
    hub: Arc<Hub>,
    clock: Clock,
    mailbox: Arc<Mailbox>,
    outlet: OutletId,
    topic: TopicName,
    taken: u64,
}

impl House {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[[topics]]\nmatch = \">\"\nhistory = 10000\n").unwrap();
        let config = Config::load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
        let (clock, metrics) = (Clock::machine(), Arc::new(Metrics::new()));
        let hub = Hub::new(Arc::new(Live::new(&config, &metrics)), metrics, clock.clone());
        let mailbox = Arc::<Mailbox>::default();
        let outlet = hub.attach(Arc::clone(&mailbox) as Arc<dyn Outlet>);
        Self { hub, clock, mailbox, outlet, topic: TopicName::parse("race").unwrap(), taken: 0 }
    }

    /// One subscriber that has missed `missed` messages joins, hears 100 live ones, and leaves.
    fn join(&mut self, way: Way, missed: u64) -> Result<(), String> {
        let member = Member { session: SessionId::random(), user: None, info: None };
        let Some(known) = self.hub.topic(&self.topic).map(|info| info.position) else { return Ok(()) };
        let since = Offset(known.offset.0.saturating_sub(missed));
        let wanted = ReplayRequest { since: Some((Some(known.epoch.as_str()), since)), last: None };
        let before = (way == Way::PositionReadBefore).then(|| self.hub.start(&self.topic, wanted).unwrap().1);
        let (topic, start, _) = self.hub.subscribe(&self.topic, self.outlet, &member, None, wanted).unwrap();
        let start = before.unwrap_or(start);
        // Publishers outran the history meanwhile: nothing is promised of what was missed, and all of what follows.
        let begins = start.replay_from.map_or(start.position.offset, |first| Offset(first.0 - 1));
        let mut heard = Heard(if start.recovered == Some(true) { since } else { begins });
        let mut reads_from = start.replay_from;
        let mut floor = (way != Way::WithoutFloor && reads_from.is_none()).then(|| (start.position.offset, self.mailbox.pushed()));
        let deadline = Instant::now() + DEADLINE;
        let mut live = 0;
        while live < 100 {
            for message in self.mailbox.take(64) {
                self.taken += 1;
                let offset = message.position.offset;
                if reads_from.is_none() && floor.is_none_or(|(floor, _)| offset > floor) {
                    live += 1;
                    heard.hear(offset)?;
                }
            }
            floor = floor.filter(|&(_, until_taken)| until_taken > self.taken);
            if let Some(next) = reads_from {
                let piece = topic.replay(Position { offset: next, ..start.position }, 64, 64 << 10, self.clock.moment());
                piece.gap.into_iter().for_each(|gap| heard.0 = gap.to);
                piece.messages.iter().try_for_each(|message| heard.hear(message.position.offset))?;
                reads_from = (!piece.caught_up).then(|| heard.0.next());
                floor = (piece.caught_up && way != Way::WithoutFloor).then(|| (heard.0, self.mailbox.pushed()));
            }
            if Instant::now() > deadline {
                return Err(format!("nothing new came after {}", heard.0));
            }
        }
        self.hub.unsubscribe(&self.topic, self.outlet, member.session);
        Ok(())
    }
}

/// The last offset heard.
struct Heard(Offset);

impl Heard {
    fn hear(&mut self, offset: Offset) -> Result<(), String> {
        let last = std::mem::replace(&mut self.0, offset);
        if offset == last.next() { Ok(()) } else { Err(format!("{offset} came after {last}")) }
    }
}

/// Lets subscribers join so many times in the midst of publishing; what the first heard wrongly. With `company`, another
/// session of the shard takes the topic all along, so that the inbox is never without its messages.
fn joins(way: Way, rounds: usize, company: bool) -> Result<(), String> {
    let mut house = House::new();
    if company {
        let other = Member { session: SessionId::random(), user: None, info: None };
        house.hub.subscribe(&house.topic, house.outlet, &other, None, ReplayRequest::default()).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            let (hub, topic, stop) = (Arc::clone(&house.hub), house.topic.clone(), Arc::clone(&stop));
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
    let outcome = (0..rounds).try_for_each(|round| house.join(way, if round % 2 == 0 { 0 } else { 40 }));
    stop.store(true, Ordering::Relaxed);
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    outcome
}

/// PROTOCOL 3: no message missing, none twice, order kept, while publishers run at full speed and a session subscribes in the
/// middle of it.
#[test]
fn a_subscriber_in_the_midst_of_publishing_hears_each_message_once() {
    assert_eq!(joins(Way::UnderTheLock, 2_000, false), Ok(()));
    assert_eq!(joins(Way::UnderTheLock, 2_000, true), Ok(()));
}

/// The test above can fail: a position read outside the lock loses messages, and an inbox without a floor doubles them.
#[test]
fn the_race_is_lost_without_the_lock_or_the_floor() {
    let lost = joins(Way::PositionReadBefore, 200_000, false);
    assert!(lost.is_err(), "no subscriber lost a message");
    let doubled = joins(Way::WithoutFloor, 200_000, true);
    assert!(doubled.is_err(), "no subscriber heard a message twice");
}
