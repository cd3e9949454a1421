//! Violations of the framing by a peer, each with the close code that ends its session.

use crate::codes::CloseCode;

/// A violation by the peer. The session is closed with the code after earlier messages were answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// The close code: 1002, 1007 or 1009.
    pub code: CloseCode,
    /// The reason, for the Close frame and the log.
    pub reason: &'static str,
}

impl Violation {
    /// 1002: a violation of RFC 6455 or RFC 7692.
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::Protocol, reason }
    }

    /// 1007: a text that is not UTF-8, or a damaged deflate stream.
    pub(super) fn not_consistent(reason: &'static str) -> Self {
        Self { code: CloseCode::NotUtf8, reason }
    }

    /// 1009: a message longer than `limits.message_bytes`.
    pub(super) fn too_big() -> Self {
        Self { code: CloseCode::MessageTooBig, reason: "the message is larger than message_bytes" }
    }
}
