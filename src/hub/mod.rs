//! The hub: topics, their positions and histories, and who is to hear of them. The only door to all of it.

mod message;
mod outlet;

pub use message::{Message, PayloadKind, Publication};
pub use outlet::{Outlet, PresenceChange};

use std::sync::Arc;

use crate::clock::Clock;
use crate::codes::ErrorCode;
use crate::config::Live;
use crate::metrics::Metrics;
use crate::position::{Epoch, Offset, Position};
use crate::session_id::Member;
use crate::topic_name::{Pattern, TopicName};

/// All topics.
pub struct Hub {}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// As many topics as `limits.topics` allows, each with a subscriber.
    #[error("there are as many topics as limits.topics allows, and each has a subscriber")]
    TopicsFull,
}

impl PublishError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::RateLimited
    }
}

/// What a topic is asked for that its rule has off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Off {
    /// `history = 0`.
    #[error("this topic keeps no history; its rule has `history = 0`")]
    History,
    /// `presence = false`.
    #[error("this topic doesn't tell who is there; its rule has `presence = false`")]
    Presence,
}

impl Off {
    /// The contract's code for it.
    pub fn code(self) -> ErrorCode {
        match self {
            Off::History => ErrorCode::HistoryOff,
            Off::Presence => ErrorCode::PresenceOff,
        }
    }
}

/// A part of a topic's history, oldest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The topic's epoch; `None` where the topic does not live.
    pub epoch: Option<Epoch>,
    /// Its messages.
    pub messages: Vec<Arc<Message>>,
    /// Whether more messages follow than the page holds.
    pub more: bool,
}

/// A topic as `/v1/topics` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub topic: TopicName,
    /// Sessions subscribed by name.
    pub subscribers: usize,
    /// Its newest message's position.
    pub position: Position,
    /// Its rule's label.
    pub rule: Arc<str>,
}

impl Hub {
    /// No topics yet.
    pub fn new(_live: Arc<Live>, _metrics: Arc<Metrics>, _clock: Clock) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Gives `publication` its position and hands it to every shard with a subscriber; waits, before the offset is
    /// assigned, while one of them has `inbox_bytes` before it. For feeds and HTTP; sessions don't wait in a future.
    pub async fn publish(&self, _topic: &TopicName, _publication: Publication) -> Result<Position, PublishError> {
        unimplemented!()
    }

    /// The history of `topic` after `since`, or its newest `limit` messages; stops at 1 MiB of payloads.
    pub fn history(&self, _topic: &TopicName, _since: Option<Offset>, _limit: usize) -> Result<HistoryPage, Off> {
        unimplemented!()
    }

    /// Who is subscribed to `topic` by name.
    pub fn presence(&self, _topic: &TopicName) -> Result<Vec<Member>, Off> {
        unimplemented!()
    }

    /// One living topic.
    pub fn topic(&self, _topic: &TopicName) -> Option<TopicInfo> {
        unimplemented!()
    }

    /// Living topics that match, by name, from after `after`, at most `limit`.
    pub fn topics(&self, _matching: Option<&Pattern>, _after: Option<&str>, _limit: usize) -> Vec<TopicInfo> {
        unimplemented!()
    }
}
