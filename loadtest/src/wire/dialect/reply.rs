//! Replies and events other than messages, of any dialect.

use serde::Deserialize;

/// A reply or an event of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The session is subscribed to these topics.
    Subscribed(Vec<SubscribedTopic>),
    /// The server dropped messages for this session.
    Gap {
        /// The topic, if known.
        topic: String,
        /// The number of dropped messages; an upper bound if offsets have holes.
        dropped: u64,
        /// Whether the topic begins a new epoch.
        begins_anew: bool,
    },
    /// A drain begins.
    Draining,
    /// A publish was acknowledged.
    Published { id: u64 },
    /// An error, with its code.
    Error {
        /// The `id` of the command, if it had one.
        id: Option<u64>,
        code: String,
        message: String,
    },
    /// The server acknowledged the session itself.
    Acknowledged,
    /// The server acknowledged one subscription.
    TopicSubscribed {
        id: u64,
        /// The epoch and offset after which messages follow, if the topic has positions.
        position: Option<(String, u64)>,
        /// Whether the position was recovered, if the command had one.
        recovered: Option<bool>,
    },
    /// The reason why a stream will end, as the code that a Close would have.
    Ending(u16),
    /// A ping. The pong has these bytes.
    Ping(&'static [u8]),
    /// Anything else.
    Other,
}

/// One topic of a `subscribed`. Patterns have neither epoch nor offset.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubscribedTopic {
    pub topic: String,
    #[serde(default)]
    pub epoch: String,
    #[serde(default)]
    pub offset: u64,
    /// Whether `since` was recovered, if there was one.
    pub recovered: Option<bool>,
}
