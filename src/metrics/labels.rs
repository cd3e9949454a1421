//! The values that labels take, as closed sets (PROTOCOL section 9).

/// `sessions_closed_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum CloseReason {
    Normal,
    GoingAway,
    Protocol,
    NotAcceptable,
    NotUtf8,
    Policy,
    MessageTooBig,
    TooFull,
    TokenInvalid,
    TokenExpired,
    RateLimited,
    Slow,
    PongTimeout,
    Operator,
    Gone,
}

/// `handshakes_rejected_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum RejectReason {
    Origin,
    Unauthorized,
    Timeout,
    BadUpgrade,
    NotFound,
    Sessions,
    SessionsPerAddress,
    HeaderBytes,
    Pending,
    Draining,
    Tls,
}

/// `messages_published_total{source}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum PublishSource {
    Session,
    Http,
    Feed,
    Gateway,
}

/// `messages_dropped_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum DropReason {
    Slow,
    Closed,
    Age,
    Total,
}

/// `commands_total{op}`: what a client sends can't make a new series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's word for itself")]
pub enum CommandOp {
    Subscribe,
    Unsubscribe,
    Publish,
    History,
    Presence,
    Auth,
    Subscriptions,
    Ping,
    Other,
}

/// `recoveries_total{result}`: whether `since` could be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant says itself")]
pub enum Recovery {
    Recovered,
    Lost,
}

/// `limit_hits_total{limit}`: the key of section 7; of a rate and its burst, the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the contract's key")]
pub enum LimitKey {
    MessageBytes,
    Sessions,
    SessionsPerAddress,
    SubscriptionsPerSession,
    OutboxBytes,
    InboxBytes,
    CommandsPerSecond,
    HandshakeTimeout,
    HeaderBytes,
    BodyTimeout,
    KeepAlive,
    Pending,
    FramesPerSecond,
    MessageTimeout,
    WriteTimeout,
    OutboxTotalBytes,
    Topics,
    HistoryBytes,
    SubscriptionsTotal,
    PongTimeout,
    AuthTimeout,
    Fds,
}

impl CloseReason {
    /// stub
    pub fn as_str(self) -> &'static str {
        ""
    }
}
