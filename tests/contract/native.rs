//! PROTOCOL 3: the commands, replies and events of the native dialect.

use serde_json::{Value, json};

use crate::gateway::{FEED, Gateway, Setup, binary, message, replayed, text, unix_seconds};

/// PROTOCOL 3: the welcome has these four members.
#[test]
fn the_welcome_comes_first() {
    let gateway = Gateway::start();
    let mut session = gateway.dial("/ws");
    let welcome = session.read_welcome();
    assert_eq!(welcome, json!({"op": "welcome", "session": session.id(), "ping_interval_ms": 30000, "max_message_bytes": 65536}));
}

/// PROTOCOL 3: the native dialect is on `/` too, unless `[endpoints]` says otherwise.
#[test]
fn the_root_speaks_the_native_dialect() {
    let gateway = Gateway::start();
    gateway.session_at("/").expect_quiet();
}

/// PROTOCOL 3: the subprotocol is `belfry.json.v1`, or none where it was not offered.
#[test]
fn the_subprotocol_is_chosen() {
    let gateway = Gateway::start();
    for (offer, answer) in [("belfry.json.v1", Some("belfry.json.v1")), ("a.b, belfry.json.v1", Some("belfry.json.v1")), ("mqtt", None)] {
        let mut session = gateway.dial_with("/ws", &[("Sec-WebSocket-Protocol", offer)]).expect("the upgrade is accepted");
        assert_eq!(session.upgrade.header("Sec-WebSocket-Protocol"), answer, "offered {offer}");
        session.read_welcome();
    }
    assert_eq!(gateway.dial("/ws").upgrade.header("Sec-WebSocket-Protocol"), None);
}

/// PROTOCOL 1 and 3: a topic's entry has its epoch and offset, a pattern's entry its name alone. An epoch has at least
/// 6 characters of A–Z, a–z, 0–9.
#[test]
fn subscribed_has_the_position_of_each_topic() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("test.a", ["1", "2"]);
    let mut session = gateway.session();
    let reply = session.ask(json!({"op": "subscribe", "id": 1, "topics": ["test.a", "chat.>"]}));
    let entries = json!([{"topic": "test.a", "epoch": position.epoch, "offset": 2}, {"topic": "chat.>"}]);
    assert_eq!(reply, json!({"op": "subscribed", "id": 1, "topics": entries}));
    assert!(position.epoch.len() >= 6 && position.epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{position:?}");
}

/// PROTOCOL 1 and 3: a topic without messages has offset 0, and its first message has offset 1.
#[test]
fn a_new_topic_has_offset_0() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let entries = session.subscribe(&["plain.new"]);
    assert_eq!(entries[0]["offset"], 0, "{entries}");
    let position = gateway.publish("plain.new", "1");
    assert_eq!((position.offset, Some(position.epoch.as_str())), (1, entries[0]["epoch"].as_str()));
}

/// PROTOCOL 3: a reply has the command's `id`, an integer or a string.
#[test]
fn a_reply_has_the_commands_id() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for id in [json!(0), json!(7), json!(-1), json!("a \"quoted\" one"), json!(9_007_199_254_740_993_u64)] {
        assert_eq!(session.ask(json!({"op": "ping", "id": id})), json!({"op": "pong", "id": id}));
    }
}

/// PROTOCOL 3: an id that is neither integer nor string is a bad request.
#[test]
fn any_other_id_is_a_bad_request() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for id in [json!([1]), json!({}), json!(true)] {
        session.send(json!({"op": "ping", "id": id}));
        session.expect_error(Value::Null, "bad_request");
    }
}

/// PROTOCOL 3: a successful subscribe, unsubscribe or publish without `id` is not answered.
#[test]
fn success_is_silent_without_id() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "topics": ["test.a"]}));
    session.send(json!({"op": "publish", "topic": "test.a", "data": 1, "echo": false}));
    session.send(json!({"op": "unsubscribe", "topics": ["test.a"]}));
    session.expect_quiet();
}

