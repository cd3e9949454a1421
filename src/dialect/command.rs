//! What is said to us, in no wire's spelling.

use std::time::Duration;

use crate::codes::ErrorCode;
use crate::position::Offset;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The client's `id`: an integer or a string, kept as the JSON text that it came as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId<'a>(pub &'a str);

/// Where a client says it was, of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since<'a> {
    /// The topic.
    pub topic: TopicName,
    /// The epoch as the client has it; compared, never trusted.
    pub epoch: std::borrow::Cow<'a, str>,
    /// The last offset that it has.
    pub offset: Offset,
}

impl Since<'_> {
    /// The same, with a copy of the epoch.
    pub fn into_owned(self) -> Since<'static> {
        Since { topic: self.topic, epoch: self.epoch.into_owned().into(), offset: self.offset }
    }
}

/// A command and the `id` that its reply carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The client's `id`, if it gave one.
    pub id: Option<RequestId<'a>>,
    /// What is wanted.
    pub command: Command<'a>,
}

/// What a session asks for (PROTOCOL section 3). Names that are no topics stay in the list as errors, since the good ones
/// are done all the same.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are the contract's members")]
pub enum Command<'a> {
    Subscribe {
        topics: Vec<Result<Pattern, TopicNameError>>,
        last: Option<usize>,
        since: Vec<Since<'a>>,
        /// Checked: 10 ms to an hour.
        interval: Option<Duration>,
        presence: bool,
    },
    Unsubscribe {
        topics: Vec<Result<Pattern, TopicNameError>>,
    },
    Publish {
        topic: TopicName,
        /// The JSON text of `data`, byte for byte.
        data: &'a [u8],
        /// `false` keeps the message from its own sender.
        echo: bool,
    },
    History {
        topic: TopicName,
        since: Option<Offset>,
        /// At most 1,000; 100 where the client says nothing.
        limit: usize,
    },
    Presence {
        topic: TopicName,
    },
    Auth {
        token: std::borrow::Cow<'a, str>,
    },
    Subscriptions,
    Ping,
}

/// A command that can't be done as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The client's `id`, where it could be read.
    pub id: Option<RequestId<'a>>,
    /// For `commands_total{op}`.
    pub op: crate::metrics::CommandOp,
    /// The contract's code.
    pub code: ErrorCode,
    /// What was wrong and what would be right.
    pub message: String,
}
