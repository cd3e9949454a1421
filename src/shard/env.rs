//! What all rooms of a shard work with: the time, the configuration, the counts, the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::load::Load;
use crate::clock::{Clock, Moment};
use crate::config::{Config, Live};
use crate::hub::{Attempt, Hub, OutletId, Payer, Publication, PublishError, Start, Topic, Wanted};
use crate::metrics::{Metrics, Tally};
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
    /// Subscriptions of all shards.
    pub subscriptions_total: Arc<AtomicUsize>,
    /// Topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
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

    /// An item was taken from the inbox.
    pub fn take_item(&mut self) {
        self.taken += 1;
    }

    /// How many items were taken from the inbox.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many items were ever pushed into the inbox.
    pub fn pushed(&self) -> u64 {
        self.parts.load.pushed()
    }

    /// Shows how many items the inbox holds.
    pub fn show_inbox(&self, items: usize) {
        self.parts.metrics.set_shard_inbox(self.parts.index, items);
    }

    /// Topics, to be asked.
    pub fn hub(&self) -> &Hub {
        &self.parts.hub
    }

    /// Publishes, unless an outlet has no room.
    pub fn try_publish(&self, topic: &TopicName, publication: &Publication<'_>) -> Result<Attempt, PublishError> {
        self.parts.hub.try_publish(topic, publication)
    }

    /// Enters a session into a topic by name. The flag: the topic's rule knows presence.
    pub fn subscribe(
        &self,
        topic: &TopicName,
        member: &Member,
        payer: Option<&Payer>,
        wanted: Wanted<'_>,
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
        self.give_place_back();
        self.tally.subscriptions(-1);
    }

    /// Takes a place among the subscriptions of all sessions; `false`: there is none left.
    pub fn take_place(&self) -> bool {
        let most = self.config.limits.subscriptions_total;
        let total = &self.parts.subscriptions_total;
        total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
    }

    /// Gives back a place that was taken.
    pub fn give_place_back(&self) {
        self.parts.subscriptions_total.fetch_sub(1, Ordering::Relaxed);
    }
}
