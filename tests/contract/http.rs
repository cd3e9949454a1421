//! PROTOCOL 5: the HTTP calls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Certificate, FEED, Gateway, Reply, Setup, eventually, expiring, read_reply, token, unix_seconds};

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// PROTOCOL 5: a publish is answered with topic, offset and epoch.
#[test]
fn a_publish_is_answered_with_its_position() {
    let gateway = Gateway::start();
    let reply = gateway.post("/v1/topics/chat.lobby", "1");
    let published = reply.json();
    assert_eq!((reply.status, &published["topic"], &published["offset"]), (200, &json!("chat.lobby"), &json!(1)));
    assert_eq!(names(&published), ["epoch", "offset", "topic"]);
    assert_eq!(gateway.post("/v1/topics/chat.lobby", "1").json()["offset"], 2);
}

/// PROTOCOL 5: a batch publishes its good lines and names each bad one, from 1.
#[test]
fn a_batch_reports_its_bad_lines() {
    let gateway = Gateway::start();
    let lines = [
        r#"{"topic":"test.a","data":{"n": 1.0}}"#,
        r#"{"topic":"private.a","data":2}"#,
        r#"{"topic":"test..a","data":3}"#,
        "nonsense",
        r#"{"topic":"test.a"}"#,
        r#"{"topic":"test.a","data":"six"}"#,
    ];
    let reply = gateway.post("/v1/publish", lines.join("\n"));
    let answer = reply.json();
    assert_eq!((reply.status, &answer["published"]), (200, &json!(2)), "{reply:?}");
    let errors: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| (error["line"].as_u64(), error["code"].as_str())).collect();
    let code = |line, code| (Some(line), Some(code));
    assert_eq!(errors, [code(2, "not_allowed"), code(3, "bad_topic"), code(4, "bad_request"), code(5, "bad_request")]);
    assert_eq!(names(&answer["errors"][0]), ["code", "line", "message"]);
    let history = gateway.admin("/v1/topics/test.a/history").text();
    assert!(history.contains(r#"{"n": 1.0}"#), "payloads are never re-serialised: {history}");
}

/// PROTOCOL 5: a line of a batch is an object, and an error names its members. The bug: a list of two was published,
/// and errors named the parser's types.
#[test]
fn a_line_of_a_batch_is_an_object() {
    let gateway = Gateway::start();
    let answer = gateway.post("/v1/publish", "[\"test.a\",1]\n{\"topic\":1,\"data\":1}").json();
    let messages: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert_eq!(answer["published"], 0);
    assert!(messages[0].starts_with("the line is not an object; write {\"topic\":…,\"data\":…}"), "{messages:?}");
    assert!(messages[1].starts_with("the line needs one \"topic\", which is a string"), "{messages:?}");
}

/// PROTOCOL 5: a compressed body is refused. The bug: the compressed bytes were published.
#[test]
fn a_compressed_body_is_refused() {
    let gateway = Gateway::start();
    for path in ["/v1/topics/chat.a", "/v1/publish"] {
        let reply = gateway.request("POST", path, &[("Content-Encoding", "gzip")], b"\x1f\x8b");
        assert_eq!((reply.status, reply.header("Accept-Encoding")), (415, Some("identity")), "{path}");
    }
    let plain = gateway.request("POST", "/v1/topics/chat.a", &[("Content-Encoding", "identity")], b"1");
    assert_eq!((plain.status, plain.json()["offset"].as_u64()), (200, Some(1)));
}

/// PROTOCOL 3: a URL may have `topics` several times. The bug: all but the first were ignored.
#[test]
fn topics_of_several_parameters_add_up() {
    let mut session = Gateway::start().session_at("/ws?topics=test.a&last=0&topics=test.b,test.c");
    let topics: Vec<_> = session.receive()["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].clone()).collect();
    assert_eq!(topics, ["test.a", "test.b", "test.c"]);
}

/// PROTOCOL 4: paths are percent-decoded before they are compared with `[endpoints]`. The bug: `"/房間"` was a 404.
#[test]
fn endpoints_are_compared_percent_decoded() {
    let gateway = Setup::new().more("[endpoints]\n\"/房間\" = \"plain.room\"\n\"/a%2Db\" = \"plain.ab\"").start();
    for path in ["/%E6%88%BF%E9%96%93", "/a-b", "/a%2db"] {
        assert!(gateway.dial_with(path, &[]).is_ok(), "{path}");
    }
    assert_eq!(gateway.get("/%E6%88%BF%E9%96%93").status, 426);
    assert_eq!(gateway.refusal("/%E6%88%BF", &[]).status, 404);
}

/// PROTOCOL 5: `message_bytes` bounds each `data` of a batch, and not the batch.
#[test]
fn a_batch_may_be_larger_than_a_message() {
    let gateway = Gateway::with_limits("message_bytes = 1000");
    let line = |bytes: usize| json!({"topic": "test.a", "data": "x".repeat(bytes - 2)}).to_string();
    let reply = gateway.post("/v1/publish", [line(1000), line(1001), line(900)].join("\n") + "\n");
    let answer = reply.json();
    assert_eq!((reply.status, &answer["published"]), (200, &json!(2)), "{reply:?}");
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["code"]), (&json!(2), &json!("message_too_large")));
    gateway.expect_limit_hit("message_bytes");
}

