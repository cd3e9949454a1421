//! The hub: topics, their positions and histories, and who is to hear of them. The only door to all of it.

mod expiry;
mod history;
mod message;
mod outlet;
mod patterns;
mod presence;
mod registry;
mod topic;

pub use message::{About, Message, PayloadKind, Publication};
pub use outlet::{Outlet, OutletId, PresenceChange};
pub use patterns::PatternTrie;
pub use topic::{ReplayPiece, Start, Topic, Wanted};

use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::RwLock;

use expiry::Expiry;
use registry::Registry;
use topic::Published;

use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::metrics::{LimitKey, Metrics};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// The most bytes of payloads in one answer to `history`.
const HISTORY_ANSWER_BYTES: usize = 1 << 20;

/// Between two looks at what has ended.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(250);

/// All topics.
pub struct Hub {
    registry: Registry,
    expiry: Expiry,
    /// By [`OutletId`]; written at start alone.
    outlets: RwLock<Vec<Arc<dyn Outlet>>>,
    histories_bytes: Arc<AtomicUsize>,
    /// `limits.history_bytes`, as of the last upkeep.
    histories_bytes_max: AtomicUsize,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// What came of an attempt to publish.
pub enum Attempt {
    /// It has its position.
    Published(Position),
    /// This outlet has no room; no offset was assigned. Try again once [`Outlet::when_room`] has woken.
    NoRoom(Arc<dyn Outlet>),
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// As many topics as `limits.topics` allows, each with a subscriber.
    #[error("there are as many topics as limits.topics allows, and each has a subscriber")]
    TopicsFull,
}

impl PublishError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::RateLimited
    }
}

/// What a topic is asked for that its rule has off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Off {
    /// `history = 0`.
    #[error("this topic keeps no history; its rule has `history = 0`")]
    History,
    /// `presence = false`.
    #[error("this topic doesn't tell who is there; its rule has `presence = false`")]
    Presence,
}

impl Off {
    /// The contract's code for it.
    pub fn code(self) -> ErrorCode {
        match self {
            Off::History => ErrorCode::HistoryOff,
            Off::Presence => ErrorCode::PresenceOff,
        }
    }
}

/// A part of a topic's history, oldest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The topic's epoch; `None` where the topic does not live.
    pub epoch: Option<Epoch>,
    /// Its messages.
    pub messages: Vec<Message>,
    /// Whether more messages follow than the page holds.
    pub more: bool,
}

/// A topic as `/v1/topics` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: TopicName,
    /// Sessions subscribed by name.
    pub subscribers: usize,
    /// Its newest message's position.
    pub position: Position,
    /// Its rule's label.
    pub rule: Arc<str>,
}

impl Hub {
    /// No topics yet.
    pub fn new(live: Arc<Live>, metrics: Arc<Metrics>, clock: Clock) -> Arc<Self> {
        let histories_bytes = Arc::<AtomicUsize>::default();
        Arc::new(Self {
            registry: Registry::new(Arc::clone(&histories_bytes)),
            expiry: Expiry::default(),
            outlets: RwLock::default(),
            histories_bytes,
            histories_bytes_max: AtomicUsize::new(live.load().limits.history_bytes),
            live,
            metrics,
            clock,
        })
    }

