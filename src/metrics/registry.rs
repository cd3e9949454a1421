//! The registry of all metrics, which parts update, and the text of `/metrics`.

use parking_lot::RwLock;
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};

use super::counters::Counted;
use super::families::{Families, RuleSeries};
use super::labels::{AddressTable, LimitKey, PublishSource, RecoveredEpoch};
use super::rule_id::{RuleId, RuleTable};
use super::unlabelled::{Counter, Gauge};

/// The gateway's metrics, shared by all parts. Events of each message and subscriber are counted in a shard's
/// [`Tally`](super::Tally) first.
pub struct Metrics {
    /// A registry of its own instead of the crate's global one, so that a process can have several gateways.
    registry: Registry,
    pub(super) families: Families,
    /// The label and series of every rule. Write-locked when a configuration comes into force and when a rule is first
    /// used, otherwise read-locked for one addition.
    rules: RwLock<RuleTable>,
    /// `shard_inbox_messages` by shard, locked as `rules` is.
    inboxes: RwLock<Vec<IntGauge>>,
    /// Functions that set gauges when the metrics are read.
    readings: RwLock<Vec<Reading>>,
}

/// Sets gauges to their current values.
type Reading = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The totals of `$belfry.stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the contract's key")]
pub struct Totals {
    pub sessions: u64,
    pub topics: u64,
    pub subscriptions: u64,
    pub published: u64,
    pub delivered: u64,
    pub outbox_bytes: u64,
    /// The bytes that compression has saved.
    pub saved_bytes: u64,
    /// The compressed bytes of compressed messages.
    pub deflated_bytes: u64,
}

impl Metrics {
    /// New metrics, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let families = Families::register(&registry);
        Self { registry, families, rules: RwLock::new(RuleTable::new()), inboxes: RwLock::default(), readings: RwLock::default() }
    }

    /// The id of a rule's label, which is its pattern or empty.
    pub fn rule(&self, label: &str) -> RuleId {
        self.rules.write().id(label)
    }

    /// Sets `gauge`.
    pub fn set(&self, gauge: Gauge, value: usize) {
        self.families.gauges[gauge.index()].set(gauge_value(value));
    }

    /// Adds to `gauge`; `change` may be negative.
    pub fn add(&self, gauge: Gauge, change: i64) {
        self.families.gauges[gauge.index()].add(change);
    }

    /// Adds to the counter of `what`. Events of sessions are counted in their shard's tally.
    pub fn count(&self, what: impl Counted, by: u64) {
        what.series(&self.families.counters).inc_by(by);
    }

    /// The value of `gauge`, at least 0. A gauge is negative for a moment if a shard's decrease is handed over before
    /// another's increase.
    fn total(&self, gauge: Gauge) -> u64 {
        u64::try_from(self.families.gauges[gauge.index()].get()).unwrap_or(0)
    }

    /// Counts a published message.
    pub fn published(&self, rule: RuleId, source: PublishSource) {
        if let Some(series) = self.rules.read().series(rule) {
            series.published[source.index()].inc();
            return;
        }
        self.rule_series(rule).published[source.index()].inc();
    }

    /// Counts a hit of a limit (PROTOCOL section 7).
    pub fn limit_hit(&self, limit: LimitKey) {
        self.count(limit, 1);
    }

    /// Sets the number of addresses or credentials in a table.
    pub fn set_addresses(&self, table: AddressTable, addresses: usize) {
        self.families.addresses[table.index()].set(gauge_value(addresses));
    }

    /// Sets the number of topics that the start found in `store.dir`.
    pub fn set_store_recovered_topics(&self, epoch: RecoveredEpoch, topics: usize) {
        self.families.store_recovered_topics[epoch.index()].set(gauge_value(topics));
    }

    /// Sets `shard_inbox_messages{shard}`. Shards are numbered from 0.
    pub fn set_shard_inbox(&self, shard: usize, messages: usize) {
        if let Some(inbox) = self.inboxes.read().get(shard) {
            inbox.set(gauge_value(messages));
            return;
        }
        let mut inboxes = self.inboxes.write();
        while inboxes.len() <= shard {
            let label = inboxes.len().to_string();
            inboxes.push(self.families.shard_inbox_messages.with_label_values(&[&label]));
        }
        inboxes[shard].set(gauge_value(messages));
    }

    /// Calls `read` each time before the metrics are read, to set gauges.
    pub fn before_each_reading(&self, read: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.readings.write().push(Box::new(read));
    }

    fn read(&self) {
        self.readings.read().iter().for_each(|read| read(self));
    }

    /// The totals for `$belfry.stats`.
    pub fn totals(&self) -> Totals {
        self.read();
        let rules = self.rules.read();
        let used = || rules.used();
        let count = |counter: Counter| counter.series(&self.families.counters).get();
        Totals {
            sessions: self.total(Gauge::Sessions),
            topics: self.total(Gauge::Topics),
            subscriptions: self.total(Gauge::Subscriptions),
            published: used().flat_map(|series| &series.published).map(IntCounter::get).sum(),
            delivered: used().map(|series| series.deliveries.get()).sum(),
            outbox_bytes: self.total(Gauge::OutboxBytes),
            saved_bytes: count(Counter::DeflateInBytes).saturating_sub(count(Counter::DeflateOutBytes)),
            deflated_bytes: count(Counter::DeflateOutBytes),
        }
    }

    /// The text of `/metrics`, in Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        self.read();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "the metrics could not be written");
        }
        text
    }

    /// The series of `rule`, which are made at the first use.
    pub(super) fn rule_series(&self, rule: RuleId) -> RuleSeries {
        self.rules.write().series_or_make(rule, |label| self.families.rules.series(label)).clone()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

/// `value` for a gauge; the largest one if it does not fit.
pub(super) fn gauge_value(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
