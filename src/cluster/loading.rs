//! The load of a stream from its beginning: collects the logs of the stream's topics until the stream was read to its end.

use std::collections::HashMap;
use std::sync::Arc;

use super::follower::Unproven;
use crate::clock::{Clock, Timestamp};
use crate::config::Live;
use crate::hub::{Log, StreamLife, StreamMessage};
use crate::position::{Epoch, Offset};
use crate::topic_name::TopicName;

/// The topics of a stream, as far as they were read. Nobody else sees them before [`Loading::finish`].
pub struct Loading {
    life: Arc<StreamLife>,
    topics: HashMap<TopicName, Loaded>,
    bytes: usize,
    /// The newest number that was read.
    read: u64,
    /// The newest number below `read` that the stream does not have.
    gap: u64,
    unproven: Option<Unproven>,
}

struct Loaded {
    log: Log,
    /// The number of the topic's first message that was read.
    first: u64,
    /// The newest number below `first` that the stream did not have. Its message may have been one of the topic.
    gap: u64,
}

impl Loading {
    /// A load of the epoch `epoch` from the number `start` on. Messages with numbers in `unproven` may have been replaced.
    pub fn new(epoch: Epoch, start: u64, unproven: Option<Unproven>) -> Self {
        let read = start.saturating_sub(1);
        Self { life: StreamLife::new(epoch, Offset(0), Offset(0)), topics: HashMap::new(), bytes: 0, read, gap: read, unproven }
    }

    /// The next message has this number, whether or not it is one of a topic.
    pub fn note_number(&mut self, number: u64) {
        if number > self.read + 1 {
            self.gap = number - 1;
        }
        self.read = number;
    }

    /// Appends a message to the log of its topic. Messages beyond `limits.history_bytes` and `limits.topics` are not kept, and noted as missing.
    pub fn append(&mut self, name: TopicName, streamed: &StreamMessage<'_>, live: &Live, clock: &Clock) {
        let config = live.load();
        if self.topics.len() >= config.limits.topics && !self.topics.contains_key(&name) {
            return self.life.raise_base(streamed.offset);
        }
        let (life, first, gap) = (&self.life, streamed.offset.0, self.gap);
        let new = || Loaded { log: Log::of_stream(life, Offset(0), clock.moment()), first, gap };
        let loaded = self.topics.entry(name.clone()).or_insert_with(new);
        let before = loaded.log.bytes();
        let moment = clock.moment_of(streamed.published_at);
        loaded.log.append(&streamed.message(&name, life, loaded.log.newest(), config.rules.of(&name), moment));
        let over = (self.bytes + loaded.log.bytes()).saturating_sub(before).saturating_sub(config.limits.history_bytes);
        if over > 0 {
            loaded.log.trim(over);
        }
        self.bytes = (self.bytes + loaded.log.bytes()).saturating_sub(before);
    }

    /// Finishes the load of everything up to `cursor`. The stream has no number below `first`, and during the load it kept at least `retain`
    /// messages of each topic.
    ///
    /// A number that the stream does not have may have been one of any topic. The number of messages that a topic has now proves nothing,
    /// because it may have been cut while the stream kept fewer messages of each topic.
    pub fn finish(self, first: u64, cursor: u64, retain: u64) -> (Arc<StreamLife>, HashMap<TopicName, Log>) {
        let Self { life, topics, unproven, .. } = self;
        let unproven_up_to = |from: u64| unproven.filter(|unproven| from > unproven.proven).map_or(0, |unproven| unproven.known + 1);
        life.raise_base(Offset(first.saturating_sub(1).max(unproven_up_to(first))));
        life.advance(Offset(cursor));
        let base = life.base();
        let kept = usize::try_from(retain.saturating_sub(1)).unwrap_or(usize::MAX);
        let topics = topics.into_iter().map(|(name, Loaded { mut log, first, gap })| {
            // A message that was removed before it was read is followed by `retain` messages of the topic, all of which were read.
            log.keep_newest(kept);
            log.note_missing_up_to(base.max(Offset(gap.max(unproven_up_to(first)))));
            (name, log)
        });
        (life, topics.collect())
    }
}

/// The Unix time in milliseconds, from nanoseconds.
pub fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests;
