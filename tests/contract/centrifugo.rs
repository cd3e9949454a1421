//! PROTOCOL 10: Centrifugo's protocol over WebSocket, in JSON and in protobuf.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Gateway, SECRET, Session, Setup, binary, expiring, message, signed, text, token, unix_seconds};

/// The path of Centrifugo's protocol over WebSocket.
const PATH: &str = "/connection/websocket";

/// A connection on which nothing has been sent.
pub fn dial(gateway: &Gateway) -> Session {
    gateway.dial(PATH)
}

/// A session that has connected without options.
fn connected(gateway: &Gateway) -> Session {
    connected_with(gateway, json!({})).0
}

/// A session that has connected with these options, and the result.
pub fn connected_with(gateway: &Gateway, connect: Value) -> (Session, Value) {
    let mut session = dial(gateway);
    session.send(json!({"connect": connect, "id": 1}));
    let mut reply = session.receive();
    assert_eq!(reply["id"], 1, "{reply}");
    let result = reply["connect"].take();
    assert!(result.is_object(), "{reply}");
    (session, result)
}

/// Subscribes with these options; gives the result. Answers pings that come before it.
pub fn subscribe(session: &mut Session, channel: &str, options: Value) -> Value {
    let mut subscribe = json!({"channel": channel});
    for (name, value) in options.as_object().into_iter().flatten() {
        subscribe[name] = value.clone();
    }
    let mut reply = session.ask(json!({"id": 2, "subscribe": subscribe}));
    while reply == json!({}) {
        reply = session.ask(json!({}));
    }
    assert_eq!(reply["id"], 2, "{reply}");
    reply["subscribe"].take()
}

fn publication(channel: &str, offset: u64, data: impl Into<Value>) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data.into(), "offset": offset}}})
}

pub fn error(id: u32, code: u32, message: &str) -> Value {
    json!({"id": id, "error": {"code": code, "message": message}})
}

/// Asserts that no reply and no push is queued: the next reply is the answer to a command.
fn expect_quiet(session: &mut Session) {
    session.send(json!({"id": 999, "ping": {}}));
    session.expect(error(999, 108, "not available"));
}

