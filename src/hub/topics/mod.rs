//! All living topics: made at first use, kept within the limits of the configuration, and removed at their end.

mod eviction_order;
mod expiry;
mod registry;
mod tree;

pub use tree::{Cursor, Slice};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expiry::Expiry;
use registry::Registry;

use super::payer::Payer;
use super::refusal::{NotMade, PublishError};
use super::topic::{Gone, Published, Shared, Topic};
use crate::clock::Clock;
use crate::config::Live;
use crate::metrics::{LimitKey, Metrics};
use crate::topic_name::TopicName;

/// All living topics, within the bounds on their number and their histories.
pub struct Topics {
    pub registry: Registry,
    expiry: Expiry,
    pub shared: Arc<Shared>,
    /// `limits.history_bytes`, as of the last upkeep.
    histories_bytes_max: AtomicUsize,
    pub metrics: Arc<Metrics>,
}

impl Topics {
    pub fn new(live: Arc<Live>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let histories_bytes_max = AtomicUsize::new(live.load().limits.history_bytes);
        let shared = Arc::new(Shared::new(live, clock));
        Self { registry: Registry::new(Arc::clone(&shared)), expiry: Expiry::default(), shared, histories_bytes_max, metrics }
    }

    /// How many bytes the histories of all topics cost.
    pub fn histories_bytes(&self) -> usize {
        self.shared.histories_bytes.load(Ordering::Relaxed)
    }

    /// Runs `act` on the topic named `name`, as [`Topics::open`] finds or makes it. If the topic dies before `act` has its lock, `act` is
    /// run again on the next topic of that name.
    pub fn with_topic<R>(
        &self,
        name: &TopicName,
        payer: Option<&Payer>,
        mut act: impl FnMut(&Topic) -> Result<R, Gone>,
    ) -> Result<(Arc<Topic>, R), PublishError> {
        loop {
            let topic = self.open(name, payer)?;
            match act(&topic) {
                Ok(done) => return Ok((topic, done)),
                Err(Gone) => self.registry.remove(&topic),
            }
        }
    }

    /// Does what [`Topics::with_topic`] does for a delivery. After a message, histories are trimmed and the topic's upkeep is scheduled.
    pub fn deliver(
        &self,
        name: &TopicName,
        payer: Option<&Payer>,
        deliver: impl FnMut(&Topic) -> Result<Published, Gone>,
    ) -> Result<Published, PublishError> {
        let (topic, published) = self.with_topic(name, payer, deliver)?;
        match &published {
            Published::NoRoom(_) => self.metrics.limit_hit(LimitKey::InboxBytes),
            Published::At { is_rank_behind, .. } => self.after_message(&topic, *is_rank_behind),
        }
        Ok(published)
    }

    /// Trims histories after a new message of `topic`, and schedules the topic's upkeep.
    pub fn after_message(&self, topic: &Arc<Topic>, is_rank_behind: bool) {
        if is_rank_behind {
            self.expiry.update_rank(topic);
        }
        self.trim_histories();
        self.await_upkeep(topic);
    }

    /// Schedules the upkeep of `topic`, unless it is scheduled.
    pub fn await_upkeep(&self, topic: &Arc<Topic>) {
        if topic.begins_to_await_upkeep() {
            self.expiry.await_topic(topic, self.shared.now());
        }
    }

    /// Moves the entries of `topic` in the orders of eviction, if they are too far behind its ranks.
    pub fn update_rank(&self, topic: &Arc<Topic>) {
        if topic.is_rank_behind() {
            self.expiry.update_rank(topic);
        }
    }

    /// The topic of that name. If there is none, it is made within the limits, and counts among the topics of `payer`; one that a feed of
    /// the gateway makes counts for no payer.
    pub fn open(&self, name: &TopicName, payer: Option<&Payer>) -> Result<Arc<Topic>, NotMade> {
        self.try_open(name, payer).inspect_err(|refused| self.metrics.limit_hit(refused.limit()))
    }

    /// Does what [`Topics::open`] does, but leaves it to the caller to count a refusal.
    pub fn try_open(&self, name: &TopicName, payer: Option<&Payer>) -> Result<Arc<Topic>, NotMade> {
        if let Some(topic) = self.registry.find(name) {
            return Ok(topic);
        }
        let (most, most_of_payer) = {
            let limits = &self.shared.live.load().limits;
            (limits.topics, limits.topics_per_address)
        };
        if payer.is_some_and(|payer| !self.shared.accounts.take(payer, most_of_payer)) {
            return Err(NotMade::TopicsOfPayerFull);
        }
        let release = || payer.into_iter().for_each(|payer| self.shared.accounts.release(payer));
        while self.registry.len() >= most {
            if !self.expiry.make_room(&self.registry) {
                release();
                return Err(NotMade::TopicsFull);
            }
            self.metrics.limit_hit(LimitKey::Topics);
        }
        let (topic, is_new) = self.registry.find_or_make(name, payer);
        if is_new {
            self.expiry.await_topic(&topic, self.shared.now());
            self.update_rank(&topic);
        } else {
            release();
        }
        Ok(topic)
    }

    /// Removes one slice of the expired messages and topics. Returns whether more have expired.
    pub fn upkeep(&self) -> bool {
        self.histories_bytes_max.store(self.shared.live.load().limits.history_bytes, Ordering::Relaxed);
        let trims_on = self.trim_histories();
        self.expiry.upkeep(&self.registry, self.shared.now()) || trims_on
    }

    /// Frees the bytes of histories beyond `limits.history_bytes`. `true`: bytes are left for the next call.
    pub fn trim_histories(&self) -> bool {
        let over = || self.histories_bytes().saturating_sub(self.histories_bytes_max.load(Ordering::Relaxed));
        if over() == 0 {
            return false;
        }
        self.metrics.limit_hit(LimitKey::HistoryBytes);
        self.expiry.trim_histories(over)
    }

    /// How many topics could be evicted, and how many have a history.
    #[cfg(test)]
    pub fn evictable(&self) -> (usize, usize) {
        self.expiry.evictable()
    }
}