/// PROTOCOL 3: history, presence, subscriptions and ping are answered without `id` too.
#[test]
fn queries_are_answered_without_id() {
    let gateway = Gateway::start();
    gateway.publish("chat.a", "1");
    let mut session = gateway.session();
    assert_eq!(session.ask(json!({"op": "ping"})), json!({"op": "pong"}));
    assert_eq!(session.ask(json!({"op": "subscriptions"})), json!({"op": "subscriptions", "topics": []}));
    assert_eq!(
        session.ask(json!({"op": "presence", "topic": "chat.a"})),
        json!({"op": "presence", "topic": "chat.a", "count": 0, "members": []})
    );
    let history = session.ask(json!({"op": "history", "topic": "chat.a"}));
    assert_eq!((&history["op"], history.get("id")), (&json!("history"), None), "{history}");
}

/// PROTOCOL 3: a publish is answered with its topic and offset.
#[test]
fn published_has_the_offset() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for offset in 1..=2 {
        let reply = session.ask(json!({"op": "publish", "id": 3, "topic": "chat.lobby", "data": {"text": "hi"}}));
        assert_eq!(reply, json!({"op": "published", "id": 3, "topic": "chat.lobby", "offset": offset}));
    }
}

/// PROTOCOL 3: a subscribed sender gets its own message, unless the publish has `"echo":false`.
#[test]
fn echo_false_keeps_a_message_from_its_sender() {
    let gateway = Gateway::start();
    let (mut sender, mut other) = (gateway.session(), gateway.session());
    let entries = sender.subscribe(&["test.a"]);
    other.subscribe(&["test.a"]);
    let position = crate::gateway::Position { epoch: entries[0]["epoch"].as_str().unwrap().to_owned(), offset: 1 };
    sender.send(json!({"op": "publish", "topic": "test.a", "data": 1, "echo": false}));
    sender.send(json!({"op": "publish", "topic": "test.a", "data": 2}));
    sender.expect(message("test.a", &position.at(2), 2));
    other.expect_all([message("test.a", &position, 1), message("test.a", &position.at(2), 2)]);
}

/// PROTOCOL 3: with `sender = true` a live, replayed or historical message names the session that published it. A
/// message over HTTP has no sender.
#[test]
fn a_message_names_its_sender_with_sender_true() {
    let gateway = Setup::new().rule("plain.named", "history = 10\nsender = true").start();
    let mut sender = gateway.session();
    sender.subscribe(&["plain.named", "test.a"]);
    for topic in ["plain.named", "test.a"] {
        sender.send(json!({"op": "publish", "topic": topic, "data": 1}));
    }
    let from = sender.member(Value::Null);
    let [named, other] = [(); 2].map(|()| sender.receive());
    assert_eq!((&named["from"], &named["data"], &other["from"]), (&from, &json!(1), &Value::Null), "{named} {other}");
    let mut raw = gateway.dial("/raw/plain.named");
    raw.send_text("2");
    let of_raw = sender.receive();
    assert_ne!(of_raw["from"]["session"], from["session"], "{of_raw}");
    gateway.publish("plain.named", "3");
    assert_eq!(sender.receive()["from"], Value::Null);
    sender.send(json!({"op": "history", "id": 1, "topic": "plain.named"}));
    let history = sender.receive();
    let froms: Vec<&Value> = history["messages"].as_array().unwrap().iter().map(|message| &message["from"]).collect();
    assert_eq!(froms, [&from, &of_raw["from"], &Value::Null]);
    let mut late = gateway.session();
    late.send(json!({"op": "subscribe", "topics": ["plain.named"], "last": 3}));
    assert_eq!(late.receive()["from"], from);
}