/// PROTOCOL 10: a session gets the messages of native publishers, and native subscribers get its messages.
#[test]
fn messages_pass_between_centrifugos_and_native_sessions() {
    let gateway = Gateway::start();
    let mut native = gateway.session();
    native.subscribe(&["chat.lobby"]);
    let (mut session, connected) = connected_with(&gateway, json!({"name": "js"}));
    assert_eq!(connected["client"].as_str().map(str::len), Some(16), "{connected}");
    assert_eq!((&connected["ping"], &connected["pong"]), (&json!(25), &json!(true)));
    assert_eq!(connected.get("expires"), None);
    let epoch = subscribe(&mut session, "chat.lobby", json!({}))["epoch"].clone();
    let first = gateway.publish("chat.lobby", "{\n\"a\":\r\n1}");
    assert_eq!(epoch, first.epoch.as_str());
    assert_eq!(session.receive_text(), r#"{"push":{"channel":"chat.lobby","pub":{"data":{ "a":  1},"offset":1}}}"#);
    native.expect(message("chat.lobby", &first, json!({"a": 1})));
    session.send(json!({"publish": {"channel": "chat.lobby", "data": {"b": 2}}, "id": 3}));
    let push = session.expect_published(json!({"id": 3, "publish": {}}));
    let info = json!({"client": connected["client"]});
    assert_eq!(push, json!({"push": {"channel": "chat.lobby", "pub": {"data": {"b": 2}, "info": info, "offset": 2}}}));
    native.expect(message("chat.lobby", &first.at(2), json!({"b": 2})));
    session.send(json!({"id": 4, "unsubscribe": {"channel": "chat.lobby"}}));
    session.expect(json!({"id": 4, "unsubscribe": {}}));
    gateway.publish("chat.lobby", "3");
    session.send(json!({"id": 5, "unsubscribe": {"channel": "never..was"}}));
    session.expect(json!({"id": 5, "unsubscribe": {}}));
    assert_eq!(
        gateway.admin("/v1/sessions").json()["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|listed| listed["dialect"] == "centrifugo")
            .count(),
        1
    );
    gateway.expect_accounts_closed();
}

/// PROTOCOL 10: protobuf is chosen by the subprotocol or by the query. The expected bytes are those of another
/// implementation.
#[test]
fn protobuf_is_chosen_by_subprotocol_or_query() {
    let gateway = Gateway::start();
    let offers = [("Sec-WebSocket-Protocol", "centrifuge-protobuf")];
    for session in [gateway.dial_with(PATH, &offers), gateway.dial_with("/connection/websocket?format=protobuf", &[])] {
        let mut session = session.expect("the upgrade is accepted");
        // connect, subscribe to chat.a and a pong in one frame
        session.send_frame(binary(b"\x04\x08\x01\x22\x00\x0c\x08\x02\x2a\x08\x0a\x06chat.a\x00"));
        let connected = session.next_message().expect("an answer");
        assert_eq!(
            (connected.opcode, connected.payload[..6].to_vec()),
            (2, vec![connected.payload.len() as u8 - 1, 8, 1, 0x2a, connected.payload[4], 0x0a])
        );
        let subscribed = session.next_message().expect("an answer");
        assert_eq!(subscribed.payload[1..4], [8, 2, 0x32], "{subscribed:?}");
        gateway.publish("chat.a", "{\"n\":1}");
        let pushed = session.next_message().expect("a message").payload;
        assert_eq!(pushed[..23], *b"\x17\x22\x15\x12\x06chat.a\x22\x0b\x22\x07{\"n\":1}\x30", "{pushed:?}");
    }
}

/// Protocol, section 2: a frame that is malformed, or a command that is too early, repeated or incomplete, closes with
/// 3501.
#[test]
fn invalid_frames_and_commands_close_with_3501() {
    let gateway = Gateway::start();
    for frame in ["", "{", "\n", "{\"id\":1}", r#"{"id":1,"subscribe":{"channel":"chat.a"}}"#] {
        let mut session = dial(&gateway);
        session.send_frame(text(frame));
        assert_eq!(session.expect_close(3501), "bad request", "{frame:?}");
    }
    let empty = |method: &str| json!({"id": 2, method: {"channel": ""}});
    for command in [json!({"id": 2, "connect": {}}), json!({"id": 2}), empty("subscribe"), empty("unsubscribe"), empty("presence")] {
        let mut session = connected(&gateway);
        session.send(command);
        session.expect_close(3501);
    }
    let mut session = connected(&gateway);
    session.send(json!({"send": {"data": 1}}));
    assert_eq!(session.expect_close(3508), "not available");
}

/// Protocol, section 2: a refused command is answered with a code and a message, and the session stays open.
#[test]
fn refused_commands_have_centrifugos_codes() {
    let gateway = Setup::new().limits("subscriptions_per_session = 1").start();
    let mut session = connected(&gateway);
    for (command, code, message) in [
        (json!({"id": 3, "subscribe": {"channel": "private.a"}}), 103, "permission denied"),
        (json!({"id": 3, "subscribe": {"channel": "chat..a"}}), 107, "bad request"),
        (json!({"id": 3, "subscribe": {"channel": "chat.*"}}), 107, "bad request"),
        (json!({"id": 3, "subscribe": {"channel": "chat.a", "type": 1}}), 108, "not available"),
        (json!({"id": 3, "subscribe": {"channel": "chat.a", "tf": {"op": "and"}}}), 107, "bad request"),
        (json!({"id": 3, "publish": {"channel": "private.a", "data": 1}}), 103, "permission denied"),
        (json!({"id": 3, "publish": {"channel": "chat.a"}}), 107, "bad request"),
        (json!({"id": 3, "history": {"channel": "plain.a"}}), 108, "not available"),
        (json!({"id": 3, "history": {"channel": "private.a"}}), 103, "permission denied"),
        (json!({"id": 3, "presence": {"channel": "quotes.A"}}), 108, "not available"),
        (json!({"id": 3, "presence_stats": {"channel": "private.A"}}), 103, "permission denied"),
        (json!({"id": 3, "rpc": {"method": "m", "data": {}}}), 108, "not available"),
        (json!({"id": 3, "sub_refresh": {"channel": "chat.a", "token": "t"}}), 103, "permission denied"),
    ] {
        session.send(command.clone());
        assert_eq!(session.receive(), error(3, code, message), "{command}");
    }
    subscribe(&mut session, "chat.a", json!({}));
    session.send(json!({"id": 4, "subscribe": {"channel": "chat.a"}}));
    session.expect(error(4, 105, "already subscribed"));
    session.send(json!({"id": 5, "subscribe": {"channel": "chat.b"}}));
    session.expect(error(5, 106, "limit exceeded"));
    session.send(json!({"id": 6, "publish": {"channel": "chat.a", "data": "x".repeat(70_000)}}));
    session.expect(error(6, 106, "limit exceeded"));
    expect_quiet(&mut session);
}

/// Mapping, section 5: missed messages are pushed behind the reply. The reply's offset is the one before the first
/// push.
#[test]
fn a_topic_with_history_recovers() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = connected(&gateway);
    let first = subscribe(&mut session, "chat.a", json!({"positioned": true, "recoverable": true}));
    assert_eq!(first, json!({"recoverable": true, "positioned": true, "epoch": newest.epoch, "offset": 3}));
    let mut late = connected(&gateway);
    let reply = subscribe(&mut late, "chat.a", json!({"recover": true, "offset": 1, "epoch": newest.epoch}));
    assert_eq!(
        reply,
        json!({"recoverable": true, "positioned": true, "recovered": true, "was_recovering": true, "epoch": newest.epoch, "offset": 1})
    );
    late.expect_all([publication("chat.a", 2, 2), publication("chat.a", 3, 3)]);
    let mut other = connected(&gateway);
    let position = json!({"recover": true, "offset": 1, "epoch": "another"});
    let reply = subscribe(&mut other, "chat.a", position.clone());
    assert_eq!(reply, json!({"recoverable": true, "positioned": true, "was_recovering": true, "epoch": newest.epoch, "offset": 3}));
    let mut strict = connected(&gateway);
    let mut command = json!({"id": 2, "subscribe": {"channel": "chat.a", "flag": 3}});
    command["subscribe"].as_object_mut().unwrap().extend(position.as_object().unwrap().clone());
    strict.send(command);
    strict.expect(error(2, 112, "unrecoverable position"));
    let all = subscribe(&mut strict, "chat.a", json!({"recover": true}));
    assert_eq!((&all["recovered"], all.get("offset")), (&json!(true), None), "from the beginning: {all}");
    strict.expect_all([publication("chat.a", 1, 1), publication("chat.a", 2, 2), publication("chat.a", 3, 3)]);
    gateway.expect_accounts_closed();
}

/// Mapping, section 5: a topic whose rule conflates recovers its newest message alone.
#[test]
fn a_conflated_topic_recovers_its_newest_message() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2", "3"]);
    let recovered = json!({"recoverable": true, "recovered": true, "was_recovering": true, "epoch": newest.epoch, "offset": 2});
    let mut session = connected(&gateway);
    assert_eq!(subscribe(&mut session, "quotes.A", json!({})), recovered, "the rule has last = 1");
    session.expect(publication("quotes.A", 3, 3));
    for since in [json!({"recover": true, "offset": 1, "epoch": newest.epoch}), json!({"recover": true, "offset": 9, "epoch": "other"})] {
        let mut late = connected(&gateway);
        assert_eq!(subscribe(&mut late, "quotes.A", since), recovered);
        late.expect(publication("quotes.A", 3, 3));
        expect_quiet(&mut late);
    }
    let mut up_to_date = connected(&gateway);
    let reply = subscribe(&mut up_to_date, "quotes.A", json!({"recover": true, "offset": 3, "epoch": newest.epoch}));
    assert_eq!((&reply["recovered"], &reply["offset"]), (&json!(true), &json!(3)));
    expect_quiet(&mut up_to_date);
    let mut paced = connected(&gateway);
    let reply = subscribe(&mut paced, "chat.a", json!({"data": {"interval_ms": 250, "last": 5}}));
    assert_eq!((reply.get("positioned"), &reply["recoverable"]), (None, &json!(true)));
}

