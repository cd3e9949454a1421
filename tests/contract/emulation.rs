//! PROTOCOL 10: Centrifugo's protocol over server-sent events and HTTP streams, with its commands in requests to
//! `/emulation`.

use std::io::Write;
use std::net::Shutdown;

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Gateway, Reply, SECRET, Setup, Stream, eventually, expiring, signed, token, unix_seconds};

const SSE: &str = "/connection/sse";
const LINES: &str = "/connection/http_stream";

/// A client: the stream of its replies, and the values that its requests need.
struct Client<'g> {
    gateway: &'g Gateway,
    stream: Stream,
    is_lines: bool,
    node: String,
    session: String,
    /// The result of `connect`.
    connected: Value,
}

impl<'g> Client<'g> {
    /// A client that has connected with these options.
    fn connect(gateway: &'g Gateway, path: &str, connect: Value) -> Self {
        let mut client = Self::dial(gateway, path, &json!({"connect": connect, "id": 1}).to_string());
        let mut reply = client.receive();
        assert_eq!(reply["id"], 1, "{reply}");
        client.connected = reply["connect"].take();
        let text = |name: &str| client.connected[name].as_str().unwrap_or_else(|| panic!("no {name}: {reply}")).to_owned();
        (client.node, client.session) = (text("node"), text("session"));
        client
    }

    /// A client that has sent the frame `first` with its stream's request.
    fn dial(gateway: &'g Gateway, path: &str, first: &str) -> Self {
        let is_lines = path == LINES;
        let stream = match is_lines {
            true => Stream::open_by_post(gateway.socket(), path, &[("Content-Type", "application/json")], first.as_bytes()),
            false => Stream::open(gateway.socket(), &with_connect(path, first), &[("Accept", "text/event-stream")], "1.1"),
        };
        let stream = stream.unwrap_or_else(|reply| panic!("{path} was refused: {reply:?}"));
        Self {
            gateway,
            stream: stream.with_positions(gateway.positions()),
            is_lines,
            node: String::new(),
            session: String::new(),
            connected: Value::Null,
        }
    }

    /// Sends commands in one request.
    fn post(&mut self, commands: &[Value]) -> Reply {
        let data: Vec<String> = commands.iter().map(Value::to_string).collect();
        let data = self.stream.with_sequences(&data.join("\n"));
        let body = json!({"session": self.session, "node": self.node, "data": data}).to_string();
        self.gateway.request("POST", "/emulation", &[("Content-Type", "application/json")], body.as_bytes())
    }

    fn send(&mut self, command: Value) {
        assert_eq!(self.post(&[command]).status, 204);
    }

    /// The next reply or push.
    #[track_caller]
    fn receive(&mut self) -> Value {
        if self.is_lines { self.stream.object() } else { self.stream.event().json() }
    }

    #[track_caller]
    fn expect(&mut self, reply: Value) {
        assert_eq!(self.receive(), reply);
    }

    #[track_caller]
    fn ask(&mut self, command: Value) -> Value {
        self.send(command);
        self.receive()
    }

    /// Asserts that the stream ends with this push.
    #[track_caller]
    fn expect_disconnect(&mut self, code: u16, reason: &str) {
        self.expect(json!({"push": {"disconnect": {"code": code, "reason": reason}}}));
        self.stream.expect_end();
    }
}

/// `path` with the frame `first` in its query.
fn with_connect(path: &str, first: &str) -> String {
    let escaped: String = first.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("{path}?cf_connect={escaped}")
}

fn publication(channel: &str, offset: u64, data: impl Into<Value>) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data.into(), "offset": offset}}})
}

/// The result of `connect` has the values that requests need. Requests carry commands; the stream carries replies and
/// pushes.
#[test]
fn commands_come_in_requests_and_replies_in_the_stream() {
    let gateway = Gateway::start();
    for (path, content_type) in [(SSE, "text/event-stream; charset=utf-8"), (LINES, "application/json")] {
        let mut client = Client::connect(&gateway, path, json!({"name": "js"}));
        assert_eq!(client.stream.head.header("Content-Type"), Some(content_type));
        assert_eq!(client.stream.head.header("X-Accel-Buffering"), Some("no"));
        assert_eq!((&client.connected["ping"], &client.connected["pong"]), (&json!(25), &json!(true)));
        let id = client.connected["client"].as_str().unwrap();
        assert!(!client.session.contains(id), "the id, which other clients see, is not in the secret");
        let topic = if path == SSE { "chat.events" } else { "chat.lines" };
        assert_eq!(
            client
                .post(&[json!({"id": 2, "subscribe": {"channel": topic}}), json!({}), json!({"id": 3, "presence": {"channel": topic}})])
                .status,
            204
        );
        assert_eq!(client.receive()["subscribe"]["recoverable"], true);
        assert_eq!(
            client.receive()["presence"]["presence"][client.connected["client"].as_str().unwrap()],
            json!({"client": client.connected["client"]})
        );
        gateway.publish(topic, "{\n\"a\":\r\n1}");
        client.expect(publication(topic, 1, json!({"a": 1})));
        client.send(json!({"id": 4, "publish": {"channel": topic, "data": 2}}));
        let events = [client.receive(), client.receive()];
        let push = gateway.positions().event_beside(&json!({"id": 4, "publish": {}}), events);
        assert_eq!(push["push"]["pub"]["info"], json!({"client": client.connected["client"]}));
        let dialects = gateway.admin("/v1/sessions").json()["sessions"].clone();
        assert!(dialects.as_array().unwrap().iter().any(|session| session["dialect"] == "centrifugo"), "{dialects}");
    }
    gateway.expect_accounts_closed();
}

