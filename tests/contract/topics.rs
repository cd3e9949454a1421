//! PROTOCOL 2: topics and patterns.

use serde_json::json;

use crate::gateway::{ADMIN, Gateway, Setup, eventually, message, token, within};

/// PROTOCOL 2: a topic may have a Chinese name.
#[test]
fn a_topic_may_have_a_chinese_name() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.大厅.游戏"]);
    let position = gateway.publish("chat.%E5%A4%A7%E5%8E%85.%E6%B8%B8%E6%88%8F", "1");
    session.expect(message("chat.大厅.游戏", &position, 1));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: names are not normalised. The two encodings of é make two topics.
#[test]
fn names_are_not_normalised() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.caf\u{e9}"]);
    gateway.publish("test.cafe%CC%81", "1");
    let position = gateway.publish("test.caf%C3%A9", "2");
    session.expect(message("test.caf\u{e9}", &position, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: a name has at most 16 tokens and 255 bytes.
#[test]
fn names_have_at_most_16_tokens_and_255_bytes() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let tokens = |count: usize| format!("test{}", ".a".repeat(count - 1));
    let bytes = |count: usize| format!("test.{}", "a".repeat(count - 5));
    session.subscribe(&[&tokens(16), &bytes(255)]);
    for name in [tokens(17), bytes(256)] {
        session.send(json!({"op": "subscribe", "id": 1, "topics": [name]}));
        session.expect_error(1, "bad_topic");
    }
}

/// PROTOCOL 2: a token is not empty, and has no white space, control character, `.`, `*`, `>`, `/`, `"` or `\`.
#[test]
fn a_bad_name_is_a_bad_topic() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let names = [
        "",
        ".",
        "test.",
        ".test",
        "test..a",
        "test.a b",
        "test.a\u{a0}b",
        "test.\u{3000}",
        "test.a\u{0}",
        "test.\u{85}",
        "test.a/b",
        "test.a\"",
        "test.a\\",
    ];
    for name in names {
        session.send(json!({"op": "publish", "id": name, "topic": name, "data": 1}));
        session.expect_error(name, "bad_topic");
        session.send(json!({"op": "subscribe", "id": name, "topics": [name]}));
        let message = session.expect_error(name, "bad_topic");
        assert!(message.contains(name), "the error does not name {name:?}: {message}");
    }
}

/// PROTOCOL 2: a publish to a pattern is refused. A wildcard is a whole token.
#[test]
fn a_pattern_is_no_name_and_a_wildcard_is_a_whole_token() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for name in ["test.*", "test.>", "*", ">"] {
        session.send(json!({"op": "publish", "id": 1, "topic": name, "data": 1}));
        session.expect_error(1, "bad_topic");
    }
    for pattern in ["test.a*", "test.>.a", "test.a>", "test.**"] {
        session.send(json!({"op": "subscribe", "id": 2, "topics": [pattern]}));
        session.expect_error(2, "bad_topic");
    }
}