/// PROTOCOL 5: 413 for a batch past 16 MiB, before its body is read.
#[test]
fn a_batch_past_16_mib_is_refused() {
    let gateway = Gateway::start();
    let head = format!("POST /v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", gateway.address(), (16 << 20) + 1);
    let mut socket = gateway.socket_with(head);
    let reply = read_reply(&mut socket).expect("the gateway answers the head");
    assert_eq!(reply.problem(413), "message_too_large");
}

/// PROTOCOL 5 and 7: 413 for a body past `message_bytes`. A body of `message_bytes` is published.
#[test]
fn a_body_past_message_bytes_is_refused() {
    let gateway = Gateway::with_limits("message_bytes = 1000");
    gateway.publish("test.a", "x".repeat(1000));
    assert_eq!(gateway.post("/v1/topics/test.a", "x".repeat(1001)).problem(413), "message_too_large");
    gateway.expect_limit_hit("message_bytes");
}

/// PROTOCOL 5 and 7: `message_bytes` bounds a chunked body too.
#[test]
fn a_chunked_body_past_message_bytes_is_refused() {
    let gateway = Gateway::with_limits("message_bytes = 1000");
    let head = format!("POST /v1/topics/test.a HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", gateway.address());
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let mut socket = gateway.socket_with(format!("{head}{chunk}{chunk}0\r\n\r\n"));
    assert_eq!(read_reply(&mut socket).unwrap().problem(413), "message_too_large");
}

/// PROTOCOL 5: 400 with `bad_topic` for a bad topic in a path.
#[test]
fn a_bad_topic_is_a_400() {
    let gateway = Gateway::start();
    assert_eq!(gateway.post("/v1/topics/test..a", "1").problem(400), "bad_topic");
    assert_eq!(gateway.post("/v1/topics/test.%3E", "1").problem(400), "bad_topic");
    assert_eq!(gateway.admin("/v1/topics/test.a%20b/history").problem(400), "bad_topic");
}

/// PROTOCOL 5: 401 without credentials or with bad ones, 403 for credentials without the grant.
#[test]
fn grants_hold_for_http() {
    let gateway = Gateway::start();
    let publish = |headers: &[(&str, &str)]| gateway.request("POST", "/v1/topics/private.a", headers, b"1");
    let bearer = format!("Bearer {}", token("alice", &[], &["other.>"]));
    assert_eq!(publish(&[]).problem(401), "not_allowed");
    assert_eq!(publish(&[("Authorization", &bearer)]).problem(403), "not_allowed");
    assert_eq!(publish(&[("Authorization", "Bearer nonsense")]).problem(401), "token_invalid");
    assert_eq!(publish(&[FEED]).status, 200);
    let old = format!("Bearer {}", expiring("alice", unix_seconds() - 3600, &[], &["private.>"]));
    assert_eq!(publish(&[("Authorization", &old)]).problem(401), "token_expired");
}

/// PROTOCOL 5 and 8: a token may be in `?token=`.
#[test]
fn a_token_may_be_in_the_query() {
    let gateway = Gateway::start();
    let path = format!("/v1/topics/private.a?token={}", token("alice", &[], &["private.>"]));
    assert_eq!(gateway.post(&path, "1").status, 200);
}

