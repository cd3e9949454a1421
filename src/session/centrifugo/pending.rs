//! Commands that wait, with what their replies need.

use std::sync::Arc;

use crate::hub::{Extra, PayloadKind, ReadFrom};
use crate::topic_name::TopicName;

/// A command that can't be done yet.
pub enum Pending {
    /// An inbox is full, or the engine.
    Publish(Unpublished),
    /// What the shard's inbox holds goes out before the answer.
    Unsubscribe(Unsubscribing),
    /// A part of a history was asked for.
    History(AskedHistory),
    /// The members of a topic were asked for.
    Presence(AskedPresence),
}

impl Pending {
    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let payload = match self {
            Self::Publish(unpublished) => unpublished.payload.len(),
            Self::Unsubscribe(_) | Self::History(_) | Self::Presence(_) => 0,
        };
        size_of::<Self>() + payload
    }
}

/// A publish that waits for room, with a payload of its own.
pub struct Unpublished {
    pub id: u32,
    pub topic: TopicName,
    pub payload: Box<[u8]>,
    pub kind: PayloadKind,
    pub extra: Arc<Extra>,
}

/// An unsubscribe that waits until the shard has taken what was pushed before it.
pub struct Unsubscribing {
    pub id: u32,
    /// From what; `None`: no topic has that name.
    pub topic: Option<TopicName>,
    /// How many items the inbox had had.
    pub pushed: u64,
}

/// A part of a history that was asked for.
pub struct AskedHistory {
    pub id: u32,
    pub topic: TopicName,
    pub from: ReadFrom,
    pub limit: usize,
    /// The epoch that the client says its position is of.
    pub epoch: Option<Box<str>>,
}

/// The members of a topic that were asked for.
pub struct AskedPresence {
    pub id: u32,
    pub topic: TopicName,
    /// Whether their number alone is wanted.
    pub stats: bool,
}
