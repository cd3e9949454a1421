//! PROTOCOL 7: the limits of one session, of one address and of the gateway. Each is counted in `limit_hits_total`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{FEED, Gateway, Setup, eventually, message, ping, pong, text};

/// PROTOCOL 7: past `subscriptions_per_session`: `too_many_subscriptions`. A pattern counts as one subscription.
#[test]
fn subscriptions_of_a_session_are_bounded() {
    let gateway = Gateway::with_limits("subscriptions_per_session = 2");
    let mut session = gateway.session();
    session.subscribe(&["chat.a", "chat.>"]);
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["chat.b"]}));
    session.expect_error(1, "too_many_subscriptions");
    session.subscribe(&["chat.a"]);
    session.ask(json!({"op": "unsubscribe", "id": 2, "topics": ["chat.>"]}));
    session.subscribe(&["chat.b"]);
    gateway.expect_metric("limit_hits_total{limit=\"subscriptions_per_session\"}", 1.0);
    gateway.expect_metric("command_errors_total{code=\"too_many_subscriptions\"}", 1.0);
    gateway.expect_metric("subscriptions", 2.0);
}

/// PROTOCOL 7: past `subscriptions_total` of all sessions: `too_many_subscriptions`.
#[test]
fn subscriptions_of_all_sessions_are_bounded() {
    let gateway = Gateway::with_limits("subscriptions_total = 2");
    let (mut one, mut other) = (gateway.session(), gateway.session());
    one.subscribe(&["chat.a"]);
    other.subscribe(&["chat.*"]);
    other.send(json!({"op": "subscribe", "id": 1, "topics": ["chat.b"]}));
    other.expect_error(1, "too_many_subscriptions");
    gateway.expect_limit_hit("subscriptions_total");
    drop(one);
    eventually("a subscription to be free", || {
        let reply = other.ask(json!({"op": "subscribe", "id": 2, "topics": ["chat.b"]}));
        (reply["op"] == "subscribed").then_some(())
    });
}

/// PROTOCOL 7: past the burst a command is `rate_limited`, until the bucket has filled up.
#[test]
fn commands_are_bounded_by_a_rate() {
    let gateway = Gateway::with_limits("commands_per_second = 10\ncommands_burst = 5");
    let mut session = gateway.session();
    (0..10).for_each(|n| session.send(json!({"op": "ping", "id": n})));
    let replies = session.receive_all(10);
    assert!(replies[..5].iter().all(|reply| reply["op"] == "pong"), "{replies:?}");
    assert_eq!((&replies[9]["code"], &replies[9]["id"]), (&json!("rate_limited"), &json!(9)));
    gateway.expect_limit_hit("commands_per_second");
    eventually("the bucket to fill", || (session.ask(json!({"op": "ping"}))["op"] == "pong").then_some(()));
}

/// PROTOCOL 7: a command takes 1 unit for each 100 names in it or in its answer.
#[test]
fn commands_are_charged_by_the_names_they_touch() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 14");
    let mut session = gateway.session();
    let names: Vec<String> = (0..1_000).map(|number| format!("chat.{number}")).collect();
    session.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(session.ask(json!({"op": "ping"}))["op"], "pong", "the subscribe takes 11 of 14 units");
    let subscriptions = session.ask(json!({"op": "subscriptions"}));
    assert_eq!(subscriptions["topics"].as_array().map(Vec::len), Some(1_000));
    session.send(json!({"op": "ping", "id": 1}));
    session.expect_error(1, "rate_limited");
}

/// PROTOCOL 7: 4003 after ten bursts of refused commands between which the bucket has not filled up.
#[test]
fn ten_refused_bursts_close_with_4003() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 3");
    let mut session = gateway.session();
    (0..60).for_each(|_| session.send(json!({"op": "ping"})));
    let (events, code) = session.read_to_close();
    let refused = events.iter().filter(|event| event["code"] == "rate_limited").count();
    assert!(code == 4003 && (29..=31).contains(&refused), "{refused} refused commands before {code}");
    gateway.expect_metric("sessions_closed_total{reason=\"rate_limited\"}", 1.0);
}

/// PROTOCOL 7: publishes over HTTP take units from the bucket of their credential, or of their address: 429.
#[test]
fn http_publishes_are_bounded_by_the_rate() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 3");
    (0..3).for_each(|_| drop(gateway.publish("chat.a", "1")));
    assert_eq!(gateway.post("/v1/topics/chat.a", "1").problem(429), "rate_limited");
    gateway.expect_limit_hit("commands_per_second");
    gateway.publish_as("quotes.A", "1", &[FEED]);
}

