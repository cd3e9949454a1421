//! What a peer can do wrong on the level of frames, each with the code that ends its session.

use crate::codes::CloseCode;

/// The peer broke a rule; the session is to be closed with the code, after what came before was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// What was wrong, for the Close frame and the log.
    pub reason: &'static str,
}

impl Violation {
    /// 1002: not what RFC 6455 or RFC 7692 allow.
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::Protocol, reason }
    }

    /// 1007: the data is not what its type says, be it text or a deflate stream.
    pub(super) fn not_consistent(reason: &'static str) -> Self {
        Self { code: CloseCode::NotUtf8, reason }
    }

    /// 1009: past `message_bytes`.
    pub(super) fn too_big() -> Self {
        Self { code: CloseCode::MessageTooBig, reason: "the message is larger than message_bytes" }
    }
}
