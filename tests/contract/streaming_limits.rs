//! PROTOCOL 7 and 11: streams under TLS, and the limits that hold for streams.

use serde_json::json;

use crate::gateway::{Certificate, Setup, Stream, eventually};

/// Over TLS a stream gets messages and can be resumed. A stream of Centrifugo's protocol can be opened.
#[test]
fn streams_work_over_tls() {
    let certificate = Certificate::new();
    let gateway = Setup::new().server(&certificate.setting()).start();
    let tls = || certificate.client(gateway.socket());
    let mut events = gateway.stream_over(tls(), "/sse?topics=chat.a", &[], "1.1").unwrap();
    let id = events.event().id.unwrap();
    let first = br#"{"connect":{"subs":{}},"id":1}"#;
    let mut lines = Stream::open_by_post(tls(), "/connection/http_stream", &[], first).unwrap();
    assert_eq!(lines.object()["id"], 1);
    // `Gateway::publish` has no TLS.
    let post = Stream::open_by_post(tls(), "/v1/topics/chat.a", &[], b"1").unwrap();
    assert_eq!(post.head.status, 200);
    events.expect_message(&id.replace(":0", ":1"), 1);
    drop(events);
    let mut again = gateway.stream_over(tls(), "/sse?topics=chat.a", &[("Last-Event-ID", &id)], "1.1").unwrap();
    assert_eq!(again.event().json()["topics"][0]["recovered"], true);
    again.expect_message(&id.replace(":0", ":1"), 1);
}

