//! PROTOCOL 11: server-sent events on `/sse`, and lines on `/stream`.

use serde_json::{Value, json};

use crate::gateway::{ADMIN, FEED, Gateway, ServerSent, Setup, Stream, eventually, expiring, message, replayed, unix_seconds};

fn refusal(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> crate::gateway::Reply {
    Stream::refusal(gateway.socket(), "GET", path, headers)
}

/// The first event is `subscribed`. The events of messages follow, with an `id` and without a name.
#[test]
fn a_stream_begins_with_subscribed() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2"]);
    let mut stream = gateway.stream_with("/sse?topics=chat.a", &[("Accept", "text/event-stream")]);
    for (name, value) in [
        ("Content-Type", "text/event-stream; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("Transfer-Encoding", "chunked"),
    ] {
        assert_eq!(stream.head.header(name), Some(value), "{name}");
    }
    assert!(stream.head.header("Content-Encoding").is_none() && stream.head.header("Access-Control-Allow-Origin").is_none());
    let first = stream.block().unwrap();
    assert!(first.comment.as_ref().is_some_and(|comment| comment.starts_with("belfry ")) && first.retry == Some(2000), "{first:?}");
    let id = |offset| format!("{}:{offset}", newest.epoch);
    let subscribed = stream.event();
    assert_eq!((&*subscribed.name, subscribed.id), ("subscribed", Some(id(2))));
    let topics = json!([{"topic": "chat.a", "epoch": newest.epoch, "offset": 2}]);
    assert_eq!(serde_json::from_str::<Value>(&subscribed.data.unwrap()).unwrap(), json!({"op": "subscribed", "topics": topics}));
    gateway.publish("chat.a", r#"{"price":187.30}"#);
    let event = stream.event();
    assert_eq!((&*event.name, event.id.clone()), ("", Some(id(3))));
    assert_eq!(event.json(), message("chat.a", &newest.at(3), json!({"price": 187.30})));
    assert!(event.data.unwrap().contains(r#""data":{"price":187.30}}"#), "byte for byte");
    gateway.expect_accounts_closed();
}

/// `/stream` has the same objects as lines.
#[test]
fn the_lines_of_a_stream_are_the_same_objects() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2"]);
    let mut stream = gateway.stream("/stream?topics=chat.a&last=1");
    assert_eq!(stream.head.header("Content-Type"), Some("application/x-ndjson"));
    assert_eq!(stream.object()["op"], "subscribed");
    assert_eq!(stream.object(), replayed("chat.a", &newest, 2));
    gateway.publish("chat.a", "[\n1,\r\n2]");
    assert_eq!(
        stream.line().unwrap(),
        format!(r#"{{"op":"message","topic":"chat.a","epoch":"{}","offset":3,"data":[ 1,  2]}}"#, newest.epoch)
    );
}

/// The `id` of an event has the position of each topic of the URL, in the URL's order.
#[test]
fn an_id_has_the_position_of_each_topic() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish("chat.a", "1"), gateway.publish("chat.b", "1"));
    let mut stream = gateway.stream("/sse?topics=chat.b,test.%3E,chat.a");
    let id = |b_offset: u64, a_offset: u64| format!("{}:{b_offset},-,{}:{a_offset}", b.epoch, a.epoch);
    assert_eq!(stream.event().id, Some(id(1, 1)));
    gateway.publish("chat.a", "2");
    stream.expect_message(&id(1, 2), 2);
    gateway.publish("test.x", "3");
    stream.expect_message(&id(1, 2), 3);
    gateway.publish("chat.b", "4");
    stream.expect_message(&id(2, 2), 4);
}

/// `Last-Event-ID`, or `last_event_id=`, brings the missed messages of each topic in order, each once.
#[test]
fn a_stream_resumes_by_its_last_id() {
    let gateway = Gateway::start();
    let (a, b) = (gateway.publish("chat.a", "1"), gateway.publish("chat.b", "1"));
    let mut stream = gateway.stream("/sse?topics=chat.a,chat.b");
    let id = stream.event().id.unwrap();
    drop(stream);
    gateway.publish_all("chat.a", ["2", "3"]);
    gateway.publish_all("chat.b", ["2"]);
    let path = "/sse?topics=chat.a,chat.b";
    let in_query = format!("{path}&last_event_id={}", id.replace(':', "%3A"));
    for (path, headers) in
        [(path, &[("Last-Event-ID", &*id)][..]), (&in_query, &[]), (&format!("{path}&last_event_id=x"), &[("Last-Event-ID", &*id)])]
    {
        let mut stream = gateway.stream_with(path, headers);
        let subscribed = stream.event();
        assert_eq!(subscribed.id.as_ref(), Some(&id), "the position before the replay, for a stream that ends during the replay");
        let recovered: Vec<_> = subscribed.json()["topics"].as_array().unwrap().iter().map(|topic| topic["recovered"].clone()).collect();
        assert_eq!(recovered, [true, true]);
        let id = |a_offset: u64, b_offset: u64| format!("{}:{a_offset},{}:{b_offset}", a.epoch, b.epoch);
        for (id, data) in [(id(2, 1), 2), (id(3, 1), 3), (id(3, 2), 2)] {
            let event = stream.event();
            assert_eq!((event.id.clone(), &event.json()["data"], &event.json()["replay"]), (Some(id), &json!(data), &json!(true)));
        }
        gateway.publish("test.other", "1");
    }
}

/// An `id` with another epoch: `"recovered":false`, then a replay as with `last`. A malformed `id` is ignored.
#[test]
fn an_id_with_another_epoch_is_not_recovered() {
    let gateway = Gateway::start();
    gateway.publish_all("chat.a", ["1", "2"]);
    let path = "/sse?topics=chat.a&last=1";
    let first = |id: &str| gateway.stream_with(path, &[("Last-Event-ID", id)]).event().json()["topics"][0].clone();
    assert_eq!(first("another:1")["recovered"], false);
    for id in ["", "1", "a:1,b:2", "a:x", "-"] {
        assert_eq!(first(id).get("recovered"), None, "{id:?}");
    }
    let mut stream = gateway.stream_with(path, &[("Last-Event-ID", "another:1")]);
    stream.event();
    assert_eq!(stream.event().json()["data"], 2);
}

/// A stream that ends during the replay of `last` resumes before it.
#[test]
fn a_stream_resumes_within_the_replay_of_last() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut stream = gateway.stream("/sse?topics=chat.a&last=2");
    assert_eq!(stream.event().id, Some(format!("{}:3", newest.epoch)), "the topic's position at the subscribe");
    assert_eq!(stream.block(), Some(ServerSent { id: Some(format!("{}:1", newest.epoch)), ..ServerSent::default() }));
    let mut again = gateway.stream_with("/sse?topics=chat.a&last=2", &[("Last-Event-ID", &format!("{}:1", newest.epoch))]);
    assert_eq!(again.event().json()["topics"][0]["recovered"], true);
    again.expect_message(&format!("{}:2", newest.epoch), 2);
}

/// `raw=true` sends the payloads of one topic alone. An event has a `data` for each line of its payload.
#[test]
fn raw_sends_payloads_alone() {
    let gateway = Gateway::start();
    let newest = gateway.publish("chat.a", "0");
    let mut stream = gateway.stream("/sse?topics=chat.a&raw=true&last=0");
    let mut lines = gateway.stream("/stream?topics=chat.a&raw=true&last=0");
    gateway.publish("chat.a", "a\nb\rc");
    let event = stream.event();
    assert_eq!((&*event.name, event.data.as_deref(), event.id), ("", Some("a\nb\nc"), Some(format!("{}:2", newest.epoch))));
    assert_eq!(lines.line().unwrap(), "a b c");
    for path in ["/sse?topics=chat.a,chat.b&raw=true", "/sse?topics=chat.%3E&raw=true"] {
        assert_eq!(refusal(&gateway, path, &[]).problem(400), "bad_request", "{path}");
    }
}

/// The events of joins, leaves and errors have a name.
#[test]
fn joins_and_errors_have_names() {
    let gateway = Gateway::start();
    let mut stream = gateway.stream("/sse?topics=chat.a,private.x,quotes.a&presence=true");
    let subscribed = stream.event();
    assert_eq!(subscribed.json()["topics"].as_array().unwrap().len(), 2);
    assert_eq!(subscribed.id.unwrap().split(',').nth(1), Some("-"), "a refused topic has a part of the id");
    let error = stream.event();
    assert_eq!((&*error.name, &error.json()["code"]), ("error", &json!("not_allowed")));
    assert_eq!(stream.event().json()["code"], "presence_off");
    let mut other = gateway.session();
    other.subscribe(&["chat.a"]);
    assert_eq!((&*stream.event().name, gateway.get("/v1/topics/chat.a/presence").json()["count"].as_u64()), ("join", Some(2)));
    drop(other);
    assert_eq!(stream.event().name, "leave");
}

/// A stream is a session: it is listed and counted, and an operator can close it. Its last event has the code of its
/// Close.
#[test]
fn a_stream_is_a_session() {
    let gateway = Gateway::start();
    let (mut sse, mut lines) = (gateway.stream("/sse?topics=chat.a"), gateway.stream("/stream?topics=chat.a"));
    sse.event();
    lines.object();
    gateway.expect_metric("sessions", 2.0);
    let listed = gateway.admin("/v1/sessions").json();
    let sessions = listed["sessions"].as_array().unwrap();
    let mut dialects: Vec<_> = sessions.iter().map(|session| session["dialect"].as_str().unwrap()).collect();
    dialects.sort_unstable();
    assert_eq!(dialects, ["sse", "stream"]);
    for session in sessions {
        let path = format!("/v1/sessions/{}", session["session"].as_str().unwrap());
        assert_eq!(gateway.request("DELETE", &path, &[ADMIN], b"").status, 204);
    }
    let event = sse.event();
    assert_eq!((&*event.name, &event.json()["op"], &event.json()["code"]), ("error", &json!("error"), &json!(4009)));
    sse.expect_end();
    let end = lines.object();
    assert_eq!((&end["op"], &end["code"]), (&json!("error"), &json!(4009)));
    assert_eq!(lines.line(), None);
    gateway.expect_metric("sessions_closed_total{reason=\"operator\"}", 2.0);
}

/// A request that can't succeed is refused with 400, 401, 403, 404, 405 or 406 and a problem, and is counted once.
#[test]
fn requests_that_cannot_succeed_are_refused() {
    let gateway = Gateway::start();
    let many = vec!["chat.a"; 65].join(",");
    for (path, headers, status) in [
        ("/sse", &[][..], 400),
        ("/sse?topics=", &[], 400),
        ("/stream", &[], 400),
        ("/sse?topics=a..b", &[], 400),
        (&format!("/sse?topics={many}"), &[], 400),
        ("/sse?topics=chat.a&last=x", &[], 400),
        ("/sse?topics=chat.a&interval_ms=9", &[], 400),
        ("/sse?topics=chat.a&interval_ms=3600001", &[], 400),
        ("/sse?topics=private.a", &[], 401),
        ("/sse?topics=chat.a&token=x", &[], 401),
        ("/sse?topics=chat.a", &[("Authorization", "Bearer x")], 401),
        ("/sse?topics=other.a", &[FEED], 403),
        ("/sse?topics=chat.a", &[("Origin", "http://elsewhere")], 403),
        ("/sse/?topics=chat.a", &[], 404),
        ("/sse?topics=chat.a", &[("Accept", "application/json")], 406),
        ("/stream?topics=chat.a", &[("Accept", "text/event-stream")], 406),
    ] {
        refusal(&gateway, path, headers).problem(status);
    }
    let reply = gateway.request("POST", "/sse?topics=chat.a", &[], b"");
    assert_eq!((reply.problem(405), reply.header("Allow")), ("method_not_allowed".to_owned(), Some("GET, HEAD")));
    gateway.expect_metric("handshakes_rejected_total{reason=\"unauthorized\"}", 4.0);
    assert!(gateway.stream(&format!("/sse?topics={}", many.trim_end_matches(",chat.a"))).event().id.is_some());
}

/// PROTOCOL 7: a wrong credential counts once, though the gateway may handle a request twice.
#[test]
fn a_wrong_credential_counts_once() {
    let gateway = Gateway::with_limits("failures_per_minute = 2");
    for status in [401, 401, 429] {
        refusal(&gateway, "/sse?topics=chat.a&token=x", &[]).problem(status);
    }
}

/// A HEAD is answered with the head of its GET, and opens no session.
#[test]
fn a_head_is_answered_without_a_stream() {
    let gateway = Gateway::start();
    for (path, kind) in [("/sse?topics=chat.a", "text/event-stream"), ("/stream?topics=chat.a", "application/x-ndjson")] {
        let reply = Stream::refusal(gateway.socket(), "HEAD", path, &[]);
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        assert!(reply.header("Content-Type").unwrap().starts_with(kind), "{reply:?}");
        assert_eq!(reply.header("X-Accel-Buffering"), Some("no"));
    }
    assert_eq!(Stream::refusal(gateway.socket(), "HEAD", "/sse", &[]).status, 400);
    gateway.expect_metric("sessions", 0.0);
}

/// A page whose origin is in `server.origins` may read a stream: replies have the fields of CORS.
#[test]
fn listed_origins_may_read_a_stream() {
    let gateway = Setup::new().server("origins = [\"https://app.example\"]").start();
    let origin = ("Origin", "https://app.example");
    let streams = [("GET", "/sse?topics=chat.a"), ("HEAD", "/sse?topics=chat.a"), ("GET", "/sse"), ("OPTIONS", "/stream")];
    for (method, path) in streams {
        let headers = [origin, ("Access-Control-Request-Method", "GET")];
        let reply = match (method, path) {
            ("GET", "/sse?topics=chat.a") => gateway.stream_with(path, &[origin]).head,
            _ => Stream::refusal(gateway.socket(), method, path, &headers),
        };
        assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("https://app.example"), "{method} {path}");
        assert_eq!(reply.header("Access-Control-Allow-Credentials"), Some("true"), "{method} {path}");
        assert_eq!(reply.header("Vary"), Some("Origin"), "{method} {path}");
    }
    refusal(&gateway, "/sse?topics=chat.a", &[("Origin", "https://other.example")]).problem(403);
}