/// Mapping, section 5: a topic without history has no position, neither in the reply nor in a push.
#[test]
fn a_topic_without_history_has_no_positions() {
    let gateway = Gateway::start();
    let mut session = connected(&gateway);
    assert_eq!(subscribe(&mut session, "plain.a", json!({"recover": true, "offset": 4, "epoch": "x"})), json!({}));
    gateway.publish("plain.a", "not JSON");
    session.expect(json!({"push": {"channel": "plain.a", "pub": {"data": "not JSON"}}}));
}

/// Protocol, section 2: history is read from its oldest message on or, with `reverse`, from its newest. The reply
/// always has the topic's position.
#[test]
fn history_is_read_forward_and_in_reverse() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2", "3", "4"]);
    let mut session = connected(&gateway);
    let mut offsets = |options: Value| {
        let mut history = json!({"channel": "chat.a"});
        history.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let reply = session.ask(json!({"id": 3, "history": history}));
        assert_eq!((&reply["history"]["epoch"], &reply["history"]["offset"]), (&json!(newest.epoch), &json!(4)), "{reply}");
        let publications = reply["history"]["publications"].as_array().cloned().unwrap_or_default();
        publications.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(offsets(json!({})), [0; 0]);
    assert_eq!(offsets(json!({"limit": -1})), [1, 2, 3, 4]);
    assert_eq!(offsets(json!({"limit": 2})), [1, 2]);
    assert_eq!(offsets(json!({"limit": 2, "since": {"offset": 2, "epoch": newest.epoch}})), [3, 4]);
    assert_eq!(offsets(json!({"limit": 2, "reverse": true})), [4, 3]);
    assert_eq!(offsets(json!({"limit": 2, "reverse": true, "since": {"offset": 3}})), [2, 1]);
    session.send(json!({"id": 4, "history": {"channel": "chat.a", "since": {"offset": 1, "epoch": "other"}}}));
    session.expect(error(4, 112, "unrecoverable position"));
    session.send(json!({"id": 5, "history": {"channel": "chat.a", "reverse": true, "since": {}}}));
    session.expect(error(5, 107, "bad request"));
    let unknown = session.ask(json!({"id": 6, "history": {"channel": "chat.new", "limit": 1}}));
    let epoch = unknown["history"]["epoch"].as_str().expect("an unknown topic gets an epoch").to_owned();
    assert_eq!(subscribe(&mut session, "chat.new", json!({}))["epoch"], epoch.as_str(), "the topic keeps its epoch");
}