/// PROTOCOL 5: listing topics, and listing and closing sessions, needs a key with `admin = true`.
#[test]
fn the_operators_calls_need_an_admin_key() {
    let gateway = Gateway::start();
    gateway.publish("chat.a", "1");
    for (method, path) in [("GET", "/v1/topics"), ("GET", "/v1/topics/chat.a"), ("GET", "/v1/sessions"), ("DELETE", "/v1/sessions/nobody")]
    {
        assert_eq!(gateway.request(method, path, &[], b"").problem(401), "not_allowed", "{method} {path}");
        assert_eq!(gateway.request(method, path, &[FEED], b"").problem(403), "not_allowed", "{method} {path}");
        assert!(![401, 403].contains(&gateway.request(method, path, &[ADMIN], b"").status), "{method} {path}");
    }
}

fn topics(gateway: &Gateway, query: &str) -> Vec<String> {
    let listed = gateway.admin(&format!("/v1/topics{query}")).json();
    listed["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].as_str().unwrap().to_owned()).collect()
}

/// PROTOCOL 5: topics are listed by name, bounded by `match`, `limit` and `after`.
#[test]
fn topics_are_listed_by_name() {
    let gateway = Gateway::start();
    ["quotes.C", "quotes.A", "quotes.B", "chat.a"].into_iter().for_each(|topic| drop(gateway.publish(topic, "1")));
    assert_eq!(topics(&gateway, "?match=quotes.%3E"), ["quotes.A", "quotes.B", "quotes.C"]);
    assert_eq!(topics(&gateway, "?match=quotes.%3E&limit=2"), ["quotes.A", "quotes.B"]);
    assert_eq!(topics(&gateway, "?match=quotes.%3E&limit=2&after=quotes.B"), ["quotes.C"]);
    assert_eq!(topics(&gateway, "?match=chat.a"), ["chat.a"]);
    let all = topics(&gateway, "");
    assert!(all.is_sorted() && all.contains(&"chat.a".to_owned()) && all.contains(&"quotes.C".to_owned()), "{all:?}");
}

/// PROTOCOL 5: a topic's entry has its position, its rule and the number of its subscribers by name. 404 for an unknown
/// topic.
#[test]
fn a_topic_is_listed_with_its_state() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("chat.a", ["1", "2"]);
    let (mut named, mut pattern) = (gateway.session(), gateway.session());
    named.subscribe(&["chat.a", "plain.a"]);
    pattern.subscribe(&["chat.*"]);
    let expected = json!({"topic": "chat.a", "subscribers": 1, "offset": 2, "epoch": position.epoch, "rule": "chat.>"});
    assert_eq!(gateway.admin("/v1/topics/chat.a").json(), expected);
    assert_eq!(gateway.admin("/v1/topics?match=chat.a").json(), json!({"topics": [expected]}));
    let counted = gateway.admin("/v1/topics?match=chat.a&by_pattern=true").json();
    assert_eq!(
        (&counted["topics"][0]["subscribers"], &counted["topics"][0]["by_pattern"]),
        (&json!(1), &json!(1)),
        "`by_pattern` is counted on request"
    );
    assert_eq!(gateway.admin("/v1/topics/plain.a").json()["rule"], "", "no rule matches");
    gateway.admin("/v1/topics/chat.none").problem(404);
}

/// PROTOCOL 5: history over HTTP is that of the command.
#[test]
fn history_over_http_is_that_of_the_command() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let offsets = |reply: Reply| -> Vec<u64> {
        reply.json()["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
    };
    let reply = gateway.get("/v1/topics/chat.a/history");
    let history = reply.json();
    assert_eq!((reply.status, &history["topic"], &history["epoch"]), (200, &json!("chat.a"), &json!(position.epoch)));
    assert_eq!(names(&history["messages"][0]), ["data", "offset", "ts"]);
    assert_eq!(offsets(reply), [1, 2, 3]);
    assert_eq!(offsets(gateway.get("/v1/topics/chat.a/history?limit=2")), [2, 3]);
    assert_eq!(offsets(gateway.get("/v1/topics/chat.a/history?since=1&limit=1")), [2]);
}

/// PROTOCOL 5: presence over HTTP is that of the command.
#[test]
fn presence_over_http_is_that_of_the_command() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("alice", &[], &[]));
    session.subscribe(&["chat.a"]);
    let presence = gateway.get("/v1/topics/chat.a/presence").json();
    let expected = (&json!("chat.a"), &json!(1), &json!([session.member("alice")]));
    assert_eq!((&presence["topic"], &presence["count"], &presence["members"]), expected);
}