/// PROTOCOL 7: an API key may have its own `commands_per_second`.
#[test]
fn an_api_key_may_have_its_own_rate() {
    let auth = r#"api_keys = [{ name = "fast", key = "fast", publish = [">"], commands_per_second = 1000000 }, { name = "slow", key = "slow", publish = [">"] }]"#;
    let gateway = Setup::new().auth(auth).limits("commands_per_second = 1\ncommands_burst = 3").start();
    let publish = |key: &str| gateway.request("POST", "/v1/topics/chat.a", &[("Authorization", &format!("Bearer {key}"))], b"1").status;
    assert!((0..20).all(|_| publish("fast") == 200));
    let slow: Vec<_> = (0..5).map(|_| publish("slow")).collect();
    assert_eq!(slow[..3], [200, 200, 200]);
    assert_eq!(slow[4], 429);
    // The burst of the key's sessions grows in proportion to its rate.
    let mut session = gateway.session_as("fast");
    (0..20).for_each(|n| session.send(json!({"op": "ping", "id": n})));
    assert!(session.receive_all(20).iter().all(|reply| reply["op"] == "pong"));
}

/// PROTOCOL 7: past `frames_per_second` of frames of any kind: 4003.
#[test]
fn frames_are_bounded_by_a_rate() {
    let gateway = Gateway::with_limits("frames_per_second = 1\nframes_burst = 10");
    for path in ["/ws", "/echo"] {
        let mut session = gateway.dial(path);
        (0..20).for_each(|_| session.send_frame(pong(b"")));
        assert_eq!(session.read_to_close().1, 4003, "{path}");
    }
    gateway.expect_metric("limit_hits_total{limit=\"frames_per_second\"}", 2.0);
}

/// PROTOCOL 7: an API key's own `commands_per_second` does not raise `frames_per_second`. The bug: it did.
#[test]
fn a_keys_own_rate_does_not_raise_the_rate_of_frames() {
    let auth = r#"api_keys = [{ name = "fast", key = "fast", publish = [">"], commands_per_second = 1000000 }]"#;
    let gateway = Setup::new().auth(auth).limits("frames_per_second = 1\nframes_burst = 10").start();
    for flood in [ping(b""), text(""), pong(b"")] {
        let mut session = gateway.session_as("fast");
        (0..100).for_each(|n| session.send(json!({"op": "ping", "id": n})));
        assert!(session.receive_all(100).iter().all(|reply| reply["op"] == "pong"));
        (0..20).for_each(|_| session.send_frame(flood.clone()));
        assert_eq!(session.read_to_close().1, 4003, "{flood:?}");
    }
    gateway.expect_metric("limit_hits_total{limit=\"frames_per_second\"}", 3.0);
}

/// PROTOCOL 7: 1008 for a fragmented message that is not whole in `message_timeout`.
#[test]
fn a_message_must_be_whole_in_time() {
    let gateway = Gateway::with_limits("message_timeout = \"200ms\"");
    let mut session = gateway.session();
    session.send_raw_frame(0x01, b"{\"op\":");
    session.expect_close(1008);
    gateway.expect_limit_hit("message_timeout");
}

/// PROTOCOL 7: each message has a `message_timeout` of its own. The bug: a session that always had an incomplete message
/// was closed, as if it had sent one long message.
#[test]
fn each_message_has_a_message_timeout_of_its_own() {
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);
    let gateway = Setup::new().without_rates().limits("message_timeout = \"1s\"").start();
    let mut echo = gateway.dial_with("/echo", &[]).expect("the upgrade is accepted");
    let (begin, end) = ([0x01, 0x81, 0, 0, 0, 0, b'a'], [0x80, 0x81, 0, 0, 0, 0, b'b']);
    let start = Instant::now();
    echo.send_bytes(&begin);
    while start.elapsed() < 2 * MESSAGE_TIMEOUT {
        echo.send_bytes(&[end, begin].concat());
        assert_eq!(echo.next_message().expect("the session is open").text(), "ab");
    }
}

