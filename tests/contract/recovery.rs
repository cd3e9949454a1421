//! PROTOCOL 3: `since`: each missed message once, or `"recovered":false`.

use serde_json::json;

use crate::gateway::{Gateway, Setup, message, replayed};

/// PROTOCOL 3: `since` brings the missed messages in order, each once, with `"recovered":true`. Live messages follow.
#[test]
fn since_brings_what_was_missed() {
    let gateway = Gateway::start();
    let seen = gateway.publish("chat.lobby", "1");
    let newest = gateway.publish_all("chat.lobby", ["2", "3"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.lobby"], json!({"since": {"chat.lobby": seen.json()}}));
    assert_eq!(entries, json!([{"topic": "chat.lobby", "epoch": seen.epoch, "offset": 3, "recovered": true}]));
    late.expect_all([replayed("chat.lobby", &seen.at(2), 2), replayed("chat.lobby", &newest, 3)]);
    let next = gateway.publish("chat.lobby", "4");
    late.expect(message("chat.lobby", &next, 4));
    gateway.expect_metric("recoveries_total{result=\"recovered\"}", 1.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a message that an interval holds back when its topic is recovered comes once, replayed. The bug: it came
/// twice.
#[test]
fn a_held_message_of_a_recovered_topic_comes_once() {
    let gateway = Gateway::start();
    for (topics, interval) in [("test.a", None), ("test.a", Some(40)), ("test.>", None), ("test.>", Some(40))] {
        let mut session = gateway.session();
        session.subscribe_with(&["test.*"], json!({"interval_ms": 3_600_000, "last": 0}));
        let first = gateway.publish("test.a", "1");
        session.expect(message("test.a", &first, 1));
        let held = gateway.publish("test.a", "2");
        let mut options = json!({"since": {"test.a": first.json()}});
        interval.into_iter().for_each(|interval: u64| options["interval_ms"] = interval.into());
        session.subscribe_with(&[topics], options);
        session.expect(replayed("test.a", &held, 2));
        // The next message comes after the interval, and none before it.
        let next = gateway.publish("test.a", "3");
        session.expect(message("test.a", &next, 3));
        session.expect_quiet();
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `last` has no effect on a topic that is recovered.
#[test]
fn since_overrides_last() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2", "3"]);
    let mut late = gateway.session();
    late.subscribe_with(&["quotes.A"], json!({"last": 3, "since": {"quotes.A": newest.at(2).json()}}));
    late.expect(replayed("quotes.A", &newest, 3));
    late.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a session that missed no message is recovered, and `last` replays nothing.
#[test]
fn a_session_that_missed_nothing_is_recovered() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A"], json!({"last": 2, "since": {"quotes.A": newest.json()}}));
    assert_eq!(entries[0]["recovered"], true, "{entries}");
    late.expect_quiet();
}

/// PROTOCOL 3: `since` with offset 0 brings all messages.
#[test]
fn since_0_brings_all_messages() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": newest.at(0).json()}}));
    assert_eq!(entries[0]["recovered"], true, "{entries}");
    late.expect_all([replayed("chat.a", &newest.at(1), 1), replayed("chat.a", &newest, 2)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: where history no longer reaches back: `"recovered":false`, then a replay as with `last`.
#[test]
fn history_that_no_longer_reaches_back_is_not_recovered() {
    let gateway = Setup::new().rule("quotes.short", "history = 2\nlast = 1").start();
    let newest = gateway.publish_all("quotes.short", ["1", "2", "3", "4"]);
    let since = json!({"quotes.short": newest.at(1).json()});
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.short"], json!({"since": since}));
    assert_eq!(entries, json!([{"topic": "quotes.short", "epoch": newest.epoch, "offset": 4, "recovered": false}]));
    late.expect(replayed("quotes.short", &newest, 4));
    late.expect_quiet();
    let mut other = gateway.session();
    other.subscribe_with(&["quotes.short"], json!({"since": since, "last": 2}));
    other.expect_all([replayed("quotes.short", &newest.at(3), 3), replayed("quotes.short", &newest, 4)]);
    gateway.expect_metric("recoveries_total{result=\"lost\"}", 2.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a topic is recovered where the oldest message in its history is the first after the offset.
#[test]
fn history_that_just_reaches_back_is_recovered() {
    let gateway = Setup::new().rule("quotes.short", "history = 2").start();
    let newest = gateway.publish_all("quotes.short", ["1", "2", "3", "4"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.short"], json!({"since": {"quotes.short": newest.at(2).json()}}));
    assert_eq!(entries[0]["recovered"], true, "{entries}");
    late.expect_all([replayed("quotes.short", &newest.at(3), 3), replayed("quotes.short", &newest, 4)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: another epoch: `"recovered":false`, then a replay as with `last`.
#[test]
fn another_epoch_is_not_recovered() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A"], json!({"since": {"quotes.A": {"epoch": "anotherepoch", "offset": 1}}}));
    assert_eq!(entries, json!([{"topic": "quotes.A", "epoch": newest.epoch, "offset": 2, "recovered": false}]));
    late.expect(replayed("quotes.A", &newest, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an offset that lies ahead: `"recovered":false`, then a replay as with `last`.
#[test]
fn an_offset_ahead_is_not_recovered() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A"], json!({"since": {"quotes.A": newest.at(3).json()}}));
    assert_eq!(entries[0]["recovered"], false, "{entries}");
    late.expect(replayed("quotes.A", &newest, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 1: a restart begins a new epoch of each topic.
#[test]
fn a_restart_makes_a_new_epoch() {
    let before = Gateway::start().publish("chat.a", "1");
    let gateway = Gateway::start();
    assert_ne!(gateway.publish("chat.a", "1").epoch, before.epoch);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": before.json()}}));
    assert_eq!(entries[0]["recovered"], false, "{entries}");
}

/// PROTOCOL 3: a topic that no longer exists is not recovered, as one with another epoch.
#[test]
fn a_topic_that_no_longer_exists_is_not_recovered() {
    let gateway = Gateway::start();
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": {"epoch": "anotherepoch", "offset": 7}}}));
    assert_eq!((&entries[0]["recovered"], &entries[0]["offset"]), (&json!(false), &json!(0)), "{entries}");
}

/// PROTOCOL 3: a topic that `since` does not name has no `recovered`, and is replayed by `last`.
#[test]
fn a_topic_that_since_does_not_name_is_replayed_by_last() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish_all("quotes.A", ["1", "2"]), gateway.publish_all("quotes.B", ["3", "4"]));
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A", "quotes.B"], json!({"since": {"quotes.A": a.at(1).json()}}));
    let expected = json!([{"topic": "quotes.A", "epoch": a.epoch, "offset": 2, "recovered": true}, {"topic": "quotes.B", "epoch": b.epoch, "offset": 2}]);
    assert_eq!(entries, expected);
    let mut events = late.receive_all(2);
    events.sort_by_key(|event| event["topic"].to_string());
    assert_eq!(events, [replayed("quotes.A", &a, 2), replayed("quotes.B", &b, 4)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a topic in `since` that a pattern matches has an entry of its own. The pattern's entry has no
/// `recovered` where no other topic matches.
#[test]
fn a_pattern_recovers_the_topics_that_since_names() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2"]);
    let mut late = gateway.session();
    let mut entries = late.subscribe_with(&["chat.>"], json!({"since": {"chat.a": newest.at(1).json()}}));
    entries.as_array_mut().unwrap().sort_by_key(|entry| std::cmp::Reverse(entry["topic"].to_string()));
    assert_eq!(entries, json!([{"topic": "chat.a", "epoch": newest.epoch, "offset": 2, "recovered": true}, {"topic": "chat.>"}]));
    late.expect(replayed("chat.a", &newest, 2));
    late.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a topic that a pattern matches and `since` does not name is replayed by `last`, and the pattern's entry
/// has `"recovered":false`.
#[test]
fn a_pattern_with_a_topic_that_since_does_not_name_is_not_recovered() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish_all("quotes.A", ["1", "2"]), gateway.publish_all("quotes.B", ["3", "4"]));
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.>"], json!({"since": {"quotes.A": a.at(1).json()}}));
    let of = |topic: &str| entries.as_array().unwrap().iter().find(|entry| entry["topic"] == topic).unwrap();
    assert_eq!(of("quotes.>"), &json!({"topic": "quotes.>", "recovered": false}));
    assert_eq!(of("quotes.A"), &json!({"topic": "quotes.A", "epoch": a.epoch, "offset": 2, "recovered": true}));
    assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
    let mut events = late.receive_all(2);
    events.sort_by_key(|event| event["topic"].to_string());
    assert_eq!(events, [replayed("quotes.A", &a, 2), replayed("quotes.B", &b, 4)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 9: a topic in `since` that no longer exists has an entry without a position, and counts as `lost`.
/// The bug: it was not counted.
#[test]
fn a_topic_of_a_pattern_that_no_longer_exists_is_lost() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let entries = session.subscribe_with(&["test.>"], json!({"since": {"test.gone": {"epoch": "abcdef", "offset": 3}}}));
    assert_eq!(entries, json!([{"topic": "test.>"}, {"topic": "test.gone", "recovered": false}]));
    gateway.expect_metric("recoveries_total{result=\"lost\"}", 1.0);
}

/// PROTOCOL 3: a topic of a pattern that can't be recovered has `"recovered":false` in its own entry.
#[test]
fn a_topic_of_a_pattern_that_cannot_be_recovered_has_its_entry() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.>"], json!({"since": {"quotes.A": {"epoch": "anotherepoch", "offset": 1}}}));
    let entry = entries.as_array().unwrap().iter().find(|entry| entry["topic"] == "quotes.A").unwrap();
    assert_eq!(entry, &json!({"topic": "quotes.A", "epoch": newest.epoch, "offset": 2, "recovered": false}));
    late.expect(replayed("quotes.A", &newest, 2));
    late.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: without history, a session that missed a message is not recovered, and one that missed none is.
#[test]
fn without_history_only_the_newest_position_is_recovered() {
    let gateway = Gateway::start();
    let mut keeper = gateway.session();
    keeper.subscribe(&["plain.a"]);
    let newest = gateway.publish_all("plain.a", ["1", "2"]);
    for (offset, recovered) in [(1, false), (2, true)] {
        let entries = gateway.session().subscribe_with(&["plain.a"], json!({"since": {"plain.a": newest.at(offset).json()}}));
        assert_eq!(entries[0]["recovered"], recovered, "since {offset}: {entries}");
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a message that is published during a recovery comes once.
#[test]
fn a_recovery_under_load_misses_nothing() {
    let gateway = Setup::new().without_rates().start();
    let start = gateway.publish("test.a", "0");
    gateway.publish_many("test.a", 300, 500);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5).for_each(|_| gateway.publish_many("test.a", 60, 500)));
        let mut late = gateway.session();
        let entries = late.subscribe_with(&["test.a"], json!({"since": {"test.a": start.json()}}));
        assert_eq!(entries[0]["recovered"], true, "{entries}");
        let offsets: Vec<_> = late.receive_all(600).iter().map(|event| event["offset"].as_u64().unwrap_or_default()).collect();
        assert_eq!(offsets, (2..=601).collect::<Vec<_>>());
    });
    gateway.expect_accounts_closed();
}