/// PROTOCOL 7 and 10: an answer from history costs the same over Centrifugo's protocol as over the native one. Each
/// answer here costs 1 unit, and 3 for its bytes, so a bucket of 10 units lasts for three answers.
#[test]
fn history_is_charged_by_its_bytes() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 10");
    let payload = format!("\"{}\"", "a".repeat(60 << 10));
    gateway.publish_all("chat.a", [&*payload; 4]);
    let answered = |session: &mut Session, command: Value, is_answer: fn(&Value) -> bool| {
        (0..10).take_while(|_| is_answer(&session.ask(command.clone()))).count()
    };
    let history = json!({"id": 3, "history": {"channel": "chat.a", "limit": -1}});
    let centrifugo = answered(&mut connected(&gateway), history, |reply| reply.get("history").is_some());
    let native = answered(&mut gateway.session(), json!({"op": "history", "topic": "chat.a"}), |reply| reply["op"] == "history");
    assert_eq!((centrifugo, native), (3, 3));
}

/// PROTOCOL 7 and 10: a `refresh` costs 1 unit more for each 100 subscriptions, as `auth` does: each is compared with the
/// new grants. After `connect`, a bucket of 10 units lasts for two of 6 units. (They were compared free of charge.)
#[test]
fn a_refresh_is_charged_by_the_subscriptions() {
    let gateway = Gateway::with_limits("commands_per_second = 1\ncommands_burst = 10");
    let token = token("ann", &["chat.>"], &[]);
    let (mut session, _) = connected_with(&gateway, json!({"token": token}));
    (0..500).for_each(|number| _ = subscribe(&mut session, &format!("chat.{number}"), json!({})));
    let refresh = json!({"id": 3, "refresh": {"token": token}});
    assert_eq!((0..10).take_while(|_| session.ask(refresh.clone()).get("refresh").is_some()).count(), 2);
}

