//! Centrifugo's closed sets: errors of replies, disconnects, and the codes by which the gateway ends a subscription.

use crate::codes::{CloseCode, ErrorCode};

/// The error of a reply. SDKs need both `code` and `message`; a temporary one is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply {
    /// Its number.
    pub code: u32,
    /// Its words.
    pub message: &'static str,
    /// Whether the SDK tries again by itself.
    pub temporary: bool,
}

impl ErrorReply {
    /// 103: no grant and no token allows it.
    pub const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    /// 104: no command of that name.
    pub const METHOD_NOT_FOUND: Self = Self::new(104, "method not found");
    /// 105: the session has that subscription.
    pub const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    /// 106: a limit of the session.
    pub const LIMIT_EXCEEDED: Self = Self::new(106, "limit exceeded");
    /// 107: a command that can't be done as it was said.
    pub const BAD_REQUEST: Self = Self::new(107, "bad request");
    /// 108: the rule has it off, or the gateway does not have it.
    pub const NOT_AVAILABLE: Self = Self::new(108, "not available");
    /// 109: the SDK fetches a new token and tries again.
    pub const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    /// 111: the session's rate, or the gateway's bounds on topics.
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
            ErrorCode::Unavailable => Self::TOO_MANY_REQUESTS, // the one that SDKs try again
        }
    }
}

/// How a connection ends: the code of its Close and the reason. SDKs come back after 3000 to 3499, and never after 3500 to 3999. A
/// reason is no JSON: some SDKs would read it as an older protocol's.
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
    /// 3500: a token that is none, or one of another user.
    pub const INVALID_TOKEN: Self = Self { code: 3500, reason: "invalid token" };
    /// 3501: what came is not the protocol.
    pub const BAD_REQUEST: Self = Self { code: 3501, reason: "bad request" };
    /// 3502: no `connect` came in time.
    pub const STALE: Self = Self { code: 3502, reason: "stale" };
    /// 3508: a command that has no reply, and that nobody takes.
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

/// Why the gateway ends a subscription. After 2500 and above the SDK subscribes again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribed {
    /// Its number.
    pub code: u32,
    /// Its words; an SDK fails without.
    pub reason: &'static str,
}

impl Unsubscribed {
    /// 2000: the session's grants do not cover it any more.
    pub const NOT_ALLOWED: Self = Self { code: 2000, reason: "not allowed" };
    /// 2000: an operator's program has ended it.
    pub const BY_SERVER: Self = Self { code: 2000, reason: "server unsubscribe" };
    /// 2500: messages of it were lost.
    pub const INSUFFICIENT_STATE: Self = Self { code: 2500, reason: "insufficient state" };
    /// 2501: its token expired.
    pub const EXPIRED: Self = Self { code: 2501, reason: "subscription expired" };
}
