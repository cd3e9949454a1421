//! PROTOCOL 3: `since`: nothing missing and nothing twice, or `"recovered":false`.

use serde_json::json;

use crate::gateway::{Gateway, Setup, message, replayed};

/// PROTOCOL 3: `since` brings what was missed, in order, each once, and says so; live messages follow.
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

/// PROTOCOL 3: what an interval holds back as a subscribe with `since` begins to read its topic comes once: replayed. (It came twice,
/// as it was held, too.)
#[test]
fn what_is_held_comes_once() {
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
        // Past the interval, the next message comes, and nothing before it.
        let next = gateway.publish("test.a", "3");
        session.expect(message("test.a", &next, 3));
        session.expect_quiet();
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: `since` and not `last` says what comes where the history reaches back.
#[test]
fn since_goes_before_last() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2", "3"]);
    let mut late = gateway.session();
    late.subscribe_with(&["quotes.A"], json!({"last": 3, "since": {"quotes.A": newest.at(2).json()}}));
    late.expect(replayed("quotes.A", &newest, 3));
    late.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: who has missed nothing is recovered, and nothing is replayed, whatever `last` says.
#[test]
fn who_missed_nothing_is_recovered() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A"], json!({"last": 2, "since": {"quotes.A": newest.json()}}));
    assert_eq!(entries[0]["recovered"], true, "{entries}");
    late.expect_quiet();
}

/// PROTOCOL 3: who subscribed before the first message recovers from offset 0.
#[test]
fn since_0_brings_everything() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": newest.at(0).json()}}));
    assert_eq!(entries[0]["recovered"], true, "{entries}");
    late.expect_all([replayed("chat.a", &newest.at(1), 1), replayed("chat.a", &newest, 2)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: where history no longer reaches back, `"recovered":false`, then as with `last`.
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

/// PROTOCOL 3: the oldest message that is kept is the first after the offset: still recovered.
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

/// PROTOCOL 3: another epoch is not recovered, then as with `last`.
#[test]
fn another_epoch_is_not_recovered() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A"], json!({"since": {"quotes.A": {"epoch": "anotherlife", "offset": 1}}}));
    assert_eq!(entries, json!([{"topic": "quotes.A", "epoch": newest.epoch, "offset": 2, "recovered": false}]));
    late.expect(replayed("quotes.A", &newest, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: an offset that lies ahead is not recovered, then as with `last`.
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

/// PROTOCOL 1: a restart begins another life of each topic.
#[test]
fn a_restart_makes_a_new_epoch() {
    let before = Gateway::start().publish("chat.a", "1");
    let gateway = Gateway::start();
    assert_ne!(gateway.publish("chat.a", "1").epoch, before.epoch);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": before.json()}}));
    assert_eq!(entries[0]["recovered"], false, "{entries}");
}

/// PROTOCOL 3: a topic that is not there is of another epoch.
#[test]
fn a_topic_that_is_not_there_is_not_recovered() {
    let gateway = Gateway::start();
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["chat.a"], json!({"since": {"chat.a": {"epoch": "anotherlife", "offset": 7}}}));
    assert_eq!((&entries[0]["recovered"], &entries[0]["offset"]), (&json!(false), &json!(0)), "{entries}");
}

/// PROTOCOL 3: topics that `since` does not name have no `recovered` and are replayed by `last`.
#[test]
fn a_topic_that_since_does_not_name_is_replayed_by_last() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish_all("quotes.A", ["1", "2"]), gateway.publish_all("quotes.B", ["3", "4"]));
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.A", "quotes.B"], json!({"since": {"quotes.A": a.at(1).json()}}));
    let right = json!([{"topic": "quotes.A", "epoch": a.epoch, "offset": 2, "recovered": true}, {"topic": "quotes.B", "epoch": b.epoch, "offset": 2}]);
    assert_eq!(entries, right);
    let mut events = late.receive_all(2);
    events.sort_by_key(|event| event["topic"].to_string());
    assert_eq!(events, [replayed("quotes.A", &a, 2), replayed("quotes.B", &b, 4)]);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: a topic in `since` that a pattern covers has an entry of its own; where nothing else matches the pattern's says nothing.
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

/// PROTOCOL 3: a matching topic that `since` does not name is replayed by `last` alone, and the pattern's entry says `"recovered":false`.
#[test]
fn a_pattern_says_that_a_topic_was_not_named() {
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

/// PROTOCOL 3 and 9: a topic that isn't there any more has its entry, which has no position, and counts as lost. (It counted as nothing.)
#[test]
fn a_pattern_s_named_topic_that_is_not_there_is_lost() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let entries = session.subscribe_with(&["test.>"], json!({"since": {"test.gone": {"epoch": "abcdef", "offset": 3}}}));
    assert_eq!(entries, json!([{"topic": "test.>"}, {"topic": "test.gone", "recovered": false}]));
    gateway.expect_metric("recoveries_total{result=\"lost\"}", 1.0);
}

/// PROTOCOL 3: a pattern's named topic that can't be recovered has its own `"recovered":false`.
#[test]
fn a_pattern_tells_of_a_topic_that_it_cannot_recover() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2"]);
    let mut late = gateway.session();
    let entries = late.subscribe_with(&["quotes.>"], json!({"since": {"quotes.A": {"epoch": "anotherlife", "offset": 1}}}));
    let entry = entries.as_array().unwrap().iter().find(|entry| entry["topic"] == "quotes.A").unwrap();
    assert_eq!(entry, &json!({"topic": "quotes.A", "epoch": newest.epoch, "offset": 2, "recovered": false}));
    late.expect(replayed("quotes.A", &newest, 2));
    late.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3: without history, who missed something is not recovered, and who missed nothing is.
#[test]
fn without_history_only_who_missed_nothing_is_recovered() {
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

/// PROTOCOL 3: messages published while a recovery is under way are neither missing nor twice.
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
