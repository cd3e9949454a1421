//! What the hub refuses, and the contract's code for each refusal.

use crate::codes::ErrorCode;

/// Why a topic was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There are `limits.topics` topics, each with a subscriber.
    #[error("there are as many topics as limits.topics allows, and each has a subscriber")]
    TopicsFull,
    /// The address or credential has `limits.topics_per_address` topics that live.
    #[error("as many topics as limits.topics_per_address allows were brought to life by this address or credential and live still")]
    TopicsOfPayerFull,
    /// What goes with the message is longer than the topic's stream takes.
    #[error("the message's tags, with its payload, are longer than its stream takes")]
    ExtraTooLong,
    /// The topic's stream can't take messages now.
    #[error("the cluster can't take messages now: {0}; this one may or may not have been stored")]
    Unavailable(&'static str),
}

impl PublishError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TopicsFull | Self::TopicsOfPayerFull => ErrorCode::RateLimited,
            Self::ExtraTooLong => ErrorCode::MessageTooLarge,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}

/// A service that the topic's rule has off.
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
