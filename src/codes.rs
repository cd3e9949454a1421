//! The contract's closed sets: `ErrorCode` for replies, `CloseCode` for the end of a session (PROTOCOL sections 3 and 6).

use std::fmt;

/// The `code` of an error reply, of a problem body and of a batch's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum ErrorCode {
    BadRequest,
    UnknownOp,
    BadTopic,
    NotAllowed,
    NotSubscribed,
    TooManySubscriptions,
    MessageTooLarge,
    RateLimited,
    TokenInvalid,
    TokenExpired,
    HistoryOff,
    PresenceOff,
    Unavailable,
}

impl ErrorCode {
    /// Every code, in the contract's order.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::UnknownOp,
        Self::BadTopic,
        Self::NotAllowed,
        Self::NotSubscribed,
        Self::TooManySubscriptions,
        Self::MessageTooLarge,
        Self::RateLimited,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::HistoryOff,
        Self::PresenceOff,
        Self::Unavailable,
    ];

    /// Its spelling on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownOp => "unknown_op",
            Self::BadTopic => "bad_topic",
            Self::NotAllowed => "not_allowed",
            Self::NotSubscribed => "not_subscribed",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::MessageTooLarge => "message_too_large",
            Self::RateLimited => "rate_limited",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::HistoryOff => "history_off",
            Self::PresenceOff => "presence_off",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The code of a Close frame that the gateway sends of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: a normal end.
    Normal,
    /// 1001: the gateway drains.
    GoingAway,
    /// 1002: not RFC 6455.
    Protocol,
    /// 1003: a binary frame where JSON text is spoken.
    NotAcceptable,
    /// 1007: text that is not UTF-8.
    NotUtf8,
    /// 1008: not authenticated in time, a raw publish not allowed, a message not whole in time.
    Policy,
    /// 1009: past `message_bytes`.
    MessageTooBig,
    /// 1013: `outbox_total_bytes` is passed and no rule frees enough.
    TryAgainLater,
    /// 4001.
    TokenInvalid,
    /// 4002.
    TokenExpired,
    /// 4003: past a rate.
    RateLimited,
    /// 4004: the outbox overflowed under `disconnect`, or did not move in time.
    SlowConsumer,
    /// 4005: no sign of life after a ping.
    NoPong,
    /// 4009: an operator closed it.
    Operator,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::NotAcceptable => 1003,
            Self::NotUtf8 => 1007,
            Self::Policy => 1008,
            Self::MessageTooBig => 1009,
            Self::TryAgainLater => 1013,
            Self::TokenInvalid => 4001,
            Self::TokenExpired => 4002,
            Self::RateLimited => 4003,
            Self::SlowConsumer => 4004,
            Self::NoPong => 4005,
            Self::Operator => 4009,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
