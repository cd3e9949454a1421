//! PROTOCOL 3: `last`, `interval_ms`, and a subscribe to a topic that the session has.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, Setup, eventually, message, replayed};

/// PROTOCOL 3: the reply comes first, then the newest `last` messages of the history, then live messages.
#[test]
fn last_replays_the_newest_before_live_messages() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a"], json!({"last": 2}));
    session.expect_all([replayed("chat.a", &position.at(2), 2), replayed("chat.a", &position, 3)]);
    let next = gateway.publish("chat.a", "4");
    session.expect(message("chat.a", &next, 4));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `last` past the length of the history replays all of it. `last` 0 replays nothing.
#[test]
fn last_is_bounded_by_the_history() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut session = gateway.session();
    session.subscribe_with(&["quotes.A"], json!({"last": 1000}));
    session.expect_all([replayed("quotes.A", &position.at(1), 1), replayed("quotes.A", &position, 2)]);
    let mut other = gateway.session();
    other.subscribe_with(&["quotes.A"], json!({"last": 0}));
    other.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: the default of `last` is the rule's: 1 for quotes and 0 for chat in the base configuration.
#[test]
fn the_rules_last_is_the_default() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("quotes.A", ["1", "2"]);
    gateway.publish("chat.a", "3");
    let mut session = gateway.session();
    session.subscribe(&["quotes.A", "chat.a"]);
    session.expect(replayed("quotes.A", &position, 2));
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `last` replays the newest messages of each topic that a pattern matches.
#[test]
fn last_replays_each_topic_of_a_pattern() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish_all("quotes.A", ["1", "2"]), gateway.publish("quotes.B", "3"));
    let mut session = gateway.session();
    session.subscribe(&["quotes.*"]);
    let mut events = session.receive_all(2);
    events.sort_by_key(|event| event["topic"].to_string());
    assert_eq!(events, [replayed("quotes.A", &a, 2), replayed("quotes.B", &b, 3)]);
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: one subscribe replays a message once, however many of its names and patterns match.
#[test]
fn one_subscribe_replays_a_message_once() {
    let gateway = Gateway::start();
    let position = gateway.publish("chat.a", "1");
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a", "chat.*", "chat.>"], json!({"last": 10}));
    session.expect(replayed("chat.a", &position, 1));
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 8: a history has at most the rule's `history` messages.
#[test]
fn a_history_is_bounded_by_its_rule() {
    let gateway = Setup::new().rule("test.short", "history = 2").start();
    let position = gateway.publish_all("test.short", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["test.short"], json!({"last": 10}));
    session.expect_all([replayed("test.short", &position.at(2), 2), replayed("test.short", &position, 3)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 8: messages older than `history_ttl` are not replayed.
#[test]
fn messages_past_history_ttl_are_not_replayed() {
    let gateway = Setup::new().rule("test.brief", "history = 10\nhistory_ttl = \"200ms\"").start();
    gateway.publish("test.brief", "1");
    eventually("the message to expire", || {
        let history = gateway.admin("/v1/topics/test.brief/history");
        (history.status == 404 || history.json()["messages"] == json!([])).then_some(())
    });
    let mut session = gateway.session();
    session.subscribe_with(&["test.brief"], json!({"last": 10}));
    session.expect_quiet();
}

/// PROTOCOL 9: a replayed message counts as routed and as delivered.
#[test]
fn replayed_messages_count_as_routed_and_delivered() {
    let gateway = Gateway::start();
    gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a"], json!({"last": 3}));
    session.receive_all(3);
    gateway.expect_metric("messages_routed_total{rule=\"chat.>\"}", 3.0);
    gateway.expect_metric("deliveries_total{rule=\"chat.>\"}", 3.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a replay longer than `outbox_bytes` comes whole and in order. Live messages follow it.
#[test]
fn a_replay_does_not_count_against_the_outbox() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 16384").start();
    gateway.publish_many("test.a", 400, 1000);
    let mut session = gateway.slow_session();
    session.subscribe_with(&["test.a"], json!({"last": 1000}));
    gateway.publish_many("test.a", 20, 1000);
    let events = session.receive_all(420);
    let offsets: Vec<_> = events.iter().map(|event| event["offset"].as_u64().unwrap_or_default()).collect();
    assert_eq!(offsets, (1..=420).collect::<Vec<_>>(), "each message comes once");
    assert_eq!((&events[399]["replay"], &events[0]["replay"]), (&json!(true), &json!(true)));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a `gap` has the messages that history has evicted during a replay.
#[test]
fn a_replay_sends_a_gap_for_evicted_messages() {
    let gateway = Setup::new().without_rates().rule("test.short", "history = 100").start();
    gateway.publish_many("test.short", 100, 20_000);
    let mut session = gateway.slow_session();
    session.subscribe_with(&["test.short"], json!({"last": 100}));
    gateway.publish_many("test.short", 100, 20_000);
    let mut next = 1;
    while next <= 200 {
        let event = session.receive();
        match event["op"].as_str() {
            Some("gap") => {
                assert_eq!(event["from"], next, "{event}");
                next = event["to"].as_u64().unwrap() + 1;
            }
            Some("message") => {
                assert_eq!(event["offset"], next);
                next += 1;
            }
            _ => {}
        }
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: with `interval_ms` the first message comes at once, and the newest after the interval. Other sessions
/// get every message.
#[test]
fn an_interval_brings_the_first_message_and_then_the_newest() {
    const INTERVAL_MS: u64 = 1_000;
    let gateway = Gateway::start();
    let (mut session, mut other) = (gateway.session(), gateway.session());
    session.subscribe_with(&["test.a"], json!({"interval_ms": INTERVAL_MS}));
    other.subscribe(&["test.a"]);
    let start = Instant::now();
    let first = gateway.publish("test.a", "1");
    session.expect(message("test.a", &first, 1));
    let first_after = start.elapsed();
    let newest = gateway.publish_all("test.a", ["2", "3", "4"]);
    session.expect(message("test.a", &newest, 4));
    let newest_after = start.elapsed();
    // The gateway's clock is coarser than this one.
    let is_held = newest_after > Duration::from_millis(INTERVAL_MS * 9 / 10);
    assert!(is_held && first_after < newest_after / 2, "first after {first_after:?}, newest after {newest_after:?}");
    let offsets: Vec<_> = other.receive_all(4).iter().map(|event| event["offset"].clone()).collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    gateway.expect_metric("messages_conflated_total{rule=\"test.>\"}", 2.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an interval begins with a replayed message. The bug: a live message followed the replayed one at once.
#[test]
fn an_interval_begins_with_a_replayed_message() {
    let gateway = Gateway::start();
    let position = gateway.publish("test.a", "1");
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000, "last": 1}));
    session.expect(replayed("test.a", &position, 1));
    gateway.publish("test.a", "2");
    session.expect_quiet();
    gateway.expect_metric("outbox_messages{rule=\"test.>\"}", 1.0);
    session.send(json!({"op": "subscribe", "topics": ["test.a"], "interval_ms": 10}));
    session.expect(message("test.a", &position.at(2), 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an interval does not conflate the messages that `since` brings. It begins with the last of them.
#[test]
fn an_interval_does_not_conflate_a_recovery() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("test.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000, "since": {"test.a": position.at(1).json()}}));
    session.expect_all([replayed("test.a", &position.at(2), 2), replayed("test.a", &position, 3)]);
    gateway.publish("test.a", "4");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 9: a message that `interval_ms` holds back counts as in the outbox, and as dropped where its session ends.
#[test]
fn a_held_message_counts_as_in_the_outbox() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    let position = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect(message("test.a", &position.at(1), 1));
    session.expect_quiet();
    gateway.expect_metric("outbox_messages{rule=\"test.>\"}", 1.0);
    gateway.expect_metric("messages_conflated_total{rule=\"test.>\"}", 1.0);
    gateway.expect_accounts_closed();
    session.cut();
    gateway.expect_metric("messages_dropped_total{rule=\"test.>\",reason=\"closed\"}", 1.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: each topic of a pattern has an interval of its own.
#[test]
fn each_topic_of_a_pattern_has_its_own_interval() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.>"], json!({"interval_ms": 3_600_000}));
    let (a, b) = (gateway.publish_all("test.a", ["1", "2"]), gateway.publish("test.b", "3"));
    session.expect_all([message("test.a", &a.at(1), 1), message("test.b", &b, 3)]);
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `bad_request` for an `interval_ms` that is no whole number from 10 to 3,600,000.
#[test]
fn an_interval_out_of_range_is_a_bad_request() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for interval in [json!(9), json!(0), json!(3_600_001), json!(-10), json!("250"), json!(10.5)] {
        session.send(json!({"op": "subscribe", "id": 1, "topics": ["test.a"], "interval_ms": interval}));
        session.expect_error(1, "bad_request");
    }
    for interval in [10, 3_600_000] {
        session.subscribe_with(&["test.a"], json!({"interval_ms": interval}));
    }
}

/// PROTOCOL 3: the smallest interval of all matching subscriptions holds. A subscription without `interval_ms` counts
/// as 0.
#[test]
fn the_smallest_interval_holds() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    session.subscribe(&["test.>"]);
    let position = gateway.publish_all("test.a", ["1", "2"]);
    session.expect_all([message("test.a", &position.at(1), 1), message("test.a", &position, 2)]);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["test.>"]}));
    session.subscribe_with(&["test.*"], json!({"interval_ms": 10}));
    let position = gateway.publish_all("test.a", ["3", "4"]);
    let newest = std::iter::repeat_with(|| session.receive()).find(|event| event["offset"] == 4);
    assert_eq!(newest, Some(message("test.a", &position, 4)));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a subscribe to a topic that the session has replaces the options.
#[test]
fn subscribing_again_replaces_the_options() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    session.subscribe(&["test.a"]);
    let position = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect_all([message("test.a", &position.at(1), 1), message("test.a", &position.at(2), 2), message("test.a", &position, 3)]);
    assert_eq!(session.ask(json!({"op": "subscriptions", "id": 1}))["topics"], json!(["test.a"]));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a subscribe to a topic that the session has replays nothing, and ignores `since`.
#[test]
fn subscribing_again_replays_nothing() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    let position = gateway.publish_all("test.a", ["1", "2"]);
    session.receive_all(2);
    let entries = session.subscribe_with(&["test.a"], json!({"last": 10, "since": {"test.a": position.at(1).json()}}));
    assert_eq!(entries[0].get("recovered"), None::<&Value>, "{entries}");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an unsubscribe ends a replay.
#[test]
fn unsubscribing_ends_a_replay() {
    let gateway = Setup::new().without_rates().start();
    gateway.publish_many("test.a", 200, 50_000);
    let mut session = gateway.slow_session();
    session.send(json!({"op": "subscribe", "topics": ["test.a"], "last": 1000}));
    session.receive();
    session.send(json!({"op": "unsubscribe", "id": 2, "topics": ["test.a"]}));
    let events = std::iter::repeat_with(|| session.receive()).take_while(|event| event["op"] != "unsubscribed").count();
    assert!(events < 200, "the whole replay came");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 7: held messages that gave way to `outbox_bytes` are told by a gap. The bug: the newest message of a
/// topic was missing, and nothing told the session.
#[test]
fn held_messages_that_gave_way_are_told_by_a_gap() {
    let limits = Setup::new().without_rates().limits("outbox_bytes = 10000");
    let gateway = limits.rule("test.>", "on_slow = \"drop_oldest\"").start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.>"], json!({"interval_ms": 500}));
    let (topics, data) = (["test.a", "test.b", "test.c", "test.d", "test.e"], json!("x".repeat(3_000)).to_string());
    (0..2).for_each(|_| topics.into_iter().for_each(|topic| _ = gateway.publish(topic, &data)));
    let told = session.receive_all(10);
    assert!(told[..5].iter().all(|event| event["op"] == "message"), "the first of each topic comes at once");
    let (gaps, messages): (Vec<&Value>, Vec<&Value>) = told[5..].iter().partition(|event| event["op"] == "gap");
    assert!(gaps.iter().all(|gap| gap["from"] == gap["to"]) && messages.iter().all(|event| event["op"] == "message"));
    assert!(!gaps.is_empty());
    gateway.expect_metric("messages_dropped_total{rule=\"test.>\",reason=\"slow\"}", gaps.len() as f64);
    let mut told: Vec<&Value> = told[5..].iter().map(|event| &event["topic"]).collect();
    told.sort_by_key(|topic| topic.to_string());
    assert_eq!(told, topics);
    gateway.expect_accounts_closed();
}