/// Mapping, section 4: presence lists sessions. A subscriber with `join_leave` gets joins and leaves, its own join
/// included.
#[test]
fn presence_lists_sessions_and_joins_are_pushed() {
    let gateway = Gateway::start();
    let (mut ann, ann_connected) = connected_with(&gateway, json!({"token": token("ann", &["chat.>"], &[])}));
    let info = |user: Value, client: &Value| {
        let mut info = json!({"client": client});
        if !user.is_null() {
            info["user"] = user;
        }
        info
    };
    let ann_is = info(json!("ann"), &ann_connected["client"]);
    subscribe(&mut ann, "chat.a", json!({"join_leave": true}));
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": ann_is}}}));
    let (mut other, other_connected) = connected_with(&gateway, json!({}));
    let (mut third, _) = connected_with(&gateway, json!({}));
    subscribe(&mut other, "chat.a", json!({}));
    let other_is = info(Value::Null, &other_connected["client"]);
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": other_is}}}));
    let reply = other.ask(json!({"id": 3, "presence": {"channel": "chat.a"}}));
    let (one, two) = (ann_connected["client"].as_str().unwrap(), other_connected["client"].as_str().unwrap());
    assert_eq!(reply, json!({"id": 3, "presence": {"presence": {one: ann_is, two: other_is}}}));
    subscribe(&mut third, "chat.a", json!({}));
    assert_eq!(
        third.ask(json!({"id": 4, "presence_stats": {"channel": "chat.a"}})),
        json!({"id": 4, "presence_stats": {"num_clients": 3, "num_users": 2}})
    );
    ann.receive(); // the third's join
    drop(other);
    ann.expect(json!({"push": {"channel": "chat.a", "leave": {"info": other_is}}}));
}

/// Protocol, section 6: a bad token closes with 3500, after which an SDK does not reconnect. An expired token is
/// answered with 109, and the other commands of the frame are dropped.
#[test]
fn connect_checks_its_token() {
    let gateway = Setup::new().limits("auth_timeout = \"1s\"").start();
    let mut bad = dial(&gateway);
    bad.send(json!({"id": 1, "connect": {"token": "a.b.c"}}));
    assert_eq!(bad.expect_close(3500), "invalid token");
    let mut late = dial(&gateway);
    let connect = json!({"id": 1, "connect": {"token": expiring("ann", unix_seconds() - 5, &[">"], &[])}});
    let frame = format!("{connect}\n{}\n{}", json!({"id": 2, "subscribe": {"channel": "chat.a"}}), json!({"id": 3}));
    late.send_frame(text(&frame));
    late.expect(error(1, 109, "token expired"));
    assert_eq!(late.expect_close(3502), "stale");
    gateway.expect_limit_hit("auth_timeout");
    let closed = Setup::new().without_anonymous().start();
    let mut nobody = dial(&closed);
    nobody.send(json!({"id": 1, "connect": {}}));
    nobody.expect_close(3501);
}

/// Mapping, section 3: `refresh` replaces the grants. A subscription that is no longer covered ends with 2000; a token
/// of another user closes the session.
#[test]
fn a_refresh_replaces_the_grants() {
    let gateway = Gateway::start();
    let (mut session, connected) = connected_with(&gateway, json!({"token": token("ann", &["private.>"], &[])}));
    assert_eq!(connected["expires"], true);
    assert!((3_590..=3_600).contains(&connected["ttl"].as_u64().unwrap()), "{connected}");
    subscribe(&mut session, "private.a", json!({}));
    let reply = session.ask(json!({"id": 3, "refresh": {"token": token("ann", &["private.>"], &[])}}));
    assert_eq!((&reply["refresh"]["client"], &reply["refresh"]["expires"]), (&connected["client"], &json!(true)));
    expect_quiet(&mut session);
    session.ask(json!({"id": 4, "refresh": {"token": token("ann", &[], &[])}}));
    session.expect(json!({"push": {"channel": "private.a", "unsubscribe": {"code": 2000, "reason": "not allowed"}}}));
    session.send(json!({"id": 5, "refresh": {"token": token("bob", &["private.>"], &[])}}));
    session.expect_close(3500);
}