/// PROTOCOL 5: 404 with `history_off` or `presence_off` where the rule has it off.
#[test]
fn history_and_presence_may_be_off() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["plain.a"]);
    assert_eq!(gateway.get("/v1/topics/plain.a/history").problem(404), "history_off");
    assert_eq!(gateway.get("/v1/topics/plain.a/presence").problem(404), "presence_off");
}

/// PROTOCOL 5: reading history and presence needs the grant to subscribe, or an admin key.
#[test]
fn history_and_presence_need_a_grant_or_an_admin_key() {
    let gateway = Gateway::start();
    gateway.publish_as("private.a", "1", &[FEED]);
    for path in ["/v1/topics/private.a/history", "/v1/topics/private.a/presence"] {
        assert_eq!(gateway.get(path).problem(401), "not_allowed");
        let bearer = format!("Bearer {}", token("alice", &["other.>"], &[]));
        assert_eq!(gateway.request("GET", path, &[("Authorization", &bearer)], b"").problem(403), "not_allowed");
        assert_eq!(gateway.request("GET", path, &[FEED], b"").status, 200);
        assert_eq!(gateway.admin(path).status, 200);
    }
}

/// PROTOCOL 5: a session is listed with its user, its address, its dialect and its outbox.
#[test]
fn sessions_are_listed() {
    let gateway = Gateway::start();
    let (anonymous, alice) = (gateway.session(), gateway.session_as(&token("alice", &[], &[])));
    let listed = gateway.admin("/v1/sessions?order=outbox&limit=20").json();
    let sessions = listed["sessions"].as_array().unwrap();
    let of = |id: &str| sessions.iter().find(|session| session["session"] == id).unwrap_or_else(|| panic!("{id} is missing in {listed}"));
    assert_eq!((sessions.len(), &of(anonymous.id())["user"], &of(alice.id())["user"]), (2, &Value::Null, &json!("alice")));
    assert_eq!((&of(alice.id())["dialect"], &of(alice.id())["outbox_bytes"]), (&json!("json"), &json!(0)));
    assert!(of(alice.id())["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1")), "{listed}");
    assert_eq!(gateway.admin("/v1/sessions?limit=1").json()["sessions"].as_array().unwrap().len(), 1);
}

/// PROTOCOL 5: the session with the fullest outbox is listed first, with the topic and the age of its oldest message.
#[test]
fn the_slowest_session_is_listed_first() {
    let gateway = Setup::new().without_rates().start();
    let (_idle, mut paced) = (gateway.session(), gateway.session());
    paced.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    gateway.publish_all("test.a", ["1", "2"]);
    paced.receive();
    let first = eventually("a message in the outbox", || {
        let first = gateway.admin("/v1/sessions?order=outbox&limit=1").json()["sessions"][0].take();
        (first["outbox_bytes"].as_u64() > Some(0)).then_some(first)
    });
    assert_eq!((&first["session"], &first["oldest"]["topic"]), (&json!(paced.id()), &json!("test.a")), "{first}");
    assert!(first["oldest"]["age_ms"].is_u64(), "{first}");
}

/// PROTOCOL 5 and 6: an operator closes one session with 4009. 404 for an unknown session.
#[test]
fn an_operator_closes_a_session() {
    let gateway = Gateway::start();
    let (mut one, mut other) = (gateway.session(), gateway.session());
    assert_eq!(gateway.request("DELETE", &format!("/v1/sessions/{}", one.id()), &[ADMIN], b"").status, 204);
    one.expect_close(4009);
    other.expect_quiet();
    gateway.expect_metric("sessions_closed_total{reason=\"operator\"}", 1.0);
    for id in ["nobody", one.id()] {
        gateway.request("DELETE", &format!("/v1/sessions/{id}"), &[ADMIN], b"").problem(404);
    }
}

