//! PROTOCOL 4: the raw dialect, where a plain WebSocket is a topic.

use serde_json::json;

use crate::gateway::{Gateway, Position, Setup, binary, close, eventually, message, text, token};

/// PROTOCOL 4: a message of a client is published, and other clients get its payload alone. The sender does not get it.
#[test]
fn a_clients_message_is_published() {
    let gateway = Gateway::start();
    let (mut sender, mut other) = (gateway.dial("/raw/test.a"), gateway.dial("/raw/test.a"));
    sender.send_text("hello");
    sender.send_frame(binary(&[0xff, 0]));
    other.expect_message(text("hello"));
    other.expect_message(binary(&[0xff, 0]));
    gateway.publish("test.a", "end");
    sender.expect_message(text("end"));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: with `?echo=true` the sender gets its own messages.
#[test]
fn with_echo_the_sender_gets_its_own_messages() {
    let gateway = Gateway::start();
    let mut sender = gateway.dial("/raw/test.a?echo=true");
    sender.send_text("hello");
    sender.expect_message(text("hello"));
}

/// PROTOCOL 4: an HTTP body is a text message if it is UTF-8, else a binary one.
#[test]
fn a_body_is_text_if_it_is_utf8() {
    let gateway = Gateway::start();
    let mut raw = gateway.dial("/raw/test.a");
    gateway.publish("test.a", "plain 大 text");
    raw.expect_message(text("plain 大 text"));
    gateway.publish("test.a", [0xc3, 0x28]);
    raw.expect_message(binary(&[0xc3, 0x28]));
    gateway.publish("test.a", "");
    raw.expect_message(text(""));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 4: a raw message is JSON, a string or Base64 in the native dialect.
#[test]
fn raw_messages_reach_the_native_dialect() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["test.a"]);
    let mut raw = gateway.dial("/raw/test.a");
    raw.send_text("{\"a\": 1}");
    raw.send_text("hello");
    raw.send_frame(binary(&[0xff]));
    let events = session.receive_all(3);
    assert_eq!((&events[0]["data"], &events[1]["data"]), (&json!({"a": 1}), &json!("hello")));
    assert_eq!((&events[2]["data_base64"], events[2].get("data")), (&json!("/w=="), None));
}

