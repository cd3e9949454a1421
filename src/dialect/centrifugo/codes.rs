//! Centrifugo's closed sets: errors of replies, disconnects, and the codes by which the gateway ends a subscription.

use crate::codes::{CloseCode, ErrorCode};

/// The error of a reply. SDKs need both `code` and `message`. They repeat a command after a temporary error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply {
    /// The number of the code.
    pub code: u32,
    /// The text.
    pub message: &'static str,
    /// Whether the SDK repeats the command by itself.
    pub temporary: bool,
}

impl ErrorReply {
    /// 103: neither a grant nor a token allows the command.
    pub const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    /// 104: the command is unknown.
    pub const METHOD_NOT_FOUND: Self = Self::new(104, "method not found");
    /// 105: the session has that subscription already.
    pub const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    /// 106: a limit of the session is reached.
    pub const LIMIT_EXCEEDED: Self = Self::new(106, "limit exceeded");
    /// 107: the command has an invalid value.
    pub const BAD_REQUEST: Self = Self::new(107, "bad request");
    /// 108: the topic's rule has the service off, or the gateway does not implement the command.
    pub const NOT_AVAILABLE: Self = Self::new(108, "not available");
    /// 109: the token has expired. The SDK fetches a new token and repeats the command.
    pub const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    /// 111: the session exceeds its rate, or the gateway its bounds on topics.
    pub const TOO_MANY_REQUESTS: Self = Self { temporary: true, ..Self::new(111, "too many requests") };
    /// 112: history no longer reaches back to the position.
    pub const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");

    const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message, temporary: false }
    }
}

impl From<ErrorCode> for ErrorReply {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::BadRequest | ErrorCode::BadTopic | ErrorCode::UnknownOp => Self::BAD_REQUEST,
            ErrorCode::NotAllowed | ErrorCode::NotSubscribed | ErrorCode::TokenInvalid => Self::PERMISSION_DENIED,
            ErrorCode::TooManySubscriptions | ErrorCode::MessageTooLarge => Self::LIMIT_EXCEEDED,
            ErrorCode::RateLimited => Self::TOO_MANY_REQUESTS,
            ErrorCode::TokenExpired => Self::TOKEN_EXPIRED,
            ErrorCode::HistoryOff | ErrorCode::PresenceOff => Self::NOT_AVAILABLE,
            ErrorCode::Unavailable => Self::TOO_MANY_REQUESTS, // the only error after which SDKs repeat the command
        }
    }
}

/// The code and reason of the Close frame that ends a connection. SDKs connect again after codes 3000 to 3499, and never after 3500 to
/// 3999. The reason must not be JSON, because some SDKs would read JSON as an older version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// The code of the Close.
    pub code: u16,
    /// Its reason.
    pub reason: &'static str,
}

impl Disconnect {
    /// 3005: the token expired, and no new one came.
    pub const EXPIRED: Self = Self { code: 3005, reason: "connection expired" };
    /// 3008: the session does not read fast enough.
    pub const SLOW: Self = Self { code: 3008, reason: "slow" };
    /// 3010: messages of a subscription that the gateway made were lost.
    pub const INSUFFICIENT_STATE: Self = Self { code: 3010, reason: "insufficient state" };
    /// 3500: the token is invalid, or is one of another user.
    pub const INVALID_TOKEN: Self = Self { code: 3500, reason: "invalid token" };
    /// 3501: a frame is not of the protocol.
    pub const BAD_REQUEST: Self = Self { code: 3501, reason: "bad request" };
    /// 3502: no `connect` came in time.
    pub const STALE: Self = Self { code: 3502, reason: "stale" };
    /// 3508: the gateway does not implement the command, which has no reply.
    pub const NOT_AVAILABLE: Self = Self { code: 3508, reason: "not available" };
}

impl From<CloseCode> for Disconnect {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::GoingAway => Self { code: 3001, reason: "shutdown" },
            CloseCode::Policy => Self::STALE,
            CloseCode::TryAgainLater | CloseCode::SlowConsumer => Self::SLOW,
            CloseCode::TokenInvalid => Self::INVALID_TOKEN,
            CloseCode::TokenExpired => Self::EXPIRED,
            CloseCode::RateLimited => Self { code: 3013, reason: "too many requests" },
            CloseCode::NoPong => Self { code: 3012, reason: "no pong" },
            CloseCode::Operator => Self { code: 3503, reason: "force disconnect" },
            CloseCode::Normal => Self { code: code.number(), reason: "" },
            CloseCode::Protocol => Self { code: code.number(), reason: "protocol error" },
            CloseCode::NotAcceptable => Self { code: code.number(), reason: "not acceptable" },
            CloseCode::NotUtf8 => Self { code: code.number(), reason: "not UTF-8" },
            CloseCode::MessageTooBig => Self { code: code.number(), reason: "message too big" },
        }
    }
}

/// Why the gateway ends a subscription. The SDK subscribes again at once after codes from 2500 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribed {
    /// The number of the code.
    pub code: u32,
    /// The text. SDKs fail without one.
    pub reason: &'static str,
}

impl Unsubscribed {
    /// 2000: the session's grants no longer cover the subscription.
    pub const NOT_ALLOWED: Self = Self { code: 2000, reason: "not allowed" };
    /// 2000: an operator has ended the subscription.
    pub const BY_SERVER: Self = Self { code: 2000, reason: "server unsubscribe" };
    /// 2500: messages of the subscription were lost.
    pub const INSUFFICIENT_STATE: Self = Self { code: 2500, reason: "insufficient state" };
    /// 2501: the subscription's token has expired.
    pub const EXPIRED: Self = Self { code: 2501, reason: "subscription expired" };
}
