//! Refusals of the hub, and the contract's code for each.

use crate::codes::ErrorCode;

/// Why a message was not published, or a topic not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// `limits.topics` topics live, and each has a subscriber.
    #[error("there are as many topics as limits.topics allows, and each has a subscriber")]
    TopicsFull,
    /// `limits.topics_per_address` topics of this address or credential live.
    #[error("this address or credential has as many living topics as limits.topics_per_address allows")]
    TopicsOfPayerFull,
    /// The message's metadata and payload are larger than its stream accepts.
    #[error("the message's tags and payload together are larger than its stream accepts")]
    ExtraTooLong,
    /// The topic's stream does not accept messages now.
    #[error("the cluster can't take messages now: {0}; this message may or may not have been stored")]
    Unavailable(&'static str),
}

impl PublishError {
    /// The contract's code for the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TopicsFull | Self::TopicsOfPayerFull => ErrorCode::RateLimited,
            Self::ExtraTooLong => ErrorCode::MessageTooLarge,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}

/// A service that the topic's rule has turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disabled {
    /// `history = 0`.
    #[error("this topic keeps no history; its rule has `history = 0`")]
    History,
    /// `presence = false`.
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