/// PROTOCOL 5: the page, the script, `/metrics`, `/healthz` and `/readyz` need no credentials.
#[test]
fn page_metrics_and_health_need_no_credentials() {
    let gateway = Setup::new().without_anonymous().start();
    for (path, kind) in
        [("/", "text/html"), ("/belfry.js", "text/javascript"), ("/metrics", "text/plain"), ("/healthz", ""), ("/readyz", "")]
    {
        let reply = gateway.get(path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert!(reply.header("Content-Type").unwrap_or_default().starts_with(kind), "{path}: {reply:?}");
    }
}

/// PROTOCOL 5 and 8: with `admin.listen`, the main listener has no `/v1` reads, no sessions and no `/metrics`.
#[test]
fn an_admin_listener_takes_the_operators_calls() {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::new().more(&format!("[admin]\nlisten = \"{listen}\"")).start();
    let position = gateway.publish("chat.a", "1");
    for path in ["/v1/topics", "/v1/topics/chat.a", "/v1/topics/chat.a/history", "/v1/topics/chat.a/presence", "/v1/sessions", "/metrics"] {
        assert_eq!(gateway.admin(path).status, 404, "{path} on the main listener");
        let head = format!("GET {path} HTTP/1.1\r\nHost: {listen}\r\nAuthorization: Bearer admin-key\r\n\r\n");
        let mut socket = TcpStream::connect(listen).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().status, 200, "{path} on the operators' listener");
    }
    assert_eq!((gateway.get("/healthz").status, gateway.get("/readyz").status), (200, 200));
    assert_eq!(gateway.publish("chat.a", "2"), position.at(2), "publishing stays on the main listener");
    gateway.session().expect_quiet();
}

/// PROTOCOL 8: with `admin.tls` the operators' listener speaks TLS alone.
#[test]
fn an_admin_listener_may_have_tls() {
    let certificate = Certificate::new();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _gateway = Setup::new().more(&format!("[admin]\nlisten = \"{listen}\"\n{}", certificate.setting())).start();
    let request = "GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-key\r\n\r\n";

    let mut secured = certificate.client(TcpStream::connect(listen).unwrap());
    secured.write_all(request.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut secured).unwrap().status, 200);

    let mut plain = TcpStream::connect(listen).unwrap();
    plain.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer); // at most a TLS alert
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
}

/// PROTOCOL 8: without the page, 404 for it and for the script. A WebSocket on `/` is accepted.
#[test]
fn the_page_can_be_turned_off() {
    let gateway = Setup::new().more("[page]\nenabled = false\n").start();
    for path in ["/", "/belfry.js", "/page/page.css", "/page/docs/protocol.md"] {
        gateway.get(path).problem(404);
    }
    let _session = gateway.session_at("/");
}

/// PROTOCOL 7: 404 for an unknown path, 405 for a method that a path does not have.
#[test]
fn unknown_paths_and_methods_are_refused() {
    let gateway = Gateway::start();
    for path in ["/nothing", "/v1", "/v1/nothing", "/v1/topics/a/b/c", "/raw"] {
        gateway.admin(path).problem(404);
    }
    for (method, path) in [("DELETE", "/v1/topics/chat.a"), ("GET", "/v1/publish"), ("POST", "/metrics"), ("PUT", "/v1/sessions")] {
        let reply = gateway.request(method, path, &[ADMIN], b"");
        reply.problem(405);
        assert!(reply.header("Allow").is_some(), "RFC 9110 §15.5.6: {method} {path}: {reply:?}");
    }
}

/// PROTOCOL 5: 400 for a malformed query.
#[test]
fn a_malformed_query_is_a_400() {
    let gateway = Gateway::start();
    gateway.publish("chat.a", "1");
    let history = "/v1/topics/chat.a/history";
    for path in [&format!("{history}?limit=many"), &format!("{history}?since=-1"), "/v1/sessions?limit=x", "/v1/sessions?order=name"] {
        let reply = gateway.admin(path);
        assert_eq!(reply.problem(400), "bad_request", "{path}");
        let (name, value) = path.split_once('?').unwrap().1.split_once('=').unwrap();
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("`{name}` is {value}; it must be ")), "{detail}");
    }
    assert_eq!(gateway.admin("/v1/topics?match=a..b").status, 400);
}

/// PROTOCOL 5: history over HTTP is that of the command. The bug: over HTTP a `limit` of 0 had an answer without messages.
#[test]
fn a_history_without_messages_is_refused_as_by_the_command() {
    let gateway = Gateway::start();
    gateway.publish("chat.a", "1");
    let reply = gateway.get("/v1/topics/chat.a/history?limit=0");
    assert_eq!(reply.problem(400), "bad_request");
    let error = gateway.session().ask(json!({"op": "history", "id": 1, "topic": "chat.a", "limit": 0}));
    assert_eq!((&error["code"], &error["message"]), (&json!("bad_request"), &reply.json()["detail"]));
}