/// Mapping, section 1: a ping is an empty reply, and a pong an empty command. A session without a pong is closed with
/// 3012.
#[test]
fn pings_are_empty_replies() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"1s\"");
    let (mut session, connected) = connected_with(&gateway, json!({}));
    assert_eq!(connected["ping"], 1, "whole seconds, rounded up");
    for _ in 0..3 {
        assert_eq!(session.receive_text(), "{}");
        session.send(json!({}));
    }
    session.send_frame(text("{}")); // a pong without a ping is ignored
    let (_, code) = session.read_to_close();
    assert_eq!(code, 3012);
}

/// Mapping, section 6: a drain closes with 3001, after which SDKs reconnect. An operator closes with 3503, after which
/// they do not.
#[test]
fn drains_and_operators_close_with_centrifugos_codes() {
    let mut gateway = Setup::new().server("drain = \"100ms\"").start();
    let (mut session, connected) = connected_with(&gateway, json!({}));
    let client = connected["client"].as_str().unwrap();
    assert_eq!(gateway.request("DELETE", &format!("/v1/sessions/{client}"), &[ADMIN], b"").status, 204);
    assert_eq!(session.expect_close(3503), "force disconnect");
    let mut other = self::connected(&gateway);
    gateway.terminate();
    assert_eq!(other.expect_close(3001), "shutdown");
    assert!(gateway.exit_status().success());
}

/// Mapping, section 1: a client that reconnects may send `connect` and a thousand subscribes with tokens in its first
/// frame. All are answered in order.
#[test]
fn a_thousand_subscribes_in_one_frame_are_answered() {
    let gateway = Gateway::start();
    let mut session = dial(&gateway);
    let exp = unix_seconds() + 600;
    let subscribe = |id: usize| {
        let token =
            signed(SECRET, &json!({"sub": "ann", "channel": format!("secret.{id}"), "exp": exp, "info": {"text": "x".repeat(150)}}));
        json!({"id": id, "subscribe": {"channel": format!("secret.{id}"), "token": token}}).to_string()
    };
    let connect = json!({"connect": {"token": signed(SECRET, &json!({"sub": "ann", "exp": exp}))}, "id": 1});
    let lines: Vec<String> = std::iter::once(connect.to_string()).chain((2..1_002).map(subscribe)).collect();
    let frame = lines.join("\n");
    assert!(frame.len() > 400_000, "the frame is longer than message_bytes, which holds for one command");
    session.send_frame(text(&frame));
    for id in 1..1_002 {
        let reply = session.receive();
        assert_eq!(reply["id"], id, "{reply}");
        assert_eq!(reply.get("error"), None, "{reply}");
    }
    expect_quiet(&mut session);
    let mut too_long = dial(&gateway);
    too_long.send_frame(text(&format!("{{\"id\":1,\"connect\":{{\"name\":\"{}\"}}}}", "x".repeat(1 << 20))));
    too_long.expect_close(1009);
    gateway.expect_limit_hit("frame_bytes");
}

/// A configuration for a move from Centrifugo: `require_exp` is false, and users have personal topics.
pub fn migrated() -> Setup {
    let auth = format!(
        "require_exp = false\nanonymous = {{ subscribe = [\"chat.>\"] }}\nauthenticated = {{ subscribe = [\"#{{user}}\"] }}\n\
         keys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]"
    );
    Setup::new().auth(&auth).more("[centrifugo]\npersonal = \"#{user}\"")
}