/// PROTOCOL 7: a session that answers no ping is closed with 4005. One that answers stays open.
#[test]
fn a_session_that_answers_no_ping_is_closed() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"1s\"");
    let (mut silent, mut alive) = (gateway.session(), gateway.session());
    let ping = silent.next_frame().expect("a ping comes");
    assert_eq!(ping.opcode, 9);
    let end = std::iter::repeat_with(|| {
        let frame = alive.next_frame().expect("the session is open");
        assert_eq!(frame.opcode, 9);
        alive.send_frame(pong(&frame.payload));
        silent.next_frame().expect("a Close comes")
    });
    let close = end.into_iter().find(|frame| frame.opcode != 9);
    assert_eq!(close.and_then(|frame| frame.close_code()), Some(4005));
    gateway.expect_metric("limit_hits_total{limit=\"pong_timeout\"}", 1.0);
    gateway.expect_metric("sessions_closed_total{reason=\"pong_timeout\"}", 1.0);
    alive.expect_quiet();
}

/// PROTOCOL 7: any frame of the client counts as a pong.
#[test]
fn any_frame_counts_as_a_pong() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"1s\"");
    let mut session = gateway.session();
    for _ in 0..8 {
        while session.next_frame().expect("the session is open").opcode != 9 {}
        session.send(json!({"op": "ping"}));
    }
}

/// PROTOCOL 7: bytes that the session's socket accepts are a sign of life. A client can't answer a ping that is queued
/// behind them. The bug: a client that read 40 KB/s was closed with 4005.
#[test]
fn a_slow_client_that_keeps_reading_stays_open() {
    // Counted from its place in the queue, a ping would be late after 3.2 s. The kernel accepts a third of its buffer at
    // once, which may take the client a second.
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"3s\"");
    let mut session = gateway.slow_session();
    session.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 100, 8_000);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        session.read_some(2_000);
        std::thread::sleep(Duration::from_millis(20)); // the client's pace, 100 KB/s; 300 KB are queued at the end
    }
    for offset in 1..=100 {
        let message = session.next_message().expect("the session is open").text();
        assert!(message.contains(&format!("\"offset\":{offset},")), "{offset}: {message:.100}");
    }
    gateway.expect_metric("limit_hits_total{limit=\"pong_timeout\"}", 0.0);
}

/// PROTOCOL 7: `pong_timeout` begins when the ping is in the socket. A client that does not read is closed by
/// `write_timeout`.
#[test]
fn pong_timeout_begins_when_the_ping_is_in_the_socket() {
    let gateway = Gateway::with_limits("ping_interval = \"1s\"\npong_timeout = \"100ms\"\nwrite_timeout = \"2s\"");
    let mut session = gateway.slow_session();
    session.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 100, 8_000);
    gateway.expect_metric("sessions_closed_total{reason=\"slow\"}", 1.0);
    assert_eq!(gateway.metrics().value("sessions_closed_total{reason=\"pong_timeout\"}"), 0.0);
}

/// PROTOCOL 3 and 7: the welcome has `ping_interval` and `message_bytes`.
#[test]
fn the_welcome_has_the_limits() {
    let gateway = Gateway::with_limits("ping_interval = \"1500ms\"\nmessage_bytes = 1234");
    let welcome = gateway.dial("/ws").read_welcome();
    assert_eq!((&welcome["ping_interval_ms"], &welcome["max_message_bytes"]), (&json!(1500), &json!(1234)));
}

/// `unfinished_bytes_per_address` bounds the incomplete frames of an address's sessions beyond `message_bytes` each. Past
/// it, a session is closed with 1013. The bytes are released with their session.
#[test]
fn incomplete_long_frames_of_an_address_are_bounded() {
    let gateway = Gateway::with_limits("frame_bytes = 200000\nunfinished_bytes_per_address = 150000");
    let incomplete = [&[0x81, 0xff][..], &190_000_u64.to_be_bytes(), &[0; 4], &[b' '; 150_000]].concat();
    let mut first = gateway.dial("/connection/websocket");
    first.send_bytes(&incomplete);
    gateway.expect_metric("received_bytes_total", incomplete.len() as f64);
    assert!(gateway.metrics().value("input_bytes") >= 150_000.0);
    let mut second = gateway.dial("/connection/websocket");
    second.send_bytes(&incomplete);
    second.expect_close(3008); // Centrifugo's code for 1013
    gateway.expect_limit_hit("unfinished_bytes_per_address");
    let mut short = gateway.session();
    let half = [&[0x81, 0xfe][..], &60_000_u16.to_be_bytes(), &[0; 4], &[b' '; 50_000]].concat();
    short.send_bytes(&half);
    short.send_bytes(&[b' '; 10_000]);
    short.expect_error(Value::Null, "bad_request");
    drop(first);
    gateway.expect_metric("input_bytes", 0.0);
    let mut third = gateway.dial("/connection/websocket");
    third.send_bytes(&incomplete);
    eventually("the third session's frame to be counted", || (gateway.metrics().value("input_bytes") >= 150_000.0).then_some(()));
    gateway.expect_metric("sessions", 2.0);
}

