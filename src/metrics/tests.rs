//! Tests of PROTOCOL section 9.

use std::sync::Arc;
use std::time::Duration;

use super::*;

/// The metrics of section 9 in its order, then those that were added later.
const NAMES: [&str; 54] = [
    "sessions",
    "sessions_opened_total",
    "sessions_closed_total",
    "handshakes_rejected_total",
    "topics",
    "subscriptions",
    "pattern_shapes",
    "messages_published_total",
    "messages_routed_total",
    "deliveries_total",
    "messages_conflated_total",
    "messages_dropped_total",
    "outbox_messages",
    "delivered_bytes_total",
    "received_bytes_total",
    "fanout_seconds",
    "outbox_bytes",
    "slow_sessions",
    "presence_bytes",
    "gap_bytes",
    "cursor_bytes",
    "interval_bytes",
    "input_bytes",
    "commands_total",
    "command_errors_total",
    "recoveries_total",
    "deflate_in_bytes_total",
    "deflate_out_bytes_total",
    "deflate_messages_total",
    "deflate_no_reference_total",
    "deflate_parses_total",
    "deflate_reference_bytes",
    "history_bytes",
    "shard_inbox_messages",
    "limit_hits_total",
    "build_info",
    "log_suppressed_total",
    "store_recovered_topics",
    "http_connections",
    "http_bytes",
    "addresses",
    "control_items",
    "cluster_publish_seconds",
    "cluster_publish_inflight",
    "cluster_publish_errors_total",
    "cluster_resumes_total",
    "cluster_loads_total",
    "cluster_foreign_skipped_total",
    "cluster_peers",
    "cluster_members",
    "cluster_members_bytes",
    "cluster_member_pages_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
];

/// The value of the line that begins with `series`.
fn value(metrics: &Metrics, series: &str) -> String {
    let text = metrics.render();
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.split(' ').next_back()).unwrap_or_else(|| panic!("no {series} in\n{text}")).to_owned()
}

#[test]
fn every_metric_of_the_contract_has_help_and_type() {
    let metrics = Arc::new(Metrics::new());
    metrics.published(metrics.rule("quotes.>"), PublishSource::Feed);
    metrics.set_shard_inbox(1, 5);
    let text = metrics.render();
    for name in NAMES {
        let name = if name.starts_with("process_") { name.to_owned() } else { format!("belfry_{name}") };
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
        let kind = if name.ends_with("_total") {
            "counter"
        } else if name.ends_with("_seconds") {
            "histogram"
        } else {
            "gauge"
        };
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is no {kind}");
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE belfry_")).count();
    assert_eq!(types, NAMES.iter().filter(|name| !name.starts_with("process_")).count(), "a metric is not in the list");
    assert_eq!(value(&metrics, r#"belfry_messages_published_total{rule="quotes.>",source="feed"}"#), "1");
    assert_eq!(value(&metrics, r#"belfry_shard_inbox_messages{shard="0"}"#), "0");
    assert_eq!(value(&metrics, r#"belfry_limit_hits_total{limit="outbox_total_bytes"}"#), "0");
    assert_eq!(value(&metrics, &format!(r#"belfry_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))), "1");
}

#[test]
fn a_hand_over_adds_the_counts_once() {
    let metrics = Arc::new(Metrics::new());
    let mut tally = Tally::new(Arc::clone(&metrics));
    let (quotes, chat) = (metrics.rule("tally.quotes.>"), metrics.rule("tally.chat.>"));
    tally.routed(chat, 6);
    tally.routed(quotes, 2);
    tally.delivered(chat, 3);
    tally.conflated(chat, 1);
    tally.dropped(chat, DropReason::Age, 1);
    tally.queued(chat, 4);
    tally.queued(chat, -3);
    tally.session_opened();
    tally.session_opened();
    tally.session_closed(CloseReason::Gone);
    tally.add(Gauge::OutboxBytes, 70);
    tally.fanout(Duration::from_micros(80));
    assert_eq!(metrics.totals(), Totals::default());
    tally.hand_over();
    tally.hand_over();
    assert_eq!(value(&metrics, r#"belfry_messages_routed_total{rule="tally.chat.>"}"#), "6");
    assert_eq!(value(&metrics, r#"belfry_messages_dropped_total{reason="age",rule="tally.chat.>"}"#), "1");
    assert_eq!(value(&metrics, r#"belfry_outbox_messages{rule="tally.chat.>"}"#), "1");
    assert_eq!(value(&metrics, r#"belfry_sessions_closed_total{reason="gone"}"#), "1");
    assert_eq!(value(&metrics, r#"belfry_fanout_seconds_bucket{le="0.0001"}"#), "1");
    assert_eq!(value(&metrics, r#"belfry_fanout_seconds_bucket{le="0.00005"}"#), "0");
    assert_eq!(metrics.totals(), Totals { sessions: 1, delivered: 3, outbox_bytes: 70, ..Totals::default() });
    tally.add(Gauge::OutboxBytes, -70);
    drop(tally);
    assert_eq!(metrics.totals().outbox_bytes, 0);
}

/// Two gateways in one process have one registry each.
#[test]
fn registries_have_separate_counts() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.limit_hit(LimitKey::Fds);
    assert_eq!(value(&one, r#"belfry_limit_hits_total{limit="fds"}"#), "1");
    assert_eq!(value(&other, r#"belfry_limit_hits_total{limit="fds"}"#), "0");
}

/// A rule keeps its series through reloads, and no two rules share one. The bug: beyond 65,535 labels they did.
#[test]
fn labels_and_indices_are_one_to_one() {
    let metrics = Metrics::new();
    let first: Vec<_> = (0..70_000).map(|number| metrics.rule(&format!("room{number}.>"))).collect();
    assert_eq!(metrics.rule("room69999.>"), first[69_999]);
    assert_eq!(metrics.rule(""), RuleId::default());
    metrics.published(first[69_999], PublishSource::Http);
    metrics.published(first[65_535], PublishSource::Http);
    assert_eq!(value(&metrics, r#"belfry_messages_published_total{rule="room69999.>",source="http"}"#), "1");
}