/// PROTOCOL 3: `data` is byte for byte as published, with its digits, zeros, escapes, order of keys and white space.
#[test]
fn data_is_byte_for_byte_as_published() {
    let gateway = Gateway::start();
    let (mut sender, mut other) = (gateway.session(), gateway.session());
    other.subscribe(&["test.a"]);
    let payloads = [
        r#"{ "price" : 187.30, "bid":1.0E+5 , "a":[ ] }"#,
        "12345678901234567890123456789.10",
        r#"{"b":1,"a":2,"b":3}"#,
        r#""caf\u00e9 \/ 大""#,
        "1e999",
        "null",
    ];
    for data in payloads {
        sender.send_text(&format!(r#"{{"op":"publish","topic":"test.a","data":{data}}}"#));
        let event = other.receive_text();
        assert!(event.contains(&format!(r#""data":{data}"#)), "{data}: {event}");
    }
}

/// PROTOCOL 3: a JSON body is byte for byte as published in a live message, a replayed one, and the history.
#[test]
fn a_json_body_is_byte_for_byte_everywhere() {
    let gateway = Gateway::start();
    let data = r#"{"p":1.50, "n":18446744073709551616}"#;
    let mut live = gateway.session();
    live.subscribe(&["test.a"]);
    gateway.publish("test.a", data);
    let mut late = gateway.session();
    late.subscribe_with(&["test.a"], json!({"last": 1}));
    let (live, replayed) = (live.receive_text(), late.receive_text());
    late.send(json!({"op": "history", "topic": "test.a"}));
    for event in [live, replayed, late.receive_text()] {
        assert!(event.contains(&format!(r#""data":{data}"#)), "{event}");
    }
}

/// PROTOCOL 3: a payload that is not JSON, an empty one included, is a JSON string in `data`.
#[test]
fn a_payload_that_is_not_json_is_a_string() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    for payload in ["hello", "", "{\"a\":", "a \"b\" \\ \n \u{1} 大", "01", "1 2", "NaN", "'a'"] {
        let position = gateway.publish("test.a", payload);
        session.expect(message("test.a", &position, payload));
    }
}

/// PROTOCOL 3: a payload that is not UTF-8 is in `data_base64`.
#[test]
fn a_payload_that_is_not_utf8_is_base64() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    let position = gateway.publish("test.a", [0xff, 0xfe, 0x00]);
    session.expect(json!({"op": "message", "topic": "test.a", "epoch": position.epoch, "offset": 1, "data_base64": "//4A"}));
}

/// PROTOCOL 3: history has the messages oldest first, each with its offset, time and data.
#[test]
fn history_is_oldest_first() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("chat.a", ["1", "\"b\"", "plain text"]);
    let mut reply = gateway.session().ask(json!({"op": "history", "id": 4, "topic": "chat.a"}));
    for entry in reply["messages"].as_array_mut().unwrap() {
        let ts = entry.as_object_mut().unwrap().remove("ts").and_then(|ts| ts.as_u64()).expect("ts is in Unix milliseconds");
        assert!((ts / 1000).abs_diff(unix_seconds()) < 60, "{ts} is not the current time");
    }
    let messages = json!([{"offset": 1, "data": 1}, {"offset": 2, "data": "b"}, {"offset": 3, "data": "plain text"}]);
    assert_eq!(reply, json!({"op": "history", "id": 4, "topic": "chat.a", "epoch": position.epoch, "messages": messages}));
}

fn offsets(history: &Value) -> Vec<u64> {
    history["messages"].as_array().unwrap().iter().map(|entry| entry["offset"].as_u64().unwrap()).collect()
}

/// PROTOCOL 3: history begins after `since`. Without `since` it has the newest `limit` messages; `limit` is 100 by
/// default.
#[test]
fn history_is_bounded_by_since_and_limit() {
    let gateway = Setup::new().without_rates().start();
    gateway.publish_many("test.a", 120, 10);
    let mut session = gateway.session();
    let mut history = |options: Value| {
        let mut command = json!({"op": "history", "id": 1, "topic": "test.a"});
        command.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        offsets(&session.ask(command))
    };
    assert_eq!(history(json!({})), (21..=120).collect::<Vec<_>>());
    assert_eq!(history(json!({"limit": 3})), [118, 119, 120]);
    assert_eq!(history(json!({"since": 117})), [118, 119, 120]);
    assert_eq!(history(json!({"since": 10, "limit": 3})), [11, 12, 13]);
    assert_eq!(history(json!({"since": 120})), [] as [u64; 0]);
    assert_eq!(history(json!({"limit": 1000})), (1..=120).collect::<Vec<_>>());
}

/// PROTOCOL 3: a history reply stops at 1 MiB with `"more":true`. The rest comes with `since`.
#[test]
fn a_history_reply_stops_at_1_mib() {
    let gateway = Setup::new().without_rates().start();
    gateway.publish_many("test.a", 30, 60_000);
    let mut session = gateway.session();
    let first = session.ask(json!({"op": "history", "id": 1, "topic": "test.a", "since": 0, "limit": 100}));
    assert_eq!(first["more"], true);
    let received = offsets(&first);
    assert!(received.len() >= 10 && first.to_string().len() <= (1 << 20) + 1024, "{received:?}");
    let rest = session.ask(json!({"op": "history", "id": 2, "topic": "test.a", "since": received.last(), "limit": 100}));
    assert_ne!(rest.get("more"), Some(&json!(true)));
    assert_eq!([received, offsets(&rest)].concat(), (1..=30).collect::<Vec<_>>());
}

/// PROTOCOL 3: escapes and Base64 count to the 1 MiB of a history reply. The bug: a reply of control characters had 6
/// MiB.
#[test]
fn a_history_reply_of_escapes_stops_at_1_mib() {
    let gateway = Setup::new().without_rates().start();
    for (topic, byte) in [("test.text", 1), ("test.bytes", 0xff)] {
        (0..30).for_each(|_| drop(gateway.publish(topic, vec![byte; 40_000])));
        let mut session = gateway.session();
        let mut received = Vec::new();
        while received.last() != Some(&30) {
            session.send(json!({"op": "history", "id": 1, "topic": topic, "since": received.last().unwrap_or(&0)}));
            let text = session.receive_text();
            assert!(text.len() <= 1 << 20, "{topic}: {} bytes", text.len());
            let reply: Value = serde_json::from_str(&text).unwrap();
            received.extend(offsets(&reply));
            assert_eq!(reply["more"] == true, received.last() != Some(&30), "{topic}: {:?}", received.last());
            let body = gateway.get(&format!("/v1/topics/{topic}/history")).body;
            assert!(body.len() <= 1 << 20, "{topic} over HTTP: {} bytes", body.len());
        }
        assert_eq!(received, (1..=30).collect::<Vec<_>>(), "{topic}");
    }
}

/// PROTOCOL 3: `history_off` where the rule has no history.
#[test]
fn history_is_off_where_the_rule_has_none() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "history", "id": 4, "topic": "plain.a"}));
    session.expect_error(4, "history_off");
}

/// PROTOCOL 3: `subscriptions` lists names and patterns in the order in which they were subscribed. The bug: they were
/// sorted.
#[test]
fn subscriptions_are_listed_in_their_order() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["quotes.AAPL", "chat.>"]);
    assert_eq!(
        session.ask(json!({"op": "subscriptions", "id": 8})),
        json!({"op": "subscriptions", "id": 8, "topics": ["quotes.AAPL", "chat.>"]})
    );
    session.subscribe_with(&["quotes.AAPL", "test.a"], json!({"interval_ms": 10}));
    session.send(json!({"op": "unsubscribe", "topics": ["chat.>"]}));
    session.subscribe(&["chat.>"]);
    assert_eq!(session.ask(json!({"op": "subscriptions", "id": 9}))["topics"], json!(["quotes.AAPL", "test.a", "chat.>"]));
}

