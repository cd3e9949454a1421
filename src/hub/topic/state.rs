//! The state of one topic under the topic's lock, and the operations that touch several parts of it.

use std::sync::Arc;
use std::task::Waker;

use super::audience::Audience;
use super::lifetime::Lifetime;
use super::log::{Log, ReplayRequest, Start};
use super::rank::RankBy;
use crate::clock::Moment;
use crate::config::{Live, Rule};
use crate::hub::message::Message;
use crate::topic_name::TopicName;

/// The state of one topic, under the topic's lock.
pub struct State {
    pub log: Log,
    pub audience: Audience,
    /// The rule in force at the last use.
    pub rule: Arc<Rule>,
    /// The generation of the configuration that `rule` comes from.
    pub generation: u32,
    /// What decides when the life ends.
    pub lifetime: Lifetime,
}

impl State {
    /// Appends a message to the log and offers it to the audience. The log itself or an engine may have assigned its position.
    pub fn deliver(&mut self, message: &Message, publisher: &Waker) {
        self.lifetime.use_at(message.moment);
        self.log.append(message);
        self.audience.offer(message, publisher);
    }

    /// Takes the topic's rule from the configuration in force.
    pub fn follow(&mut self, live: &Live, name: &TopicName) {
        let generation = live.generation();
        if self.generation != generation {
            self.generation = generation;
            self.rule = Arc::clone(live.load().rules.of(name));
        }
    }

    /// The topic's rank; 0: the topic can't be evicted.
    pub fn rank(&self, by: RankBy) -> u64 {
        self.lifetime.rank(by, self.audience.named(), self.log.kept_since())
    }

    /// Where a subscriber begins. Expired messages are removed before.
    pub fn start(&mut self, wanted: ReplayRequest<'_>, now: Moment) -> Start {
        self.expire(now);
        self.log.start(wanted, self.rule.last)
    }

    pub fn expire(&mut self, now: Moment) {
        self.log.expire(&self.rule, now);
    }

    pub fn die(&mut self) {
        self.lifetime.end();
        self.log.end();
    }
}