/// PROTOCOL 2: `*` matches one token.
#[test]
fn a_star_matches_one_token() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.*.c"]);
    gateway.publish("test.a.b.c", "1");
    gateway.publish("test.c", "1");
    gateway.publish("test.a.d", "1");
    let position = gateway.publish("test.b.c", "2");
    session.expect(message("test.b.c", &position, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: `>` at the end matches one or more tokens.
#[test]
fn a_greater_sign_matches_one_or_more_tokens() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a.>"]);
    gateway.publish("test.a", "0");
    let one = gateway.publish("test.a.b", "1");
    session.expect(message("test.a.b", &one, 1));
    let two = gateway.publish("test.a.b.c", "2");
    session.expect(message("test.a.b.c", &two, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: a session gets each message at most once, however many of its subscriptions match it.
#[test]
fn a_message_comes_once_however_many_subscriptions_match() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.a", "chat.*", "chat.>"]);
    let position = gateway.publish_all("chat.a", ["1", "2"]);
    session.expect_all([message("chat.a", &position.at(1), 1), message("chat.a", &position, 2)]);
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: a publish to a topic of the gateway is refused, whatever the grants.
#[test]
fn a_publish_to_the_gateways_topics_is_refused() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("mallory", &[">", "$belfry.>"], &[">", "$belfry.>", "$mine.>"]));
    for topic in ["$belfry.stats", "$belfry", "$other.a"] {
        session.send(json!({"op": "publish", "id": 1, "topic": topic, "data": 1}));
        session.expect_error(1, "not_allowed");
    }
    let reply = gateway.request("POST", "/v1/topics/$belfry.stats", &[ADMIN], b"1");
    assert_eq!(reply.problem(403), "not_allowed");
}

/// PROTOCOL 2: another topic that begins with `$` needs a grant that spells its first token.
#[test]
fn a_topic_with_a_dollar_needs_a_grant_that_spells_it() {
    let gateway = Gateway::start();
    let mut all = gateway.session_as(&token("bob", &[">"], &[">"]));
    all.subscribe(&[">"]);
    let mut own = gateway.session_as(&token("ann", &["$mine.>"], &["$mine.a"]));
    own.subscribe(&["$mine.*"]);
    let published = own.ask(json!({"op": "publish", "id": 1, "topic": "$mine.a", "data": 7}));
    assert_eq!((&published["op"], &published["offset"]), (&json!("published"), &json!(1)), "{published}");
    assert_eq!(own.receive()["data"], 7);
    all.expect_quiet();
    all.send(json!({"op": "publish", "id": 2, "topic": "$mine.a", "data": 8}));
    all.expect_error(2, "not_allowed");
}

/// PROTOCOL 2: a first token may end with `:` and a wildcard in rules and grants, and not in subscriptions.
#[test]
fn rules_and_grants_may_have_a_prefix() {
    let setup = Setup::new().rule("room:>", "history = 10").rule("room:*", "history = 10\nlast = 1");
    let gateway = setup.start();
    let mut ann = gateway.session_as(&token("ann", &["room:*", "deep:>"], &["room:>"]));
    for topic in ["room:a", "room:a.b"] {
        let reply = ann.ask(json!({"op": "publish", "id": 1, "topic": topic, "data": 1}));
        assert_eq!(reply["offset"], 1, "{reply}");
    }
    ann.subscribe(&["room:a"]);
    assert_eq!(ann.receive()["replay"], true, "the rule's `last` is 1");
    ann.subscribe(&["deep:a", "deep:a.*", "deep:a.>"]);
    for topic in ["room:a.b", "room:", "deep:", "*", "deep.a"] {
        ann.send(json!({"op": "subscribe", "id": 2, "topics": [topic]}));
        ann.expect_error(2, "not_allowed");
    }
    for topic in ["room:*", "deep:>"] {
        ann.send(json!({"op": "subscribe", "id": 3, "topics": [topic]}));
        ann.expect_error(3, "bad_topic");
    }
    let rule = |topic: &str| gateway.request("GET", &format!("/v1/topics/{topic}"), &[ADMIN], b"").json()["rule"].clone();
    assert_eq!((rule("room:a"), rule("room:a.b"), rule("deep:a")), (json!("room:*"), json!("room:>"), json!("")));
}

/// PROTOCOL 2: the grant `>` does not cover the gateway's topics.
#[test]
fn the_grant_of_all_topics_does_not_cover_the_gateways() {
    let gateway = Setup::new().without_anonymous().start();
    let mut session = gateway.session_as(&token("bob", &[">"], &[]));
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["$belfry.stats"]}));
    session.expect_error(1, "not_allowed");
}

/// PROTOCOL 2: the pattern `>` does not match the gateway's topics.
#[test]
fn the_pattern_of_all_topics_does_not_match_the_gateways() {
    let gateway = Gateway::start();
    let mut all = gateway.session_as(&token("bob", &[">"], &[]));
    let mut own = gateway.session();
    own.subscribe_with(&["$belfry.stats"], json!({"last": 0}));
    all.subscribe_with(&[">"], json!({"last": 0}));
    assert_eq!(own.receive()["topic"], "$belfry.stats");
    all.expect_quiet();
    let position = gateway.publish("plain.a", "1");
    all.expect(message("plain.a", &position, 1));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: `$belfry.stats` has seven figures.
#[test]
fn the_stats_have_seven_figures() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    gateway.publish("plain.a", "1");
    session.subscribe(&["$belfry.stats"]);
    let stats = eventually("stats that count the publish", || {
        let stats = session.receive()["data"].take();
        (stats["published"].as_u64() >= Some(1) && stats["sessions"] == 1).then_some(stats)
    });
    for figure in ["sessions", "topics", "subscriptions", "published", "delivered", "outbox_bytes", "uptime_s"] {
        assert!(stats[figure].is_number(), "{figure} is missing in {stats}");
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: the `last` of `$belfry.stats` is 1, so a new subscriber gets the newest message at once.
#[test]
fn the_newest_stats_are_replayed() {
    let gateway = Gateway::start();
    let mut first = gateway.session();
    first.subscribe_with(&["$belfry.stats"], json!({"last": 0}));
    let live = first.receive();
    let mut second = gateway.session();
    second.subscribe(&["$belfry.stats"]);
    let replayed = second.receive();
    assert_eq!(replayed["replay"], true, "{replayed}");
    assert!(replayed["offset"].as_u64() >= live["offset"].as_u64(), "{replayed} is older than {live}");
    let next = first.receive();
    assert_eq!(next["offset"].as_u64(), live["offset"].as_u64().map(|offset| offset + 1));
}

/// PROTOCOL 2: a topic without history is removed within 5 s after its last subscriber by name.
#[test]
fn a_topic_is_removed_after_its_last_subscriber() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["plain.a", "plain.*"]);
    assert_eq!(gateway.admin("/v1/topics/plain.a").status, 200);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["plain.a"]}));
    let limit = std::time::Duration::from_secs(7);
    within(limit, "the topic to be removed", || (gateway.admin("/v1/topics/plain.a").status == 404).then_some(()));
}

/// PROTOCOL 1 and 2: a topic with history stays without subscribers, and its offsets continue.
#[test]
fn a_topic_with_history_stays_without_subscribers() {
    let gateway = Gateway::start();
    let first = gateway.publish("chat.a", "1");
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["chat.a"]}));
    let second = gateway.publish("chat.a", "2");
    assert_eq!(second, first.at(2));
}
