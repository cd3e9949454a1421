//! Replies and events of a server, other than messages, whatever its protocol.

/// A reply or an event of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The session is subscribed to these topics.
    Subscribed(Vec<SubscribedTopic>),
    /// The server dropped messages for this session.
    Gap {
        /// How many.
        dropped: u64,
    },
    /// A drain begins.
    Draining,
    /// An error, with its code.
    Error {
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
