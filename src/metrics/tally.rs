//! The counts of one shard: plain additions without atomics, added to the registry once a tick.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use prometheus::local::LocalHistogram;

use super::families::RuleSeries;
use super::labels::{CloseReason, CommandOp, DeflateHow, DropReason, LimitKey, NoReference, Recovery};
use super::registry::Metrics;
use super::rule_id::RuleId;
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
    outbox_bytes: i64,
    slow_sessions: i64,
    presence_bytes: i64,
    gap_bytes: Shown,
    cursor_bytes: Shown,
    interval_bytes: Shown,
    input_bytes: Shown,
    subscriptions: i64,
    delivered_bytes: u64,
    received_bytes: u64,
    deflate_in_bytes: u64,
    deflate_out_bytes: u64,
    deflate_messages: [u64; DeflateHow::ALL.len()],
    deflate_no_reference: [u64; NoReference::ALL.len()],
    deflate_parses: u64,
    deflate_reference_bytes: i64,
    sessions_opened: u64,
    sessions_closed: [u64; CloseReason::ALL.len()],
    commands: [u64; CommandOp::ALL.len()],
    command_errors: [u64; ErrorCode::ALL.len()],
    recoveries: [u64; Recovery::ALL.len()],
    limit_hits: [u64; LimitKey::ALL.len()],
}

/// One shard's part of a gauge that all shards share.
#[derive(Debug, Default)]
struct Shown {
    now: i64,
    /// The part that the gauge includes already.
    told: i64,
}

impl Shown {
    /// Sets the part. Returns whether it has changed.
    fn set(&mut self, bytes: usize) -> bool {
        self.now = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.now != self.told
    }

    /// The change that the gauge does not include yet.
    fn take(&mut self) -> i64 {
        self.now - std::mem::replace(&mut self.told, self.now)
    }
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
            outbox_bytes: 0,
            slow_sessions: 0,
            presence_bytes: 0,
            gap_bytes: Shown::default(),
            cursor_bytes: Shown::default(),
            interval_bytes: Shown::default(),
            input_bytes: Shown::default(),
            subscriptions: 0,
            delivered_bytes: 0,
            received_bytes: 0,
            deflate_in_bytes: 0,
            deflate_out_bytes: 0,
            deflate_messages: [0; DeflateHow::ALL.len()],
            deflate_no_reference: [0; NoReference::ALL.len()],
            deflate_parses: 0,
            deflate_reference_bytes: 0,
            sessions_opened: 0,
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

    /// Adds to `outbox_bytes`.
    pub fn outbox_bytes(&mut self, change: i64) {
        self.changed = true;
        self.outbox_bytes += change;
    }

    /// Adds to `slow_sessions`: sessions with a non-empty outbox, because their socket is full.
    pub fn slow_sessions(&mut self, change: i64) {
        self.changed = true;
        self.slow_sessions += change;
    }

    /// Adds to `presence_bytes`.
    pub fn presence_bytes(&mut self, change: i64) {
        self.changed = true;
        self.presence_bytes += change;
    }

    /// Sets this shard's part of `gap_bytes`.
    pub fn show_gap_bytes(&mut self, bytes: usize) {
        self.changed |= self.gap_bytes.set(bytes);
    }

    /// Sets this shard's part of `cursor_bytes`.
    pub fn show_cursor_bytes(&mut self, bytes: usize) {
        self.changed |= self.cursor_bytes.set(bytes);
    }

    /// Sets this shard's part of `interval_bytes`.
    pub fn show_interval_bytes(&mut self, bytes: usize) {
        self.changed |= self.interval_bytes.set(bytes);
    }

    /// Sets this shard's part of `input_bytes`.
    pub fn show_input_bytes(&mut self, bytes: usize) {
        self.changed |= self.input_bytes.set(bytes);
    }

    /// Adds to `subscriptions`.
    pub fn subscriptions(&mut self, change: i64) {
        self.changed = true;
        self.subscriptions += change;
    }

    /// Counts bytes written to sockets.
    pub fn delivered_bytes(&mut self, bytes: u64) {
        self.changed = true;
        self.delivered_bytes += bytes;
    }

    /// Counts bytes read from sockets.
    pub fn received_bytes(&mut self, bytes: u64) {
        self.changed = true;
        self.received_bytes += bytes;
    }

    /// Records the time from the publish of a message to this shard's last write of it.
    pub fn fanout(&mut self, took: Duration) {
        self.changed = true;
        self.fanout.observe(took.as_secs_f64());
    }

    /// Counts a new session.
    pub fn session_opened(&mut self) {
        self.changed = true;
        self.sessions_opened += 1;
    }

    /// Counts the end of a session.
    pub fn session_closed(&mut self, reason: CloseReason) {
        self.changed = true;
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

    /// Counts a compressed message: `plain` bytes became `packed` bytes.
    pub fn deflated(&mut self, plain: u64, packed: u64) {
        self.changed = true;
        self.deflate_in_bytes += plain;
        self.deflate_out_bytes += packed;
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

    /// Counts a message that was parsed against an earlier one.
    pub fn parsed(&mut self) {
        self.changed = true;
        self.deflate_parses += 1;
    }

    /// Adds to `deflate_reference_bytes`.
    pub fn reference_bytes(&mut self, change: i64) {
        self.changed = true;
        self.deflate_reference_bytes += change;
    }

    /// Adds all counts to the registry and resets them. Does nothing if nothing was counted. Never allocates.
    pub fn hand_over(&mut self) {
        if !take(&mut self.changed) {
            return;
        }
        self.rules.iter_mut().flatten().for_each(RuleCounts::hand_over);
        self.fanout.flush();
        let families = &self.metrics.families;
        let closed: u64 = self.sessions_closed.iter().sum();
        let sessions = take(&mut self.sessions_opened);
        families.sessions.opened.inc_by(sessions);
        let gauges = [
            (&families.sessions.open, sessions.cast_signed().wrapping_sub(closed.cast_signed())),
            (&families.kept.outbox_bytes, take(&mut self.outbox_bytes)),
            (&families.sessions.slow, take(&mut self.slow_sessions)),
            (&families.kept.presence_bytes, take(&mut self.presence_bytes)),
            (&families.kept.gap_bytes, self.gap_bytes.take()),
            (&families.kept.cursor_bytes, self.cursor_bytes.take()),
            (&families.kept.interval_bytes, self.interval_bytes.take()),
            (&families.kept.input_bytes, self.input_bytes.take()),
            (&families.sessions.subscriptions, take(&mut self.subscriptions)),
            (&families.deflate.reference_bytes, take(&mut self.deflate_reference_bytes)),
        ];
        for (gauge, change) in gauges {
            if change != 0 {
                gauge.add(change);
            }
        }
        let plain = [
            (&families.traffic.delivered_bytes, &mut self.delivered_bytes),
            (&families.traffic.received_bytes, &mut self.received_bytes),
            (&families.deflate.in_bytes, &mut self.deflate_in_bytes),
            (&families.deflate.out_bytes, &mut self.deflate_out_bytes),
            (&families.deflate.parses, &mut self.deflate_parses),
        ];
        for (counter, count) in plain {
            add(counter, count);
        }
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
        match take(&mut self.queued) {
            0 => {}
            change => self.series.outbox_messages.add(change),
        }
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
