//! Each metric's name, help and buckets, in the contract's order (PROTOCOL section 9).

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
    process_collector::ProcessCollector,
};

use super::labels::{CloseReason, CommandOp, DropReason, LimitKey, PublishSource, RecoveredEpoch, Recovery, RejectReason};
use crate::codes::ErrorCode;

const NAMESPACE: &str = "belfry";

/// From 10 µs, a fan-out to a few sessions on an idle machine, to 10 s, a shard that is stuck.
const FANOUT_BUCKETS: [f64; 19] =
    [10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0];

/// Every metric of one gateway, each value of a closed label already resolved to its series.
#[derive(Debug)]
pub(super) struct Families {
    pub sessions: IntGauge,
    pub sessions_opened: IntCounter,
    pub sessions_closed: [IntCounter; CloseReason::ALL.len()],
    pub handshakes_rejected: [IntCounter; RejectReason::ALL.len()],
    pub topics: IntGauge,
    pub subscriptions: IntGauge,
    pub rules: RuleFamilies,
    pub delivered_bytes: IntCounter,
    pub received_bytes: IntCounter,
    pub fanout: Histogram,
    pub outbox_bytes: IntGauge,
    pub slow_sessions: IntGauge,
    pub commands: [IntCounter; CommandOp::ALL.len()],
    pub command_errors: [IntCounter; ErrorCode::ALL.len()],
    pub recoveries: [IntCounter; Recovery::ALL.len()],
    pub deflate_in_bytes: IntCounter,
    pub deflate_out_bytes: IntCounter,
    pub history_bytes: IntGauge,
    pub shard_inbox_messages: IntGaugeVec,
    pub limit_hits: [IntCounter; LimitKey::ALL.len()],
    pub log_suppressed: IntCounter,
    pub store_recovered_topics: [IntGauge; RecoveredEpoch::ALL.len()],
    pub http_connections: IntGauge,
    pub http_bytes: IntGauge,
}

/// The families that have the label `rule`.
#[derive(Debug)]
pub(super) struct RuleFamilies {
    published: IntCounterVec,
    routed: IntCounterVec,
    deliveries: IntCounterVec,
    conflated: IntCounterVec,
    dropped: IntCounterVec,
    outbox_messages: IntGaugeVec,
}

/// One rule's series.
#[derive(Debug, Clone)]
pub(super) struct RuleSeries {
    pub published: [IntCounter; PublishSource::ALL.len()],
    pub routed: IntCounter,
    pub deliveries: IntCounter,
    pub conflated: IntCounter,
    pub dropped: [IntCounter; DropReason::ALL.len()],
    pub outbox_messages: IntGauge,
}

