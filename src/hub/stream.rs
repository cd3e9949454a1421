//! Streams: topics whose messages an engine outside of the gateway orders, numbers and keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::RwLock;

use super::message::{Extra, PayloadKind, Publication};
use super::outlet::PresenceChange;
use super::receipt::Receipt;
use super::refusal::PublishError;
use crate::clock::Timestamp;
use crate::position::{Epoch, Offset};
use crate::session_id::SessionId;
use crate::topic_name::{Pattern, TopicName};

/// One life of a stream, as far as this gateway has followed it. All topics of the stream share it.
#[derive(Debug)]
pub struct StreamLife {
    epoch: Epoch,
    /// The newest offset that was applied, whatever its topic. Moved under the lock of the topic that gets the message.
    cursor: AtomicU64,
    /// The highest offset at or below which a topic that is not in the hub may have had messages.
    base: AtomicU64,
}

impl StreamLife {
    /// A life that is known from behind `base` to `cursor`.
    pub fn new(epoch: Epoch, base: Offset, cursor: Offset) -> Arc<Self> {
        Arc::new(Self { epoch, cursor: AtomicU64::new(cursor.0), base: AtomicU64::new(base.0) })
    }

    /// Its name.
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

    /// Everything up to `offset` was applied.
    pub fn advance(&self, offset: Offset) {
        self.cursor.fetch_max(offset.0, Ordering::AcqRel);
    }

    /// A topic that had messages up to `offset` is no longer in the hub.
    pub fn raise_base(&self, offset: Offset) {
        self.base.fetch_max(offset.0, Ordering::AcqRel);
    }
}

/// The streams that the gateway follows, each with its life.
#[derive(Debug, Default)]
pub struct Streams {
    /// Taken under the lock of the registry's tree; nothing is taken under this one.
    lives: RwLock<Vec<(Pattern, Arc<StreamLife>)>>,
}

impl Streams {
    /// The life of the stream that has `topic`; `None`: the topic is the hub's own.
    pub fn life_of(&self, topic: &TopicName) -> Option<Arc<StreamLife>> {
        self.lives.read().iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, life)| Arc::clone(life))
    }

    /// From now on topics that come to life under `pattern` begin in `life`.
    pub fn begin(&self, pattern: &Pattern, life: &Arc<StreamLife>) {
        let mut lives = self.lives.write();
        match lives.iter_mut().find(|(known, _)| known == pattern) {
            Some((_, known)) => *known = Arc::clone(life),
            None => lives.push((pattern.clone(), Arc::clone(life))),
        }
    }
}

/// A message as a stream has it.
#[derive(Debug, Clone, Copy)]
pub struct Streamed<'a> {
    /// Its place in the stream.
    pub offset: Offset,
    /// When the stream took it.
    pub published_at: Timestamp,
    /// What is known of the payload.
    pub kind: PayloadKind,
    /// A session that does not get it.
    pub except: Option<SessionId>,
    /// What goes with it beside the payload.
    pub extra: Option<&'a Arc<Extra>>,
    /// The bytes, as published.
    pub payload: &'a [u8],
}

/// Takes what is published to topics of streams, and who is there. Called by sessions, so it never waits.
pub trait Engine: Send + Sync {
    /// Hands `publication` to the stream that has `topic`; `None`: no stream has it, and it is the hub's own.
    fn publish(&self, topic: &TopicName, publication: &Publication<'_>) -> Option<Result<Handed, PublishError>>;
    /// Wakes `waker` once another publication may be handed over; at once if that is now.
    fn when_room(&self, waker: &Waker);
    /// Tells the other gateways that a member joined here or left. Called under the topic's lock.
    fn presence(&self, change: &Arc<PresenceChange>);
    /// What keeps the gateway from serving all that it follows; `None`: nothing.
    fn unready(&self) -> Option<String>;
    /// Whether a stream that is to be followed was not read yet.
    fn is_loading(&self) -> bool;
}

/// What became of a publication that an engine was handed.
pub enum Handed {
    /// It is on its way, and the receipt has the answer once there is one.
    Awaited(Receipt),
    /// Too many are on their way; this one was not taken.
    NoRoom,
}
