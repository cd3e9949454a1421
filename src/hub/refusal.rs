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
}

impl PublishError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::RateLimited
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