/// `Content-Type: application/octet-stream` chooses protobuf. Each message follows its length.
#[test]
fn the_content_type_chooses_protobuf() {
    let gateway = Gateway::start();
    let protobuf = [("Content-Type", "application/octet-stream")];
    let mut stream = Stream::open_by_post(gateway.socket(), LINES, &protobuf, b"\x04\x08\x01\x22\x00").unwrap();
    assert_eq!(stream.head.header("Content-Type"), Some("application/octet-stream"));
    let connected = stream.chunk();
    assert_eq!(connected[..5], [connected.len() as u8 - 1, 8, 1, 0x2a, connected.len() as u8 - 5]);
    // The fields 9 and 10, session and node, are the last.
    let text = |at: usize| connected[at + 2..][..usize::from(connected[at + 1])].to_vec();
    let node = connected.len() - 18;
    let session = (0..node).rev().find(|&at| connected[at] == 0x4a && at + 2 + usize::from(connected[at + 1]) == node).unwrap();
    let mut body = vec![0x0a, 16];
    body.extend(text(node));
    body.extend([0x12, text(session).len() as u8]);
    body.extend(text(session));
    body.extend(b"\x1a\x0d\x0c\x08\x02\x2a\x08\x0a\x06chat.a");
    assert_eq!(gateway.request("POST", "/emulation", &protobuf, &body).status, 204);
    assert_eq!(stream.chunk()[1..4], [8, 2, 0x32]);
    gateway.publish("chat.a", "{\"n\":1}");
    let offset = u8::try_from(gateway.positions().on_the_wire("chat.a", 1)).unwrap();
    assert_eq!(stream.chunk(), [b"\x17\x22\x15\x12\x06chat.a\x22\x0b\x22\x07{\"n\":1}\x30".as_slice(), &[offset]].concat());
}

/// A request for no session, or a malformed one, is refused without an effect on a session.
#[test]
fn requests_without_a_session_are_refused() {
    let gateway = Gateway::with_limits("frame_bytes = 65536");
    let mut client = Client::connect(&gateway, LINES, json!({}));
    let post = |body: &str| gateway.post("/emulation", body);
    let body = |session: &str, node: &str| json!({"session": session, "node": node, "data": "{\"id\":9,\"rpc\":{}}"}).to_string();
    let other = format!("{}{}", "0".repeat(32), &client.session[32..]);
    let name = client.connected["client"].as_str().unwrap();
    for (session, node) in [
        (&*other, &*client.node),
        (name, &client.node),
        ("", &client.node),
        (&client.session[..32], &client.node),
        (&format!("{}9", client.session), &client.node),
        (&client.session, "another"),
    ] {
        assert_eq!(post(&body(session, node)).problem(404), "not_found", "{session} {node}");
    }
    for text in ["", "[]", "{\"session\":", "{\"data\":{}}"] {
        assert_eq!(post(text).problem(400), "bad_request", "{text:?}");
    }
    assert_eq!(post(&"x".repeat(65_537)).problem(413), "message_too_large");
    gateway.expect_limit_hit("frame_bytes");
    assert_eq!(gateway.get("/emulation").problem(405), "method_not_allowed");
    assert_eq!(gateway.get(LINES).problem(405), "method_not_allowed");
    assert_eq!(gateway.get(SSE).problem(400), "bad_request");
    assert_eq!(client.ask(json!({"id": 2, "rpc": {}})), json!({"id": 2, "error": {"code": 108, "message": "not available"}}));
    // A malformed command within a valid request ends the session.
    client.send(json!([]));
    client.expect_disconnect(3501, "bad request");
    assert_eq!(client.post(&[json!({})]).problem(404), "not_found");
}

