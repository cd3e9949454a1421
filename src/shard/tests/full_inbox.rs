//! Tests of publishers that fill the inboxes of two shards: the number of messages that each may publish.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::Bench;
use super::{name, pattern};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Live};
use crate::hub::{Hub, Outlet, PayloadKind, Publication};
use crate::metrics::{CloseReason, Metrics, PublishSource};
use crate::shard::intake::Inbox;

/// Room for about 60 messages.
const INBOX_BYTES: usize = 65_536;

/// The most bytes that a tick takes from an inbox at once.
const SHARE_BYTES: usize = 128 << 10;

/// The most messages that publishers may be apart. The first publisher fills both inboxes before others come, and each
/// may be a turn of 16 messages ahead or behind.
const APART_MAX: u64 = 64 + 4 * 16;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A session of one shard whose input never ends.
struct Publisher {
    shard: usize,
    topic: String,
    woken: Arc<Woken>,
    published: u64,
}

struct Model {
    hub: Arc<Hub>,
    clock: Clock,
    inboxes: Vec<Arc<Inbox>>,
    publishers: Vec<Publisher>,
}

impl Model {
    /// Two shards with subscribers to all topics, and one publisher for each shard number in `publishers`.
    fn new(publishers: &[usize]) -> Self {
        let (clock, metrics) = (Clock::by_hand(Timestamp(0)), Arc::new(Metrics::new()));
        let live = Arc::new(Live::new(&Config::default(), &metrics));
        let hub = Hub::new(live, metrics, clock.clone());
        let inboxes: Vec<Arc<Inbox>> = (0..2).map(|_| Arc::new(Inbox::new(INBOX_BYTES))).collect();
        for inbox in &inboxes {
            let outlet = hub.attach(Arc::clone(inbox) as Arc<dyn Outlet>);
            hub.subscribe_pattern(&pattern("chat.>"), outlet);
        }
        let mut model = Self { hub, clock, inboxes, publishers: Vec::new() };
        publishers.iter().for_each(|&shard| model.come(shard));
        model
    }

    fn come(&mut self, shard: usize) {
        let topic = format!("chat.p{}", self.publishers.len());
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.publishers.push(Publisher { shard, topic, woken, published: 0 });
    }

    /// Runs a tick of a shard. Each of its woken publishers publishes at most `messages` messages.
    fn tick(&mut self, shard: usize, messages: usize) {
        self.clock.advance(Duration::from_micros(100));
        self.take(shard);
        for publisher in self.publishers.iter_mut().filter(|publisher| publisher.shard == shard) {
            if publisher.woken.0.swap(false, Ordering::Relaxed) && publish(publisher, &self.hub, messages) {
                publisher.woken.0.store(true, Ordering::Relaxed); // the publisher has more messages and runs again
            }
        }
        self.take(shard);
    }

    fn take(&self, shard: usize) {
        self.inboxes[shard].take(&mut VecDeque::new(), 512, SHARE_BYTES, self.clock.moment());
    }

    /// The number of messages that each publisher has published.
    fn counts(&self) -> Vec<u64> {
        self.publishers.iter().map(|publisher| publisher.published).collect()
    }

    /// Checks that all publishers have published about the same number of messages, and at least `least`.
    fn check(&self, least: u64) {
        let counts = self.counts();
        let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(most - fewest <= APART_MAX && *fewest >= least, "{counts:?}");
    }

    /// Ends a publisher's session.
    fn leave(&mut self, publisher: usize) {
        let publisher = &mut self.publishers[publisher];
        self.hub.forget_publisher(&Waker::from(Arc::clone(&publisher.woken)));
        publisher.shard = usize::MAX;
    }
}

/// Publishes `messages` messages. Returns `false` if there was no room for one.
fn publish(publisher: &mut Publisher, hub: &Hub, messages: usize) -> bool {
    let (payload, source) = (&[b'1'; 1_000][..], PublishSource::Session);
    let publication = Publication::new(payload, PayloadKind::Json, source);
    let waker = Waker::from(Arc::clone(&publisher.woken));
    for _ in 0..messages {
        match hub.poll_submit(&name(&publisher.topic), &publication, &waker) {
            Poll::Pending => return false,
            Poll::Ready(published) => assert!(published.is_ok()),
        }
        publisher.published += 1;
    }
    true
}

/// Publishers whose input never ends get the same room, whatever their shards and however often these tick. (Of four,
/// one had half of what another had.)
#[test]
fn publishers_get_the_same_room() {
    for publishers in [&[0, 0, 1, 1][..], &[0, 1, 1, 1], &[0, 0, 0, 0], &[1; 9]] {
        for schedule in [&[0, 1][..], &[0, 0, 0, 0, 0, 1], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]] {
            let mut model = Model::new(publishers);
            schedule.iter().cycle().take(800).for_each(|&shard| model.tick(shard, usize::MAX));
            model.check(300);
        }
    }
}

