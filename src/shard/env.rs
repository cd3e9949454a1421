//! What all rooms of a shard work with: the time, the configuration, the counts, the hub.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Poll, Waker};

use super::input::{Inputs, UnfinishedBytes};
use super::load::Load;
use super::places::Places;
use crate::clock::{Clock, Moment};
use crate::config::{Config, Live};
use crate::dialect::ReferenceAccount;
use crate::hub::{Hub, OutletId, Payer, Publication, PublishError, ReplayRequest, Start, Submitted, Topic};
use crate::metrics::{LimitKey, Metrics, Tally};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// One shard's surroundings.
pub struct Env {
    /// The shard's counts.
    pub tally: Tally,
    /// The configuration of this tick.
    pub config: Arc<Config>,
    /// Now, as of this tick.
    pub now: Moment,
    /// Items that were taken from the inbox.
    taken: u64,
    generation: u64,
    parts: Parts,
}

/// What a shard is made of.
pub struct Parts {
    /// Which shard this is.
    pub index: usize,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The shard's place in the hub.
    pub outlet: OutletId,
    /// What other threads see of it.
    pub load: Arc<Load>,
    /// What the shards count together.
    pub totals: Totals,
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
}

/// What all shards count together, against bounds that hold for all of them.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Places among the subscriptions.
    pub places: Arc<Places>,
    /// Bytes of the messages that later ones may refer to.
    pub reference_bytes: Arc<AtomicUsize>,
    /// What each address holds of messages that are not whole.
    pub unfinished_bytes: Arc<UnfinishedBytes>,
}

impl Env {
    /// The surroundings of a shard that begins.
    pub fn new(parts: Parts) -> Self {
        Self {
            tally: Tally::new(Arc::clone(&parts.metrics)),
            generation: parts.live.generation(),
            config: parts.live.load(),
            now: parts.clock.moment(),
            taken: 0,
            parts,
        }
    }

    /// Takes the time for a new tick.
    pub fn begin_tick(&mut self) {
        self.now = self.moment();
    }

    /// The time, exactly.
    pub fn moment(&self) -> Moment {
        self.parts.clock.moment()
    }

    /// The clock.
    pub fn clock(&self) -> Clock {
        self.parts.clock.clone()
    }

    /// Takes over the configuration in force; the former one, if it is another.
    pub fn follow_config(&mut self) -> Option<Arc<Config>> {
        let generation = self.parts.live.generation();
        if self.generation == generation {
            return None;
        }
        self.generation = generation;
        Some(std::mem::replace(&mut self.config, self.parts.live.load()))
    }

    /// The shard has one session more.
    pub fn occupy(&self) {
        self.parts.load.occupy();
    }

    /// The shard has one session less.
    pub fn vacate(&self) {
        self.parts.load.vacate();
    }

    /// Shows other threads how many bytes wait in the outboxes.
    pub fn show_outbox_bytes(&self, bytes: usize) {
        self.parts.load.show_outbox_bytes(bytes);
    }

    /// An item was taken from the inbox.
    pub fn take_item(&mut self) {
        self.taken += 1;
    }

    /// How many items were taken from the inbox.
    pub fn processed(&self) -> u64 {
        self.taken
    }

    /// How many items were ever pushed into the inbox.
    pub fn pushed(&self) -> u64 {
        self.parts.load.pushed()
    }

    /// The shard's number.
    pub fn index(&self) -> usize {
        self.parts.index
    }

    /// Shows how many items the inbox holds.
    pub fn show_inbox(&self, items: usize) {
        self.parts.metrics.set_shard_inbox(self.parts.index, items);
    }

    /// The account of the messages that later ones may refer to.
    pub fn reference_account(&self) -> ReferenceAccount {
        ReferenceAccount::new(Arc::clone(&self.parts.totals.reference_bytes), self.config.limits.reference_bytes)
    }

    /// The account of what sessions have sent and is not done yet.
    pub fn input_account(&self) -> Inputs {
        Inputs::new(Arc::clone(&self.parts.totals.unfinished_bytes))
    }

    /// Topics, to be asked.
    pub fn hub(&self) -> &Hub {
        &self.parts.hub
    }

    /// Publishes; pending: `publisher` is woken once there is room.
    pub fn poll_submit(
        &self,
        topic: &TopicName,
        publication: &Publication<'_>,
        publisher: &Waker,
    ) -> Poll<Result<Submitted, PublishError>> {
        self.parts.hub.poll_submit(topic, publication, publisher)
    }

    /// Enters a session into a topic by name. The flag: the topic's rule knows presence.
    pub fn subscribe(
        &self,
        topic: &TopicName,
        member: &Member,
        payer: Option<&Payer>,
        wanted: ReplayRequest<'_>,
    ) -> Result<(Arc<Topic>, Start, bool), PublishError> {
        self.parts.hub.subscribe(topic, self.parts.outlet, member, payer, wanted)
    }

    /// The shard's first session on `pattern` has come.
    pub fn subscribe_pattern(&self, pattern: &Pattern) {
        self.parts.hub.subscribe_pattern(pattern, self.parts.outlet);
    }

    /// A session has left a name or pattern; `last`: it was the shard's last there.
    pub fn unsubscribe(&mut self, pattern: &Pattern, session: SessionId, last: bool) {
        match pattern.as_name() {
            Some(name) => self.parts.hub.unsubscribe(&name, self.parts.outlet, session),
            None if last => self.parts.hub.unsubscribe_pattern(pattern, self.parts.outlet),
            None => {}
        }
        self.give_place_back(pattern);
        self.tally.subscriptions(-1);
    }

    /// Takes a place among the subscriptions of all sessions, for one to `pattern` by a session of `address`; an error: the limit
    /// that is in its way.
    pub fn take_place(&self, pattern: &Pattern, address: IpAddr) -> Result<(), LimitKey> {
        self.parts.totals.places.take(pattern, address, &self.config.limits)
    }

    /// Gives back a place that was taken for `pattern`.
    pub fn give_place_back(&self, pattern: &Pattern) {
        self.parts.totals.places.give_back(pattern);
    }
}
