//! The commands of the native dialect, as the JSON parser returns them.

use std::time::Duration;

use crate::codes::ErrorCode;
use crate::position::Offset;
use crate::topic_name::{Pattern, TopicName, TopicNameError};

/// The client's `id`, an integer or a string, as the JSON text that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId<'a>(pub &'a str);

/// The position that a client has on one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since<'a> {
    /// The topic.
    pub topic: TopicName,
    /// The epoch, as received. It may be any text.
    pub epoch: std::borrow::Cow<'a, str>,
    /// The offset of the last message that the client has.
    pub offset: Offset,
}

impl Since<'_> {
    /// The same position, with a copy of the epoch.
    pub fn into_owned(self) -> Since<'static> {
        Since { topic: self.topic, epoch: self.epoch.into_owned().into(), offset: self.offset }
    }
}

/// A command and the `id` that its reply carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The client's `id`, if it gave one.
    pub id: Option<RequestId<'a>>,
    /// The operation.
    pub command: Command<'a>,
}

/// A command of a session (PROTOCOL section 3). Invalid names stay in the list of topics as errors, because the command is executed for the
/// valid ones.
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
        /// At most 1,000; by default 100.
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

/// The refusal of a command that can't be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The client's `id`, if it could be parsed.
    pub id: Option<RequestId<'a>>,
    /// For `commands_total{op}`.
    pub op: crate::metrics::CommandOp,
    /// The contract's code.
    pub code: ErrorCode,
    /// The text: the member, its value, and what is allowed.
    pub message: String,
}
