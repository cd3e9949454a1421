//! The name, help and buckets of each metric (PROTOCOL section 9).

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
    process_collector::ProcessCollector,
};

use super::labels::{
    AddressTable, CloseReason, ClusterLoad, CommandOp, DeflateHow, DropReason, ForeignSkipped, LimitKey, NoReference, PublishFailure,
    PublishSource, RecoveredEpoch, Recovery, RejectReason,
};
use super::unlabelled::{Counter, Gauge};
use crate::codes::ErrorCode;

const NAMESPACE: &str = "belfry";

/// From 10 µs, a fan-out to a few sessions on an idle machine, to 10 s, a shard that is stuck.
const FANOUT_BUCKETS: [f64; 19] =
    [10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0];

/// Every metric of one gateway. Each value of a closed label is resolved to its series.
#[derive(Debug)]
pub(super) struct Families {
    pub gauges: [IntGauge; Gauge::ALL.len()],
    pub counters: [IntCounter; Counter::ALL.len()],
    pub sessions: SessionFamilies,
    pub rules: RuleFamilies,
    pub traffic: TrafficFamilies,
    pub addresses: [IntGauge; AddressTable::ALL.len()],
    pub commands: CommandFamilies,
    pub deflate: DeflateFamilies,
    pub shard_inbox_messages: IntGaugeVec,
    pub limit_hits: [IntCounter; LimitKey::ALL.len()],
    pub store_recovered_topics: [IntGauge; RecoveredEpoch::ALL.len()],
    pub cluster: ClusterFamilies,
}

/// The families of sessions and their subscriptions.
#[derive(Debug)]
pub(super) struct SessionFamilies {
    pub closed: [IntCounter; CloseReason::ALL.len()],
    pub rejected: [IntCounter; RejectReason::ALL.len()],
}

/// The families of bytes written and read.
#[derive(Debug)]
pub(super) struct TrafficFamilies {
    pub fanout: Histogram,
}

/// The families of commands.
#[derive(Debug)]
pub(super) struct CommandFamilies {
    pub given: [IntCounter; CommandOp::ALL.len()],
    pub errors: [IntCounter; ErrorCode::ALL.len()],
    pub recoveries: [IntCounter; Recovery::ALL.len()],
}

/// The families of permessage-deflate.
#[derive(Debug)]
pub(super) struct DeflateFamilies {
    pub messages: [IntCounter; DeflateHow::ALL.len()],
    pub no_reference: [IntCounter; NoReference::ALL.len()],
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
            counters: Counter::ALL.map(|counter| make.counter(counter.as_str(), counter.help())),
            gauges: Gauge::ALL.map(|gauge| make.gauge(gauge.as_str(), gauge.help())),
            sessions: SessionFamilies::register(&make),
            rules: RuleFamilies::register(&make),
            traffic: TrafficFamilies::register(&make),
            addresses: make.closed_gauges(
                "addresses",
                "Addresses and credentials that something is remembered of, by what.",
                "table",
                AddressTable::TEXTS,
            ),
            commands: CommandFamilies::register(&make),
            deflate: DeflateFamilies::register(&make),
            shard_inbox_messages: make.gauges("shard_inbox_messages", "Messages handed to a shard that it has not taken yet.", "shard"),
            limit_hits: make.closed_counters(
                "limit_hits_total",
                "Times that a limit bit, by the key of `[limits]`.",
                "limit",
                LimitKey::TEXTS,
            ),
            store_recovered_topics: make.closed_gauges(
                "store_recovered_topics",
                "Topics found in `store.dir` at the start, by their epoch now.",
                "epoch",
                RecoveredEpoch::TEXTS,
            ),
            cluster: ClusterFamilies::register(&make),
        };
        make.gauges("build_info", "The gateway's version; always 1.", "version").with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(ProcessCollector::for_self())).expect(REGISTERED_ONCE);
        families
    }
}

