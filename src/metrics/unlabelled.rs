//! The metrics without a label.

use crate::codes::closed_set;

/// Declares metrics without a label: the name of each after `belfry_`, and its help.
macro_rules! unlabelled {
    ($($(#[$attribute:meta])* $name:ident { $($variant:ident = $text:literal: $help:literal,)+ })+) => {$(
        closed_set! { $(#[$attribute])* $name { $($variant = $text,)+ } }

        impl $name {
            pub(super) fn help(self) -> &'static str {
                [$($help),+][self.index()]
            }
        }
    )+};
}

unlabelled! {
    /// A gauge without a label.
    Gauge {
        Sessions = "sessions": "Sessions that are open now.",
        SlowSessions = "slow_sessions": "Sessions whose outbox waits for a full socket now.",
        Subscriptions = "subscriptions": "Subscriptions of all sessions now; a pattern counts as one.",
        PatternShapes = "pattern_shapes": "Arrangements of two or more `*` in the patterns of all subscriptions now.",
        Topics = "topics": "Topics that live now.",
        OutboxBytes = "outbox_bytes": "Bytes that wait in all outboxes now.",
        PresenceBytes = "presence_bytes": "Bytes of joins and leaves that shards have taken and not sent yet.",
        GapBytes = "gap_bytes": "Bytes of the records of dropped messages whose gaps were not sent yet.",
        CursorBytes = "cursor_bytes": "Bytes of the places in histories that sessions read on from.",
        IntervalBytes = "interval_bytes": "Bytes of what is remembered of topics whose interval runs.",
        InputBytes = "input_bytes": "Bytes that sessions have sent and that are not acted on yet.",
        HistoryBytes = "history_bytes": "Bytes that all histories hold now.",
        ControlItems = "control_items": "What the gateway asks of its shards that they have not taken yet.",
        ReferenceBytes = "deflate_reference_bytes": "Bytes of the messages that later ones may refer to now.",
        HttpConnections = "http_connections": "HTTP connections that are open now.",
        HttpBytes = "http_bytes": "Bytes of HTTP bodies and answers held now.",
        ClusterInflight = "cluster_publish_inflight": "Publishes that are not answered yet.",
        ClusterPeers = "cluster_peers": "Other gateways whose heartbeats arrive.",
        ClusterMembers = "cluster_members": "Members at other gateways that are known here.",
        ClusterMembersBytes = "cluster_members_bytes": "Bytes that members at other gateways take here.",
    }

    /// A counter without a label.
    Counter {
        SessionsOpened = "sessions_opened_total": "Sessions opened since the start.",
        DeliveredBytes = "delivered_bytes_total": "Bytes written to sessions' sockets.",
        ReceivedBytes = "received_bytes_total": "Bytes read from sessions' sockets.",
        DeflateInBytes = "deflate_in_bytes_total": "Bytes before compression, of messages that were sent compressed.",
        DeflateOutBytes = "deflate_out_bytes_total": "Bytes after compression, of messages that were sent compressed.",
        DeflateParses = "deflate_parses_total": "Messages parsed against an earlier one of their topic.",
        LogSuppressed = "log_suppressed_total": "Log lines held back by a rate limit or not writable.",
        ClusterResumes = "cluster_resumes_total": "Consumers that continued where the one before ended.",
        ClusterMemberPages = "cluster_member_pages_total": "Parts of their members that other gateways were asked for.",
    }
}