/// PROTOCOL 7: a stream whose socket accepts nothing for `write_timeout` is ended, whatever the rules.
#[test]
fn a_stream_whose_socket_accepts_nothing_is_ended() {
    let gateway = Setup::new().without_rates().limits("write_timeout = \"300ms\"\noutbox_bytes = 100000").start();
    for path in ["/sse?topics=quotes.%3E", "/stream?topics=quotes.%3E"] {
        let stream = gateway.stream(path);
        gateway.expect_metric("sessions", 1.0);
        // The kernel's buffers hold megabytes.
        (0..10).for_each(|n| gateway.publish_many(&format!("quotes.{n}"), 100, 20_000));
        gateway.expect_metric("sessions", 0.0);
        drop(stream);
    }
    gateway.expect_limit_hit("write_timeout");
    gateway.expect_metric("sessions_closed_total{reason=\"slow\"}", 2.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: past `outbox_total_bytes` a stream whose rule is `disconnect` is ended with 1013.
#[test]
fn past_the_total_disconnect_ends_a_stream_with_1013() {
    let gateway = Setup::new().without_rates().limits("outbox_total_bytes = 200000\noutbox_bytes = 4000000").start();
    let mut stream = gateway.stream("/sse?topics=chat.a");
    stream.event();
    std::thread::scope(|scope| {
        scope.spawn(|| gateway.publish_many("chat.a", 2_000, 5_000));
        gateway.expect_metric("sessions_closed_total{reason=\"too_full\"}", 1.0);
        // PROTOCOL 6: a client has 2 s to read the end of its stream.
        let last = std::iter::from_fn(|| stream.block()).filter(|block| block.data.is_some()).last().unwrap();
        assert_eq!((&*last.name, &last.json()["code"]), ("error", &json!(1013)), "{last:?}");
    });
    gateway.expect_limit_hit("outbox_total_bytes");
    gateway.expect_accounts_closed();
}

/// PROTOCOL 7: while the outboxes are at `outbox_total_bytes`, new streams are refused until there is room.
#[test]
fn new_streams_are_refused_while_the_outboxes_are_full() {
    let limits = "outbox_total_bytes = 400000\noutbox_bytes = 4000000\nwrite_timeout = \"1m\"";
    let gateway = Setup::new().without_rates().limits(limits).start();
    // The shards have one stream each.
    let unread: Vec<Stream> = (0..2).map(|_| gateway.stream("/sse?topics=test.a")).collect();
    gateway.publish_many("test.a", 2_000, 5_000);
    gateway.expect_limit_hit("outbox_total_bytes");
    eventually("a refusal", || {
        let reply = Stream::open(gateway.socket(), "/stream?topics=chat.a", &[], "1.1").err()?;
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("5")));
        Some(())
    });
    let events = Stream::refusal(gateway.socket(), "GET", "/sse?topics=chat.a", &[("Accept", "text/event-stream")]);
    assert!(events.status == 200 && events.text().starts_with("retry: "), "an EventSource reconnects: {events:?}");
    let lines = gateway.post("/connection/http_stream", br#"{"connect":{},"id":1}"#);
    assert_eq!(lines.problem(503), "too_busy");
    gateway.session().expect_quiet();
    assert!(gateway.metrics().value("handshakes_rejected_total{reason=\"outbox_total_bytes\"}") >= 3.0);
    drop(unread);
    eventually("a stream to be accepted", || Stream::open(gateway.socket(), "/stream?topics=chat.a", &[], "1.1").ok());
}

/// PROTOCOL 7: a stream is charged as a subscribe is, to the bucket of its credential or address. While the bucket is
/// empty, streams are refused.
#[test]
fn streams_are_charged_as_a_subscribe_is() {
    let gateway = Setup::new().limits("commands_per_second = 1\ncommands_burst = 3").start();
    let open: Vec<Stream> = (0..3).map(|_| gateway.stream("/stream?topics=chat.a")).collect();
    let lines = Stream::refusal(gateway.socket(), "GET", "/stream?topics=chat.a", &[]);
    assert_eq!((lines.header("Retry-After"), lines.problem(429)), (Some("1"), "rate_limited".to_owned()));
    let events = Stream::refusal(gateway.socket(), "GET", "/sse?topics=chat.a", &[("Accept", "text/event-stream")]);
    assert!(events.status == 200 && events.text().starts_with("retry: "), "an EventSource reconnects: {events:?}");
    gateway.expect_metric("handshakes_rejected_total{reason=\"commands_per_second\"}", 2.0);
    gateway.expect_metric("limit_hits_total{limit=\"commands_per_second\"}", 2.0);
    drop(open);
}

/// PROTOCOL 7: past `topics_per_address` a stream of new topics alone is refused. One with an existing topic or a
/// pattern is accepted, and gets an error for its new topics. The bug: the first was accepted, and ended at once.
#[test]
fn a_stream_past_topics_per_address_is_refused() {
    let gateway = Setup::new().limits("topics_per_address = 1").start();
    let mut first = gateway.stream("/stream?topics=chat.a");
    assert_eq!(first.object()["op"], "subscribed");
    let lines = Stream::refusal(gateway.socket(), "GET", "/stream?topics=chat.b,chat.c", &[]);
    assert_eq!((lines.header("Retry-After"), lines.problem(429)), (Some("1"), "rate_limited".to_owned()));
    let events = Stream::refusal(gateway.socket(), "GET", "/sse?topics=chat.b", &[("Accept", "text/event-stream")]);
    assert!(events.status == 200 && events.text().starts_with("retry: "), "an EventSource reconnects: {events:?}");
    let mut second = gateway.stream("/stream?topics=chat.b,chat.a");
    let (subscribed, error) = (second.object(), second.object());
    assert_eq!((&subscribed["topics"][0]["topic"], &error["code"]), (&json!("chat.a"), &json!("rate_limited")));
    assert_eq!(gateway.stream("/stream?topics=chat.b,chat.%3E").object()["topics"][0]["topic"], "chat.>");
    gateway.expect_metric("handshakes_rejected_total{reason=\"topics_per_address\"}", 2.0);
}

/// PROTOCOL 7: a refused stream is counted once, and not charged. The bug: it was counted for each of its topics and
/// charged, twice over plain TCP.
#[test]
fn a_refused_stream_is_counted_once_and_not_charged() {
    let gateway = Setup::new().limits("topics_per_address = 1\ncommands_per_second = 1\ncommands_burst = 1000").start();
    let _first = gateway.stream("/stream?topics=chat.a");
    let lines = Stream::refusal(gateway.socket(), "GET", "/stream?topics=chat.b,chat.c", &[]);
    assert_eq!(lines.problem(429), "rate_limited");
    gateway.expect_metric("limit_hits_total{limit=\"topics_per_address\"}", 1.0);
    let few = Setup::new().limits("topics_per_address = 1\ncommands_per_second = 1\ncommands_burst = 6").start();
    let _first = few.stream("/stream?topics=chat.a");
    (0..9).for_each(|_| drop(Stream::refusal(few.socket(), "GET", "/stream?topics=chat.b", &[])));
    let after: Vec<_> = (0..5).map(|_| few.stream("/stream?topics=chat.a")).collect();
    few.expect_metric("limit_hits_total{limit=\"topics_per_address\"}", 9.0);
    assert_eq!(after.len(), 5, "none of the nine refusals took a unit");
}

/// PROTOCOL 7: a stream is charged for the topics that its patterns match. The search for these topics follows the
/// answer. The bug: the search was not charged.
#[test]
fn a_stream_is_charged_for_the_topics_its_patterns_match() {
    const TOPICS: usize = 12_000;
    let auth = "anonymous = { subscribe = [\"test.>\"], publish = [] }\n\
        api_keys = [{ name = \"feed\", key = \"feed-key\", publish = [\"test.>\"], commands_per_second = 10000000 }]\n";
    let gateway = Setup::new().auth(auth).limits("commands_per_second = 1\ncommands_burst = 4").start();
    let lines: Vec<String> = (0..TOPICS).map(|number| json!({"topic": format!("test.n{number}"), "data": number}).to_string()).collect();
    let reply = gateway.request("POST", "/v1/publish", &[("Authorization", "Bearer feed-key")], lines.join("\n").as_bytes());
    assert_eq!(reply.json()["published"], TOPICS, "{reply:?}");
    let mut stream = gateway.stream("/stream?topics=test.*&last=1");
    let messages = std::iter::repeat_with(|| stream.object()).filter(|event| event["op"] == "message").take(TOPICS);
    assert_eq!(messages.count(), TOPICS);
    assert_eq!(gateway.get("/v1/topics/test.n1/history").status, 429, "12 units have taken a bucket of 4 below zero");
}