/// An EventSource never reconnects after an error. So a refusal that will pass is a stream with `retry` that ends.
/// Other clients get 429.
#[test]
fn an_event_source_is_refused_by_a_stream_that_ends() {
    let gateway = Gateway::with_limits("sessions_per_address = 1");
    let _first = gateway.stream("/sse?topics=chat.a");
    for headers in [&[][..], &[("Accept", "text/event-stream")]] {
        let reply = refusal(&gateway, "/sse?topics=chat.a", headers);
        assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("text/event-stream; charset=utf-8")));
        let retry: u64 = reply.text().trim().strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!((5_000..=10_000).contains(&retry), "{retry}");
    }
    for (path, headers) in [("/sse?topics=chat.a", &[("Accept", "*/*")][..]), ("/stream?topics=chat.a", &[])] {
        let reply = refusal(&gateway, path, headers);
        assert_eq!((reply.status, reply.header("Retry-After")), (429, Some("5")), "{path}");
    }
    gateway.expect_metric("handshakes_rejected_total{reason=\"sessions_per_address\"}", 4.0);
}

/// A drain sends each stream the time after which to reconnect, and ends it. New streams are refused.
#[test]
fn a_drain_ends_streams() {
    let mut gateway = Setup::new().server("drain = \"1s\"").start();
    let (mut sse, mut raw) = (gateway.stream("/sse?topics=chat.a"), gateway.stream("/sse?topics=chat.a&raw=true"));
    let mut lines = gateway.stream("/stream?topics=chat.a");
    sse.event();
    raw.block();
    lines.object();
    gateway.terminate();
    for stream in [&mut sse, &mut raw] {
        let retry = stream.block().and_then(|block| block.retry).expect("a block with `retry`");
        assert!((800..=2000).contains(&retry), "{retry}");
    }
    assert_eq!(lines.object()["op"], "draining");
    let late = refusal(&gateway, "/sse?topics=chat.a", &[]);
    assert!(late.status == 200 && late.text().starts_with("retry: "), "{late:?}");
    assert_eq!(refusal(&gateway, "/stream?topics=chat.a", &[]).status, 503);
    sse.expect_end();
    raw.expect_end();
    assert_eq!(lines.line(), None);
    drop((sse, raw, lines));
    assert!(gateway.exit_status().success());
}