/// PROTOCOL 3: `unsubscribed` follows the queued messages of its topics, and no message of them follows it.
#[test]
fn unsubscribed_follows_the_queued_messages() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a", "test.b"]);
    let position = gateway.publish_all("test.a", ["1", "2"]);
    session.send(json!({"op": "unsubscribe", "id": 2, "topics": ["test.a"]}));
    session.expect_all([message("test.a", &position.at(1), 1), message("test.a", &position, 2)]);
    session.expect(json!({"op": "unsubscribed", "id": 2, "topics": ["test.a"]}));
    gateway.publish("test.a", "3");
    let other = gateway.publish("test.b", "4");
    session.expect(message("test.b", &other, 4));
}

/// PROTOCOL 3: a pattern is unsubscribed as it was written. Other subscriptions that match the same topics stay.
#[test]
fn a_pattern_is_unsubscribed_as_it_was_written() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.>", "test.a"]);
    session.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["test.>"]}));
    gateway.publish("test.b", "1");
    let position = gateway.publish("test.a", "2");
    session.expect(message("test.a", &position, 2));
}

/// PROTOCOL 3: `not_subscribed` names the topic that the session has not subscribed to by name.
#[test]
fn unsubscribing_without_a_subscription_is_an_error() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.>"]);
    session.send(json!({"op": "unsubscribe", "id": 2, "topics": ["test.a"]}));
    let message = session.expect_error(2, "not_subscribed");
    assert!(message.contains("test.a"), "{message}");
}

