//! Each scenario at a small scale against a real gateway.

use crate::program::{each_at_once, run, run_with_gateway};

/// The dialects in which a session takes many topics.
const DIALECTS: [&str; 5] = ["json", "sse", "stream", "centrifugo-json", "centrifugo-protobuf"];

#[test]
fn fanout_reaches_everybody_in_each_dialect() {
    each_at_once(DIALECTS.into_iter().chain(["raw"]), |dialect| {
        let outcome = run_with_gateway(&["fanout", "--sessions", "50", "--dialect", dialect]);
        outcome.expect_all_well();
        assert!(outcome.number("/server/cpu_us_per_delivery") > 0.0, "{outcome:?}");
        assert!(outcome.number("/metrics/belfry_deliveries_total") >= outcome.number("/deliveries"), "{outcome:?}");
    });
}

#[test]
fn fanout_with_deflate_reaches_everybody() {
    run_with_gateway(&["fanout", "--sessions", "50", "--deflate", "--payload", "600"]).expect_all_well();
}

/// Each session inflates in its own window, and messages that refer to earlier ones are far shorter.
#[test]
fn fanout_with_history_in_deflate_reaches_everybody() {
    each_at_once([("fanout", "json"), ("fanout", "raw"), ("market", "json")], |(scenario, dialect)| {
        let arguments = [scenario, "--sessions", "40", "--topics", "20", "--rate", "200", "--dialect", dialect];
        let plain = run_with_gateway(&arguments);
        plain.expect_all_well();
        let history = run_with_gateway(&[&arguments[..], &["--deflate=history"]].concat());
        history.expect_all_well();
        let (whole, wire) = (plain.number("/bytes_per_delivery"), history.number("/bytes_per_delivery"));
        assert!(wire < whole / 2.0, "{scenario}, {dialect}: {wire} of {whole}");
        assert!((history.number("/inflated_bytes_per_delivery") - whole).abs() < 3.0, "offsets have more digits: {history:?}");
        assert!(history.number("/metrics/belfry_deflate_parses_total") > 0.0, "{history:?}");
    });
}

