//! A stream that is read from its beginning: the logs of its topics, until all is there.

use std::collections::HashMap;
use std::sync::Arc;

use super::follower::Doubt;
use crate::clock::{Clock, Timestamp};
use crate::config::Live;
use crate::hub::{About, Log, Message, StreamLife, StreamMessage};
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;

/// The topics of a stream, as far as they are read. Nobody sees them before the end.
pub struct Loading {
    life: Arc<StreamLife>,
    topics: HashMap<TopicName, Loaded>,
    bytes: usize,
    /// The newest number that was read, of whatever it is.
    read: u64,
    /// The newest number below it that the stream does not have.
    hole: u64,
    doubt: Option<Doubt>,
}

struct Loaded {
    log: Log,
    /// The first number of the topic that was read.
    first: u64,
    /// The newest number below `first` that the stream did not have: it may have been the topic's.
    hole: u64,
}

impl Loading {
    /// The life `epoch` is read from `start` on; of what was known of it, `doubt` may not be as it was.
    pub fn new(epoch: Epoch, start: u64, doubt: Option<Doubt>) -> Self {
        let read = start.saturating_sub(1);
        Self { life: StreamLife::new(epoch, Offset(0), Offset(0)), topics: HashMap::new(), bytes: 0, read, hole: read, doubt }
    }

    /// A message with that number comes next, a topic's or not.
    pub fn hear(&mut self, number: u64) {
        if number > self.read + 1 {
            self.hole = number - 1;
        }
        self.read = number;
    }

    /// Takes a message. What `limits.history_bytes` and `limits.topics` have no room for is not kept, and known to be missing.
    pub fn take(&mut self, name: TopicName, streamed: &StreamMessage<'_>, live: &Live, clock: &Clock) {
        let config = live.load();
        let rule = Arc::clone(config.rules.of(&name));
        if self.topics.len() >= config.limits.topics && !self.topics.contains_key(&name) {
            return self.life.raise_base(streamed.offset);
        }
        let (life, first, hole) = (&self.life, streamed.offset.0, self.hole);
        let new = || Loaded { log: Log::of_stream(life, Offset(0), clock.moment()), first, hole };
        let loaded = self.topics.entry(name.clone()).or_insert_with(new);
        let before = loaded.log.bytes();
        let about = About {
            topic: name,
            position: Position { epoch: life.epoch(), offset: streamed.offset },
            published_at: streamed.published_at,
            moment: clock.moment_of(streamed.published_at),
            kind: streamed.kind,
            except: streamed.except,
            rule,
            extra: streamed.extra.cloned(),
        };
        let message = Message::of_stream(about, loaded.log.newest(), streamed.payload);
        loaded.log.append(&message);
        let over = (self.bytes + loaded.log.bytes()).saturating_sub(before).saturating_sub(config.limits.history_bytes);
        if over > 0 {
            loaded.log.give_up_oldest(over);
        }
        self.bytes = (self.bytes + loaded.log.bytes()).saturating_sub(before);
    }

    /// All is read up to `cursor`; the stream has nothing below `first`, and has kept `retain` messages of a topic or more all the while.
    ///
    /// A topic may have had messages with the numbers that the stream does not have. How many it has now does not tell: it may have been
    /// cut as the stream kept fewer of each.
    pub fn end(self, first: u64, cursor: u64, retain: u64) -> (Arc<StreamLife>, HashMap<TopicName, Log>) {
        let Self { life, topics, doubt, .. } = self;
        let doubted = |from: u64| doubt.filter(|doubt| from > doubt.proven).map_or(0, |doubt| doubt.known + 1);
        life.raise_base(Offset(first.saturating_sub(1).max(doubted(first))));
        life.advance(Offset(cursor));
        let base = life.base();
        let kept = usize::try_from(retain.saturating_sub(1)).unwrap_or(usize::MAX);
        let topics = topics.into_iter().map(|(name, Loaded { mut log, first, hole })| {
            // What was pushed out before it was read has as many behind it as the stream keeps, all of which were read.
            log.keep_newest(kept);
            log.note_missing_up_to(base.max(Offset(hole.max(doubted(first)))));
            (name, log)
        });
        (life, topics.collect())
    }
}

/// The time in a message's reply subject, from nanoseconds.
pub fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests;
