//! The values of labels, as closed sets (PROTOCOL section 9).

use crate::codes::{CloseCode, closed_set};

closed_set! {
    /// `sessions_closed_total{reason}`.
    CloseReason {
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

    /// `addresses{table}`.
    AddressTable {
        Failures = "failures",
        HttpConnections = "http_connections",
        Pending = "pending",
        Rates = "rates",
        Sessions = "sessions",
        Topics = "topics",
    }

    /// `handshakes_rejected_total{reason}`.
    RejectReason {
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
        TopicsPerAddress = "topics_per_address",
        HeaderBytes = "header_bytes",
        Pending = "pending",
        Draining = "draining",
        Loading = "loading",
        Tls = "tls",
    }

    /// `messages_published_total{source}`.
    PublishSource {
        Session = "session",
        Http = "http",
        Feed = "feed",
        Gateway = "gateway",
    }

    /// `messages_dropped_total{reason}`.
    DropReason {
        Slow = "slow",
        Closed = "closed",
        Age = "age",
        Total = "total",
    }

    /// `commands_total{op}`; unknown operations have one value, so a client can't make a new series.
    CommandOp {
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

    /// `recoveries_total{result}`: whether `since` was recovered.
    Recovery {
        Recovered = "recovered",
        Lost = "lost",
    }

    /// `deflate_messages_total{how}`: against an earlier message of the topic, or by itself.
    DeflateHow {
        History = "history",
        Alone = "alone",
    }

    /// `cluster_state{state}`: the state of a stream. `standing`: the stream was followed before, and is not now.
    ClusterState {
        Cold = "cold",
        Loading = "loading",
        Live = "live",
        Stalled = "standing",
    }

    /// `deflate_no_reference_total{why}`: the client has no message of the topic; its message is no longer kept here;
    /// its message is outside of the window; or it is unknown whether the client has it.
    NoReference {
        First = "first",
        Missed = "missed",
        Far = "far",
        Cleared = "cleared",
    }

    /// `cluster_loads_total{reason}`: why a stream was read from its beginning.
    ClusterLoad {
        Start = "start",
        Hole = "hole",
        Epoch = "epoch",
    }

    /// `cluster_publish_errors_total{reason}`.
    PublishFailure {
        NoResponders = "no_responders",
        Timeout = "timeout",
        Disconnected = "disconnected",
        Stalled = "standing",
        Refused = "refused",
    }

    /// `cluster_foreign_skipped_total{reason}`: messages of other NATS clients that are not valid here.
    ForeignSkipped {
        Name = "name",
        Size = "size",
    }

    /// `store_recovered_topics{epoch}`: whether a stored topic keeps its epoch, or begins a new one.
    RecoveredEpoch {
        Kept = "kept",
        New = "new",
    }

    /// `limit_hits_total{limit}`: the key of the limit (PROTOCOL section 7). A rate and its burst share the key of the
    /// rate.
    LimitKey {
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
