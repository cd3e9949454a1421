//! The counts of one shard: plain additions without atomics, added to the registry once a tick.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use prometheus::local::LocalHistogram;
use prometheus::{IntCounter, IntGauge};

use super::families::RuleSeries;
use super::labels::{CloseReason, CommandOp, DeflateHow, DropReason, LimitKey, NoReference, Recovery};
use super::registry::{Metrics, gauge_value};
use super::rule_id::RuleId;
use super::unlabelled::{Counter, Gauge};
use crate::codes::ErrorCode;

/// The counts of one shard since its last [`Tally::hand_over`].
#[derive(Debug)]
pub struct Tally {
    metrics: Arc<Metrics>,
    /// Whether anything was counted since the last hand-over.
    changed: bool,
    /// The counts by the rule's index; `None` if the shard has not used the rule.
    rules: Vec<Option<RuleCounts>>,
    fanout: LocalHistogram,
    counters: [u64; Counter::ALL.len()],
    /// The changes of gauges.
    gauges: [i64; Gauge::ALL.len()],
    /// This shard's parts of the gauges that it sets.
    parts: [i64; Gauge::ALL.len()],
    deflate_messages: [u64; DeflateHow::ALL.len()],
    deflate_no_reference: [u64; NoReference::ALL.len()],
    sessions_closed: [u64; CloseReason::ALL.len()],
    commands: [u64; CommandOp::ALL.len()],
    command_errors: [u64; ErrorCode::ALL.len()],
    recoveries: [u64; Recovery::ALL.len()],
    limit_hits: [u64; LimitKey::ALL.len()],
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
            fanout: metrics.families.traffic.fanout.local(),
            metrics,
            changed: false,
            rules: Vec::new(),
            counters: [0; Counter::ALL.len()],
            gauges: [0; Gauge::ALL.len()],
            parts: [0; Gauge::ALL.len()],
            deflate_messages: [0; DeflateHow::ALL.len()],
            deflate_no_reference: [0; NoReference::ALL.len()],
            sessions_closed: [0; CloseReason::ALL.len()],
            commands: [0; CommandOp::ALL.len()],
            command_errors: [0; ErrorCode::ALL.len()],
            recoveries: [0; Recovery::ALL.len()],
            limit_hits: [0; LimitKey::ALL.len()],
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

    /// Adds to `counter`.
    pub fn count(&mut self, counter: Counter, by: u64) {
        self.changed = true;
        self.counters[counter.index()] += by;
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
        self.sessions_closed[reason.index()] += 1;
    }

    /// Counts a command.
    pub fn command(&mut self, op: CommandOp) {
        self.changed = true;
        self.commands[op.index()] += 1;
    }

    /// Counts a refused command.
    pub fn command_error(&mut self, code: ErrorCode) {
        self.changed = true;
        self.command_errors[code.index()] += 1;
    }

    /// Counts the result of a `since`.
    pub fn recovery(&mut self, result: Recovery) {
        self.changed = true;
        self.recoveries[result.index()] += 1;
    }

    /// Counts a hit of a limit.
    pub fn limit_hit(&mut self, limit: LimitKey) {
        self.changed = true;
        self.limit_hits[limit.index()] += 1;
    }

    /// Counts messages that were written compressed to a socket.
    pub fn deflated_messages(&mut self, how: DeflateHow, messages: u64) {
        self.changed = true;
        self.deflate_messages[how.index()] += messages;
    }

    /// Counts messages that could not refer to an earlier one.
    pub fn no_reference(&mut self, why: NoReference, messages: u64) {
        self.changed = true;
        self.deflate_no_reference[why.index()] += messages;
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
        add_each(&families.counters, &mut self.counters);
        add_each(&families.sessions.closed, &mut self.sessions_closed);
        add_each(&families.deflate.messages, &mut self.deflate_messages);
        add_each(&families.deflate.no_reference, &mut self.deflate_no_reference);
        add_each(&families.commands.given, &mut self.commands);
        add_each(&families.commands.errors, &mut self.command_errors);
        add_each(&families.commands.recoveries, &mut self.recoveries);
        add_each(&families.limit_hits, &mut self.limit_hits);
    }

    fn rule(&mut self, rule: RuleId) -> &mut RuleCounts {
        self.changed = true;
        if !matches!(self.rules.get(rule.index()), Some(Some(_))) {
            self.meet(rule);
        }
        self.rules[rule.index()].as_mut().expect("the rule was met above")
    }

    /// The counts of `rule`. The table grows at the first use of a rule, because a reload may add rules at any time.
    #[cold]
    fn meet(&mut self, rule: RuleId) {
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

fn add(counter: &IntCounter, count: &mut u64) {
    match take(count) {
        0 => {}
        count => counter.inc_by(count),
    }
}

fn add_each<const N: usize>(counters: &[IntCounter; N], counts: &mut [u64; N]) {
    counters.iter().zip(counts).for_each(|(counter, count)| add(counter, count));
}