/// An expired token ends a stream with 4002.
#[test]
fn an_expired_token_ends_a_stream() {
    let gateway = Gateway::start();
    let token = expiring("anna", unix_seconds() + 2, &["private.>"], &[]);
    let mut stream = gateway.stream(&format!("/sse?topics=private.a&token={token}"));
    assert_eq!(stream.event().name, "subscribed");
    let event = stream.event();
    assert_eq!((&*event.name, &event.json()["code"]), ("error", &json!(4002)));
    stream.expect_end();
}

/// A stream without messages gets a comment every `ping_interval`, or an empty line on `/stream`.
#[test]
fn an_idle_stream_gets_a_comment_every_interval() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"200ms\"");
    let (mut sse, mut lines) = (gateway.stream("/sse?topics=chat.a"), gateway.stream("/stream?topics=chat.a"));
    sse.event();
    lines.object();
    for _ in 0..4 {
        assert_eq!(sse.block(), Some(ServerSent { comment: Some(String::new()), ..ServerSent::default() }));
        assert_eq!(lines.line().as_deref(), Some(""));
    }
    gateway.publish("chat.a", "1");
    assert_eq!(lines.object()["data"], 1);
    gateway.expect_metric("sessions", 2.0);
}

/// A client ends its stream by its FIN. Bytes behind the request are discarded.
#[test]
fn a_clients_fin_ends_its_stream() {
    let gateway = Gateway::start();
    let mut stream = gateway.stream("/sse?topics=chat.a");
    let newest = gateway.publish("chat.a", "1");
    stream.event();
    stream.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.expect_message(&format!("{}:1", newest.epoch), 1);
    assert_eq!(gateway.admin("/v1/topics/chat.a").json()["subscribers"], 1);
    stream.end_writing();
    gateway.expect_metric("sessions_closed_total{reason=\"gone\"}", 1.0);
    eventually("the member to leave", || (gateway.get("/v1/topics/chat.a/presence").json()["count"] == 0).then_some(()));
}

