//! The contract's closed sets: `ErrorCode` for replies, `CloseCode` for the end of a session (PROTOCOL sections 3 and 6).

use std::fmt;

/// Declares closed sets of texts: the enum, `ALL` of its values in order, and the text of each. The number of a variant
/// is its place in `ALL`.
macro_rules! closed_set {
    ($($(#[$attribute:meta])* $name:ident { $($variant:ident = $text:literal,)+ })+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant is the contract's word for itself")]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            /// The texts of all values, in order.
            pub const TEXTS: [&'static str; [$($text),+].len()] = [$($text),+];

            /// Every value, in order.
            pub const ALL: [Self; Self::TEXTS.len()] = [$(Self::$variant),+];

            /// The text of the value, as the contract spells it.
            pub fn as_str(self) -> &'static str {
                Self::TEXTS[self.index()]
            }

            /// The place of the value in `ALL`, which is also its place in a table of counts.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}
pub(crate) use closed_set;

closed_set! {
    /// The `code` of an error reply, of a problem body and of a batch's error.
    ErrorCode {
        BadRequest = "bad_request",
        UnknownOp = "unknown_op",
        BadTopic = "bad_topic",
        NotAllowed = "not_allowed",
        NotSubscribed = "not_subscribed",
        TooManySubscriptions = "too_many_subscriptions",
        MessageTooLarge = "message_too_large",
        RateLimited = "rate_limited",
        TokenInvalid = "token_invalid",
        TokenExpired = "token_expired",
        HistoryOff = "history_off",
        PresenceOff = "presence_off",
        Unavailable = "unavailable",
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The code of a Close frame that the gateway sends of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// A normal end.
    Normal = 1000,
    /// The gateway drains.
    GoingAway = 1001,
    /// A violation of RFC 6455.
    Protocol = 1002,
    /// A binary frame in a dialect of JSON text.
    NotAcceptable = 1003,
    /// Text that is not UTF-8.
    NotUtf8 = 1007,
    /// Not authenticated in time, a raw publish that is not allowed, or a message that was not complete in time.
    Policy = 1008,
    /// A message longer than `message_bytes`.
    MessageTooBig = 1009,
    /// The outboxes exceed `outbox_total_bytes`, and no rule frees enough.
    TryAgainLater = 1013,
    /// A token that is not valid.
    TokenInvalid = 4001,
    /// A token that has expired.
    TokenExpired = 4002,
    /// Too many commands or frames a second.
    RateLimited = 4003,
    /// The outbox overflowed under the rule `disconnect`, or the socket accepted nothing for too long.
    SlowConsumer = 4004,
    /// No byte within `pong_timeout` after a ping.
    NoPong = 4005,
    /// An operator closed the session.
    Operator = 4009,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