/// PROTOCOL 7: past `pattern_shapes_per_address` a pattern with a new arrangement of `*` is refused. Patterns with a
/// known arrangement, or with fewer than two `*`, are accepted.
#[test]
fn pattern_shapes_of_an_address_are_bounded() {
    let gateway = Gateway::with_limits("pattern_shapes_per_address = 1");
    let mut session = gateway.session();
    session.subscribe(&["chat.*.*"]);
    let reply = session.ask(json!({"op": "subscribe", "id": 1, "topics": ["chat.*.a.*", "chat.*.*.b", "chat.*.>"]}));
    assert_eq!(reply["topics"], json!([{"topic": "chat.*.*.b"}, {"topic": "chat.*.>"}]));
    session.expect_error(1, "too_many_subscriptions");
    gateway.expect_limit_hit("pattern_shapes_per_address");
    gateway.expect_metric("pattern_shapes", 1.0);
    session.ask(json!({"op": "unsubscribe", "id": 2, "topics": ["chat.*.*", "chat.*.*.b"]}));
    session.subscribe(&["chat.*.a.*"]);
}

/// PROTOCOL 7: past `topics_per_address` an address can make no topic, over HTTP or in a session. It can use existing
/// topics.
#[test]
fn topics_of_an_address_are_bounded() {
    let gateway = Gateway::with_limits("topics_per_address = 2");
    assert_eq!(gateway.post("/v1/topics/chat.a", "1").status, 200);
    let mut session = gateway.session();
    let reply = session.ask(json!({"op": "subscribe", "id": 1, "topics": ["chat.b", "chat.c"]}));
    assert_eq!(reply["topics"][0]["topic"], "chat.b");
    assert_eq!(gateway.post("/v1/topics/chat.d", "1").problem(429), "rate_limited");
    assert_eq!(gateway.post("/v1/topics/chat.a", "2").status, 200);
    gateway.expect_limit_hit("topics_per_address");
}

/// PROTOCOL 7: past `topics_per_address` a raw session on a new topic is refused with 429, and one on an existing topic
/// is accepted. The bug: the refused session was upgraded, and closed at once.
#[test]
fn a_raw_session_past_topics_per_address_is_refused() {
    let gateway = Gateway::with_limits("topics_per_address = 1");
    let _first = gateway.dial("/raw/chat.a");
    let reply = gateway.refusal("/raw/chat.b", &[]);
    assert_eq!((reply.header("Retry-After"), reply.problem(429)), (Some("1"), "rate_limited".to_owned()));
    assert!(reply.text().contains("chat.b can't be made: this address has"), "{reply:?}");
    // The gateway may handle an upgrade twice, and counts the limit once.
    gateway.expect_metric("limit_hits_total{limit=\"topics_per_address\"}", 1.0);
    let mut second = gateway.dial("/raw/chat.a");
    gateway.publish("chat.a", "1");
    second.expect_message(text("1"));
    gateway.expect_metric("handshakes_rejected_total{reason=\"topics_per_address\"}", 1.0);
}

/// PROTOCOL 7: past `topics` the topic without subscribers by name that was unused longest is evicted.
#[test]
fn the_topic_unused_longest_is_evicted() {
    let gateway = Gateway::with_limits("topics = 3");
    // `$belfry.stats` may be one of the three topics.
    let old = gateway.publish("chat.old", "1");
    ["chat.b", "chat.c", "chat.d"].into_iter().for_each(|topic| drop(gateway.publish(topic, "1")));
    assert_ne!(gateway.publish("chat.old", "1").epoch, old.epoch, "PROTOCOL 1: a new epoch after an eviction");
    gateway.expect_limit_hit("topics");
}

