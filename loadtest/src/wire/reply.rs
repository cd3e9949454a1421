//! Replies and events of a server, other than messages, whatever its protocol.

/// A reply or an event of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The session is subscribed to these topics.
    Subscribed(Vec<SubscribedTopic>),
    /// The server dropped messages for this session.
    Gap {
        /// Of which topic, where it is said.
        topic: String,
        /// How many; where offsets have holes, as many at most.
        dropped: u64,
        /// Whether another life of the topic begins with it.
        begins_anew: bool,
    },
    /// A drain begins.
    Draining,
    /// What was published with this number is taken.
    Published {
        /// The number.
        id: u64,
    },
    /// An error, with its code.
    Error {
        /// The number of the command, if it had one.
        id: Option<u64>,
        /// A code of the contract.
        code: String,
        /// The message.
        message: String,
    },
    /// The server acknowledged one subscription, or the session itself.
    Acknowledged,
    /// A ping, to be answered with these bytes.
    Ping(&'static [u8]),
    /// Anything else.
    Other,
}

/// One topic of a `subscribed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedTopic {
    /// Its name.
    pub topic: String,
    /// Its epoch.
    pub epoch: String,
    /// Its newest offset.
    pub offset: u64,
    /// Reply after a `since`.
    pub recovered: Option<bool>,
}
