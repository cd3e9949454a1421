//! The metrics without a label.

use crate::codes::closed_set;

closed_set! {
    /// A gauge without a label, by its name after `belfry_`.
    Gauge {
        Sessions = "sessions",
        SlowSessions = "slow_sessions",
        Subscriptions = "subscriptions",
        PatternShapes = "pattern_shapes",
        Topics = "topics",
        OutboxBytes = "outbox_bytes",
        PresenceBytes = "presence_bytes",
        GapBytes = "gap_bytes",
        CursorBytes = "cursor_bytes",
        IntervalBytes = "interval_bytes",
        InputBytes = "input_bytes",
        HistoryBytes = "history_bytes",
        ControlItems = "control_items",
        ReferenceBytes = "deflate_reference_bytes",
        HttpConnections = "http_connections",
        HttpBytes = "http_bytes",
        ClusterInflight = "cluster_publish_inflight",
        ClusterPeers = "cluster_peers",
        ClusterMembers = "cluster_members",
        ClusterMembersBytes = "cluster_members_bytes",
    }
}

impl Gauge {
    /// What the gauge shows.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions that are open now.",
            Self::SlowSessions => "Sessions whose outbox waits for a full socket now.",
            Self::Subscriptions => "Subscriptions of all sessions now; a pattern counts as one.",
            Self::PatternShapes => "Arrangements of two or more `*` in the patterns of all subscriptions now.",
            Self::Topics => "Topics that live now.",
            Self::OutboxBytes => "Bytes that wait in all outboxes now.",
            Self::PresenceBytes => "Bytes of joins and leaves that shards have taken and not sent yet.",
            Self::GapBytes => "Bytes of the records of dropped messages whose gaps were not sent yet.",
            Self::CursorBytes => "Bytes of the places in histories that sessions read on from.",
            Self::IntervalBytes => "Bytes of what is remembered of topics whose interval runs.",
            Self::InputBytes => "Bytes that sessions have sent and that are not acted on yet.",
            Self::HistoryBytes => "Bytes that all histories hold now.",
            Self::ControlItems => "What the gateway asks of its shards that they have not taken yet.",
            Self::ReferenceBytes => "Bytes of the messages that later ones may refer to now.",
            Self::HttpConnections => "HTTP connections that are open now.",
            Self::HttpBytes => "Bytes of HTTP bodies and answers held now.",
            Self::ClusterInflight => "Publishes that are not answered yet.",
            Self::ClusterPeers => "Other gateways whose heartbeats arrive.",
            Self::ClusterMembers => "Members at other gateways that are known here.",
            Self::ClusterMembersBytes => "Bytes that members at other gateways take here.",
        }
    }
}

closed_set! {
    /// A counter without a label, by its name after `belfry_`.
    Counter {
        SessionsOpened = "sessions_opened_total",
        DeliveredBytes = "delivered_bytes_total",
        ReceivedBytes = "received_bytes_total",
        DeflateInBytes = "deflate_in_bytes_total",
        DeflateOutBytes = "deflate_out_bytes_total",
        DeflateParses = "deflate_parses_total",
        LogSuppressed = "log_suppressed_total",
        ClusterResumes = "cluster_resumes_total",
        ClusterMemberPages = "cluster_member_pages_total",
    }
}

impl Counter {
    /// What the counter counts.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::SessionsOpened => "Sessions opened since the start.",
            Self::DeliveredBytes => "Bytes written to sessions' sockets.",
            Self::ReceivedBytes => "Bytes read from sessions' sockets.",
            Self::DeflateInBytes => "Bytes before compression, of messages that were sent compressed.",
            Self::DeflateOutBytes => "Bytes after compression, of messages that were sent compressed.",
            Self::DeflateParses => "Messages parsed against an earlier one of their topic.",
            Self::LogSuppressed => "Log lines held back by a rate limit or not writable.",
            Self::ClusterResumes => "Consumers that continued where the one before ended.",
            Self::ClusterMemberPages => "Parts of their members that other gateways were asked for.",
        }
    }
}