#[test]
fn a_gateway_without_history_in_deflate_is_refused() {
    let outcome = run_with_gateway(&["fanout", "--sessions", "2", "--deflate=history", "--set", "deflate.history=false"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.errors.contains("keep their windows"), "{}", outcome.errors);
}

#[test]
fn a_closed_loop_publishes_at_the_highest_rate() {
    let outcome = run_with_gateway(&["fanout", "--sessions", "5", "--ahead", "4"]);
    outcome.expect_all_well();
    assert!(outcome.number("/published") > 100.0, "{outcome:?}");
}

#[test]
fn market_reaches_everybody_in_each_dialect() {
    each_at_once(DIALECTS, |dialect| {
        let outcome = run_with_gateway(&["market", "--sessions", "40", "--topics", "20", "--rate", "200", "--dialect", dialect]);
        outcome.expect_all_well();
        assert!(outcome.number("/metrics/belfry_deliveries_total") >= outcome.number("/deliveries"), "{dialect}: {outcome:?}");
    });
}

/// Several messages share a write of a stream, and a payload is longer than the bytes that are copied into a shared
/// write.
#[test]
fn streams_carry_bursts_and_long_messages() {
    let loads = [&["--burst", "16", "--rate", "400"][..], &["--payload", "20000", "--rate", "40"], &["--ahead", "8"]];
    for dialect in ["sse", "stream"] {
        each_at_once(loads, |load| {
            run_with_gateway(&[&["fanout", "--sessions", "20", "--dialect", dialect], load].concat()).expect_all_well();
        });
    }
}

#[test]
fn chat_reaches_everybody_in_each_dialect() {
    each_at_once(["json", "raw", "centrifugo-json", "centrifugo-protobuf"], |dialect| {
        run_with_gateway(&["chat", "--sessions", "40", "--topics", "4", "--dialect", dialect]).expect_all_well();
    });
}

#[test]
fn idle_reports_the_memory_of_a_session() {
    // The sessions take more memory than the gateway's start has left free.
    let outcome = run_with_gateway(&["idle", "--sessions", "6000"]);
    outcome.expect_all_well();
    assert!(outcome.number("/figures/resident_bytes_per_session") > 0.0, "{outcome:?}");
    assert!(outcome.number("/deliveries") > 0.0, "{outcome:?}");
}

#[test]
fn handshake_reports_the_cost_of_a_session() {
    for dialect in ["json", "raw", "sse", "centrifugo-protobuf"] {
        let outcome = run_with_gateway(&["handshake", "--sessions", "100", "--dialect", dialect]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(outcome.number("/figures/handshake_cpu_us") > 0.0, "{outcome:?}");
        assert_eq!(outcome.number("/metrics/belfry_sessions_opened_total"), 111.0, "the publisher, a tenth before, all: {outcome:?}");
    }
}

/// PROTOCOL 5: messages that are due at the same time are one batch of POST /v1/publish.
#[test]
fn publishing_over_http_reaches_everybody() {
    let loads = [("json", "market"), ("raw", "fanout"), ("sse", "fanout"), ("centrifugo-protobuf", "market")];
    each_at_once(loads, |(dialect, topics)| {
        let outcome = run_with_gateway(&[topics, "--sessions", "20", "--publish-by", "http", "--burst", "5", "--dialect", dialect]);
        outcome.expect_all_well();
        assert_eq!(outcome.number("/metrics/belfry_sessions_opened_total"), 20.0, "no session publishes: {outcome:?}");
    });
}

#[test]
fn publishing_over_http_reports_refusals() {
    let once = ["--set", "limits.commands_per_second=1", "--set", "limits.commands_burst=1"];
    let outcome = run_with_gateway(&[&["fanout", "--sessions", "2", "--publish-by", "http"], &once[..]].concat());
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(outcome.number("/verdict/errors/http 429/0") > 0.0, "{outcome:?}");
}

#[test]
fn sessions_recover_after_a_storm() {
    for dialect in DIALECTS {
        let outcome = run_with_gateway(&["storm", "--sessions", "50", "--dialect", dialect]);
        outcome.expect_all_well();
        assert_eq!(outcome.number("/figures/recovered_sessions"), 45.0, "{dialect}: {outcome:?}");
    }
}

#[test]
fn slow_sessions_do_not_harm_the_others() {
    for dialect in DIALECTS.into_iter().chain(["raw"]) {
        // 17 messages, which is a third of a second, fill an outbox. So a session that reads may pause for that long on a
        // busy machine. One that stalls pauses for 0.8 s.
        let load = ["--sessions", "20", "--payload", "60000", "--rate", "50", "--duration", "1.6"];
        let outcome = run_with_gateway(&[&["slow", "--dialect", dialect], &load[..]].concat());
        outcome.expect_all_well();
        assert_eq!(outcome.number("/figures/stalled_sessions"), 2.0, "{dialect}: {outcome:?}");
        assert_eq!(outcome.number("/figures/closed_sessions"), 2.0, "the rule `disconnect`: {dialect}: {outcome:?}");
        let back = if dialect == "raw" { 0.0 } else { 2.0 };
        assert_eq!(outcome.number("/figures/recovered_sessions"), back, "sessions that resumed: {dialect}: {outcome:?}");
    }
}

#[test]
fn churn_loses_no_message_after_a_subscribe() {
    for dialect in ["json", "centrifugo-json", "centrifugo-protobuf"] {
        let outcome = run_with_gateway(&["churn", "--sessions", "50", "--topics", "5", "--rate", "300", "--dialect", dialect]);
        outcome.expect_all_well();
        assert!(outcome.number("/figures/subscriptions_changed") > 0.0, "{dialect}: {outcome:?}");
    }
}

#[test]
fn a_drain_is_announced_and_ends_in_time() {
    for dialect in DIALECTS.into_iter().chain(["raw"]) {
        let outcome = run_with_gateway(&["drain", "--sessions", "50", "--set", "server.drain=500ms", "--dialect", dialect]);
        outcome.expect_all_well();
        let code = if dialect.starts_with("centrifugo") { "3001" } else { "1001" };
        assert_eq!(outcome.number(&format!("/verdict/closes/{code}")), 51.0, "{dialect}: {outcome:?}");
    }
}

#[test]
fn baseline_has_a_report_for_each_way_of_sending() {
    let outcome = run(&["baseline", "--sessions", "20", "--ahead", "4"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let reports = outcome.report.as_array().expect("several reports");
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|report| report["deliveries"].as_u64() > Some(0)), "{reports:?}");
}

#[test]
fn compare_reports_ratios_to_the_first_server() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("page.html");
    let page = file.to_str().expect("the folder's path is text");
    let servers = "json,sse,stream,centrifugo-json,centrifugo-protobuf,baseline";
    let outcome = run_with_gateway(&["compare", "--with", servers, "--repeat", "2", "--sessions", "10", "--html", page]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let page = std::fs::read_to_string(file).expect("the page is written");
    assert!(page.contains("<small>1.00 (1.00–1.00)</small>") && !page.contains("NaN"), "{page}");
    assert!(servers.split(',').all(|server| page.contains(server)), "{page}");
    assert_eq!(outcome.report.as_array().map(Vec::len), Some(12), "{outcome:?}");
}

#[test]
fn compare_runs_each_scenario() {
    let works = [&["market", "--topics", "10"][..], &["idle"], &["handshake"], &["fanout", "--ahead", "4"], &["fanout", "--burst", "4"]];
    each_at_once(works, |work| {
        let arguments =
            ["compare", "--with", "json,json+deflate,json+history", "--repeat", "1", "--sessions", "20", "--payload", "400", "--scenario"];
        let outcome = run_with_gateway(&[&arguments[..], work].concat());
        assert_eq!(outcome.status, 0, "{work:?}: {outcome:?}");
        assert_eq!(outcome.report.as_array().map(Vec::len), Some(3), "{work:?}: {outcome:?}");
    });
}

#[test]
fn a_server_that_does_not_listen_is_reported() {
    let outcome = run(&["fanout", "--url", "ws://127.0.0.1:1/ws"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.errors.contains("127.0.0.1:1") && outcome.errors.contains("refused"), "{}", outcome.errors);
}