/// PROTOCOL 4: `?last=n` messages are replayed, by default the rule's `last`.
#[test]
fn last_replays_payloads() {
    let gateway = Gateway::start();
    gateway.publish_all("quotes.A", ["1", "2", "3"]);
    let mut two = gateway.dial("/raw/quotes.A?last=2");
    two.expect_message(text("2"));
    two.expect_message(text("3"));
    gateway.dial("/raw/quotes.A").expect_message(text("3"));
    let mut none = gateway.dial("/raw/quotes.A?last=0");
    gateway.publish("quotes.A", "4");
    none.expect_message(text("4"));
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: a replayed binary message is binary.
#[test]
fn replayed_binary_stays_binary() {
    let gateway = Gateway::start();
    let mut first = gateway.dial("/raw/test.a?echo=true");
    first.send_frame(binary(b"ascii"));
    first.expect_message(binary(b"ascii"));
    gateway.dial("/raw/test.a?last=1").expect_message(binary(b"ascii"));
}

/// PROTOCOL 4: the topic in the path is percent-decoded before it is checked.
#[test]
fn the_path_names_the_topic() {
    let gateway = Gateway::start();
    let mut raw = gateway.dial("/raw/chat.%E5%A4%A7%E5%8E%85");
    gateway.publish("chat.%E5%A4%A7%E5%8E%85", "hi");
    raw.expect_message(text("hi"));
    for path in ["/raw/test..a", "/raw/test.%3E", "/raw/test.*", "/raw/test.%20a", "/raw/test.%ff", "/raw/test.a%2Fb"] {
        assert_eq!(gateway.refusal(path, &[]).problem(400), "bad_topic", "{path}");
    }
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: `[endpoints]` maps a path to a topic; a GET of `/` without upgrade stays the page.
#[test]
fn an_endpoint_is_a_topic() {
    let gateway = Setup::new().more("[endpoints]\n\"/\" = \"chat.lobby\"\n\"/rooms/two\" = \"chat.two\"").start();
    let (mut one, mut other, mut two) = (gateway.dial("/"), gateway.dial("/"), gateway.dial("/rooms/two"));
    one.send_text("hello");
    other.expect_message(text("hello"));
    gateway.publish("chat.two", "hi");
    two.expect_message(text("hi"));
    let page = gateway.get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("Content-Type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: without the grant to subscribe: 401 without credentials, 403 with them, before the upgrade.
#[test]
fn without_a_grant_the_upgrade_is_refused() {
    let gateway = Gateway::start();
    assert_eq!(gateway.refusal("/raw/private.a", &[]).status, 401);
    let path = format!("/raw/private.a?token={}", token("alice", &["other.>"], &[]));
    assert_eq!(gateway.refusal(&path, &[]).status, 403);
    gateway.expect_metric("handshakes_rejected_total{reason=\"unauthorized\"}", 2.0);
}

/// PROTOCOL 4: a message that may not be published closes with 1008 and the reason.
#[test]
fn a_publish_that_is_not_allowed_closes_with_1008() {
    let gateway = Gateway::start();
    let mut raw = gateway.dial(&format!("/raw/private.a?token={}", token("alice", &["private.>"], &[])));
    raw.send_text("hello");
    assert!(!raw.expect_close(1008).is_empty(), "the Close has a reason");
    gateway.expect_metric("sessions_closed_total{reason=\"policy\"}", 1.0);
}

/// PROTOCOL 4: past the command rate: 4003.
#[test]
fn past_the_command_rate_closes_with_4003() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 3");
    let mut raw = gateway.dial("/raw/test.a");
    (0..5).for_each(|_| raw.send_text("hello"));
    raw.expect_close(4003);
    gateway.expect_limit_hit("commands_per_second");
    gateway.expect_metric("sessions_closed_total{reason=\"rate_limited\"}", 1.0);
}

/// PROTOCOL 4: fragments are one message.
#[test]
fn fragments_are_one_message() {
    let gateway = Gateway::start();
    let mut raw = gateway.dial("/raw/test.a?echo=true");
    raw.send_raw_frame(0x01, b"he");
    raw.send_raw_frame(0x89, b"a ping between");
    raw.send_raw_frame(0x00, b"l");
    raw.send_raw_frame(0x80, b"lo");
    raw.expect_message(text("hello"));
}

/// PROTOCOL 4: `/echo` sends every message back unchanged.
#[test]
fn the_echo_sends_every_message_back() {
    let gateway = Gateway::start();
    let mut echo = gateway.dial("/echo");
    for frame in [text("hello"), binary(&[0, 0xff]), text("")] {
        echo.send_frame(frame.clone());
        echo.expect_message(frame);
    }
    echo.send_frame(close(1000));
    echo.expect_close(1000);
}

/// PROTOCOL 4: `/echo` needs no grant, has no `auth_timeout`, and counts frames, not commands.
#[test]
fn the_echo_needs_no_grant() {
    let setup = Setup::new().without_anonymous().limits("auth_timeout = \"200ms\"\ncommands_per_second = 1\ncommands_burst = 1");
    let gateway = setup.start();
    let mut echo = gateway.dial("/echo");
    gateway.session().expect_close(1008);
    for _ in 0..50 {
        echo.send_text("hello");
        echo.expect_message(text("hello"));
    }
}

/// PROTOCOL 4: each 4 KiB of a message to `/echo` take a unit from a bucket of an eighth of `frames_burst`; past it,
/// 4003. A short message takes no unit from this bucket.
#[test]
fn the_echo_is_bounded_by_bytes() {
    let gateway = Gateway::with_limits("frames_per_second = 1\nframes_burst = 80");
    let (mut long, mut short) = (gateway.dial("/echo"), gateway.dial("/echo"));
    let message = "e".repeat(8_192);
    (0..6).for_each(|_| long.send_text(&message));
    (0..5).for_each(|_| long.expect_message(text(&message)));
    long.expect_close(4003);
    gateway.expect_limit_hit("frames_per_second");
    for _ in 0..20 {
        short.send_text("hello");
        short.expect_message(text("hello"));
    }
}

/// PROTOCOL 4: the dialects in `/v1/sessions` are `echo`, `raw` and `json`.
#[test]
fn sessions_are_listed_with_their_dialect() {
    let gateway = Gateway::start();
    let _all = (gateway.dial("/echo"), gateway.dial("/raw/test.a"), gateway.session());
    let dialects = eventually("three sessions", || {
        let sessions = gateway.admin("/v1/sessions").json()["sessions"].take();
        let mut dialects: Vec<_> = sessions.as_array()?.iter().map(|session| session["dialect"].as_str().unwrap().to_owned()).collect();
        dialects.sort();
        (dialects.len() == 3).then_some(dialects)
    });
    assert_eq!(dialects, ["echo", "json", "raw"]);
}

/// PROTOCOL 9: a message of a raw session is not routed to its sender.
#[test]
fn a_senders_own_message_is_not_routed() {
    let gateway = Gateway::start();
    let (mut sender, mut other) = (gateway.dial("/raw/test.a"), gateway.session());
    other.subscribe(&["test.a"]);
    sender.send_text("1");
    let event = other.receive();
    let position = Position { epoch: event["epoch"].as_str().unwrap().to_owned(), offset: 1 };
    assert_eq!(event, message("test.a", &position, 1));
    gateway.expect_metric("messages_routed_total{rule=\"test.>\"}", 1.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 4: `/echo` is a 404 with `echo.enabled = false`.
#[test]
fn the_echo_can_be_off() {
    let gateway = Gateway::start();
    let mut session = gateway.dial("/echo");
    session.send_text("hello");
    assert_eq!(session.next_message(), Some(text("hello")));
    let gateway = Setup::new().more("[echo]\nenabled = false").start();
    assert_eq!(gateway.refusal("/echo", &[]).status, 404);
}