/// PROTOCOL 3: a subscribe subscribes to its good topics. One error names each bad topic, and has the code of the
/// first.
#[test]
fn a_subscribe_with_bad_topics_subscribes_to_the_good_ones() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["test.a", "private.x", "test..b", "test.c"]}));
    let mut replies = session.receive_all(2);
    replies.sort_by_key(|reply| reply["op"].to_string());
    let [error, subscribed] = [&replies[0], &replies[1]];
    assert_eq!((&error["op"], &error["id"], &error["code"]), (&json!("error"), &json!(1), &json!("not_allowed")), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("private.x") && message.contains("test..b"), "{message}");
    let names: Vec<_> = subscribed["topics"].as_array().unwrap().iter().map(|entry| &entry["topic"]).collect();
    assert_eq!((&subscribed["id"], names), (&json!(1), vec![&json!("test.a"), &json!("test.c")]));
    session.expect_quiet();
}

/// PROTOCOL 3: a subscribe without a good topic is answered with the error alone.
#[test]
fn a_subscribe_without_a_good_topic_is_an_error() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["test..b", "private.x"]}));
    let message = session.expect_error(1, "bad_topic");
    assert!(message.contains("private.x") && message.contains("test..b"), "{message}");
    session.expect_quiet();
}

/// PROTOCOL 3: an unsubscribe unsubscribes from its good topics. One error names the bad ones.
#[test]
fn an_unsubscribe_with_bad_topics_unsubscribes_from_the_good_ones() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    session.send(json!({"op": "unsubscribe", "id": 1, "topics": ["test.b", "test.a"]}));
    let mut replies = session.receive_all(2);
    replies.sort_by_key(|reply| reply["op"].to_string());
    assert_eq!((&replies[0]["code"], &replies[0]["id"]), (&json!("not_subscribed"), &json!(1)), "{replies:?}");
    assert_eq!(replies[1], json!({"op": "unsubscribed", "id": 1, "topics": ["test.a"]}));
}

/// PROTOCOL 3: `bad_request` for a malformed command, `unknown_op` for an unknown `op`. The session stays open.
#[test]
fn a_bad_command_is_an_error_and_the_session_stays_open() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for command in ["", "hello", "[]", "1", "null", "{}", r#"{"op":1}"#, r#"{"op":"ping""#, r#"{"op":"ping","op":"ping"}"#] {
        session.send_text(command);
        session.expect_error(Value::Null, "bad_request");
    }
    session.send(json!({"op": "fly", "id": 9}));
    session.expect_error(9, "unknown_op");
    session.expect_quiet();
}