/// PROTOCOL 7: past `topics`, where every topic has a subscriber by name: `rate_limited`, over HTTP 429.
#[test]
fn topics_in_use_are_not_evicted() {
    let gateway = Gateway::with_limits("topics = 3");
    let mut session = gateway.session();
    let refused = (0..4).find_map(|n| {
        let reply = session.ask(json!({"op": "subscribe", "id": n, "topics": [format!("plain.{n}")]}));
        (reply["op"] != "subscribed").then_some(reply)
    });
    let refused = refused.expect("the fourth topic at the latest is past the bound");
    assert_eq!((&refused["op"], &refused["code"]), (&json!("error"), &json!("rate_limited")));
    session.send(json!({"op": "publish", "id": 9, "topic": "chat.new", "data": 1}));
    session.expect_error(9, "rate_limited");
    assert_eq!(gateway.post("/v1/topics/chat.new", "1").problem(429), "rate_limited");
    gateway.expect_limit_hit("topics");
}

/// PROTOCOL 7: past `history_bytes` the oldest messages of the topics published to longest ago are evicted. Epochs
/// stay.
#[test]
fn histories_together_are_bounded() {
    let gateway = Setup::new().without_rates().limits("history_bytes = 100000").start();
    let old = gateway.publish("test.old", "x".repeat(20_000));
    gateway.publish_many("test.new", 20, 10_000);
    eventually("the oldest messages to be evicted", || {
        let old = gateway.admin("/v1/topics/test.old/history");
        (old.status == 404 || old.json()["messages"] == json!([])).then_some(())
    });
    eventually("the histories to be within their bound", || (gateway.metrics().value("history_bytes") <= 100_000.0).then_some(()));
    let newest = gateway.admin("/v1/topics/test.new/history").json();
    assert_eq!(newest["messages"].as_array().unwrap().last().unwrap()["offset"], 20, "the newest message stays");
    gateway.expect_limit_hit("history_bytes");
    let mut session = gateway.session();
    session.subscribe(&["test.old"]);
    let next = gateway.publish("test.old", "1");
    assert_eq!(next, old.at(2));
    session.expect(message("test.old", &next, 1));
}

/// PROTOCOL 7: a session whose socket accepts nothing for `write_timeout` is closed with 4004, whatever the rules.
#[test]
fn a_session_whose_socket_accepts_nothing_is_closed() {
    let gateway = Setup::new().without_rates().limits("write_timeout = \"300ms\"\noutbox_bytes = 100000").start();
    let mut session = gateway.slow_session();
    session.subscribe(&["quotes.>"]);
    (0..10).for_each(|n| gateway.publish_many(&format!("quotes.{n}"), 10, 20_000));
    gateway.expect_limit_hit("write_timeout");
    gateway.expect_metric("sessions_closed_total{reason=\"slow\"}", 1.0);
    gateway.expect_metric("sessions", 0.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: while replies fill the outbox, the session's commands are not read. No reply is dropped or causes 4004.
#[test]
fn replies_are_never_dropped() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 10000").start();
    gateway.publish_many("chat.a", 20, 5_000);
    let mut session = gateway.slow_session();
    (0..20).for_each(|n| session.send(json!({"op": "history", "id": n, "topic": "chat.a", "limit": 20})));
    let ids: Vec<_> = session.receive_all(20).iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, (0..20).map(Value::from).collect::<Vec<_>>());
    session.expect_quiet();
}

/// PROTOCOL 7: while echoes fill the outbox, the session's frames are not read. No echo is dropped or causes 4004.
#[test]
fn echoes_are_never_dropped() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 10000").start();
    let mut echo = gateway.dial("/echo");
    for n in 0..30_u8 {
        echo.send_raw_frame(0x82, &[n; 50_000]);
        echo.send_frame(ping(&[n]));
    }
    for n in 0..30_u8 {
        let frame = echo.next_message().expect("the session is open");
        assert_eq!((frame.opcode, frame.payload.len(), frame.payload[0]), (2, 50_000, n));
    }
}

/// PROTOCOL 7: an empty outbox takes one item of any size.
#[test]
fn an_empty_outbox_takes_one_item_of_any_size() {
    let gateway = Gateway::with_limits("outbox_bytes = 4096");
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    let large = "x".repeat(60_000);
    for _ in 0..3 {
        let position = gateway.publish("chat.a", &large);
        session.expect(message("chat.a", &position, large.as_str()));
    }
}

/// PROTOCOL 7: a session within its limits counts no limit.
#[test]
fn a_session_within_its_limits_hits_none() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    gateway.publish("chat.a", "1");
    session.receive();
    gateway.expect_accounts_closed();
    let samples = gateway.metrics();
    let hits: Vec<_> = samples
        .series()
        .into_iter()
        .filter(|series| series.starts_with("belfry_limit_hits_total") && samples.value(&series[7..]) > 0.0)
        .collect();
    assert_eq!(hits, [] as [String; 0]);
}
