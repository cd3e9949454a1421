//! A stream that is read from its beginning: the logs of its topics, until all is there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::config::Live;
use crate::hub::{About, Log, Message, StreamLife, Streamed};
use crate::position::{Epoch, Offset, Position};
use crate::topic_name::TopicName;

/// The topics of a stream, as far as they are read. Nobody sees them before the end.
pub struct Loading {
    life: Arc<StreamLife>,
    topics: HashMap<TopicName, Loaded>,
    bytes: usize,
}

struct Loaded {
    log: Log,
    /// The first number of the topic that was read, and how many were.
    first: Offset,
    count: u64,
}

impl Loading {
    /// Nothing of the life `epoch` is read yet.
    pub fn new(epoch: Epoch) -> Self {
        Self { life: StreamLife::new(epoch, Offset(0), Offset(0)), topics: HashMap::new(), bytes: 0 }
    }

    /// Takes a message. What `limits.history_bytes` and `limits.topics` have no room for is not kept, and known to be missing.
    pub fn take(&mut self, name: TopicName, streamed: &Streamed<'_>, live: &Live, clock: &Clock) {
        let config = live.load();
        let rule = Arc::clone(config.rules.of(&name));
        if self.topics.len() >= config.limits.topics && !self.topics.contains_key(&name) {
            return self.life.raise_base(streamed.offset);
        }
        let life = &self.life;
        let loaded = self.topics.entry(name.clone()).or_insert_with(|| Loaded {
            log: Log::of_stream(life, Offset(0), clock.moment()),
            first: streamed.offset,
            count: 0,
        });
        loaded.count += 1;
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

    /// All is read up to `cursor`; the stream has nothing below `first`, and keeps `retain` messages of a topic.
    pub fn end(self, first: u64, cursor: u64, retain: u64) -> (Arc<StreamLife>, HashMap<TopicName, Log>) {
        self.life.raise_base(Offset(first.saturating_sub(1)));
        self.life.advance(Offset(cursor));
        let base = self.life.base();
        let topics = self.topics.into_iter().map(|(name, mut loaded)| {
            let full = loaded.count >= retain;
            loaded.log.raise_floor(if full { base.max(Offset(loaded.first.0 - 1)) } else { base });
            (name, loaded.log)
        });
        (self.life, topics.collect())
    }
}

/// The time in a message's reply subject, from nanoseconds.
pub fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp(nanoseconds / 1_000_000)
}
