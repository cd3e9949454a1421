//! The environment of a shard: the clock, the configuration, the counts, the hub.

mod input;
mod load;
mod subscription_limits;

pub use input::{HeldInput, InputAccount, SessionInput};
pub use load::Load;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::clock::{Clock, Moment};
use crate::config::{Config, Live};
use crate::dialect::ReferenceAccount;
use crate::hub::{Hub, OutletId, Payer, PublishError, ReplayRequest, TopicStart};
use crate::metrics::{Gauge, LimitKey, Metrics, Tally};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};
use input::UnfinishedBytes;
use subscription_limits::SubscriptionLimits;

/// The environment of one shard.
pub struct Env {
    /// The shard's counts.
    pub tally: Tally,
    /// The configuration of this tick.
    pub config: Arc<Config>,
    /// The time at which this tick began.
    pub now: Moment,
    /// The number of items of the inbox that were processed so far, with the one in hand.
    processed: u64,
    generation: u32,
    parts: ShardParts,
}

/// The parts that a shard is built from.
pub struct ShardParts {
    /// The number of the shard.
    pub index: usize,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The shard's place in the hub.
    pub outlet: OutletId,
    /// The counts that other threads see.
    pub load: Arc<Load>,
    /// The counts that all shards share.
    pub totals: Totals,
    /// The hub of all topics.
    pub hub: Arc<Hub>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The clock.
    pub clock: Clock,
}

/// Counts that all shards share, with bounds that hold for all of them together.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// The number of subscriptions and of pattern shapes.
    pub subscriptions: Arc<SubscriptionLimits>,
    /// Bytes of the messages that later messages may refer to.
    pub reference_bytes: Arc<AtomicUsize>,
    /// Bytes of unfinished messages, by address.
    pub unfinished_bytes: Arc<UnfinishedBytes>,
}

impl Env {
    /// The environment of a new shard.
    pub fn new(parts: ShardParts) -> Self {
        Self {
            tally: Tally::new(Arc::clone(&parts.metrics)),
            generation: parts.live.generation(),
            config: parts.live.load(),
            now: parts.clock.moment(),
            processed: 0,
            parts,
        }
    }

    /// Reads the clock for a new tick.
    pub fn begin_tick(&mut self) {
        self.now = self.moment();
    }

    /// Reads the clock. [`Env::now`] is the time at which the tick began.
    pub fn moment(&self) -> Moment {
        self.parts.clock.moment()
    }

    /// The clock.
    pub fn clock(&self) -> Clock {
        self.parts.clock.clone()
    }

    /// Adopts the configuration in force. Returns the former one if the configuration has changed.
    pub fn follow_config(&mut self) -> Option<Arc<Config>> {
        let generation = self.parts.live.generation();
        if self.generation == generation {
            return None;
        }
        self.generation = generation;
        Some(std::mem::replace(&mut self.config, self.parts.live.load()))
    }

    /// The number of the configuration of this tick. Each reload increments it.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The shard's load, which other threads see.
    pub fn load(&self) -> &Load {
        &self.parts.load
    }

    /// Counts an item of the inbox that is processed now.
    pub fn count_item(&mut self) {
        self.processed += 1;
    }

    /// The number of items of the inbox that were processed so far, with the one in hand.
    pub fn processed(&self) -> u64 {
        self.processed
    }

    /// The number of items pushed into the inbox so far.
    pub fn pushed(&self) -> u64 {
        self.parts.load.pushed()
    }

    /// The shard's number.
    pub fn index(&self) -> usize {
        self.parts.index
    }

    /// Publishes the number of items in the inbox as a metric.
    pub fn show_inbox(&self, items: usize) {
        self.parts.metrics.set_shard_inbox(self.parts.index, items);
    }

    /// An account of the messages that later messages may refer to.
    pub fn reference_account(&self) -> ReferenceAccount {
        ReferenceAccount::new(Arc::clone(&self.parts.totals.reference_bytes), self.config.limits.reference_bytes)
    }

    /// An account of the input that sessions hold.
    pub fn input_account(&self) -> InputAccount {
        InputAccount::new(Arc::clone(&self.parts.totals.unfinished_bytes))
    }

    /// The hub of all topics.
    pub fn hub(&self) -> &Hub {
        &self.parts.hub
    }

    /// Subscribes a session to a topic by name.
    pub fn subscribe(
        &self,
        topic: &TopicName,
        member: &Member,
        payer: Option<&Payer>,
        wanted: ReplayRequest<'_>,
    ) -> Result<TopicStart, PublishError> {
        self.parts.hub.subscribe(topic, self.parts.outlet, member, payer, wanted)
    }

    /// Subscribes the shard to `pattern`, for its first session with that pattern.
    pub fn subscribe_pattern(&self, pattern: &Pattern) {
        self.parts.hub.subscribe_pattern(pattern, self.parts.outlet);
    }

    /// Ends a session's subscription to `pattern`. `last` says that no other session of the shard has it.
    pub fn unsubscribe(&mut self, pattern: &Pattern, session: SessionId, last: bool) {
        match pattern.as_name() {
            Some(name) => self.parts.hub.unsubscribe(&name, self.parts.outlet, session),
            None if last => self.parts.hub.unsubscribe_pattern(pattern, self.parts.outlet),
            None => {}
        }
        self.release_subscription(pattern);
        self.tally.add(Gauge::Subscriptions, -1);
    }

    /// Reserves a subscription to `pattern` by a session of `address`. The error is the limit that refuses it.
    pub fn reserve_subscription(&self, pattern: &Pattern, address: IpAddr) -> Result<(), LimitKey> {
        self.parts.totals.subscriptions.reserve(pattern, address, &self.config.limits)
    }

    /// Releases a reservation for `pattern`.
    pub fn release_subscription(&self, pattern: &Pattern) {
        self.parts.totals.subscriptions.release(pattern);
    }
}
