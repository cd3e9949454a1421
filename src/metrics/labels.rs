//! The values of labels, as closed sets (PROTOCOL section 9).

use crate::codes::CloseCode;

/// Declares the values of a label: the enum, `ALL` of them in order, and the text of each. `ALL` has the order of the
/// variants, so the number of a variant is its place in a table of counts.
macro_rules! label {
    ($(#[$attribute:meta])* $name:ident: $count:literal { $($variant:ident = $text:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant is the contract's word for itself")]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: [Self; $count] = [$(Self::$variant,)+];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Its place in a table of counts.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// `sessions_closed_total{reason}`.
    CloseReason: 15 {
        Normal = "normal",
        GoingAway = "going_away",
        Protocol = "protocol",
        NotAcceptable = "not_acceptable",
        NotUtf8 = "not_utf8",
        Policy = "policy",
        MessageTooBig = "message_too_big",
        TooFull = "too_full",
        TokenInvalid = "token_invalid",
        TokenExpired = "token_expired",
        RateLimited = "rate_limited",
        Slow = "slow",
        PongTimeout = "pong_timeout",
        Operator = "operator",
        Gone = "gone",
    }
}

label! {
    /// `addresses{table}`.
    AddressTable: 6 {
        Failures = "failures",
        HttpConnections = "http_connections",
        Pending = "pending",
        Rates = "rates",
        Sessions = "sessions",
        Topics = "topics",
    }
}

label! {
    /// `handshakes_rejected_total{reason}`.
    RejectReason: 15 {
        Origin = "origin",
        Unauthorized = "unauthorized",
        Timeout = "timeout",
        BadUpgrade = "bad_upgrade",
        NotFound = "not_found",
        Sessions = "sessions",
        SessionsPerAddress = "sessions_per_address",
        OutboxTotalBytes = "outbox_total_bytes",
        CommandsPerSecond = "commands_per_second",
        Topics = "topics",
        HeaderBytes = "header_bytes",
        Pending = "pending",
        Draining = "draining",
        Loading = "loading",
        Tls = "tls",
    }
}

label! {
    /// `messages_published_total{source}`.
    PublishSource: 4 {
        Session = "session",
        Http = "http",
        Feed = "feed",
        Gateway = "gateway",
    }
}

label! {
    /// `messages_dropped_total{reason}`.
    DropReason: 4 {
        Slow = "slow",
        Closed = "closed",
        Age = "age",
        Total = "total",
    }
}

label! {
    /// `commands_total{op}`; unknown operations have one value, so a client can't make a new series.
    CommandOp: 9 {
        Subscribe = "subscribe",
        Unsubscribe = "unsubscribe",
        Publish = "publish",
        History = "history",
        Presence = "presence",
        Auth = "auth",
        Subscriptions = "subscriptions",
        Ping = "ping",
        Other = "other",
    }
}

label! {
    /// `recoveries_total{result}`: whether `since` was recovered.
    Recovery: 2 {
        Recovered = "recovered",
        Lost = "lost",
    }
}

label! {
    /// `deflate_messages_total{how}`: against an earlier message of the topic, or by itself.
    DeflateHow: 2 {
        History = "history",
        Alone = "alone",
    }
}

label! {
    /// `cluster_state{state}`: the state of a stream.
    ClusterState: 4 {
        Cold = "cold",
        Loading = "loading",
        Live = "live",
        Standing = "standing",
    }
}

label! {
    /// `deflate_no_reference_total{why}`: the client has no message of the topic; its message is no longer kept here;
    /// its message is outside of the window; or it is unknown whether the client has it.
    NoReference: 4 {
        First = "first",
        Missed = "missed",
        Far = "far",
        Cleared = "cleared",
    }
}

label! {
    /// `cluster_loads_total{reason}`: why a stream was read from its beginning.
    ClusterLoad: 3 {
        Start = "start",
        Hole = "hole",
        Epoch = "epoch",
    }
}

label! {
    /// `cluster_publish_errors_total{reason}`.
    PublishFailure: 5 {
        NoResponders = "no_responders",
        Timeout = "timeout",
        Disconnected = "disconnected",
        Standing = "standing",
        Refused = "refused",
    }
}

label! {
    /// `cluster_foreign_skipped_total{reason}`: messages of other NATS clients that are not valid here.
    ForeignSkipped: 2 {
        Name = "name",
        Size = "size",
    }
}

label! {
    /// `store_recovered_topics{epoch}`: whether a stored topic keeps its epoch, or begins a new one.
    RecoveredEpoch: 2 {
        Kept = "kept",
        New = "new",
    }
}

label! {
    /// `limit_hits_total{limit}`: the key of the limit (PROTOCOL section 7). A rate and its burst share the key of the
    /// rate.
    LimitKey: 35 {
        MessageBytes = "message_bytes",
        FrameBytes = "frame_bytes",
        UnfinishedBytesPerAddress = "unfinished_bytes_per_address",
        Sessions = "sessions",
        SessionsPerAddress = "sessions_per_address",
        SubscriptionsPerSession = "subscriptions_per_session",
        OutboxBytes = "outbox_bytes",
        InboxBytes = "inbox_bytes",
        CommandsPerSecond = "commands_per_second",
        HandshakeTimeout = "handshake_timeout",
        HeaderBytes = "header_bytes",
        BodyTimeout = "body_timeout",
        KeepAlive = "keep_alive",
        Pending = "pending",
        PendingPerAddress = "pending_per_address",
        HttpConnections = "http_connections",
        HttpConnectionsPerAddress = "http_connections_per_address",
        HttpBytes = "http_bytes",
        ReferenceBytes = "reference_bytes",
        FailuresPerMinute = "failures_per_minute",
        FramesPerSecond = "frames_per_second",
        MessageTimeout = "message_timeout",
        WriteTimeout = "write_timeout",
        OutboxTotalBytes = "outbox_total_bytes",
        Topics = "topics",
        TopicsPerAddress = "topics_per_address",
        HistoryBytes = "history_bytes",
        SubscriptionsTotal = "subscriptions_total",
        MembersBytes = "members_bytes",
        IdempotencyKeys = "idempotency_keys",
        PatternShapes = "pattern_shapes",
        PatternShapesPerAddress = "pattern_shapes_per_address",
        PongTimeout = "pong_timeout",
        AuthTimeout = "auth_timeout",
        Fds = "fds",
    }
}

impl From<CloseCode> for CloseReason {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Normal => Self::Normal,
            CloseCode::GoingAway => Self::GoingAway,
            CloseCode::Protocol => Self::Protocol,
            CloseCode::NotAcceptable => Self::NotAcceptable,
            CloseCode::NotUtf8 => Self::NotUtf8,
            CloseCode::Policy => Self::Policy,
            CloseCode::MessageTooBig => Self::MessageTooBig,
            CloseCode::TryAgainLater => Self::TooFull,
            CloseCode::TokenInvalid => Self::TokenInvalid,
            CloseCode::TokenExpired => Self::TokenExpired,
            CloseCode::RateLimited => Self::RateLimited,
            CloseCode::SlowConsumer => Self::Slow,
            CloseCode::NoPong => Self::PongTimeout,
            CloseCode::Operator => Self::Operator,
        }
    }
}
