//! The hub: all topics, what is published to them and who hears it.

mod address;
mod audience;
mod children;
mod elsewhere;
mod expiry;
mod history;
mod log;
mod membership;
mod message;
mod order;
mod outlet;
mod pattern_trie;
mod patterns;
mod payer;
mod presence;
mod receipt;
mod refusal;
mod registry;
mod selection;
mod state;
mod stream;
mod topic;
mod topic_tree;

pub use address::counted_as;
pub use log::{HistoryPage, HistoryPart, Log, ReadFrom, ReplayGap, ReplayPiece, Start, Wanted};
pub use message::{About, Extra, Message, PayloadKind, Publication};
pub use outlet::{Outlet, OutletId, PresenceChange};
pub use pattern_trie::PatternTrie;
pub use payer::Payer;
pub use receipt::{Answerer, Receipt, Submitted};
pub use refusal::{Off, PublishError};
pub use selection::Selection;
pub use state::{KeptMessage, TopicState};
pub use stream::{Engine, Handed, StreamLife, Streamed};
pub use topic::{Topic, TopicInfo};
pub use topic_tree::{Cursor, Slice};

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::RwLock;

use expiry::Expiry;
use registry::Registry;
use topic::{Published, Shared};

use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::{AddressTable, LimitKey, Metrics};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// The most bytes of payloads in one answer to `history`.
const HISTORY_ANSWER_BYTES: usize = 1 << 20;

/// Topics of a stream that begin anew between two turns of others.
const TOPICS_IN_A_TURN: usize = 1_024;

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

