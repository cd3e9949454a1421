//! The counts of one shard: plain additions without atomics, added to the registry once a tick.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::local::LocalHistogram;

use super::counters::{Counted, Counts, add, add_each};
use super::families::RuleSeries;
use super::labels::{CloseReason, DropReason, LimitKey};
use super::registry::{Metrics, gauge_value};
use super::rule_id::RuleId;
use super::unlabelled::{Counter, Gauge};

/// The counts of one shard since its last [`Tally::hand_over`].
#[derive(Debug)]
pub struct Tally {
    metrics: Arc<Metrics>,
    /// Whether anything was counted since the last hand-over.
    changed: bool,
    /// The counts by the rule's index; `None` if the shard has not used the rule.
    rules: Vec<Option<RuleCounts>>,
    fanout: LocalHistogram,
    counts: Counts,
    /// The changes of gauges.
    gauges: [i64; Gauge::ALL.len()],
    /// This shard's parts of the gauges that it sets.
    parts: [i64; Gauge::ALL.len()],
}

/// The counts of one rule, and its series.
#[derive(Debug)]
struct RuleCounts {
    series: RuleSeries,
    routed: u64,
    delivered: u64,
    conflated: u64,
    dropped: [u64; DropReason::ALL.len()],
    queued: i64,
}

impl Tally {
    /// An empty tally for `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            fanout: metrics.families.fanout.local(),
            metrics,
            changed: false,
            rules: Vec::new(),
            counts: Counts::new(),
            gauges: [0; Gauge::ALL.len()],
            parts: [0; Gauge::ALL.len()],
        }
    }

    /// Counts routed messages: one for each subscriber.
    pub fn routed(&mut self, rule: RuleId, messages: u64) {
        self.rule(rule).routed += messages;
    }

    /// Counts messages that were completely written to a socket.
    pub fn delivered(&mut self, rule: RuleId, messages: u64) {
        self.rule(rule).delivered += messages;
    }

    /// Counts queued messages that newer ones replaced.
    pub fn conflated(&mut self, rule: RuleId, messages: u64) {
        self.rule(rule).conflated += messages;
    }

    /// Counts dropped messages.
    pub fn dropped(&mut self, rule: RuleId, reason: DropReason, messages: u64) {
        self.rule(rule).dropped[reason.index()] += messages;
    }

    /// Adds to `outbox_messages{rule}`.
    pub fn queued(&mut self, rule: RuleId, change: i64) {
        self.rule(rule).queued += change;
    }

    /// Adds to the counter of `what`.
    pub fn count(&mut self, what: impl Counted, by: u64) {
        self.changed = true;
        *what.count(&mut self.counts) += by;
    }

    /// Adds to `gauge`.
    pub fn add(&mut self, gauge: Gauge, change: i64) {
        self.changed = true;
        self.gauges[gauge.index()] += change;
    }

    /// Sets this shard's part of `gauge`, the sum over all shards.
    pub fn set_part(&mut self, gauge: Gauge, value: usize) {
        let value = gauge_value(value);
        let before = std::mem::replace(&mut self.parts[gauge.index()], value);
        if value != before {
            self.add(gauge, value - before);
        }
    }

    /// Records the time from the publish of a message to this shard's last write of it.
    pub fn fanout(&mut self, took: Duration) {
        self.changed = true;
        self.fanout.observe(took.as_secs_f64());
    }

    /// Counts a new session.
    pub fn session_opened(&mut self) {
        self.add(Gauge::Sessions, 1);
        self.count(Counter::SessionsOpened, 1);
    }

    /// Counts the end of a session.
    pub fn session_closed(&mut self, reason: CloseReason) {
        self.add(Gauge::Sessions, -1);
        self.count(reason, 1);
    }

    /// Counts a hit of a limit.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.count(limit, 1);
    }

    /// Adds all counts to the registry and resets them. Does nothing if nothing was counted. Never allocates.
    pub fn hand_over(&mut self) {
        if !take(&mut self.changed) {
            return;
        }
        self.rules.iter_mut().flatten().for_each(RuleCounts::hand_over);
        self.fanout.flush();
        let families = &self.metrics.families;
        for (gauge, change) in families.gauges.iter().zip(&mut self.gauges) {
            add_to_gauge(gauge, change);
        }
        self.counts.hand_over(&families.counters);
    }

    fn rule(&mut self, rule: RuleId) -> &mut RuleCounts {
        self.changed = true;
        if !matches!(self.rules.get(rule.index()), Some(Some(_))) {
            self.add_rule(rule);
        }
        self.rules[rule.index()].as_mut().expect("the rule was added above")
    }

    /// Adds the counts of `rule`. The table grows at the first use of a rule, because a reload may add rules at any time.
    #[cold]
    fn add_rule(&mut self, rule: RuleId) {
        if self.rules.len() <= rule.index() {
            self.rules.resize_with(rule.index() + 1, || None);
        }
        self.rules[rule.index()] = Some(RuleCounts::new(self.metrics.rule_series(rule)));
    }
}

impl Drop for Tally {
    /// The last counts of a shard are added when it ends.
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl RuleCounts {
    fn new(series: RuleSeries) -> Self {
        Self { series, routed: 0, delivered: 0, conflated: 0, dropped: [0; DropReason::ALL.len()], queued: 0 }
    }

    fn hand_over(&mut self) {
        add(&self.series.routed, &mut self.routed);
        add(&self.series.deliveries, &mut self.delivered);
        add(&self.series.conflated, &mut self.conflated);
        add_each(&self.series.dropped, &mut self.dropped);
        add_to_gauge(&self.series.outbox_messages, &mut self.queued);
    }
}

fn add_to_gauge(gauge: &IntGauge, change: &mut i64) {
    match take(change) {
        0 => {}
        change => gauge.add(change),
    }
}
