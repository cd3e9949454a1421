//! What servers say besides messages, in no wire's spelling.

/// What a server says besides messages.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The subscriptions stand; of each topic its name, epoch, newest offset and, after a `since`, whether it was recovered.
    Subscribed(Vec<Standing>),
    /// Messages of a topic were dropped for this session, and it was told.
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
        /// The words.
        message: String,
    },
    /// One part of what the session asked for stands: a subscription, or the session itself.
    Acknowledged,
    /// Answered at once with these bytes.
    Ask(&'static [u8]),
    /// Nothing that a load test cares for.
    Other,
}

/// One topic of a `subscribed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub topic: String,
    /// The life of its offsets.
    pub epoch: String,
    /// Its newest offset.
    pub offset: u64,
    /// Said after a `since`.
    pub recovered: Option<bool>,
}
