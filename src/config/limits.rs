//! The bounds of `[limits]` and their defaults (PROTOCOL section 7).

use std::time::Duration;

/// Every bound, by the name of its key.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each field is the contract's key; docs/configuration.md explains it")]
pub struct Limits {
    pub message_bytes: usize,
    pub frame_bytes: usize,
    pub unfinished_bytes_per_address: usize,
    pub sessions: usize,
    pub sessions_per_address: usize,
    pub subscriptions_per_session: usize,
    pub outbox_bytes: usize,
    pub inbox_bytes: usize,
    pub commands_per_second: u32,
    pub commands_burst: u32,
    pub handshake_timeout: Duration,
    pub header_bytes: usize,
    pub body_timeout: Duration,
    pub keep_alive: Duration,
    pub pending: usize,
    pub pending_per_address: usize,
    pub http_connections: usize,
    pub http_connections_per_address: usize,
    pub http_bytes: usize,
    pub reference_bytes: usize,
    pub failures_per_minute: u32,
    pub frames_per_second: u32,
    pub frames_burst: u32,
    pub message_timeout: Duration,
    pub write_timeout: Duration,
    /// In bytes. A configured 0 has been replaced by a quarter of the memory.
    pub outbox_total_bytes: usize,
    pub topics: usize,
    pub topics_per_address: usize,
    pub history_bytes: usize,
    pub subscriptions_total: usize,
    pub idempotency_keys: usize,
    pub pattern_shapes: usize,
    pub pattern_shapes_per_address: usize,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub auth_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 10,
            frame_bytes: 1 << 20,
            unfinished_bytes_per_address: 16 << 20,
            sessions: 100_000,
            sessions_per_address: 1_000,
            subscriptions_per_session: 1_000,
            outbox_bytes: 1 << 20,
            inbox_bytes: 64 << 20,
            commands_per_second: 100,
            commands_burst: 200,
            handshake_timeout: Duration::from_secs(5),
            header_bytes: 16 << 10,
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            pending: 4_096,
            pending_per_address: 256,
            http_connections: 10_000,
            http_connections_per_address: 100,
            http_bytes: 256 << 20,
            reference_bytes: 64 << 20,
            failures_per_minute: 60,
            frames_per_second: 1_000,
            frames_burst: 2_000,
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            outbox_total_bytes: 1 << 30,
            topics: 1_000_000,
            topics_per_address: 100_000,
            history_bytes: 1 << 30,
            subscriptions_total: 5_000_000,
            idempotency_keys: 100_000,
            pattern_shapes: 128,
            pattern_shapes_per_address: 32,
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(15),
            auth_timeout: Duration::from_secs(5),
        }
    }
}
