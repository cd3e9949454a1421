//! PROTOCOL 3: `last`, `interval_ms` and subscribing again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, Setup, message, replayed};

/// PROTOCOL 3: first the reply, then the newest `last` of the history, then what is live.
#[test]
fn last_replays_the_newest_before_what_is_live() {
    let gateway = Gateway::start();
    let place = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a"], json!({"last": 2}));
    session.expect_all([replayed("chat.a", &place.at(2), 2), replayed("chat.a", &place, 3)]);
    let next = gateway.publish("chat.a", "4");
    session.expect(message("chat.a", &next, 4));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `last` past the history replays all of it; `last` 0 nothing.
#[test]
fn last_is_bounded_by_the_history() {
    let gateway = Gateway::start();
    let place = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut session = gateway.session();
    session.subscribe_with(&["quotes.A"], json!({"last": 1000}));
    session.expect_all([replayed("quotes.A", &place.at(1), 1), replayed("quotes.A", &place, 2)]);
    let mut other = gateway.session();
    other.subscribe_with(&["quotes.A"], json!({"last": 0}));
    other.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: the rule's `last` is the default: a subscriber sees a price at once, and no old chat.
#[test]
fn the_rules_last_is_the_default() {
    let gateway = Gateway::start();
    let place = gateway.publish_all("quotes.A", ["1", "2"]);
    gateway.publish("chat.a", "3");
    let mut session = gateway.session();
    session.subscribe(&["quotes.A", "chat.a"]);
    session.expect(replayed("quotes.A", &place, 2));
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `last` brings the newest of each existing topic of a pattern, and a rule's default holds for each.
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

/// PROTOCOL 3: one subscribe replays a message once, whatever matches.
#[test]
fn one_subscribe_replays_a_message_once() {
    let gateway = Gateway::start();
    let place = gateway.publish("chat.a", "1");
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a", "chat.*", "chat.>"], json!({"last": 10}));
    session.expect(replayed("chat.a", &place, 1));
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: what the history no longer has is not replayed.
#[test]
fn the_history_keeps_what_its_rule_says() {
    let gateway = Setup::new().rule("test.short", "history = 2").start();
    let place = gateway.publish_all("test.short", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["test.short"], json!({"last": 10}));
    session.expect_all([replayed("test.short", &place.at(2), 2), replayed("test.short", &place, 3)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 8: what is older than `history_ttl` is not replayed.
#[test]
fn the_history_forgets_after_its_ttl() {
    let gateway = Setup::new().rule("test.brief", "history = 10\nhistory_ttl = \"200ms\"").start();
    gateway.publish("test.brief", "1");
    crate::gateway::eventually("the message to be forgotten", || {
        let history = gateway.admin("/v1/topics/test.brief/history");
        (history.status == 404 || history.json()["messages"] == json!([])).then_some(())
    });
    let mut session = gateway.session();
    session.subscribe_with(&["test.brief"], json!({"last": 10}));
    session.expect_quiet();
}

/// PROTOCOL 9: replayed messages count as routed and delivered too.
#[test]
fn replayed_messages_are_in_the_accounts() {
    let gateway = Gateway::start();
    gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["chat.a"], json!({"last": 3}));
    session.receive_all(3);
    gateway.expect_metric("messages_routed_total{rule=\"chat.>\"}", 3.0);
    gateway.expect_metric("deliveries_total{rule=\"chat.>\"}", 3.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a long replay comes whole and in order, past `outbox_bytes`, and what is live after it.
#[test]
fn a_replay_does_not_count_against_the_outbox() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 16384").start();
    gateway.publish_many("test.a", 400, 1000);
    let mut session = gateway.slow_session();
    session.subscribe_with(&["test.a"], json!({"last": 1000}));
    gateway.publish_many("test.a", 20, 1000);
    let events = session.receive_all(420);
    let offsets: Vec<_> = events.iter().map(|event| event["offset"].as_u64().unwrap_or_default()).collect();
    assert_eq!(offsets, (1..=420).collect::<Vec<_>>(), "a message of a replay is neither missing nor twice");
    assert_eq!((&events[399]["replay"], &events[0]["replay"]), (&json!(true), &json!(true)));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: where history gives way before a session has read it, a `gap` says so.
#[test]
fn a_gap_tells_what_a_replay_lost() {
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

/// PROTOCOL 3: `interval_ms`: the first at once, then the newest, conflated for this session alone, without a gap.
#[test]
fn an_interval_brings_the_first_and_then_the_newest() {
    let gateway = Gateway::start();
    let (mut session, mut other) = (gateway.session(), gateway.session());
    let start = Instant::now();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 400}));
    other.subscribe(&["test.a"]);
    let place = gateway.publish_all("test.a", ["1", "2", "3", "4"]);
    session.expect(message("test.a", &place.at(1), 1));
    assert!(start.elapsed() < Duration::from_millis(400), "the first comes at once (or this machine is too slow for this test)");
    session.expect(message("test.a", &place, 4));
    assert!(start.elapsed() >= Duration::from_millis(390), "the newest came after {:?}", start.elapsed());
    let offsets: Vec<_> = other.receive_all(4).iter().map(|event| event["offset"].clone()).collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    gateway.expect_metric("messages_conflated_total{rule=\"test.>\"}", 2.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: at most one message per topic in the interval, and a replayed one is the first. (A live one followed it at once.)
#[test]
fn an_interval_counts_from_the_replay() {
    let gateway = Gateway::start();
    let place = gateway.publish("test.a", "1");
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000, "last": 1}));
    session.expect(replayed("test.a", &place, 1));
    gateway.publish("test.a", "2");
    session.expect_quiet();
    gateway.expect_metric("outbox_messages{rule=\"test.>\"}", 1.0);
    session.send(json!({"op": "subscribe", "topics": ["test.a"], "interval_ms": 10}));
    session.expect(message("test.a", &place.at(2), 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `since` brings all that was missed, whatever the interval, which counts from the last of it.
#[test]
fn an_interval_leaves_a_recovery_whole() {
    let gateway = Gateway::start();
    let place = gateway.publish_all("test.a", ["1", "2", "3"]);
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000, "since": {"test.a": place.at(1).json()}}));
    session.expect_all([replayed("test.a", &place.at(2), 2), replayed("test.a", &place, 3)]);
    gateway.publish("test.a", "4");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 9: a message held back by `interval_ms` is in the outbox.
#[test]
fn a_message_held_back_is_in_the_outbox() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    let place = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect(message("test.a", &place.at(1), 1));
    session.expect_quiet();
    gateway.expect_metric("outbox_messages{rule=\"test.>\"}", 1.0);
    gateway.expect_metric("messages_conflated_total{rule=\"test.>\"}", 1.0);
    gateway.expect_accounts_closed();
    session.cut();
    gateway.expect_metric("messages_dropped_total{rule=\"test.>\",reason=\"closed\"}", 1.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an interval holds for each topic of a pattern by itself.
#[test]
fn an_interval_holds_for_each_topic_by_itself() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.>"], json!({"interval_ms": 3_600_000}));
    let (a, b) = (gateway.publish_all("test.a", ["1", "2"]), gateway.publish("test.b", "3"));
    session.expect_all([message("test.a", &a.at(1), 1), message("test.b", &b, 3)]);
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an interval is from 10 to 3,600,000 ms.
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

/// PROTOCOL 3: where several subscriptions match, the smallest interval holds, and one without it counts as 0.
#[test]
fn the_smallest_interval_of_several_holds() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    session.subscribe(&["test.>"]);
    let place = gateway.publish_all("test.a", ["1", "2"]);
    session.expect_all([message("test.a", &place.at(1), 1), message("test.a", &place, 2)]);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["test.>"]}));
    session.subscribe_with(&["test.*"], json!({"interval_ms": 10}));
    let place = gateway.publish_all("test.a", ["3", "4"]);
    let newest = std::iter::repeat_with(|| session.receive()).find(|event| event["offset"] == 4);
    assert_eq!(newest, Some(message("test.a", &place, 4)));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: subscribing to what one has replaces its options.
#[test]
fn subscribing_again_replaces_the_options() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    session.subscribe(&["test.a"]);
    let place = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect_all([message("test.a", &place.at(1), 1), message("test.a", &place.at(2), 2), message("test.a", &place, 3)]);
    assert_eq!(session.ask(json!({"op": "subscriptions", "id": 1}))["topics"], json!(["test.a"]));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: subscribing to what one has replays nothing for `last`, and `since` is ignored.
#[test]
fn subscribing_again_replays_nothing() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    let place = gateway.publish_all("test.a", ["1", "2"]);
    session.receive_all(2);
    let entries = session.subscribe_with(&["test.a"], json!({"last": 10, "since": {"test.a": place.at(1).json()}}));
    assert_eq!(entries[0].get("recovered"), None::<&Value>, "{entries}");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: unsubscribing ends a replay.
#[test]
fn unsubscribing_ends_a_replay() {
    let gateway = Setup::new().without_rates().start();
    gateway.publish_many("test.a", 200, 50_000);
    let mut session = gateway.slow_session();
    session.send(json!({"op": "subscribe", "topics": ["test.a"], "last": 1000}));
    session.receive();
    session.send(json!({"op": "unsubscribe", "id": 2, "topics": ["test.a"]}));
    let events = std::iter::repeat_with(|| session.receive()).take_while(|event| event["op"] != "unsubscribed").count();
    assert!(events < 200, "the replay went on to its end");
    session.expect_quiet();
    gateway.expect_accounts_closed();
}
