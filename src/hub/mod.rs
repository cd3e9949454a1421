//! The hub: all topics, what is published to them and who hears it.

mod address;
mod audience;
mod expiry;
mod history;
mod log;
mod message;
mod order;
mod outlet;
mod pattern_trie;
mod patterns;
mod payer;
mod presence;
mod refusal;
mod registry;
mod state;
mod topic;
mod topic_tree;

pub use address::counted_as;
pub use log::{HistoryPage, ReplayPiece, Start, Wanted};
pub use message::{About, Message, PayloadKind, Publication};
pub use outlet::{Outlet, OutletId, PresenceChange};
pub use pattern_trie::PatternTrie;
pub use payer::Payer;
pub use refusal::{Off, PublishError};
pub use state::{KeptMessage, TopicState};
pub use topic::{Topic, TopicInfo};
pub use topic_tree::Cursor;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::RwLock;

use expiry::Expiry;
use registry::Registry;
use topic::{Published, Shared};
use topic_tree::Slice;

use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::{LimitKey, Metrics};
use crate::position::{Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// The most bytes of payloads in one answer to `history`.
const HISTORY_ANSWER_BYTES: usize = 1 << 20;

/// The time between two upkeeps.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(250);

/// All topics.
pub struct Hub {
    registry: Registry,
    expiry: Expiry,
    /// Indexed by [`OutletId`]. Written only while the gateway starts.
    outlets: RwLock<Vec<Arc<dyn Outlet>>>,
    /// What topics share, the patterns among it.
    shared: Arc<Shared>,
    /// `limits.history_bytes`, as of the last upkeep.
    histories_bytes_max: AtomicUsize,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// A slice of the topics that a pattern matches.
pub struct Starts {
    /// The topics, and where a subscriber begins on each.
    pub starts: Vec<(Arc<Topic>, Start)>,
    /// How many places in the index of topics were visited: the cost of the slice.
    pub visited: usize,
    /// Where the next slice begins; `None`: this is the last.
    pub next: Option<Cursor>,
}

/// The outcome of an attempt to publish.
pub enum Attempt {
    /// The message has this position.
    Published(Position),
    /// This outlet has no room; no offset was assigned. The publisher tries again once [`Outlet::when_room`] has woken it.
    NoRoom(Arc<dyn Outlet>),
}

impl Hub {
    /// No topics yet.
    pub fn new(live: Arc<Live>, metrics: Arc<Metrics>, clock: Clock) -> Arc<Self> {
        let shared = Arc::<Shared>::default();
        let hub = Arc::new(Self {
            registry: Registry::new(Arc::clone(&shared)),
            expiry: Expiry::default(),
            outlets: RwLock::default(),
            shared,
            histories_bytes_max: AtomicUsize::new(live.load().limits.history_bytes),
            live,
            metrics,
            clock,
        });
        let (weak, metrics) = (Arc::downgrade(&hub), &hub.metrics);
        metrics.before_each_reading(move |metrics| {
            if let Some(hub) = weak.upgrade() {
                metrics.set_topics(hub.registry.len());
                metrics.set_history_bytes(hub.shared.histories_bytes.load(Ordering::Relaxed));
            }
        });
        hub
    }

    /// Adds an outlet and gives it its id.
    pub fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        let mut outlets = self.outlets.write();
        outlets.push(outlet);
        OutletId((outlets.len() - 1) as u16)
    }

    /// Gives `publication` its position and delivers it to every outlet with a subscriber. Waits for room in each of them before
    /// the offset is assigned. For feeds and HTTP: a session does not wait in a future.
    pub async fn publish(&self, topic: &TopicName, publication: Publication<'_>) -> Result<Position, PublishError> {
        poll_fn(|context| match self.try_publish(topic, &publication) {
            Ok(Attempt::Published(position)) => Poll::Ready(Ok(position)),
            Ok(Attempt::NoRoom(outlet)) => {
                outlet.when_room(context.waker());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Does what [`Hub::publish`] does, without waiting.
    pub fn try_publish(&self, name: &TopicName, publication: &Publication<'_>) -> Result<Attempt, PublishError> {
        loop {
            let topic = self.open(name, publication.payer)?;
            match topic.publish(publication, &self.live, &self.clock) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok(Published::NoRoom(outlet)) => {
                    self.metrics.limit_hit(LimitKey::InboxBytes);
                    return Ok(Attempt::NoRoom(outlet));
                }
                Ok(Published::At(position, rule, is_misplaced)) => {
                    self.metrics.published(rule, publication.source);
                    if is_misplaced {
                        self.expiry.place(&topic);
                    }
                    self.trim_histories();
                    if topic.begins_to_be_awaited() {
                        self.expiry.await_topic(&topic, self.clock.moment());
                    }
                    return Ok(Attempt::Published(position));
                }
            }
        }
    }

    /// Subscribes a session to a topic by name. The flag: the topic's rule has presence on.
    pub fn subscribe(
        &self,
        name: &TopicName,
        outlet: OutletId,
        member: &Member,
        payer: Option<&Payer>,
        wanted: Wanted<'_>,
    ) -> Result<(Arc<Topic>, Start, bool), PublishError> {
        let target = self.outlet(outlet);
        loop {
            let topic = self.open(name, payer)?;
            match topic.subscribe(outlet, &target, member, wanted, &self.live, self.clock.moment()) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok((start, presence)) => {
                    self.place(&topic);
                    return Ok((topic, start, presence));
                }
            }
        }
    }

    /// Undoes [`Hub::subscribe`].
    pub fn unsubscribe(&self, name: &TopicName, outlet: OutletId, session: SessionId) {
        let Some(topic) = self.registry.find(name) else { return };
        topic.unsubscribe(outlet, session, self.clock.moment());
        self.place(&topic);
        if topic.begins_to_be_awaited() {
            self.expiry.await_topic(&topic, self.clock.moment());
        }
    }

    /// From now on `outlet` hears every topic that `pattern` matches. Called for an outlet's first session with that pattern.
    pub fn subscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.shared.patterns.add(pattern, outlet, &self.outlet(outlet));
    }

    /// Undoes [`Hub::subscribe_pattern`]. Called after an outlet's last session with that pattern.
    pub fn unsubscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.shared.patterns.remove(pattern, outlet);
    }

    /// A slice of the living topics that `pattern` matches, from behind `after`, with where a subscriber begins on each. A slice takes
    /// well below a millisecond, and nobody waits for it longer than that.
    pub fn starts_from(&self, pattern: &Pattern, wanted: Wanted<'_>, after: Option<&Cursor>) -> Starts {
        let now = self.clock.moment();
        let Slice { topics, visited, next } = self.registry.slice(Some(pattern), after);
        let topics = topics.into_iter();
        let starts = topics.filter_map(|topic| topic.start_by_pattern(wanted, &self.live, now).map(|start| (topic, start))).collect();
        Starts { starts, visited, next }
    }

    /// All slices of [`Hub::starts_from`] in one.
    pub fn starts(&self, pattern: &Pattern, wanted: Wanted<'_>) -> Vec<(Arc<Topic>, Start)> {
        let mut slice = self.starts_from(pattern, wanted, None);
        let mut all = slice.starts;
        while let Some(after) = slice.next {
            slice = self.starts_from(pattern, wanted, Some(&after));
            all.append(&mut slice.starts);
        }
        all
    }

    /// Where a subscriber by pattern begins on one topic; `None`: the topic does not live.
    pub fn start(&self, name: &TopicName, wanted: Wanted<'_>) -> Option<(Arc<Topic>, Start)> {
        let topic = self.registry.find(name)?;
        let start = topic.start_by_pattern(wanted, &self.live, self.clock.moment())?;
        Some((topic, start))
    }

    /// A member of `topic` has another user from now on.
    pub fn rename(&self, topic: &TopicName, member: &Member) {
        if let Some(topic) = self.registry.find(topic) {
            topic.rename(member);
        }
    }

    /// A session that is subscribed to `topic` by name is a member from now on, if the topic's rule has presence on.
    pub fn enter(&self, topic: &TopicName, member: &Member) {
        if let Some(topic) = self.registry.find(topic) {
            topic.enter(member, &self.live);
        }
    }

    /// The history of `topic` after `since`, or its newest `limit` messages; at most about 1 MiB of payloads.
    pub fn history(&self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Result<HistoryPage, Off> {
        let Some(topic) = self.registry.find(topic) else {
            let kept = self.live.load().rules.of(topic).history > 0;
            return if kept { Ok(HistoryPage { epoch: None, messages: Vec::new(), more: false }) } else { Err(Off::History) };
        };
        topic.history(since, limit, HISTORY_ANSWER_BYTES, &self.live, self.clock.moment()).ok_or(Off::History)
    }

    /// The sessions subscribed to `topic` by name.
    pub fn presence(&self, topic: &TopicName) -> Result<Vec<Member>, Off> {
        match self.registry.find(topic) {
            Some(topic) => topic.members(&self.live).ok_or(Off::Presence),
            None if self.live.load().rules.of(topic).presence => Ok(Vec::new()),
            None => Err(Off::Presence),
        }
    }

    /// One living topic.
    pub fn topic(&self, topic: &TopicName) -> Option<TopicInfo> {
        self.registry.find(topic).map(|topic| topic.info())
    }

    /// Living topics that match, by name, from after `after`, at most `limit`.
    pub fn topics(&self, matching: Option<&Pattern>, after: Option<&str>, limit: usize) -> Vec<TopicInfo> {
        self.registry.page(matching, after, limit).iter().map(|topic| topic.info()).collect()
    }

    /// Gives up what has ended, for as long as the future is polled.
    pub async fn keep_up(&self) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            while self.look_after() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Gives up one slice of what has ended by now; whether more has.
    pub fn look_after(&self) -> bool {
        self.histories_bytes_max.store(self.live.load().limits.history_bytes, Ordering::Relaxed);
        let trims_on = self.trim_histories();
        self.expiry.look_after(&self.registry, self.clock.moment()) || trims_on
    }

    /// Takes every topic out of the hub, as it can be written down. A topic that is used after that begins a new life.
    pub fn take_out(&self) -> impl Iterator<Item = TopicState> {
        self.registry.matching(None).into_iter().filter_map(|topic| topic.take_out())
    }

    /// Lets a topic that was taken out go on, before anybody uses it. It counts as used until `grace` from now, so that its subscribers
    /// find it. `false`: there is no room for it.
    pub fn restore(&self, state: TopicState, grace: Duration) -> bool {
        let Ok(topic) = self.open(&state.name, None) else { return false };
        topic.restore(state, &self.live, &self.clock, self.clock.moment() + grace);
        self.place(&topic);
        self.trim_histories();
        true
    }

    fn outlet(&self, id: OutletId) -> Arc<dyn Outlet> {
        Arc::clone(&self.outlets.read()[usize::from(id.0)])
    }

    /// The topic of that name. If there is none, it is made, and `payer` answers for it; nobody does for the gateway's feeds.
    fn open(&self, name: &TopicName, payer: Option<&Payer>) -> Result<Arc<Topic>, PublishError> {
        if let Some(topic) = self.registry.find(name) {
            return Ok(topic);
        }
        let (most, most_of_payer) = {
            let limits = &self.live.load().limits;
            (limits.topics, limits.topics_per_address)
        };
        if payer.is_some_and(|payer| !self.shared.accounts.take(payer, most_of_payer)) {
            self.metrics.limit_hit(LimitKey::TopicsPerAddress);
            return Err(PublishError::TopicsOfPayerFull);
        }
        let give_back = || payer.into_iter().for_each(|payer| self.shared.accounts.give_back(payer));
        while self.registry.len() >= most {
            self.metrics.limit_hit(LimitKey::Topics);
            if !self.expiry.make_room(&self.registry) {
                give_back();
                return Err(PublishError::TopicsFull);
            }
        }
        let (topic, new) = self.registry.find_or_make(name, payer, &self.live, &self.clock);
        if !new {
            give_back();
        }
        if new {
            self.expiry.await_topic(&topic, self.clock.moment());
            self.place(&topic);
        }
        Ok(topic)
    }

    fn place(&self, topic: &Arc<Topic>) {
        if topic.is_misplaced() {
            self.expiry.place(topic);
        }
    }

    /// Frees what histories have more than `history_bytes`. Whether more is left for the next call.
    fn trim_histories(&self) -> bool {
        let over = || {
            let bytes = self.shared.histories_bytes.load(Ordering::Relaxed);
            bytes.saturating_sub(self.histories_bytes_max.load(Ordering::Relaxed))
        };
        if over() == 0 {
            return false;
        }
        self.metrics.limit_hit(LimitKey::HistoryBytes);
        self.expiry.trim_histories(over)
    }
}

#[cfg(test)]
mod tests;