/// PROTOCOL 3: `bad_request` for a command with a missing member, or a member of another type.
#[test]
fn a_command_with_a_missing_or_wrong_member_is_a_bad_request() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let commands = [
        json!({"op": "subscribe", "id": 1}),
        json!({"op": "subscribe", "id": 1, "topics": "chat.a"}),
        json!({"op": "subscribe", "id": 1, "topics": [1]}),
        json!({"op": "subscribe", "id": 1, "topics": ["chat.a"], "last": "one"}),
        json!({"op": "subscribe", "id": 1, "topics": ["chat.a"], "since": 3}),
        json!({"op": "publish", "id": 1, "topic": "chat.a"}),
        json!({"op": "publish", "id": 1, "data": 1}),
        json!({"op": "history", "id": 1}),
        json!({"op": "presence", "id": 1}),
        json!({"op": "auth", "id": 1}),
    ];
    for command in commands {
        session.send(command);
        session.expect_error(1, "bad_request");
    }
}

/// PROTOCOL 3: `not_allowed` names the topic that the grants do not cover.
#[test]
fn a_topic_that_the_grants_do_not_cover_is_not_allowed() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let commands = [
        json!({"op": "publish", "id": 1, "topic": "private.a", "data": 1}),
        json!({"op": "subscribe", "id": 1, "topics": ["private.a"]}),
        json!({"op": "history", "id": 1, "topic": "private.a"}),
        json!({"op": "presence", "id": 1, "topic": "private.a"}),
    ];
    for command in commands {
        session.send(command);
        let message = session.expect_error(1, "not_allowed");
        assert!(message.contains("private.a"), "{message}");
    }
}

/// PROTOCOL 3: a binary frame closes with 1003.
#[test]
fn a_binary_frame_closes_with_1003() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send_frame(binary(br#"{"op":"ping"}"#));
    session.expect_close(1003);
    gateway.expect_metric("sessions_closed_total{reason=\"not_acceptable\"}", 1.0);
}

/// PROTOCOL 3: `?topics=` subscribes at the upgrade. An answer without `id` follows the welcome, then the replay.
#[test]
fn topics_in_the_url_are_subscribed_at_the_upgrade() {
    let gateway = Gateway::start();
    let quote = gateway.publish_all("quotes.AAPL", ["1", "2"]);
    let chat = gateway.publish("chat.a", "3");
    let mut session = gateway.session_at("/ws?topics=quotes.AAPL,chat.%3E&last=1");
    let entries = json!([{"topic": "quotes.AAPL", "epoch": quote.epoch, "offset": 2}, {"topic": "chat.>"}]);
    session.expect(json!({"op": "subscribed", "topics": entries}));
    session.expect_all([replayed("quotes.AAPL", &quote, 2), replayed("chat.a", &chat, 3)]);
}

/// PROTOCOL 3: an error for a topic in the URL follows the welcome.
#[test]
fn a_topic_in_the_url_that_is_not_allowed_is_an_error() {
    let gateway = Gateway::start();
    let mut session = gateway.session_at("/ws?topics=private.a");
    session.expect_error(Value::Null, "not_allowed");
    session.expect_quiet();
}

/// PROTOCOL 3: the messages of a topic come in the order of their offsets.
#[test]
fn messages_come_in_the_order_of_their_offsets() {
    let gateway = Setup::new().without_rates().start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 200, 20);
    let offsets: Vec<_> = session.receive_all(200).iter().map(|event| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=200).collect::<Vec<_>>());
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 4: the JSON value that a native session publishes is a text message in the raw dialect.
#[test]
fn a_published_value_is_json_text_in_the_raw_dialect() {
    let gateway = Gateway::start();
    let mut raw = gateway.dial("/raw/test.a");
    let mut session = gateway.session();
    session.send_text(r#"{"op":"publish","id":1,"topic":"test.a","data":{"a": 1.0}}"#);
    raw.expect_message(text(r#"{"a": 1.0}"#));
    session.send(json!({"op": "publish", "id": 1, "topic": "test.a", "data": "hi"}));
    raw.expect_message(text("\"hi\""));
}

/// PROTOCOL 8: a key has its own grants and the anonymous ones, over HTTP too.
#[test]
fn a_key_adds_to_the_anonymous_grants() {
    let gateway = Gateway::start();
    gateway.publish_as("chat.a", "1", &[FEED]);
    gateway.publish_as("private.a", "1", &[FEED]);
}