/// Publishers get the same room if shards tick in any order and read only some messages of a publisher at once. (Under
/// TLS a record has less than a turn's messages; of four publishers, one had a third of what another had.)
#[test]
fn publishers_get_the_same_room_in_any_order() {
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let publishers: Vec<usize> = (0..random.random_range(4..12)).map(|_| random.random_range(0..2)).collect();
        let (often, messages) = (random.random_range(0.2..0.8), random.random_range(60..100));
        let mut model = Model::new(&publishers);
        (0..800).for_each(|_| model.tick(usize::from(random.random_bool(often)), messages));
        model.check(300);
    }
}

/// A publisher that comes while others wait gets as much room as they do from then on. A publisher that leaves after it
/// was called does not hold up others.
#[test]
fn publishers_come_and_go() {
    let mut model = Model::new(&[0, 1, 0, 1]);
    (0..500).for_each(|number| model.tick(number % 2, usize::MAX));
    for came in 4..16 {
        let before = model.counts();
        model.come(came % 2);
        (0..40).for_each(|number| model.tick(number % 2, usize::MAX));
        model.leave(came);
        let after = model.counts();
        let published: Vec<u64> = (0..4).chain([came]).map(|number| after[number] - before.get(number).copied().unwrap_or(0)).collect();
        let (most, fewest) = (published.iter().max().unwrap(), published.iter().min().unwrap());
        assert!(most - fewest <= APART_MAX && *fewest >= 160, "{published:?}");
    }
}

/// A called publisher that does not come holds up the others on its shards only for the time that the queue waits for a
/// publisher.
#[test]
fn a_publisher_that_does_not_come_is_passed_over() {
    let mut model = Model::new(&[0, 0, 1]);
    (0..100).for_each(|number| model.tick(number % 2, usize::MAX));
    let before = model.counts();
    (0..1_000).for_each(|_| model.tick(0, usize::MAX)); // 100 ms; the other shard does not tick, so its inbox is full
    assert!(model.counts().iter().zip(before).all(|(after, before)| after - before <= APART_MAX));
    let inbox = Arc::clone(&model.inboxes[1]);
    for _ in 0..1_000 {
        model.tick(0, usize::MAX);
        inbox.take(&mut VecDeque::new(), 512, SHARE_BYTES, model.clock.moment());
    }
    let [first, second, gone] = model.counts()[..] else { panic!("there are three") };
    assert!(first.abs_diff(second) <= APART_MAX && first > gone + 5_000, "{:?}", model.counts());
}

/// A publish over HTTP that is given up while it waits does not hold up others.
#[test]
fn a_publish_that_is_given_up_is_forgotten() {
    let mut model = Model::new(&[0]);
    let publisher = &mut model.publishers[0];
    assert!(!publish(publisher, &model.hub, usize::MAX), "the inbox is full");
    let (topic, woken) = (name("chat.late"), Waker::from(Arc::<Woken>::default()));
    let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Http);
    let mut late = Box::pin(model.hub.submit(&topic, publication));
    assert!(late.as_mut().poll(&mut Context::from_waker(&woken)).is_pending());
    let now = model.clock.moment();
    let take = || (0..2).for_each(|shard| _ = model.inboxes[shard].take(&mut VecDeque::new(), 512, SHARE_BYTES, now));
    take();
    assert!(!publish(publisher, &model.hub, usize::MAX));
    take();
    publisher.published = 0;
    assert!(!publish(publisher, &model.hub, usize::MAX));
    assert_eq!(publisher.published, 16, "the other is waited for");
    drop(late);
    take();
    assert!(!publish(publisher, &model.hub, usize::MAX));
    assert!(publisher.published > 2 * 16);
}

/// A session that ends while its publish waits does not hold up others.
#[test]
fn a_session_that_ends_is_forgotten() {
    let mut bench = Bench::subscribed("c.a");
    bench.inbox.set_bytes_max(1);
    let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Session);
    assert!(matches!(bench.context().publish(&name("c.a"), &publication), Poll::Ready(Ok(_))));
    assert!(matches!(bench.context().publish(&name("c.a"), &publication), Poll::Pending));
    let now = bench.state().env.now;
    assert!(bench.inbox.take(&mut VecDeque::new(), 0, 0, now).publishers_wait);
    bench.state().end(0, CloseReason::Gone);
    assert!(!bench.inbox.take(&mut VecDeque::new(), 0, 0, now).publishers_wait);
}