/// A stream over HTTP/1.0, which is nginx's default for upstreams, has no chunks. The head of a request may come in
/// several segments, behind another request.
#[test]
fn a_stream_may_be_requested_over_http_1_0_or_in_segments() {
    let gateway = Gateway::start();
    let newest = gateway.publish("chat.a", "1");
    let old = gateway.stream_over(gateway.socket(), "/sse?topics=chat.a&last=1", &[("Connection", "close")], "1.0");
    let mut old = old.ok().unwrap();
    assert!(old.head.header("Transfer-Encoding").is_none());
    old.event();
    old.expect_message(&format!("{}:1", newest.epoch), 1);
    let mut socket = gateway.socket_with(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /sse?topics=chat.a HTTP/1.1\r\n");
    assert_eq!(crate::gateway::read_reply(&mut socket).unwrap().text(), "ok\n");
    std::io::Write::write_all(&mut socket, b"Host: localhost\r\n\r\n").unwrap();
    let head = crate::gateway::read_reply_head(&mut socket).unwrap();
    assert_eq!((head.status, head.header("Transfer-Encoding")), (200, Some("chunked")));
    gateway.expect_metric("sessions", 2.0);
}

/// A slow stream gets gaps for dropped messages. The `id` of each event counts them.
#[test]
fn a_slow_stream_gets_gaps() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 20000").start();
    let newest = gateway.publish("test.a", "0");
    let mut stream = gateway.stream("/sse?topics=test.a,chat.b");
    stream.event();
    gateway.publish_many("test.a", 2_000, 5_000);
    let (mut offset, mut has_gap) = (1, false);
    while offset < 2_001 {
        let event = stream.event();
        let json = event.json();
        if event.name == "gap" {
            assert_eq!(json["from"], offset + 1);
            (offset, has_gap) = (json["to"].as_u64().unwrap(), true);
            continue;
        }
        offset += 1;
        assert_eq!(json["offset"], offset, "each message is in an event or in a gap");
        assert!(event.id.unwrap().starts_with(&format!("{}:{offset},", newest.epoch)));
    }
    assert!(has_gap, "the outbox held all messages");
    gateway.expect_accounts_closed();
}