impl SessionFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            closed: make.closed_counters("sessions_closed_total", "Sessions closed since the start, by why.", "reason", CloseReason::TEXTS),
            rejected: make.closed_counters(
                "handshakes_rejected_total",
                "Connections that did not become sessions, by why.",
                "reason",
                RejectReason::TEXTS,
            ),
        }
    }
}

impl TrafficFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            fanout: make.histogram(
                "fanout_seconds",
                "Time from a message's publish to a shard's last socket write of it.",
                &FANOUT_BUCKETS,
            ),
        }
    }
}

impl CommandFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            given: make.closed_counters("commands_total", "Commands from sessions, by what they ask for.", "op", CommandOp::TEXTS),
            errors: make.closed_counters("command_errors_total", "Commands refused, by the code of the error.", "code", ErrorCode::TEXTS),
            recoveries: make.closed_counters(
                "recoveries_total",
                "Topics subscribed with `since`, by whether nothing was missing.",
                "result",
                Recovery::TEXTS,
            ),
        }
    }
}

impl DeflateFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            messages: make.closed_counters(
                "deflate_messages_total",
                "Messages written compressed to a subscriber's socket: against an earlier one of the topic, or alone.",
                "how",
                DeflateHow::TEXTS,
            ),
            no_reference: make.closed_counters(
                "deflate_no_reference_total",
                "Messages of topics with history that were written without a reference, by why.",
                "why",
                NoReference::TEXTS,
            ),
        }
    }
}

/// The families of a cluster.
#[derive(Debug)]
pub(super) struct ClusterFamilies {
    pub state: IntGaugeVec,
    pub lag: IntGaugeVec,
    pub tick_age: GaugeVec,
    pub received: IntCounterVec,
    pub publish: Histogram,
    pub publish_errors: [IntCounter; PublishFailure::ALL.len()],
    pub loads: [IntCounter; ClusterLoad::ALL.len()],
    pub foreign_skipped: [IntCounter; ForeignSkipped::ALL.len()],
}

impl ClusterFamilies {
    fn register(make: &Maker<'_>) -> Self {
        Self {
            state: make.labelled_gauges("cluster_state", "1 for the state that a stream is in, 0 for the others.", &["stream", "state"]),
            lag: make.gauges("cluster_lag_messages", "Messages of a stream that this gateway has not been sent yet.", "stream"),
            tick_age: make.registered(
                GaugeVec::new(options("cluster_tick_age_seconds", "Time since a message named the stream's epoch."), &["stream"])
                    .expect(WELL_FORMED),
            ),
            received: make.counters("cluster_received_total", "Messages received from a stream.", &["stream"]),
            publish: make.histogram("cluster_publish_seconds", "Time from a publish to its acknowledgement.", &FANOUT_BUCKETS),
            publish_errors: make.closed_counters(
                "cluster_publish_errors_total",
                "Publishes to streams without an acknowledgement, by why.",
                "reason",
                PublishFailure::TEXTS,
            ),
            loads: make.closed_counters(
                "cluster_loads_total",
                "Times that a stream was read from its beginning, by why.",
                "reason",
                ClusterLoad::TEXTS,
            ),
            foreign_skipped: make.closed_counters(
                "cluster_foreign_skipped_total",
                "Messages of other NATS clients that are no messages here, by why.",
                "reason",
                ForeignSkipped::TEXTS,
            ),
        }
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

    /// The series of the rule with this label. The call makes them, at zero.
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

/// Makes and registers metrics with the gateway's prefix.
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

    /// A counter for each value of `label`. All exist from the start, so that an alert sees the first increase.
    fn closed_counters<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntCounter; N] {
        let family = self.counters(name, help, &[label]);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A gauge for each value of `label`.
    fn closed_gauges<const N: usize>(&self, name: &str, help: &str, label: &str, values: [&str; N]) -> [IntGauge; N] {
        let family = self.gauges(name, help, label);
        values.map(|value| family.with_label_values(&[value]))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(options(name, help)).expect(WELL_FORMED))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.labelled_gauges(name, help, &[label])
    }

    fn labelled_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(options(name, help), labels).expect(WELL_FORMED))
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
