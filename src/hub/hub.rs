//! `Hub`: all topics, and the outlets that they deliver to.

use std::sync::Arc;
use std::time::Duration;

use super::outlet::{Outlet, OutletId, Outlets, PresenceChange};
use super::patterns::Selection;
use super::payer::Payer;
use super::refusal::{Disabled, NotMade, PublishError};
use super::stream::Engine;
use super::topic::{HistoryPage, HistoryPart, Log, ReadFrom, ReplayRequest, Shared, Topic, TopicInfo, TopicStart, TopicState};
use super::topics::{Cursor, Slice, Topics};
use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::{AddressTable, Gauge, Metrics};
use crate::position::{Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// The most bytes of payloads in one answer to `history`.
const HISTORY_ANSWER_BYTES: usize = 1 << 20;

/// The time between two upkeeps.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(250);

/// All topics, and the outlets that they deliver to.
pub struct Hub {
    pub(super) topics: Topics,
    pub(super) outlets: Outlets,
}

impl Hub {
    /// A hub without topics.
    pub fn new(live: Arc<Live>, metrics: Arc<Metrics>, clock: Clock) -> Arc<Self> {
        let topics = Topics::new(live, Arc::clone(&metrics), clock);
        let hub = Arc::new(Self { topics, outlets: Outlets::default() });
        let weak = Arc::downgrade(&hub);
        metrics.before_each_reading(move |metrics| {
            if let Some(hub) = weak.upgrade() {
                metrics.set(Gauge::Topics, hub.topics.registry.len());
                metrics.set_addresses(AddressTable::Topics, hub.topics.shared.accounts.len());
                metrics.set(Gauge::HistoryBytes, hub.topics.histories_bytes());
            }
        });
        hub
    }

    /// Adds an outlet, and returns the outlet's id.
    pub fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.outlets.attach(outlet)
    }

    /// Makes the topic named `name` within the limits, unless it lives. A topic to which nobody subscribes dies again. The caller
    /// counts a refusal.
    pub fn make(&self, name: &TopicName, payer: Option<&Payer>) -> Result<(), NotMade> {
        self.topics.try_open(name, payer).map(drop)
    }

    /// Subscribes a session to a topic by name.
    pub fn subscribe(
        &self,
        name: &TopicName,
        outlet: OutletId,
        member: &Member,
        payer: Option<&Payer>,
        wanted: ReplayRequest<'_>,
    ) -> Result<TopicStart, PublishError> {
        let (topics, target) = (&self.topics, self.outlets.get(outlet));
        let subscribe = |topic: &Topic| topic.subscribe(outlet, &target, member, wanted);
        let (topic, start) = topics.with_topic(name, payer, subscribe)?;
        topics.update_rank(&topic);
        Ok(TopicStart { topic, start })
    }

    /// Undoes [`Hub::subscribe`].
    pub fn unsubscribe(&self, name: &TopicName, outlet: OutletId, session: SessionId) {
        let Some(topic) = self.find(name) else { return };
        topic.unsubscribe(outlet, session);
        self.topics.update_rank(&topic);
        self.topics.await_upkeep(&topic);
    }

    /// Subscribes `outlet` to every topic that `pattern` matches. Called for the outlet's first session with that pattern.
    pub fn subscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.topics.shared.patterns.add(pattern, outlet, &self.outlets.get(outlet));
    }

    /// Undoes [`Hub::subscribe_pattern`]. Called after the outlet's last session with that pattern.
    pub fn unsubscribe_pattern(&self, pattern: &Pattern, outlet: OutletId) {
        self.topics.shared.patterns.remove(pattern, outlet);
    }

    /// A slice of the living topics that `selection` matches, from behind `after`, found in about `most` steps.
    pub fn slice(&self, selection: &mut Selection, after: Option<&Cursor>, most: usize) -> Slice<Topic> {
        self.topics.registry.slice(selection, after, most)
    }

    /// Where a subscriber by pattern begins on the topic named `name`; `None`: there is no such topic.
    pub fn start(&self, name: &TopicName, wanted: ReplayRequest<'_>) -> Option<TopicStart> {
        let topic = self.find(name)?;
        let start = topic.start(wanted)?;
        Some(TopicStart { topic, start })
    }

    /// The topic of that name, if it lives.
    pub fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.registry.find(name)
    }

    /// The history of `topic` after `since`, or else its newest `limit` messages; about 1 MiB of payloads at most.
    pub fn history(&self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Result<HistoryPage, Disabled> {
        let Some(topic) = self.find(topic) else {
            let empty = HistoryPage { epoch: None, messages: Vec::new(), more: false };
            return if self.keeps_history(topic) { Ok(empty) } else { Err(Disabled::History) };
        };
        self.read_history(&topic, |log| log.page(since, limit, HISTORY_ANSWER_BYTES))
    }

    /// A part of the history of `name`, with the topic's newest position; about 1 MiB of payloads at most. If the topic does not exist, it is
    /// made and counts among those of `payer`, because a client may later recover from the returned position.
    pub fn history_part(
        &self,
        name: &TopicName,
        from: ReadFrom,
        limit: usize,
        payer: Option<&Payer>,
    ) -> Result<Result<HistoryPart, Disabled>, PublishError> {
        if !self.keeps_history(name) {
            return Ok(Err(Disabled::History));
        }
        let topic = self.topics.open(name, payer)?;
        Ok(self.read_history(&topic, |log| log.part(from, limit, HISTORY_ANSWER_BYTES)))
    }

    /// Removes the history of `topic`, whose position stays. Sessions that still read the history get a gap. The history of a stream's
    /// topic can't be removed here.
    pub fn remove_history(&self, topic: &TopicName) -> Result<(), Disabled> {
        if !self.keeps_history(topic) || self.topics.shared.streams.life_of(topic).is_some() {
            return Err(Disabled::History);
        }
        if let Some(topic) = self.find(topic) {
            topic.trim_history(usize::MAX);
            self.topics.update_rank(&topic);
        }
        Ok(())
    }

    /// Changes the user of a member, which outlets receive as a leave and a join.
    pub fn change_user(&self, name: &TopicName, member: &Member) {
        if let Some(topic) = self.find(name) {
            _ = topic.change_user(member); // a topic that has died has no members
        }
    }

    /// Makes a session that is subscribed to `name` a member, if the topic's rule has presence on. Outlets receive no join.
    pub fn enter(&self, name: &TopicName, member: &Member) {
        if let Some(topic) = self.find(name) {
            _ = topic.enter(member); // a topic that has died has no members
        }
    }

    /// The sessions subscribed to a topic by name, at all gateways.
    pub fn presence(&self, name: &TopicName) -> Result<Vec<Member>, Disabled> {
        let Shared { live, other_gateways, .. } = &*self.topics.shared;
        let living = self.find(name).and_then(|topic| topic.members().ok());
        let members = living.unwrap_or_else(|| live.load().rules.of(name).presence.then(|| other_gateways.members(name)));
        members.ok_or(Disabled::Presence)
    }

    /// Applies a join or leave at another gateway, and forwards it to the topic's outlets. Both happen under the lock under which members are read.
    pub fn apply_remote_presence(&self, change: &Arc<PresenceChange>) {
        let (registry, other_gateways) = (&self.topics.registry, &self.topics.shared.other_gateways);
        while let Some(topic) = registry.find_or_do(&change.topic, || other_gateways.apply(change)) {
            if topic.apply_remote_presence(change).is_ok() {
                return;
            }
            registry.remove(&topic);
        }
    }

    /// The newest position of the topic of that name, if it lives.
    pub fn position(&self, name: &TopicName) -> Option<Position> {
        self.find(name).map(|topic| topic.position())
    }

    /// The topic of that name as `/v1/topics` shows it, if it lives.
    pub fn topic_info(&self, name: &TopicName) -> Option<TopicInfo> {
        self.find(name).map(|topic| topic.info())
    }

    /// What `/v1/topics` shows of the living topics that `matching` matches, in the order of names from behind `after`: of `limit` topics at most.
    pub fn topic_infos(&self, matching: Option<&Pattern>, after: Option<&str>, limit: usize) -> Vec<TopicInfo> {
        self.topics.registry.page(matching, after, limit).iter().map(|topic| topic.info()).collect()
    }

    /// Runs the upkeep at intervals, for as long as the future is polled.
    pub async fn run_upkeep(&self) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            while self.upkeep() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Removes one slice of the expired messages and topics. Returns whether more have expired.
    pub fn upkeep(&self) -> bool {
        self.topics.upkeep()
    }

    /// Takes every topic out of the hub, in the form in which a store writes it. A topic that is used afterwards begins a new life.
    pub fn export(&self) -> impl Iterator<Item = TopicState> {
        self.topics.registry.matching(None).into_iter().filter_map(|topic| topic.export())
    }

    /// Restores a topic that was taken out, before any session uses it. The topic counts as used for `grace`, so that its subscribers find
    /// it. `false`: the limits have no room for the topic.
    pub fn restore(&self, state: TopicState, grace: Duration) -> bool {
        let Ok(topic) = self.topics.open(&state.name, None) else { return false };
        topic.restore(state, self.topics.shared.now() + grace);
        self.topics.update_rank(&topic);
        self.topics.trim_histories();
        true
    }

    /// Sets the engine that takes publications on topics of streams. Called once, while the gateway starts.
    pub fn set_engine(&self, engine: Arc<dyn Engine>) {
        let is_first = self.topics.shared.other_gateways.set_engine(engine);
        debug_assert!(is_first, "a gateway has one engine");
    }

    /// The engine, if there is one.
    pub fn engine(&self) -> Option<&Arc<dyn Engine>> {
        self.topics.shared.other_gateways.engine()
    }

    /// Whether the rule of the topic named `name` keeps any messages.
    fn keeps_history(&self, name: &TopicName) -> bool {
        self.topics.shared.live.load().rules.of(name).history > 0
    }

    /// Reads from the log of `topic`, if its rule keeps a history.
    fn read_history<R>(&self, topic: &Topic, read: impl FnOnce(&Log) -> R) -> Result<R, Disabled> {
        let part = topic.read(|log, rule| (rule.history > 0).then(|| read(log)));
        part.ok_or(Disabled::History)
    }
}