/// The outcome of an attempt to publish.
pub enum Attempt {
    /// The message has this position.
    Published(Position),
    /// This outlet has no room; no offset was assigned. The publisher tries again once [`Outlet::when_room`] has woken it.
    NoRoom(Arc<dyn Outlet>),
    /// The topic's stream was handed the message, and the receipt will have its position.
    Awaited(Receipt),
    /// The engine has no room; nothing was published. The publisher tries again once [`Engine::when_room`] has woken it.
    EngineFull(Arc<dyn Engine>),
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
                metrics.set_addresses(AddressTable::Topics, hub.shared.accounts.len());
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
        match self.submit(topic, publication).await? {
            Submitted::Published(position) => Ok(position),
            Submitted::Awaited(receipt) => receipt.answer().await,
        }
    }

    /// Does what [`Hub::publish`] does, but for the wait for an engine's answer: publishes that follow keep behind this one.
    pub async fn submit(&self, topic: &TopicName, publication: Publication<'_>) -> Result<Submitted, PublishError> {
        poll_fn(|context| self.poll_submit(topic, &publication, context.waker())).await
    }

    /// The same; pending: `publisher` is woken once there is room.
    pub fn poll_submit(
        &self,
        topic: &TopicName,
        publication: &Publication<'_>,
        publisher: &Waker,
    ) -> Poll<Result<Submitted, PublishError>> {
        match self.try_publish(topic, publication, publisher) {
            Ok(Attempt::Published(position)) => return Poll::Ready(Ok(Submitted::Published(position))),
            Ok(Attempt::Awaited(receipt)) => return Poll::Ready(Ok(Submitted::Awaited(receipt))),
            Ok(Attempt::NoRoom(outlet)) => outlet.when_room(publisher),
            Ok(Attempt::EngineFull(engine)) => engine.when_room(publisher),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }

    /// Does what [`Hub::publish`] does, without waiting. `publisher` is its waker: an outlet that was full knows by it whose turn it is.
    pub fn try_publish(&self, name: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Result<Attempt, PublishError> {
        if let Some(handed) = self.hand_over(name, publication) {
            return handed;
        }
        loop {
            let topic = self.open(name, publication.payer)?;
            match topic.publish(publication, publisher, &self.live, &self.clock) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok(Published::NoRoom(outlet)) => {
                    self.metrics.limit_hit(LimitKey::InboxBytes);
                    return Ok(Attempt::NoRoom(outlet));
                }
                Ok(Published::At(position, rule, is_misplaced)) => {
                    self.metrics.published(rule, publication.source);
                    self.after_message(&topic, is_misplaced);
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

    /// A slice of the living topics that `selection` takes, from behind `after`, of about `most` steps.
    pub fn slice(&self, selection: &mut Selection, after: Option<&Cursor>, most: usize) -> Slice<Topic> {
        self.registry.slice(selection, after, most)
    }

    /// Where a subscriber by pattern begins on `topic`; `None`: it has died.
    pub fn start_on(&self, topic: &Topic, wanted: Wanted<'_>) -> Option<Start> {
        topic.start_by_pattern(wanted, &self.live, self.clock.moment())
    }

    /// Where the replay of `topic` begins for a subscriber who is owed every message from `owed` on, and the `last` before that.
    pub fn replay_before(&self, topic: &Topic, owed: Position, last: Option<usize>) -> Position {
        topic.replay_before(owed, last, &self.live, self.clock.moment())
    }

    /// Where a subscriber by pattern begins on one topic; `None`: the topic does not live.
    pub fn start(&self, name: &TopicName, wanted: Wanted<'_>) -> Option<(Arc<Topic>, Start)> {
        let topic = self.registry.find(name)?;
        let start = topic.start_by_pattern(wanted, &self.live, self.clock.moment())?;
        Some((topic, start))
    }

    /// The topic of that name, if it lives.
    pub fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.registry.find(name)
    }

    /// A member of `topic` has another user from now on.
    pub fn rename(&self, topic: &TopicName, member: &Member) {
        membership::rename(&self.registry, &self.shared, &self.live, topic, member);
    }

    /// A session that is subscribed to `topic` by name is a member from now on, if the topic's rule has presence on.
    pub fn enter(&self, topic: &TopicName, member: &Member) {
        membership::enter(&self.registry, &self.shared, &self.live, topic, member);
    }

    /// The history of `topic` after `since`, or its newest `limit` messages; at most about 1 MiB of payloads.
    pub fn history(&self, topic: &TopicName, since: Option<Offset>, limit: usize) -> Result<HistoryPage, Off> {
        let Some(topic) = self.registry.find(topic) else {
            let kept = self.live.load().rules.of(topic).history > 0;
            return if kept { Ok(HistoryPage { epoch: None, messages: Vec::new(), more: false }) } else { Err(Off::History) };
        };
        topic.history(since, limit, HISTORY_ANSWER_BYTES, &self.live, self.clock.moment()).ok_or(Off::History)
    }

    /// A part of the history of `name` and its newest position; at most about 1 MiB of payloads. A topic that does not live begins to, and
    /// `payer` answers for it: whoever is told its position may come back with that.
    pub fn history_part(
        &self,
        name: &TopicName,
        from: ReadFrom,
        limit: usize,
        payer: Option<&Payer>,
    ) -> Result<Result<HistoryPart, Off>, PublishError> {
        if self.live.load().rules.of(name).history == 0 {
            return Ok(Err(Off::History));
        }
        let topic = self.open(name, payer)?;
        Ok(topic.part(from, limit, HISTORY_ANSWER_BYTES, &self.live, self.clock.moment()).ok_or(Off::History))
    }

    /// Gives up the history of `topic`, whose position stays; whoever reads on in it is told that it is gone. A stream keeps its own.
    pub fn remove_history(&self, topic: &TopicName) -> Result<(), Off> {
        if self.live.load().rules.of(topic).history == 0 || self.shared.streams.life_of(topic).is_some() {
            return Err(Off::History);
        }
        if let Some(topic) = self.registry.find(topic) {
            topic.give_up_history(usize::MAX);
            self.place(&topic);
        }
        Ok(())
    }

    /// A member of `change.topic` at another gateway joined or left.
    pub fn change_elsewhere(&self, change: &Arc<PresenceChange>) {
        membership::change_elsewhere(&self.registry, &self.shared, &self.live, change);
    }

    /// The sessions subscribed to `topic` by name, at all gateways.
    pub fn presence(&self, topic: &TopicName) -> Result<Vec<Member>, Off> {
        membership::members(&self.registry, &self.shared, &self.live, topic).ok_or(Off::Presence)
    }

    /// The topic of that name, if it lives.
    pub fn living(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.registry.find(name)
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

    /// Gives what is published to topics of streams to `engine`. Called once, while the gateway starts.
    pub fn set_engine(&self, engine: Arc<dyn Engine>) {
        let is_first = self.shared.elsewhere.set_engine(engine);
        debug_assert!(is_first, "a gateway has one engine");
    }

    /// The engine, if there is one.
    pub fn engine(&self) -> Option<&Arc<dyn Engine>> {
        self.shared.elsewhere.engine()
    }

    /// From now on topics under `pattern` are a stream's. Nothing is known of it yet.
    pub fn follow_stream(&self, pattern: &Pattern) {
        self.shared.streams.begin(pattern, &StreamLife::new(Epoch::random(), Offset(0), Offset(0)));
    }

    /// Delivers a message of a stream once every outlet with a subscriber has room for it.
    pub async fn apply(&self, name: &TopicName, life: &Arc<StreamLife>, streamed: Streamed<'_>) {
        poll_fn(|context| match self.try_apply(name, life, &streamed, context.waker()) {
            Some(outlet) => {
                outlet.when_room(context.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    /// The outlet without room, if there is one; then nothing was done. Where there is no place for the topic, the message is not kept,
    /// and whoever asks for it later is told so.
    fn try_apply(&self, name: &TopicName, life: &Arc<StreamLife>, streamed: &Streamed<'_>, follower: &Waker) -> Option<Arc<dyn Outlet>> {
        loop {
            let Ok(topic) = self.open(name, None) else {
                life.raise_base(streamed.offset);
                life.advance(streamed.offset);
                return None;
            };
            match topic.apply(life, streamed, follower, &self.live, &self.clock) {
                Err(topic::Gone) => self.registry.remove(&topic),
                Ok(Published::NoRoom(outlet)) => {
                    self.metrics.limit_hit(LimitKey::InboxBytes);
                    return Some(outlet);
                }
                Ok(Published::At(_, _, is_misplaced)) => {
                    self.after_message(&topic, is_misplaced);
                    return None;
                }
            }
        }
    }

    /// Puts what was read of the stream under `pattern` in the place of what its topics had. Their subscribers go on from where they
    /// were; what they can't have any more is told to them.
    ///
    /// Topics that come to life meanwhile begin in the former life until all logs are in place, so none begins without its log.
    pub async fn begin_stream(&self, pattern: &Pattern, life: &Arc<StreamLife>, logs: HashMap<TopicName, Log>) {
        for (index, (name, mut log)) in logs.into_iter().enumerate() {
            if index % TOPICS_IN_A_TURN == TOPICS_IN_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
            loop {
                let Ok(topic) = self.open(&name, None) else {
                    life.raise_base(log.position().offset);
                    break;
                };
                match topic.begin_anew(log, &self.clock) {
                    Ok(()) => {
                        self.after_message(&topic, true);
                        break;
                    }
                    Err(given_back) => log = given_back,
                }
                self.registry.remove(&topic);
            }
        }
        self.shared.streams.begin(pattern, life);
        for (index, topic) in self.registry.matching(Some(pattern)).into_iter().enumerate() {
            topic.begin_empty_in(life, &self.clock);
            if index % TOPICS_IN_A_TURN == TOPICS_IN_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// What an engine makes of a publication; `None`: the topic is the hub's own.
    fn hand_over(&self, name: &TopicName, publication: &Publication<'_>) -> Option<Result<Attempt, PublishError>> {
        let engine = self.engine()?;
        Some(engine.publish(name, publication)?.map(|handed| match handed {
            Handed::Awaited(receipt) => Attempt::Awaited(receipt),
            Handed::NoRoom => Attempt::EngineFull(Arc::clone(engine)),
        }))
    }

    /// What follows on a topic's new message.
    fn after_message(&self, topic: &Arc<Topic>, is_misplaced: bool) {
        if is_misplaced {
            self.expiry.place(topic);
        }
        self.trim_histories();
        if topic.begins_to_be_awaited() {
            self.expiry.await_topic(topic, self.clock.moment());
        }
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