/// A refused first command is answered in the stream, where SDKs read the answer.
#[test]
fn a_refused_connect_is_answered_in_the_stream() {
    let gateway = Gateway::start();
    for path in [SSE, LINES] {
        let expired = json!({"connect": {"token": expiring("ann", unix_seconds() - 60, &["chat.>"], &[])}, "id": 1}).to_string();
        Client::dial(&gateway, path, &expired).expect(json!({"id": 1, "error": {"code": 109, "message": "token expired"}}));
        for (first, code, reason) in [
            (r#"{"connect":{"token":"x"},"id":1}"#, 3500, "invalid token"),
            (r#"{"subscribe":{"channel":"chat.a"},"id":1}"#, 3501, "bad request"),
            ("{", 3501, "bad request"),
        ] {
            Client::dial(&gateway, path, first).expect_disconnect(code, reason);
        }
    }
    let mut with_query = Stream::open_by_post(gateway.socket(), "/connection/sse?token=x", &[], b"{\"id\":1,\"connect\":{}}").unwrap();
    assert_eq!(with_query.event().json(), json!({"push": {"disconnect": {"code": 3500, "reason": "invalid token"}}}));
    with_query.expect_end();
}

/// A new stream of another transport recovers the missed messages, once and in order.
#[test]
fn a_new_stream_recovers_missed_messages() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway, SSE, json!({"token": token("ann", &["private.>"], &[])}));
    let subscribed = client.ask(json!({"id": 2, "subscribe": {"channel": "private.a"}}));
    let feed = [crate::gateway::FEED];
    let first = gateway.publish_as("private.a", "1", &feed);
    client.expect(publication("private.a", 1, 1));
    assert_eq!(subscribed["subscribe"]["epoch"], first.epoch.as_str());
    drop(client);
    (2..5).for_each(|n: u32| _ = gateway.publish_as("private.a", n.to_string(), &feed));
    let mut client = Client::connect(&gateway, LINES, json!({"token": token("ann", &["private.>"], &[])}));
    let reply = client.ask(json!({"id": 2, "subscribe": {"channel": "private.a", "recover": true, "offset": 1, "epoch": first.epoch}}));
    assert_eq!((&reply["subscribe"]["recovered"], &reply["subscribe"]["offset"]), (&json!(true), &json!(1)));
    (2..5).for_each(|n| client.expect(publication("private.a", n, n)));
    gateway.expect_accounts_closed();
}

/// Protocol, section 7: the end of a client's connection ends its presence.
#[test]
fn a_client_that_disconnects_leaves_presence() {
    let gateway = Gateway::start();
    let mut watcher = Client::connect(&gateway, LINES, json!({}));
    assert_eq!(watcher.ask(json!({"id": 2, "subscribe": {"channel": "chat.a", "join_leave": true}}))["id"], 2);
    assert!(watcher.receive()["push"]["join"].is_object(), "the watcher's own join");
    let mut leaver = Client::connect(&gateway, SSE, json!({}));
    leaver.ask(json!({"id": 2, "subscribe": {"channel": "chat.a"}}));
    let info = json!({"info": {"client": leaver.connected["client"]}});
    watcher.expect(json!({"push": {"channel": "chat.a", "join": info}}));
    drop(leaver);
    watcher.expect(json!({"push": {"channel": "chat.a", "leave": info}}));
}

/// A request counts as a pong. A client without requests is closed with 3012.
#[test]
fn requests_count_as_pongs() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"1s\"");
    let mut silent = Client::connect(&gateway, SSE, json!({}));
    let mut alive = Client::connect(&gateway, LINES, json!({}));
    for _ in 0..8 {
        alive.expect(json!({}));
        alive.send(json!({}));
    }
    let last = std::iter::from_fn(|| Some(silent.receive())).find(|reply| *reply != json!({}));
    assert_eq!(last, Some(json!({"push": {"disconnect": {"code": 3012, "reason": "no pong"}}})));
    silent.stream.expect_end();
    assert_eq!(alive.ask(json!({"id": 2, "rpc": {}}))["id"], 2);
}

/// A drain ends streams with 3001.
#[test]
fn a_drain_ends_the_streams() {
    let mut gateway = Setup::new().server("drain = \"300ms\"").start();
    let mut clients = [Client::connect(&gateway, SSE, json!({})), Client::connect(&gateway, LINES, json!({}))];
    gateway.terminate();
    clients.iter_mut().for_each(|client| client.expect_disconnect(3001, "shutdown"));
    drop(clients);
    assert!(gateway.exit_status().success());
}