/// PROTOCOL 3 and 5: a query takes the same numbers as a command. The bug: an integer that a `u64` can't hold was refused. From the
/// largest `u64` as `since`, a history began anew.
#[test]
fn a_query_takes_integers_of_any_size() {
    let gateway = Gateway::start();
    gateway.publish("chat.a", "1");
    for number in ["18446744073709551615", "18446744073709551616", "99999999999999999999"] {
        let history = gateway.get(&format!("/v1/topics/chat.a/history?since={number}&limit={number}"));
        assert_eq!((history.status, &history.json()["messages"]), (200, &json!([])), "{number}");
        for path in ["/v1/topics", "/v1/sessions"] {
            assert_eq!(gateway.admin(&format!("{path}?limit={number}")).status, 200, "{path} {number}");
        }
        assert_eq!(gateway.dial(&format!("/raw/chat.a?last={number}")).receive_text(), "1");
        let mut session = gateway.session_at(&format!("/ws?topics=chat.a&last={number}"));
        assert_eq!((&session.receive()["op"], &session.receive()["offset"]), (&json!("subscribed"), &json!(1)), "{number}");
    }
}

/// RFC 9112 §9.3: pipelined requests on one connection are answered in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start();
    let request = format!("POST /v1/topics/chat.a HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n\r\n1", gateway.address());
    let mut socket = gateway.socket_with(request.repeat(3));
    let replies = (0..3).map(|_| gateway.with_ordinals(read_reply(&mut socket).unwrap(), None));
    let offsets: Vec<_> = replies.map(|reply| reply.json()["offset"].as_u64()).collect();
    assert_eq!(offsets, [Some(1), Some(2), Some(3)]);
}

/// PROTOCOL 5: replies must not be cached, and browsers must not guess their type.
#[test]
fn replies_are_not_cached() {
    let gateway = Gateway::start();
    for path in ["/v1/topics/chat.a/history", "/v1/topics", "/healthz", "/nowhere"] {
        let reply = gateway.get(path);
        let headers = ["Cache-Control", "X-Content-Type-Options", "Referrer-Policy"].map(|name| reply.header(name));
        assert_eq!(headers, [Some("no-store"), Some("nosniff"), Some("no-referrer")], "{path}: {reply:?}");
        assert_eq!(reply.header("Vary"), path.starts_with("/v1/").then_some("Origin"), "{path}: {reply:?}");
    }
    let page = gateway.get("/");
    let policy = page.header("Content-Security-Policy").unwrap_or_default();
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{page:?}");
    assert!(!page.text().contains("unsafe-inline"));
}

/// PROTOCOL 5: a batch without any grant to publish is refused before its body is read.
#[test]
fn a_batch_without_a_grant_is_refused_before_its_body() {
    let gateway = Setup::new().auth("anonymous = { subscribe = [\"chat.>\"], publish = [] }").start();
    let head =
        format!("POST /v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Length: 16000000\r\nExpect: 100-continue\r\n\r\n", gateway.address());
    let mut socket = gateway.socket_with(head);
    let reply = read_reply(&mut socket).unwrap();
    assert_eq!(reply.problem(401), "not_allowed");
}

/// PROTOCOL 7: a refused batch is answered and its connection closed, whether its body comes or not. The bug: the body
/// was awaited for up to `body_timeout`.
#[test]
fn a_refused_batch_does_not_wait_for_its_body() {
    let gateway = Setup::new().auth("anonymous = { subscribe = [\"chat.>\"], publish = [] }").limits("body_timeout = \"1h\"").start();
    let head = |bytes: usize| format!("POST /v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Length: {bytes}\r\n\r\n", gateway.address());
    let mut silent = gateway.socket_with(head(16_000_000));
    assert_eq!(read_reply(&mut silent).unwrap().problem(401), "not_allowed");
    assert_eq!(silent.read(&mut [0]).ok(), Some(0), "the gateway closes");

    let mut whole = gateway.socket_with(head(4_000_000));
    whole.write_all(&vec![b'x'; 4_000_000]).unwrap();
    assert_eq!(read_reply(&mut whole).unwrap().problem(401), "not_allowed");
}