/// Mapping, section 3: a subscription token allows its user to subscribe to its topic. A token for another user or
/// topic closes the session.
#[test]
fn a_subscription_token_allows_its_topic() {
    let gateway = migrated().start();
    let sign = |claims: Value| signed(SECRET, &claims);
    let ann = || connected_with(&gateway, json!({"token": sign(json!({"sub": "ann"}))})).0;
    let subscribe_with =
        |session: &mut Session, token: String| session.send(json!({"id": 2, "subscribe": {"channel": "private.a", "token": token}}));
    let mut session = ann();
    session.send(json!({"id": 2, "subscribe": {"channel": "private.a"}}));
    session.expect(error(2, 103, "permission denied"));
    subscribe_with(&mut session, "no.to.ken".to_owned());
    session.expect(error(2, 103, "permission denied"));
    subscribe_with(&mut session, sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() - 5})));
    session.expect(error(2, 109, "token expired"));
    subscribe_with(
        &mut session,
        sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() + 60, "info": {"role":  "boss"}})),
    );
    let reply = session.receive();
    assert_eq!((&reply["subscribe"]["expires"], &reply["subscribe"]["recoverable"]), (&json!(true), &json!(true)), "{reply}");
    let presence = session.ask(json!({"id": 3, "presence": {"channel": "private.a"}}));
    let member = presence["presence"]["presence"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((&member["user"], &member["chan_info"]), (&json!("ann"), &json!({"role": "boss"})), "{presence}");
    session.ask(json!({"id": 4, "refresh": {"token": sign(json!({"sub": "ann"}))}}));
    let renewed = sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() + 90}));
    let reply = session.ask(json!({"id": 5, "sub_refresh": {"token": renewed}}));
    assert_eq!(reply["sub_refresh"]["expires"], true, "the channel is in the token, and not in the command: {reply}");
    for other in
        [json!({"sub": "ann", "channel": "private.b"}), json!({"sub": "bob", "channel": "private.a"}), json!({"channel": "private.a"})]
    {
        let mut session = ann();
        subscribe_with(&mut session, sign(other));
        assert_eq!(session.expect_close(3500), "invalid token");
    }
    let mut stolen = dial(&gateway);
    stolen.send(json!({"id": 1, "connect": {"token": sign(json!({"sub": "ann", "channel": "private.a"}))}}));
    assert_eq!(stolen.expect_close(3500), "invalid token", "a subscription token is no connection token");
}

/// Mapping, sections 2 and 4: the gateway subscribes a session to its user's topic and to the topics in its token.
/// Presence has the token's `info`.
#[test]
fn a_session_is_subscribed_as_it_connects() {
    let gateway = migrated().rule("#ann", "history = 10").start();
    let claims = json!({"sub": "ann", "channels": ["news.a", "bad..name", "news.a"], "subs": {"news.b": {}}, "info": {"name": "Ann"}});
    let (mut ann, connected) = connected_with(&gateway, json!({"token": signed(SECRET, &claims)}));
    let subs = connected["subs"].as_object().unwrap();
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["#ann", "news.a", "news.b"], "{connected}");
    assert_eq!((&subs["#ann"]["recoverable"], &subs["news.a"]), (&json!(true), &json!({})));
    ann.send(json!({"id": 2, "subscribe": {"channel": "#ann"}}));
    ann.expect(error(2, 105, "already subscribed"));
    let (_, nobody) = connected_with(&gateway, json!({}));
    assert_eq!(nobody.get("subs"), None);
    subscribe(&mut ann, "chat.a", json!({}));
    let presence = ann.ask(json!({"id": 3, "presence": {"channel": "chat.a"}}));
    let client = connected["client"].as_str().unwrap();
    assert_eq!(presence["presence"]["presence"][client], json!({"user": "ann", "client": client, "conn_info": {"name": "Ann"}}));
}

/// Mapping, sections 2 and 3: the rule options `publish_for_subscribers`, `join_leave` and `user_channels`.
#[test]
fn rules_open_publishing_joins_and_user_channels() {
    let gateway = migrated()
        .rule("dialog#ann,bob", "user_channels = true\nhistory = 10")
        .rule("chat.>", "history = 10\npresence = true\njoin_leave = \"push\"\npublish_for_subscribers = true")
        .start();
    let as_user = |user: &str| connected_with(&gateway, json!({"token": signed(SECRET, &json!({"sub": user}))})).0;
    let (mut ann, mut bob, mut eve) = (as_user("ann"), as_user("bob"), as_user("eve"));
    ann.send(json!({"id": 2, "publish": {"channel": "chat.a", "data": 1}}));
    ann.expect(error(2, 103, "permission denied"));
    subscribe(&mut ann, "chat.a", json!({}));
    assert_eq!(ann.receive()["push"]["join"]["info"]["user"], "ann", "joins are pushed without `join_leave` in the command, its own too");
    ann.send(json!({"id": 3, "publish": {"channel": "chat.a", "data": 1}}));
    assert_eq!(ann.expect_published(json!({"id": 3, "publish": {}}))["push"]["pub"]["info"]["user"], "ann");
    for session in [&mut ann, &mut bob] {
        assert_eq!(subscribe(session, "dialog#ann,bob", json!({}))["recoverable"], true);
    }
    eve.send(json!({"id": 2, "subscribe": {"channel": "dialog#ann,bob"}}));
    eve.expect(error(2, 103, "permission denied"));
    bob.ask(json!({"id": 4, "refresh": {"token": signed(SECRET, &json!({"sub": "bob"}))}}));
    expect_quiet(&mut bob);
}

