//! The kinds of load.

use clap::ValueEnum;
use serde::Serialize;

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// One topic, many subscribers
    Fanout,
    /// Many topics of skewed popularity, ten of them for each subscriber
    Market,
    /// Many topics with members, each of which publishes
    Chat,
    /// The memory of idle sessions
    Idle,
    /// The cost of a new session
    Handshake,
    /// Nine in ten disconnect together, and resume together
    Storm,
    /// One subscriber in ten stops reading, then reconnects
    Slow,
    /// Subscriptions come and go
    Churn,
    /// SIGTERM under load
    Drain,
    /// Parts of a cluster fail under load
    Failover,
}

impl Scenario {
    /// Whether the server may close sessions.
    pub fn expects_closes(self) -> bool {
        matches!(self, Self::Slow | Self::Drain | Self::Failover)
    }

    /// Whether connections and publishes may fail, so that unacknowledged messages are not owed.
    pub fn expects_faults(self) -> bool {
        self == Self::Failover
    }

    /// Whether each session keeps its subscriptions throughout, so that every delivery is counted.
    pub fn keeps_all_sessions(self) -> bool {
        matches!(self, Self::Fanout | Self::Market | Self::Chat | Self::Idle | Self::Handshake)
    }
}
