//! A hub with one outlet that accepts everything, and without sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use belfry::clock::Clock;
use belfry::config::{Config, Live, Sources};
use belfry::hub::{Attempt, Hub, Message, Outlet, OutletId, PayloadKind, PresenceChange, Publication};
use belfry::metrics::{Metrics, PublishSource};
use belfry::position::Position;
use belfry::topic_name::{Pattern, TopicName};

/// An outlet that counts its items and discards them.
#[derive(Default)]
pub struct Sink {
    /// The number of messages and changes of presence.
    pub received: AtomicU64,
}

impl Outlet for Sink {
    fn has_room(&self, _: &Waker) -> bool {
        true
    }
    fn when_room(&self, _: &Waker) {}
    fn offer(&self, _: &Message, _: &Waker) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }
    fn log_replaced(&self, _: &TopicName, _: Position) {}
    fn offer_presence(&self, _: &Arc<PresenceChange>) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }
}

/// A hub and its outlet.
pub struct Stage {
    pub hub: Arc<Hub>,
    pub metrics: Arc<Metrics>,
    pub live: Arc<Live>,
    pub clock: Clock,
    pub sink: Arc<Sink>,
    pub outlet: OutletId,
}

impl Stage {
    /// A hub with the rules of `topics`, which is the value of that key in a configuration.
    pub fn new(topics: &str) -> Self {
        let mut sources = Sources::default();
        let settings = [&format!("topics={topics}"), "limits.ping_interval=1h"];
        settings.iter().for_each(|setting| sources.set(setting).expect("KEY=VALUE"));
        let config = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (metrics, clock) = (Arc::new(Metrics::new()), Clock::machine());
        let live = Arc::new(Live::new(&config, &metrics));
        let hub = Hub::new(Arc::clone(&live), Arc::clone(&metrics), clock.clone());
        let sink = Arc::<Sink>::default();
        let outlet = hub.attach(Arc::clone(&sink) as Arc<dyn Outlet>);
        Self { hub, metrics, live, clock, sink, outlet }
    }

    /// Publishes a message.
    pub fn publish(&self, topic: &TopicName, publication: &Publication<'_>) -> Position {
        match self.hub.try_publish(topic, publication, Waker::noop()) {
            Ok(Attempt::Published(position)) => position,
            Ok(_) | Err(_) => unreachable!("the outlet has room, there is no engine, and there may be a million topics"),
        }
    }
}

/// A publication of a feed.
pub fn publication(payload: &[u8]) -> Publication<'_> {
    Publication::new(payload, PayloadKind::Json, PublishSource::Feed)
}

/// Parses a valid name.
pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Parses a valid pattern.
pub fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
}