/// PROTOCOL 7: each line of a batch takes one unit. A batch is refused whole while the bucket is empty.
#[test]
fn a_batch_is_charged_by_line() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 3");
    let lines = [r#"{"topic":"test.a","data":1}"#; 5].join("\n");
    let answer = gateway.post("/v1/publish", &lines).json();
    assert_eq!(answer["published"], 3, "{answer}");
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["code"]), (&json!(4), &json!("rate_limited")), "{answer}");
    assert_eq!(gateway.post("/v1/publish", &lines).problem(429), "rate_limited");
}

/// PROTOCOL 5 and 7: lines behind an empty bucket are refused with `rate_limited` even if they are malformed. Each is
/// counted, except blank lines. The bug: a piece of the body counted as one hit of the limit.
#[test]
fn lines_behind_an_empty_bucket_are_refused_unread() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 1");
    let body = format!("{}\n\nnothing\n \n\n{}", r#"{"topic":"test.a","data":1}"#, "x\n".repeat(2_000));
    let answer = gateway.post("/v1/publish", &body).json();
    assert_eq!((&answer["published"], &answer["errors_unlisted"]), (&json!(1), &json!(1_001)), "{answer}");
    let errors: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| (error["line"].as_u64(), error["code"].as_str())).collect();
    assert_eq!(errors[..3], [3, 6, 7].map(|line| (Some(line), Some("rate_limited"))));
    gateway.expect_metric("command_errors_total{code=\"rate_limited\"}", 2_001.0);
    gateway.expect_metric("limit_hits_total{limit=\"commands_per_second\"}", 2_001.0);
}

/// PROTOCOL 5: a line is published before the body has ended.
#[test]
fn a_line_is_published_before_the_body_has_ended() {
    let gateway = Gateway::start();
    let line = "{\"topic\":\"test.a\",\"data\":1}\n";
    let head = format!("POST /v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", gateway.address(), 2 * line.len());
    let mut socket = gateway.socket_with([head.as_bytes(), line.as_bytes()].concat());
    eventually("the first line", || (gateway.admin("/v1/topics/test.a").json()["offset"] == 1).then_some(()));
    socket.write_all(line.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().json()["published"], 2);
}

/// PROTOCOL 7: `http_bytes` bounds bodies and answers together: 503 with `Retry-After`.
#[test]
fn bodies_and_answers_are_bounded_together() {
    let gateway = Gateway::with_limits("http_bytes = 100000");
    for _ in 0..4 {
        gateway.publish("test.a", "x".repeat(30_000));
    }
    let reply = gateway.admin("/v1/topics/test.a/history");
    assert_eq!(reply.problem(503), "too_busy");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    assert_eq!(gateway.admin("/v1/topics/test.a/history?limit=1").status, 200);
    let head = |bytes: usize| format!("POST /v1/topics/test.a HTTP/1.1\r\nHost: {}\r\nContent-Length: {bytes}\r\n\r\n", gateway.address());
    let held = gateway.socket_with(head(60_000));
    gateway.expect_metric("http_bytes", 60_000.0);
    assert_eq!(gateway.post("/v1/topics/test.a", "x".repeat(50_000)).problem(503), "too_busy");
    drop(held);
    gateway.expect_limit_hit("http_bytes");
}

/// PROTOCOL 7: a read of history takes 1 unit, and 1 for each 64 KiB.
#[test]
fn reads_of_history_are_charged_by_bytes() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 20");
    for _ in 0..6 {
        gateway.publish_as("quotes.a", "x".repeat(60_000), &[FEED]);
    }
    let read = || gateway.get("/v1/topics/quotes.a/history").status;
    let answered = (0..20).take_while(|_| read() == 200).count();
    assert_eq!(answered, 4, "each history of 360 KB takes 6 of 20 units, and the last takes the bucket below zero");
    gateway.expect_limit_hit("commands_per_second");
}

/// RFC 9110 §9.3.2: a HEAD is answered with the head of its GET.
#[test]
fn a_head_has_no_body() {
    let gateway = Gateway::start();
    gateway.publish("test.a", "1");
    for path in ["/v1/topics/test.a/history", "/v1/topics/test.a/presence"] {
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", gateway.address());
        let mut socket = gateway.socket_with(head);
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
