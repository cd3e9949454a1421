//! Refusals of the hub, and the contract's code for each.

use crate::codes::ErrorCode;
use crate::metrics::LimitKey;

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum PublishError {
    #[error(transparent)]
    NotMade(#[from] NotMade),
    #[error("the message's tags and payload together are larger than its stream accepts")]
    ExtraTooLong,
    #[error("the cluster can't take messages now: {0}; this message may or may not have been stored")]
    Unavailable(&'static str),
}

impl PublishError {
    /// The contract's code for the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotMade(_) => ErrorCode::RateLimited,
            Self::ExtraTooLong => ErrorCode::MessageTooLarge,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}

/// Why a topic was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum NotMade {
    #[error("there are as many topics as limits.topics allows, and each has a subscriber")]
    TopicsFull,
    #[error("this address or credential has as many living topics as limits.topics_per_address allows")]
    TopicsOfPayerFull,
}

impl NotMade {
    /// The limit that refused the topic.
    pub fn limit(self) -> LimitKey {
        match self {
            Self::TopicsFull => LimitKey::Topics,
            Self::TopicsOfPayerFull => LimitKey::TopicsPerAddress,
        }
    }
}

/// A service that the topic's rule has turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum Disabled {
    #[error("this topic keeps no history; its rule has `history = 0`")]
    History,
    #[error("this topic has no presence; its rule has `presence = false`")]
    Presence,
}

impl Disabled {
    /// The contract's code for the refusal.
    pub fn code(self) -> ErrorCode {
        match self {
            Disabled::History => ErrorCode::HistoryOff,
            Disabled::Presence => ErrorCode::PresenceOff,
        }
    }
}