/// A stream counts to `sessions`, and an operator can close it.
#[test]
fn streams_are_counted_and_closed_as_sessions() {
    let gateway = Gateway::with_limits("sessions = 2");
    let mut client = Client::connect(&gateway, SSE, json!({}));
    let _other = Client::connect(&gateway, LINES, json!({}));
    let first = r#"{"connect":{},"id":1}"#;
    for refused in
        [Stream::refusal(gateway.socket(), "GET", &with_connect(SSE, first), &[]), gateway.post(LINES, first), gateway.post(SSE, first)]
    {
        assert_eq!(refused.problem(503), "too_many_sessions");
    }
    gateway.expect_metric("sessions", 2.0);
    let id = client.connected["client"].as_str().unwrap().to_owned();
    assert_eq!(gateway.request("DELETE", &format!("/v1/sessions/{id}"), &[ADMIN], b"").status, 204);
    client.expect_disconnect(3503, "force disconnect");
    eventually("another session to be accepted", || Stream::open_by_post(gateway.socket(), LINES, &[], first.as_bytes()).ok());
}

/// A page whose origin is in `server.origins` may use the transports: preflights are answered, and every reply has the
/// fields of CORS.
#[test]
fn listed_origins_may_use_the_transports() {
    let gateway = Setup::new().server("origins = [\"https://app.example\"]").start();
    let origin = ("Origin", "https://app.example");
    for path in [SSE, LINES, "/emulation"] {
        let headers = [origin, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type,x-own")];
        let preflight = gateway.request("OPTIONS", path, &headers, b"");
        assert_eq!((preflight.status, preflight.header("Access-Control-Allow-Origin")), (204, Some("https://app.example")), "{path}");
        assert_eq!(preflight.header("Access-Control-Allow-Methods"), Some("POST, OPTIONS"));
        assert_eq!(preflight.header("Access-Control-Allow-Headers"), Some("content-type,x-own"), "the fields of the preflight");
        assert_eq!(preflight.header("Access-Control-Max-Age"), Some("300"));
        let foreign = [("Origin", "https://other.example")];
        assert_eq!(gateway.request("POST", path, &foreign, b"{}").problem(403), "not_allowed", "{path}");
    }
    let headers = [origin, ("Content-Type", "application/json")];
    let stream = Stream::open_by_post(gateway.socket(), LINES, &headers, br#"{"connect":{},"id":1}"#).unwrap();
    assert_eq!(stream.head.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    assert_eq!(stream.head.header("Access-Control-Allow-Credentials"), Some("true"));
    let refused = gateway.request("POST", "/emulation", &headers, b"{}");
    assert_eq!((refused.status, refused.header("Access-Control-Allow-Origin")), (404, Some("https://app.example")));
}

/// A first command past `frame_bytes` or `body_timeout` is refused, and opens no session.
#[test]
fn a_first_command_is_bounded_in_bytes_and_time() {
    let gateway = Gateway::with_limits("frame_bytes = 65536\nbody_timeout = \"200ms\"");
    let begin =
        |length: usize| gateway.socket_with(format!("POST {LINES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
    let mut late = begin(30);
    late.write_all(b"{\"connect\"").unwrap();
    assert_eq!(crate::gateway::read_reply(&mut late).unwrap().problem(408), "timeout");
    assert_eq!(crate::gateway::read_reply(&mut begin(65_537)).unwrap().problem(413), "message_too_large");
    begin(30).shutdown(Shutdown::Both).unwrap();
    gateway.expect_metric("http_bytes", 0.0);
    gateway.expect_metric("sessions", 0.0);
    for limit in ["frame_bytes", "body_timeout"] {
        gateway.expect_limit_hit(limit);
    }
}

/// A thousand subscribes with tokens in one request are answered and cost no units. Other commands past the rate are
/// refused.
#[test]
fn a_thousand_subscribes_in_one_request_are_answered() {
    let gateway = Setup::new().limits("commands_per_second = 10\ncommands_burst = 10").start();
    let mut client = Client::connect(&gateway, SSE, json!({"token": signed(SECRET, &json!({"sub": "ann", "exp": unix_seconds() + 600}))}));
    let claims = |n: usize| json!({"sub": "ann", "channel": format!("secret.{n}"), "exp": unix_seconds() + 600});
    let subscribe = |n: usize| json!({"id": n + 2, "subscribe": {"channel": format!("secret.{n}"), "token": signed(SECRET, &claims(n))}});
    assert_eq!(client.post(&(0..1_000).map(subscribe).collect::<Vec<_>>()).status, 204);
    for n in 0..1_000 {
        let reply = client.receive();
        assert_eq!((&reply["id"], reply["subscribe"].is_object()), (&json!(n + 2), true), "{reply}");
    }
    let rpc: Vec<Value> = (0..20).map(|n| json!({"id": n + 2_000, "rpc": {}})).collect();
    client.post(&rpc);
    let codes: Vec<Value> = (0..20).map(|_| client.receive()["error"]["code"].take()).collect();
    assert_eq!((codes[0].as_u64(), codes[19].as_u64()), (Some(108), Some(111)), "{codes:?}");
}
