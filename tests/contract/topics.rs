//! PROTOCOL 2: topics and patterns.

use serde_json::json;

use crate::gateway::{ADMIN, Gateway, message, token, within};

/// PROTOCOL 2: a token is any UTF-8 text, so a topic may have a Chinese name.
#[test]
fn a_topic_may_have_a_chinese_name() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.大厅.游戏"]);
    let place = gateway.publish("chat.%E5%A4%A7%E5%8E%85.%E6%B8%B8%E6%88%8F", "1");
    session.expect(message("chat.大厅.游戏", &place, 1));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: bytes are compared, nothing is normalised: two spellings of é are two topics.
#[test]
fn names_are_not_normalised() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.caf\u{e9}"]);
    gateway.publish("test.cafe%CC%81", "1");
    let place = gateway.publish("test.caf%C3%A9", "2");
    session.expect(message("test.caf\u{e9}", &place, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: 16 tokens and 255 bytes are the most.
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

/// PROTOCOL 2: no white space, control characters, `.`, `*`, `>`, `/`, `"`, `\` in a token, and no empty one.
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
        let words = session.expect_error(name, "bad_topic");
        assert!(words.contains(name), "the error names {name:?} as it was given: {words}");
    }
}

/// PROTOCOL 2: a pattern names no topic to publish to, and its signs stand for whole tokens only.
#[test]
fn patterns_are_not_names_and_their_signs_stand_alone() {
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

/// PROTOCOL 2: `*` stands for one token.
#[test]
fn a_star_stands_for_one_token() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.*.c"]);
    gateway.publish("test.a.b.c", "1");
    gateway.publish("test.c", "1");
    gateway.publish("test.a.d", "1");
    let place = gateway.publish("test.b.c", "2");
    session.expect(message("test.b.c", &place, 2));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: `>` at the end stands for one or more tokens.
#[test]
fn a_greater_sign_stands_for_one_or_more_tokens() {
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
    let place = gateway.publish_all("chat.a", ["1", "2"]);
    session.expect_all([message("chat.a", &place.at(1), 1), message("chat.a", &place, 2)]);
    session.expect_quiet();
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: nobody else publishes on the gateway's own topics, whatever their grants say.
#[test]
fn nobody_publishes_on_the_gateways_own_topics() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("mallory", &[">", "$belfry.>"], &[">", "$belfry.>", "$mine.>"]));
    for topic in ["$belfry.stats", "$belfry", "$other.a"] {
        session.send(json!({"op": "publish", "id": 1, "topic": topic, "data": 1}));
        session.expect_error(1, "not_allowed");
    }
    let reply = gateway.request("POST", "/v1/topics/$belfry.stats", &[ADMIN], b"1");
    assert_eq!(reply.problem(403), "not_allowed");
}

/// PROTOCOL 2: other names with a `$` are everybody's who has a grant that spells them, and no wildcard's.
#[test]
fn names_with_a_dollar_are_published_on_by_name() {
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

/// PROTOCOL 2: in rules and grants a first token may be a namespace; in subscriptions it may not.
#[test]
fn namespaces_in_rules_and_grants() {
    let setup = crate::gateway::Setup::new().rule("room:>", "history = 10").rule("room:*", "history = 10\nlast = 1");
    let gateway = setup.start();
    let mut ann = gateway.session_as(&token("ann", &["room:*", "deep:>"], &["room:>"]));
    for (topic, kept) in [("room:a", 1), ("room:a.b", 1)] {
        let reply = ann.ask(json!({"op": "publish", "id": 1, "topic": topic, "data": kept}));
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

/// PROTOCOL 2: a wildcard as first token never matches the gateway's own topics, in grants.
#[test]
fn a_grant_of_everything_leaves_out_the_gateways_own_topics() {
    let setup = crate::gateway::Setup::new().without_anonymous();
    let gateway = setup.start();
    let mut session = gateway.session_as(&token("bob", &[">"], &[]));
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["$belfry.stats"]}));
    session.expect_error(1, "not_allowed");
}

/// PROTOCOL 2: a wildcard as first token never matches the gateway's own topics, in subscriptions.
#[test]
fn a_subscription_to_everything_leaves_out_the_gateways_own_topics() {
    let gateway = Gateway::start();
    let mut all = gateway.session_as(&token("bob", &[">"], &[]));
    let mut own = gateway.session();
    own.subscribe_with(&["$belfry.stats"], json!({"last": 0}));
    all.subscribe_with(&[">"], json!({"last": 0}));
    assert_eq!(own.receive()["topic"], "$belfry.stats");
    all.expect_quiet();
    let place = gateway.publish("plain.a", "1");
    all.expect(message("plain.a", &place, 1));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: `$belfry.stats` has seven figures at least; they are totals, not rates.
#[test]
fn the_stats_have_their_figures() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    gateway.publish("plain.a", "1");
    session.subscribe(&["$belfry.stats"]);
    let stats = crate::gateway::eventually("stats that count the publish", || {
        let stats = session.receive()["data"].take();
        (stats["published"].as_u64() >= Some(1) && stats["sessions"] == 1).then_some(stats)
    });
    for figure in ["sessions", "topics", "subscriptions", "published", "delivered", "outbox_bytes", "uptime_s"] {
        assert!(stats[figure].is_number(), "{figure} is missing in {stats}");
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 2: `$belfry.stats` comes once a second, and `last` is 1: who subscribes later has the newest at once.
#[test]
fn the_stats_have_a_last_message() {
    let gateway = Gateway::start();
    let mut first = gateway.session();
    first.subscribe_with(&["$belfry.stats"], json!({"last": 0}));
    let seen = first.receive();
    let mut second = gateway.session();
    second.subscribe(&["$belfry.stats"]);
    let replayed = second.receive();
    assert_eq!(replayed["replay"], true, "{replayed}");
    assert!(replayed["offset"].as_u64() >= seen["offset"].as_u64(), "{replayed} is older than {seen}");
    let next = first.receive();
    assert_eq!(next["offset"].as_u64(), seen["offset"].as_u64().map(|offset| offset + 1));
}

/// PROTOCOL 2: a topic without history is gone within 5 s of its last subscriber by name.
#[test]
fn a_topic_is_gone_soon_after_its_last_subscriber() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["plain.a", "plain.*"]);
    assert_eq!(gateway.admin("/v1/topics/plain.a").status, 200);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["plain.a"]}));
    let limit = std::time::Duration::from_secs(7);
    within(limit, "the topic to be gone", || (gateway.admin("/v1/topics/plain.a").status == 404).then_some(()));
}

/// PROTOCOL 2: a topic with history lives on without subscribers; PROTOCOL 1: its offsets go on from there.
#[test]
fn a_topic_with_history_lives_without_subscribers() {
    let gateway = Gateway::start();
    let first = gateway.publish("chat.a", "1");
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["chat.a"]}));
    let second = gateway.publish("chat.a", "2");
    assert_eq!(second, first.at(2));
}
