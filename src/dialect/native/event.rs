//! The events that the gateway sends, independent of the framing.

use std::sync::Arc;
use std::time::Duration;

use super::command::RequestId;
use super::stream_position::StreamPosition;
use crate::codes::ErrorCode;
use crate::hub::{HistoryPage, PresenceChange};
use crate::position::{Epoch, Offset, Position};
use crate::session_id::{Member, SessionId};
use crate::topic_name::{Pattern, TopicName};

/// One entry of `subscribed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedTopic {
    /// The topic or pattern.
    pub topic: Pattern,
    /// A topic's newest position; a pattern has none.
    pub position: Option<Position>,
    /// Whether every message behind `since` follows; `None`: the command had no `since`.
    pub recovered: Option<bool>,
}

/// An event of the gateway other than a message (PROTOCOL section 3).
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the variants and fields are the contract's words")]
pub enum Event<'a> {
    Welcome {
        session: SessionId,
        ping_interval: Duration,
        max_message_bytes: usize,
    },
    Subscribed {
        id: Option<RequestId<'a>>,
        topics: &'a [SubscribedTopic],
    },
    /// The first event of a stream: its subscriptions.
    StreamBegun {
        topics: &'a [SubscribedTopic],
        /// The position of each topic, or the position from which a recovered topic continues.
        announced: &'a StreamPosition,
        /// The position of the stream before the replay.
        before_replay: &'a StreamPosition,
    },
    Unsubscribed {
        id: Option<RequestId<'a>>,
        topics: &'a [Pattern],
    },
    Published {
        id: RequestId<'a>,
        topic: &'a TopicName,
        offset: Offset,
    },
    History {
        id: Option<RequestId<'a>>,
        topic: &'a TopicName,
        page: &'a HistoryPage,
    },
    Presence {
        id: Option<RequestId<'a>>,
        topic: &'a TopicName,
        members: &'a [Member],
    },
    Authenticated {
        id: Option<RequestId<'a>>,
        user: Option<&'a Arc<str>>,
        expires: Option<u64>,
    },
    Subscriptions {
        id: Option<RequestId<'a>>,
        topics: &'a [Pattern],
    },
    Pong {
        id: Option<RequestId<'a>>,
    },
    Error {
        id: Option<RequestId<'a>>,
        code: ErrorCode,
        message: &'a str,
    },
    /// A join or a leave.
    PresenceChange(&'a PresenceChange),
    Gap {
        topic: &'a TopicName,
        from: Offset,
        to: Offset,
        /// The epoch of both offsets, if it differs from that of the messages before.
        epoch: Option<Epoch>,
    },
    Draining {
        retry_after: Duration,
    },
}
