//! PROTOCOL 9: the metrics.

use serde_json::json;

use crate::gateway::{FEED, Gateway, Session, Setup, eventually, message};

/// PROTOCOL 9: a metric without labels is in the first scrape, with its help and its type.
#[test]
fn metrics_without_labels_are_in_the_first_scrape() {
    let gateway = Gateway::start();
    let text = gateway.get("/metrics").text();
    let names = [
        "sessions",
        "sessions_opened_total",
        "topics",
        "subscriptions",
        "delivered_bytes_total",
        "received_bytes_total",
        "fanout_seconds_bucket",
        "fanout_seconds_sum",
        "fanout_seconds_count",
        "outbox_bytes",
        "slow_sessions",
        "deflate_in_bytes_total",
        "deflate_out_bytes_total",
        "history_bytes",
    ];
    for name in names {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("belfry_{name} ")) || line.starts_with(&format!("belfry_{name}{{"))),
            "{name} is missing"
        );
        let family = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(
            text.contains(&format!("# HELP belfry_{family} ")) && text.contains(&format!("# TYPE belfry_{family} ")),
            "{family} is not described"
        );
    }
    assert!(text.contains(&format!("belfry_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.contains("process_resident_memory_bytes"), "the process_* family is missing");
}

/// PROTOCOL 9: a labelled series appears with its first use.
#[test]
fn labelled_series_appear_with_their_first_use() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let position = gateway.publish_all("quotes.A", ["1", "2"]);
    session.subscribe_with(&["quotes.A"], json!({"since": {"quotes.A": position.json()}}));
    session.ask(json!({"op": "fly"}));
    gateway.refusal("/nothing", &[]);
    gateway.post("/v1/topics/quotes.A", "x".repeat(70_000));
    drop(session);
    gateway.expect_metric("sessions_closed_total{reason=\"gone\"}", 1.0);
    let series = [
        "messages_published_total{rule=\"quotes.>\",source=\"http\"}",
        "commands_total{op=\"subscribe\"}",
        "commands_total{op=\"other\"}",
        "command_errors_total{code=\"unknown_op\"}",
        "recoveries_total{result=\"recovered\"}",
        "handshakes_rejected_total{reason=\"not_found\"}",
        "limit_hits_total{limit=\"message_bytes\"}",
    ];
    for name in series {
        eventually(name, || (gateway.metrics().value(name) >= 1.0).then_some(()));
    }
    let all = gateway.metrics().series();
    for shard in ["0", "1"] {
        assert!(all.contains(&format!("belfry_shard_inbox_messages{{shard=\"{shard}\"}}")), "{all:?}");
    }
}

/// PROTOCOL 9: `messages_published_total` has the label `source`: a session, HTTP, or the gateway itself.
#[test]
fn publishes_are_counted_by_source() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.ask(json!({"op": "publish", "id": 1, "topic": "chat.a", "data": 1}));
    gateway.publish("chat.a", "2");
    gateway.post("/v1/publish", "{\"topic\":\"chat.a\",\"data\":3}\n{\"topic\":\"plain.a\",\"data\":4}");
    gateway.publish_as("private.a", "5", &[FEED]);
    gateway.expect_metric("messages_published_total{rule=\"chat.>\",source=\"session\"}", 1.0);
    gateway.expect_metric("messages_published_total{rule=\"chat.>\",source=\"http\"}", 2.0);
    gateway.expect_metric("messages_published_total{rule=\"\",source=\"http\"}", 1.0);
    gateway.expect_metric("messages_published_total{rule=\"private.>\",source=\"http\"}", 1.0);
    eventually("the stats to be counted", || {
        (gateway.metrics().value("messages_published_total{rule=\"\",source=\"gateway\"}") >= 1.0).then_some(())
    });
}

/// PROTOCOL 9: `messages_routed_total` counts message × subscriber. A message with `echo:false` is not routed to its
/// sender.
#[test]
fn routed_is_message_times_subscriber() {
    let gateway = Gateway::start();
    let (mut one, mut two, mut raw) = (gateway.session(), gateway.session(), gateway.dial("/raw/chat.a"));
    one.subscribe(&["chat.a", "chat.>"]);
    two.subscribe(&["chat.*"]);
    let position = gateway.publish("chat.a", "1");
    one.expect(message("chat.a", &position, 1));
    two.expect(message("chat.a", &position, 1));
    one.send(json!({"op": "publish", "topic": "chat.a", "data": 2, "echo": false}));
    two.expect(message("chat.a", &position.at(2), 2));
    raw.next_message();
    raw.next_message();
    gateway.expect_metric("messages_routed_total{rule=\"chat.>\"}", 5.0);
    gateway.expect_metric("deliveries_total{rule=\"chat.>\"}", 5.0);
    gateway.expect_accounts_closed();
    let samples = gateway.metrics();
    assert!(samples.value("delivered_bytes_total") > 0.0 && samples.value("received_bytes_total") > 0.0);
    assert!(samples.value("fanout_seconds_count") > 0.0);
}

/// PROTOCOL 9: the input of a client creates no series.
#[test]
fn input_of_a_client_creates_no_series() {
    let gateway = Setup::new().without_rates().start();
    let mut session = gateway.session();
    let use_once = |session: &mut Session, n: usize| {
        let word = format!("w{n}");
        let topic = format!("chat.{word}");
        session.ask(json!({"op": word, "id": word}));
        session.subscribe(&[&topic]);
        gateway.publish(&topic, "1");
        session.receive();
        session.ask(json!({"op": "publish", "id": n, "topic": "private.x", "data": 1}));
        gateway.refusal(&format!("/{word}"), &[]);
        gateway.request(["BREW", "FETCH"][n & 1], &format!("/{word}"), &[("User-Agent", &word)], b"");
    };
    use_once(&mut session, 0);
    use_once(&mut session, 1);
    gateway.expect_accounts_closed();
    let before = gateway.metrics().series();
    (2..40).for_each(|n| use_once(&mut session, n));
    gateway.expect_accounts_closed();
    let after = gateway.metrics().series();
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), [] as [&String; 0]);
    assert!(after.iter().all(|series| !series.contains("chat.w")), "no topic is a label");
}

/// PROTOCOL 9: `topics` and `subscriptions` are the numbers of those that exist.
#[test]
fn topics_and_subscriptions_are_counted() {
    let gateway = Gateway::start();
    let before = gateway.metrics().value("topics");
    let mut session = gateway.session();
    session.subscribe(&["chat.a", "chat.b", "chat.>"]);
    gateway.expect_metric("subscriptions", 3.0);
    eventually("two more topics, and perhaps the gateway's own", || {
        let now = gateway.metrics().value("topics") - before;
        (2.0..=3.0).contains(&now).then_some(())
    });
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["chat.a"]}));
    gateway.expect_metric("subscriptions", 2.0);
    drop(session);
    gateway.expect_metric("subscriptions", 0.0);
}