impl Families {
    /// Registers every metric in `registry`, which must be empty.
    pub fn register(registry: &Registry) -> Self {
        let make = Maker { registry };
        let families = Self {
            sessions: make.gauge("sessions", "Sessions that are open now."),
            sessions_opened: make.counter("sessions_opened_total", "Sessions opened since the start."),
            sessions_closed: make.closed_set(
                "sessions_closed_total",
                "Sessions closed since the start, by why.",
                "reason",
                CloseReason::ALL.map(CloseReason::as_str),
            ),
            handshakes_rejected: make.closed_set(
                "handshakes_rejected_total",
                "Connections that did not become sessions, by why.",
                "reason",
                RejectReason::ALL.map(RejectReason::as_str),
            ),
            topics: make.gauge("topics", "Topics that live now."),
            subscriptions: make.gauge("subscriptions", "Subscriptions of all sessions now; a pattern counts as one."),
            rules: RuleFamilies::register(&make),
            delivered_bytes: make.counter("delivered_bytes_total", "Bytes written to sessions' sockets."),
            received_bytes: make.counter("received_bytes_total", "Bytes read from sessions' sockets."),
            fanout: make.histogram(
                "fanout_seconds",
                "Time from a message's publish to a shard's last socket write of it.",
                &FANOUT_BUCKETS,
            ),
            outbox_bytes: make.gauge("outbox_bytes", "Bytes that wait in all outboxes now."),
            slow_sessions: make.gauge("slow_sessions", "Sessions whose outbox waits for a full socket now."),
            commands: make.closed_set(
                "commands_total",
                "Commands from sessions, by what they ask for.",
                "op",
                CommandOp::ALL.map(CommandOp::as_str),
            ),
            command_errors: make.closed_set(
                "command_errors_total",
                "Commands refused, by the code of the error.",
                "code",
                ErrorCode::ALL.map(ErrorCode::as_str),
            ),
            recoveries: make.closed_set(
                "recoveries_total",
                "Topics subscribed with `since`, by whether nothing was missing.",
                "result",
                Recovery::ALL.map(Recovery::as_str),
            ),
            deflate_in_bytes: make.counter("deflate_in_bytes_total", "Bytes before compression, of messages that were sent compressed."),
            deflate_out_bytes: make.counter("deflate_out_bytes_total", "Bytes after compression, of messages that were sent compressed."),
            history_bytes: make.gauge("history_bytes", "Bytes that all histories hold now."),
            shard_inbox_messages: make.gauges("shard_inbox_messages", "Messages handed to a shard that it has not taken yet.", "shard"),
            limit_hits: make.closed_set(
                "limit_hits_total",
                "Times that a limit bit, by the key of `[limits]`.",
                "limit",
                LimitKey::ALL.map(LimitKey::as_str),
            ),
            log_suppressed: make.counter("log_suppressed_total", "Log lines held back by the log's own rate limit."),
            store_recovered_topics: {
                let family =
                    make.gauges("store_recovered_topics", "Topics found in `store.dir` at the start, by their epoch now.", "epoch");
                RecoveredEpoch::ALL.map(|epoch| family.with_label_values(&[epoch.as_str()]))
            },
            http_connections: make.gauge("http_connections", "HTTP connections that are open now."),
            http_bytes: make.gauge("http_bytes", "Bytes of HTTP bodies and answers held now."),
        };
        make.gauges("build_info", "The gateway's version; always 1.", "version").with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(ProcessCollector::for_self())).expect(REGISTERED_ONCE);
        families
    }
}

impl RuleFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            published: make.counters("messages_published_total", "Messages that got an offset, by who published.", &["rule", "source"]),
            routed: make.counters("messages_routed_total", "Messages times the subscribers that they are for.", &["rule"]),
            deliveries: make.counters("deliveries_total", "Messages wholly written to a subscriber's socket.", &["rule"]),
            conflated: make.counters("messages_conflated_total", "Queued messages replaced by a newer one of their topic.", &["rule"]),
            dropped: make.counters("messages_dropped_total", "Messages given up for a subscriber, by why.", &["rule", "reason"]),
            outbox_messages: make.gauges("outbox_messages", "Messages that wait in all outboxes now.", "rule"),
        }
    }

    /// The series of the rule with this label; they appear with this call, at zero.
    pub fn series(&self, label: &str) -> RuleSeries {
        RuleSeries {
            published: PublishSource::ALL.map(|source| self.published.with_label_values(&[label, source.as_str()])),
            routed: self.routed.with_label_values(&[label]),
            deliveries: self.deliveries.with_label_values(&[label]),
            conflated: self.conflated.with_label_values(&[label]),
            dropped: DropReason::ALL.map(|reason| self.dropped.with_label_values(&[label, reason.as_str()])),
            outbox_messages: self.outbox_messages.with_label_values(&[label]),
        }
    }
}

/// Makes metrics under the gateway's prefix and registers each.
struct Maker<'a> {
    registry: &'a Registry,
}

const WELL_FORMED: &str = "every name, label and bucket is a constant of this file, and well formed";
const REGISTERED_ONCE: &str = "every name of this file is registered once, in a registry of its own";

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(options(name, help)).expect(WELL_FORMED))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(options(name, help), labels).expect(WELL_FORMED))
    }

    /// A counter for each value that `label` can have; all are there from the start, so that an alert sees the first rise.
    fn closed_set<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntCounter; N] {
        let family = self.counters(name, help, &[label]);
        values.map(|value| family.with_label_values(&[value]))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(options(name, help)).expect(WELL_FORMED))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(options(name, help), &[label]).expect(WELL_FORMED))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(options).expect(WELL_FORMED))
    }

    fn registered<C: Collector + Clone + 'static>(&self, metric: C) -> C {
        self.registry.register(Box::new(metric.clone())).expect(REGISTERED_ONCE);
        metric
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}
