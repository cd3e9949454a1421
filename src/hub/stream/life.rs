//! The lives of streams. A life lasts as long as the offsets of a stream continue, and its epoch names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::position::{Epoch, Offset};
use crate::topic_name::{Pattern, TopicName};

/// One life of a stream, with the offset up to which this gateway has followed it. All topics of the stream share one value.
#[derive(Debug)]
pub struct StreamLife {
    epoch: Epoch,
    /// The newest offset that was applied to any topic. Moved under the lock of the topic that gets the message.
    cursor: AtomicU64,
    /// The highest offset at or below which a topic that is not in the hub may have had messages.
    base: AtomicU64,
}

impl StreamLife {
    /// A life of which the messages from behind `base` to `cursor` are known.
    pub fn new(epoch: Epoch, base: Offset, cursor: Offset) -> Arc<Self> {
        Arc::new(Self { epoch, cursor: AtomicU64::new(cursor.0), base: AtomicU64::new(base.0) })
    }

    /// The epoch of the life.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest offset that was applied.
    pub fn cursor(&self) -> Offset {
        Offset(self.cursor.load(Ordering::Acquire).max(self.base.load(Ordering::Acquire)))
    }

    /// The highest offset at or below which a topic that is not in the hub may have had messages.
    pub fn base(&self) -> Offset {
        Offset(self.base.load(Ordering::Acquire))
    }

    /// Notes that every message up to `offset` was applied.
    pub fn advance(&self, offset: Offset) {
        self.cursor.fetch_max(offset.0, Ordering::AcqRel);
    }

    /// Notes that a topic with messages up to `offset` is not in the hub.
    pub fn raise_base(&self, offset: Offset) {
        self.base.fetch_max(offset.0, Ordering::AcqRel);
    }
}

/// The streams that the gateway follows, each with its life.
#[derive(Debug, Default)]
pub struct Streams {
    /// Locked under the lock of the registry's tree. No other lock is taken under this one.
    lives: RwLock<Vec<(Pattern, Arc<StreamLife>)>>,
}

impl Streams {
    /// The life of the stream that has `topic`; `None`: no stream has the topic.
    pub fn life_of(&self, topic: &TopicName) -> Option<Arc<StreamLife>> {
        self.lives.read().iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, life)| Arc::clone(life))
    }

    /// Sets the life in which new topics that `pattern` matches begin.
    pub fn begin(&self, pattern: &Pattern, life: &Arc<StreamLife>) {
        let mut lives = self.lives.write();
        match lives.iter_mut().find(|(known, _)| known == pattern) {
            Some((_, known)) => *known = Arc::clone(life),
            None => lives.push((pattern.clone(), Arc::clone(life))),
        }
    }
}
