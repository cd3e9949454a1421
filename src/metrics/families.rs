//! The name, help and buckets of each metric (PROTOCOL section 9).

use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, process_collector::ProcessCollector};

use super::counters::Series;
use super::labels::{AddressTable, DropReason, PublishSource, RecoveredEpoch};
use super::maker::{Maker, REGISTERED_ONCE, WELL_FORMED, options};
use super::unlabelled::Gauge;

/// From 10 µs, a fan-out to a few sessions on an idle machine, to 10 s, a shard that is stuck.
const FANOUT_BUCKETS: [f64; 19] =
    [10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0, 10.0];

/// Every metric of one gateway. Each value of a closed label is resolved to its series.
#[derive(Debug)]
pub(super) struct Families {
    pub gauges: [IntGauge; Gauge::ALL.len()],
    pub counters: Series,
    pub rules: RuleFamilies,
    pub fanout: Histogram,
    pub addresses: [IntGauge; AddressTable::ALL.len()],
    pub shard_inbox_messages: IntGaugeVec,
    pub store_recovered_topics: [IntGauge; RecoveredEpoch::ALL.len()],
    pub cluster: ClusterFamilies,
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
            counters: Series::register(&make),
            gauges: Gauge::ALL.map(|gauge| make.gauge(gauge.as_str(), gauge.help())),
            rules: RuleFamilies::register(&make),
            fanout: make.histogram(
                "fanout_seconds",
                "Time from a message's publish to a shard's last socket write of it.",
                &FANOUT_BUCKETS,
            ),
            addresses: make.closed_gauges(
                "addresses",
                "Addresses and credentials that something is remembered of, by what.",
                "table",
                AddressTable::TEXTS,
            ),
            shard_inbox_messages: make.gauges("shard_inbox_messages", "Messages handed to a shard that it has not taken yet.", "shard"),
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

#[derive(Debug)]
pub(super) struct ClusterFamilies {
    pub state: IntGaugeVec,
    pub lag: IntGaugeVec,
    pub tick_age: GaugeVec,
    pub received: IntCounterVec,
    pub publish: Histogram,
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