/// A connected session with the smallest receive buffer.
pub fn slow(gateway: &Gateway) -> Session {
    let mut session = gateway.slow_session_at(PATH);
    session.send(json!({"connect": {}, "id": 1}));
    assert_eq!(session.receive()["id"], 1);
    session
}

/// Mapping, section 5: dropped messages of a `drop_oldest` topic end the subscription with 2500, at most once a second.
/// A client that resumes from its last message gets no offset twice or out of order.
#[test]
fn lost_messages_end_the_subscription_with_2500() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 65536\nwrite_timeout = \"1m\"").start();
    let mut session = slow(&gateway);
    let epoch = subscribe(&mut session, "test.a", json!({}))["epoch"].clone();
    gateway.publish_many("test.a", 2_000, 4_000);
    let mut other = connected(&gateway);
    let (mut offset, mut ends) = (0, Vec::new());
    loop {
        let event = session.receive();
        if let Some(publication) = event["push"].get("pub") {
            let next = publication["offset"].as_u64().unwrap();
            assert!(next > offset, "{next} after {offset}");
            offset = next;
            if offset == 2_000 {
                break;
            }
        } else if event["push"].get("unsubscribe").is_some() {
            assert_eq!(event, json!({"push": {"channel": "test.a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}}));
            ends.push(Instant::now());
            session.send(json!({"id": 2, "subscribe": {"channel": "test.a", "recover": true, "offset": offset, "epoch": epoch}}));
            let reply = session.receive();
            assert_eq!(reply["subscribe"]["was_recovering"], true, "no message of the topic comes before the reply: {reply}");
            if reply["subscribe"].get("recovered").is_none() {
                offset = reply["subscribe"]["offset"].as_u64().unwrap();
                if offset == 2_000 {
                    break;
                }
            }
        }
    }
    assert!(!ends.is_empty(), "nothing was dropped");
    let pauses: Vec<Duration> = ends.windows(2).map(|two| two[1] - two[0]).collect();
    // A delayed end may be followed by the next within a second; two pauses together last longer than a second.
    assert!(pauses.windows(2).all(|two| two[0] + two[1] > Duration::from_secs(1)), "{pauses:?}");
    expect_quiet(&mut other);
    gateway.expect_accounts_closed();
}

/// Mapping, sections 1 and 5: a slow reader gets a recovery of 5 MB in order, each message once. A ping overtakes the
/// messages that are not yet written.
#[test]
fn a_ping_overtakes_a_recovery() {
    let gateway = Setup::new().without_rates().limits("ping_interval = \"500ms\"\nwrite_timeout = \"1m\"\npong_timeout = \"1m\"").start();
    gateway.publish_many("test.a", 900, 6_000);
    let newest = gateway.publish("test.a", "0");
    let mut session = slow(&gateway);
    session.send(json!({"id": 2, "subscribe": {"channel": "test.a", "recover": true, "epoch": newest.epoch}}));
    let (mut offset, mut pings) = (0, Vec::new());
    while offset < newest.offset {
        let text = session.receive_text();
        if text == "{}" {
            pings.push(offset);
            continue;
        }
        let event: Value = serde_json::from_str(&text).unwrap();
        if let Some(publication) = event["push"].get("pub") {
            assert_eq!(publication["offset"], offset + 1);
            offset += 1;
            // Sessions that connect now, one in each shard, have their pings after this session's ping is due.
            if offset == 1 {
                gateway.expect_metric("slow_sessions", 1.0);
                let mut later = [connected(&gateway), connected(&gateway)];
                later.iter_mut().for_each(|session| session.expect(json!({})));
            }
        }
    }
    assert!(pings.first().is_some_and(|first| *first < 500), "pings came after {pings:?} of 901 messages");
    gateway.expect_accounts_closed();
}