    /// Adds an outlet; topics know it by its id from then on.
    pub fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        let mut outlets = self.outlets.write();
        outlets.push(outlet);
        OutletId((outlets.len() - 1) as u16)
    }

    /// Gives `publication` its position and hands it to every shard with a subscriber; waits, before the offset is
    /// assigned, while one of them has `inbox_bytes` before it. For feeds and HTTP; sessions don't wait in a future.
    pub async fn publish(&self, topic: &TopicName, publication: Publication<'_>) -> Result<Position, PublishError> {
        poll_fn(|context| match self.try_publish(topic, &publication) {
            Ok(Attempt::Published(position)) => Poll::Ready(Ok(position)),
            Ok(Attempt::NoRoom(outlet)) => {
                outlet.when_room(context.waker());
                if outlet.has_room() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// The same without waiting.
    pub fn try_publish(&self, name: &TopicName, publication: &Publication<'_>) -> Result<Attempt, PublishError> {
        loop {
            let topic = self.open(name)?;
            match topic.publish(publication, &self.live, &self.clock) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok(Published::NoRoom(outlet)) => {
                    self.metrics.limit_hit(LimitKey::InboxBytes);
                    return Ok(Attempt::NoRoom(outlet));
                }
                Ok(Published::At(position, rule)) => {
                    self.metrics.published(rule, publication.source);
                    self.trim_histories();
                    if topic.begins_to_be_awaited() {
                        self.expiry.await_topic(&topic, self.clock.moment());
                    }
                    return Ok(Attempt::Published(position));
                }
            }
        }
    }

    /// Seats a session on a topic by name. The flag: the topic's rule knows presence.
    pub fn subscribe(
        &self,
        name: &TopicName,
        outlet: OutletId,
        member: &Member,
        wanted: Wanted<'_>,
    ) -> Result<(Arc<Topic>, Start, bool), PublishError> {
        let target = self.outlet(outlet);
        loop {
            let topic = self.open(name)?;
            match topic.subscribe(outlet, &target, member, wanted, &self.live, self.clock.moment()) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok((start, presence)) => return Ok((topic, start, presence)),
            }
        }
    }

    /// Takes a session away from a topic that it was subscribed to by name.
    pub fn unsubscribe(&self, name: &TopicName, outlet: OutletId, session: SessionId) {
        let Some(topic) = self.registry.find(name) else { return };
        topic.unsubscribe(outlet, session, self.clock.moment());
        if topic.begins_to_be_awaited() {
            self.expiry.await_topic(&topic, self.clock.moment());
        }
    }

    /// From now on `outlet` hears every topic that `pattern` matches; called for an outlet's first session on it.
    pub fn subscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.registry.add_pattern(pattern, outlet, &self.outlet(outlet));
    }

    /// Undoes [`Hub::subscribe_pattern`], after an outlet's last session on it.
    pub fn unsubscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.registry.remove_pattern(pattern, outlet);
    }

    /// Each living topic of `pattern` and how a subscriber who wants that begins there.
    pub fn starts(&self, pattern: &Pattern, wanted: Wanted<'_>) -> Vec<(Arc<Topic>, Start)> {
        let now = self.clock.moment();
        let matching = self.registry.matching(pattern).into_iter();
        matching.filter_map(|topic| topic.start_by_pattern(wanted, &self.live, now).map(|start| (topic, start))).collect()
    }

    /// How a subscriber by pattern begins on one topic; `None`: it does not live.
    pub fn start(&self, name: &TopicName, wanted: Wanted<'_>) -> Option<(Arc<Topic>, Start)> {
        let topic = self.registry.find(name)?;
        let start = topic.start_by_pattern(wanted, &self.live, self.clock.moment())?;
        Some((topic, start))
    }

    /// A member of `topic` goes by another name from now on.
    pub fn rename(&self, topic: &TopicName, member: &Member) {
        if let Some(topic) = self.registry.find(topic) {
            topic.rename(member);
        }
    }

    /// A session that is subscribed to `topic` by name already is a member from now on, where the rule knows presence.
    pub fn enter(&self, topic: &TopicName, member: &Member) {
        if let Some(topic) = self.registry.find(topic) {
            topic.enter(member, &self.live);
        }
    }

    /// The history of `topic` after `since`, or its newest `limit` messages; stops at 1 MiB of payloads.
    pub fn history(&self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Result<HistoryPage, Off> {
        let Some(topic) = self.registry.find(topic) else {
            let kept = self.live.load().rules.of(topic).history > 0;
            return if kept { Ok(HistoryPage { epoch: None, messages: Vec::new(), more: false }) } else { Err(Off::History) };
        };
        let page = topic.history(since, limit, HISTORY_ANSWER_BYTES, &self.live, self.clock.moment());
        let (messages, more) = page.ok_or(Off::History)?;
        Ok(HistoryPage { epoch: Some(topic.view().0.epoch), messages, more })
    }

    /// Who is subscribed to `topic` by name.
    pub fn presence(&self, topic: &TopicName) -> Result<Vec<Member>, Off> {
        match self.registry.find(topic) {
            Some(topic) => topic.members(&self.live).ok_or(Off::Presence),
            None if self.live.load().rules.of(topic).presence => Ok(Vec::new()),
            None => Err(Off::Presence),
        }
    }

    /// One living topic.
    pub fn topic(&self, topic: &TopicName) -> Option<TopicInfo> {
        self.registry.find(topic).map(|topic| info(&topic))
    }

    /// Living topics that match, by name, from after `after`, at most `limit`.
    pub fn topics(&self, matching: Option<&Pattern>, after: Option<&str>, limit: usize) -> Vec<TopicInfo> {
        let found = matching.map_or_else(|| self.registry.all(), |pattern| self.registry.matching(pattern));
        let mut first = BinaryHeap::with_capacity(limit.min(found.len()) + 1);
        for topic in &found {
            if after.is_some_and(|after| topic.name().as_str() <= after) {
                continue;
            }
            first.push(topic.name().clone());
            if first.len() > limit {
                first.pop();
            }
        }
        first.into_sorted_vec().iter().filter_map(|name| self.topic(name)).collect()
    }

    /// Looks after what ends, for as long as it is awaited.
    pub async fn keep_up(&self) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            while self.look_after() {
                tokio::task::yield_now().await;
            }
            self.metrics.set_topics(self.registry.len());
            self.metrics.set_history_bytes(self.histories_bytes.load(Ordering::Relaxed));
        }
    }

    /// One slice of what has ended by now; whether more has.
    pub fn look_after(&self) -> bool {
        self.histories_bytes_max.store(self.live.load().limits.history_bytes, Ordering::Relaxed);
        self.trim_histories();
        self.expiry.look_after(&self.registry, self.clock.moment())
    }

    fn outlet(&self, id: OutletId) -> Arc<dyn Outlet> {
        Arc::clone(&self.outlets.read()[usize::from(id.0)])
    }

    fn open(&self, name: &TopicName) -> Result<Arc<Topic>, PublishError> {
        if let Some(topic) = self.registry.find(name) {
            return Ok(topic);
        }
        let most = self.live.load().limits.topics;
        while self.registry.len() >= most {
            self.metrics.limit_hit(LimitKey::Topics);
            if !self.expiry.make_room(&self.registry) {
                return Err(PublishError::TopicsFull);
            }
        }
        let (topic, new) = self.registry.find_or_make(name, &self.live, &self.clock);
        if new {
            self.expiry.await_topic(&topic, self.clock.moment());
        }
        Ok(topic)
    }

    /// Past `history_bytes`, frees a sixteenth more than it must, so that the next publishes need not.
    fn trim_histories(&self) {
        let bytes = self.histories_bytes.load(Ordering::Relaxed);
        let most = self.histories_bytes_max.load(Ordering::Relaxed);
        if bytes > most {
            self.metrics.limit_hit(LimitKey::HistoryBytes);
            self.expiry.trim_histories(&self.registry, bytes - most + most / 16);
        }
    }
}

fn info(topic: &Topic) -> TopicInfo {
    let (position, subscribers, rule) = topic.view();
    TopicInfo { topic: topic.name().clone(), subscribers, position, rule: rule.id.label() }
}

#[cfg(test)]
mod tests;
