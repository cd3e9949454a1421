//! PROTOCOL 10: Centrifugo's protocol over WebSocket, in JSON and in protobuf.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Gateway, SECRET, Session, Setup, binary, expiring, message, signed, text, token, unix_seconds};

/// Where Centrifugo's clients connect.
const PATH: &str = "/connection/websocket";

/// A connection that has said nothing.
pub fn dial(gateway: &Gateway) -> Session {
    gateway.dial(PATH)
}

/// A session that has connected with nothing.
fn connected(gateway: &Gateway) -> Session {
    connected_with(gateway, json!({})).0
}

/// A session that has connected so, and the answer.
pub fn connected_with(gateway: &Gateway, connect: Value) -> (Session, Value) {
    let mut session = dial(gateway);
    session.send(json!({"connect": connect, "id": 1}));
    let mut reply = session.receive();
    assert_eq!(reply["id"], 1, "{reply}");
    let result = reply["connect"].take();
    assert!(result.is_object(), "{reply}");
    (session, result)
}

/// The answer to a subscribe; pings that come before it are answered.
pub fn subscribe(session: &mut Session, channel: &str, with: Value) -> Value {
    let mut asked = json!({"channel": channel});
    for (name, value) in with.as_object().into_iter().flatten() {
        asked[name] = value.clone();
    }
    let mut reply = session.ask(json!({"id": 2, "subscribe": asked}));
    while reply == json!({}) {
        reply = session.ask(json!({}));
    }
    assert_eq!(reply["id"], 2, "{reply}");
    reply["subscribe"].take()
}

fn publication(channel: &str, offset: u64, data: impl Into<Value>) -> Value {
    json!({"push": {"channel": channel, "pub": {"data": data.into(), "offset": offset}}})
}

pub fn error(id: u32, code: u32, words: &str) -> Value {
    json!({"id": id, "error": {"code": code, "message": words}})
}

/// Asserts that nothing waits: the answer to a command comes next.
fn expect_quiet(session: &mut Session) {
    session.send(json!({"id": 999, "ping": {}}));
    session.expect(error(999, 108, "not available"));
}

/// PROTOCOL 10: a session connects, subscribes, hears native publishers, and is heard by native subscribers.
#[test]
fn centrifugo_and_native_sessions_hear_each_other() {
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
        gateway.admin("/v1/sessions").json()["sessions"].as_array().unwrap().iter().filter(|seen| seen["dialect"] == "centrifugo").count(),
        1
    );
    gateway.expect_accounts_closed();
}

/// PROTOCOL 10: protobuf by subprotocol and by query, the bytes of an independent implementation's.
#[test]
fn protobuf_is_spoken() {
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

/// Protocol, section 2: what comes is unreadable, too early or too late.
#[test]
fn what_is_not_the_protocol_is_closed_with_3501() {
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

/// Protocol, section 2: errors have code and message; the session lives on.
#[test]
fn errors_are_the_protocols() {
    let gateway = Setup::new().limits("subscriptions_per_session = 1").start();
    let mut session = connected(&gateway);
    for (command, code, words) in [
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
        assert_eq!(session.receive(), error(3, code, words), "{command}");
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

/// Mapping, section 5: a stream recovers by pushes behind the reply, whose offset is the one before the first of them.
#[test]
fn a_stream_recovers() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2", "3"]);
    let mut session = connected(&gateway);
    let first = subscribe(&mut session, "chat.a", json!({"positioned": true, "recoverable": true}));
    assert_eq!(first, json!({"recoverable": true, "positioned": true, "epoch": newest.epoch, "offset": 3}));
    let mut late = connected(&gateway);
    let place = json!({"recover": true, "offset": 1, "epoch": newest.epoch});
    let reply = subscribe(&mut late, "chat.a", place);
    assert_eq!(
        reply,
        json!({"recoverable": true, "positioned": true, "recovered": true, "was_recovering": true, "epoch": newest.epoch, "offset": 1})
    );
    late.expect_all([publication("chat.a", 2, 2), publication("chat.a", 3, 3)]);
    let mut other = connected(&gateway);
    let place = json!({"recover": true, "offset": 1, "epoch": "another"});
    let reply = subscribe(&mut other, "chat.a", place.clone());
    assert_eq!(reply, json!({"recoverable": true, "positioned": true, "was_recovering": true, "epoch": newest.epoch, "offset": 3}));
    let mut strict = connected(&gateway);
    let mut asked = json!({"id": 2, "subscribe": {"channel": "chat.a", "flag": 3}});
    asked["subscribe"].as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
    strict.send(asked);
    strict.expect(error(2, 112, "unrecoverable position"));
    let all = subscribe(&mut strict, "chat.a", json!({"recover": true}));
    assert_eq!((&all["recovered"], all.get("offset")), (&json!(true), None), "from the beginning: {all}");
    strict.expect_all([publication("chat.a", 1, 1), publication("chat.a", 2, 2), publication("chat.a", 3, 3)]);
    gateway.expect_accounts_closed();
}

/// Mapping, section 5: a topic whose messages are conflated recovers its newest alone.
#[test]
fn a_conflated_topic_recovers_its_newest() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("quotes.A", ["1", "2", "3"]);
    let told = json!({"recoverable": true, "recovered": true, "was_recovering": true, "epoch": newest.epoch, "offset": 2});
    let mut session = connected(&gateway);
    assert_eq!(subscribe(&mut session, "quotes.A", json!({})), told, "the rule has last = 1");
    session.expect(publication("quotes.A", 3, 3));
    for place in [json!({"recover": true, "offset": 1, "epoch": newest.epoch}), json!({"recover": true, "offset": 9, "epoch": "other"})] {
        let mut late = connected(&gateway);
        assert_eq!(subscribe(&mut late, "quotes.A", place), told);
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

/// Mapping, section 5: without history there is no position, in the reply or in a push.
#[test]
fn a_topic_without_history_has_no_positions() {
    let gateway = Gateway::start();
    let mut session = connected(&gateway);
    assert_eq!(subscribe(&mut session, "plain.a", json!({"recover": true, "offset": 4, "epoch": "x"})), json!({}));
    gateway.publish("plain.a", "not JSON");
    session.expect(json!({"push": {"channel": "plain.a", "pub": {"data": "not JSON"}}}));
}

/// Protocol, section 2: history from its oldest message on, or newest first; a position always.
#[test]
fn history_is_read_from_both_ends() {
    let gateway = Gateway::start();
    let newest = gateway.publish_all("chat.a", ["1", "2", "3", "4"]);
    let mut session = connected(&gateway);
    let mut offsets = |asked: Value| {
        let mut history = json!({"channel": "chat.a"});
        history.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
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
    let unborn = session.ask(json!({"id": 6, "history": {"channel": "chat.unborn", "limit": 1}}));
    let epoch = unborn["history"]["epoch"].as_str().expect("a topic that never was has an epoch").to_owned();
    assert_eq!(subscribe(&mut session, "chat.unborn", json!({}))["epoch"], epoch.as_str(), "and keeps it");
}

/// PROTOCOL 7 and 10: an answer from history costs a session of Centrifugo's protocol what it costs a native one: here 1 unit and 3 for its
/// bytes, so that a bucket of 10 has three.
#[test]
fn history_is_paid_for_by_its_bytes() {
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

/// Mapping, section 4: presence by session, joins and leaves to whoever asks, one's own join among them.
#[test]
fn presence_and_joins() {
    let gateway = Gateway::start();
    let (mut ann, me) = connected_with(&gateway, json!({"token": token("ann", &["chat.>"], &[])}));
    let info = |user: Value, client: &Value| {
        let mut info = json!({"client": client});
        if !user.is_null() {
            info["user"] = user;
        }
        info
    };
    let ann_is = info(json!("ann"), &me["client"]);
    subscribe(&mut ann, "chat.a", json!({"join_leave": true}));
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": ann_is}}}));
    let (mut other, them) = connected_with(&gateway, json!({}));
    let (mut third, _) = connected_with(&gateway, json!({}));
    subscribe(&mut other, "chat.a", json!({}));
    let other_is = info(Value::Null, &them["client"]);
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": other_is}}}));
    let reply = other.ask(json!({"id": 3, "presence": {"channel": "chat.a"}}));
    let (one, two) = (me["client"].as_str().unwrap(), them["client"].as_str().unwrap());
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

/// Protocol, section 6: a bad token ends the session for good, an expired one is answered 109, and the rest of the frame is dropped.
#[test]
fn tokens_of_connect() {
    let gateway = Setup::new().limits("auth_timeout = \"200ms\"").start();
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

/// Mapping, section 3: `refresh` replaces the grants; what they no longer cover ends with 2000, and another user ends the session.
#[test]
fn a_token_is_refreshed() {
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

/// Mapping, section 1: the protocol's own pings, whatever else flows; whoever does not answer is closed with 3012.
#[test]
fn pings_are_the_protocols_own() {
    let gateway = Gateway::with_limits("ping_interval = \"200ms\"\npong_timeout = \"300ms\"");
    let (mut session, connected) = connected_with(&gateway, json!({}));
    assert_eq!(connected["ping"], 1, "whole seconds, rounded up");
    for _ in 0..3 {
        assert_eq!(session.receive_text(), "{}");
        session.send(json!({}));
    }
    session.send_frame(text("{}")); // a pong too many does no harm
    let (_, code) = session.read_to_close();
    assert_eq!(code, 3012);
}

/// Mapping, section 6: a drain says 3001, an operator 3503; SDKs come back after the first alone.
#[test]
fn the_gateways_closes_are_the_protocols() {
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

/// Mapping, section 1: a client that comes back has `connect` and a thousand subscribes in its first frame, each with a token of its own;
/// each is answered, in order.
#[test]
fn a_thousand_subscribes_in_one_frame() {
    let gateway = Gateway::start();
    let mut session = dial(&gateway);
    let until = unix_seconds() + 600;
    let subscribe = |id: usize| {
        let token =
            signed(SECRET, &json!({"sub": "ann", "channel": format!("secret.{id}"), "exp": until, "info": {"text": "x".repeat(150)}}));
        json!({"id": id, "subscribe": {"channel": format!("secret.{id}"), "token": token}}).to_string()
    };
    let connect = json!({"connect": {"token": signed(SECRET, &json!({"sub": "ann", "exp": until}))}, "id": 1});
    let lines: Vec<String> = std::iter::once(connect.to_string()).chain((2..1_002).map(subscribe)).collect();
    let frame = lines.join("\n");
    assert!(frame.len() > 400_000, "past message_bytes, which holds for one command");
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

/// The key, without `exp` and `sub` being needed, as whoever moves from Centrifugo has it.
pub fn moving() -> Setup {
    let auth = format!(
        "require_exp = false\nanonymous = {{ subscribe = [\"chat.>\"] }}\nauthenticated = {{ subscribe = [\"#{{user}}\"] }}\n\
         keys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]"
    );
    Setup::new().auth(&auth).more("[centrifugo]\npersonal = \"#{user}\"")
}

/// Mapping, section 3: a subscription token allows its topic to its user, and nothing else; one for another ends the session.
#[test]
fn a_subscription_token_allows_its_topic() {
    let gateway = moving().start();
    let sign = |claims: Value| signed(SECRET, &claims);
    let ann = || connected_with(&gateway, json!({"token": sign(json!({"sub": "ann"}))})).0;
    let ask = |session: &mut Session, token: String| session.send(json!({"id": 2, "subscribe": {"channel": "private.a", "token": token}}));
    let mut session = ann();
    session.send(json!({"id": 2, "subscribe": {"channel": "private.a"}}));
    session.expect(error(2, 103, "permission denied"));
    ask(&mut session, "no.to.ken".to_owned());
    session.expect(error(2, 103, "permission denied"));
    ask(&mut session, sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() - 5})));
    session.expect(error(2, 109, "token expired"));
    ask(&mut session, sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() + 60, "info": {"role":  "boss"}})));
    let reply = session.receive();
    assert_eq!((&reply["subscribe"]["expires"], &reply["subscribe"]["recoverable"]), (&json!(true), &json!(true)), "{reply}");
    let presence = session.ask(json!({"id": 3, "presence": {"channel": "private.a"}}));
    let member = presence["presence"]["presence"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((&member["user"], &member["chan_info"]), (&json!("ann"), &json!({"role": "boss"})), "{presence}");
    session.ask(json!({"id": 4, "refresh": {"token": sign(json!({"sub": "ann"}))}}));
    let renewed = sign(json!({"sub": "ann", "channel": "private.a", "exp": unix_seconds() + 90}));
    let reply = session.ask(json!({"id": 5, "sub_refresh": {"token": renewed}}));
    assert_eq!(reply["sub_refresh"]["expires"], true, "the token names the channel that the command leaves out: {reply}");
    for other in
        [json!({"sub": "ann", "channel": "private.b"}), json!({"sub": "bob", "channel": "private.a"}), json!({"channel": "private.a"})]
    {
        let mut session = ann();
        ask(&mut session, sign(other));
        assert_eq!(session.expect_close(3500), "invalid token");
    }
    let mut stolen = dial(&gateway);
    stolen.send(json!({"id": 1, "connect": {"token": sign(json!({"sub": "ann", "channel": "private.a"}))}}));
    assert_eq!(stolen.expect_close(3500), "invalid token", "a subscription token says nothing of a session");
}

/// Mapping, sections 2 and 4: the gateway subscribes a session to its user's topic and to those that its token names, and tells `info`.
#[test]
fn a_session_is_subscribed_as_it_connects() {
    let gateway = moving().rule("#ann", "history = 10").start();
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

/// Mapping, sections 2 and 3: rules may let subscribers publish, push joins, and open names to the users that these list.
#[test]
fn rules_of_centrifugos_protocol() {
    let gateway = moving()
        .rule("dialog#ann,bob", "user_channels = true\nhistory = 10")
        .rule("chat.>", "history = 10\npresence = true\njoin_leave = \"push\"\npublish_for_subscribers = true")
        .start();
    let as_user = |user: &str| connected_with(&gateway, json!({"token": signed(SECRET, &json!({"sub": user}))})).0;
    let (mut ann, mut bob, mut eve) = (as_user("ann"), as_user("bob"), as_user("eve"));
    ann.send(json!({"id": 2, "publish": {"channel": "chat.a", "data": 1}}));
    ann.expect(error(2, 103, "permission denied"));
    subscribe(&mut ann, "chat.a", json!({}));
    assert_eq!(ann.receive()["push"]["join"]["info"]["user"], "ann", "joins are pushed unasked, one's own too");
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

/// A session whose kernel buffers as little as it can; it has connected and is read by nobody.
pub fn slow(gateway: &Gateway) -> Session {
    let mut session = gateway.slow_session_at(PATH);
    session.send(json!({"connect": {}, "id": 1}));
    assert_eq!(session.receive()["id"], 1);
    session
}

/// Mapping, section 5: where messages of a `drop_oldest` topic are lost, the subscription ends with 2500, at most once a second; the
/// client comes back from the last message that it has, and gets no offset twice or out of order.
#[test]
fn lost_messages_end_the_subscription_with_2500() {
    let gateway = Setup::new().without_rates().limits("outbox_bytes = 65536\nwrite_timeout = \"1m\"").start();
    let mut session = slow(&gateway);
    let epoch = subscribe(&mut session, "test.a", json!({}))["epoch"].clone();
    gateway.publish_many("test.a", 2_000, 4_000);
    let mut other = connected(&gateway);
    let (mut offset, mut lapses) = (0, Vec::new());
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
            lapses.push(Instant::now());
            let place = json!({"id": 2, "subscribe": {"channel": "test.a", "recover": true, "offset": offset, "epoch": epoch}});
            session.send(place);
            let reply = session.receive();
            assert_eq!(reply["subscribe"]["was_recovering"], true, "nothing of the topic comes before it is subscribed to: {reply}");
            if reply["subscribe"].get("recovered").is_none() {
                offset = reply["subscribe"]["offset"].as_u64().unwrap();
                if offset == 2_000 {
                    break;
                }
            }
        }
    }
    assert!(!lapses.is_empty(), "nothing was lost");
    let apart: Vec<Duration> = lapses.windows(2).map(|two| two[1] - two[0]).collect();
    // What comes late may be followed soon, but not twice.
    assert!(apart.windows(2).all(|two| two[0] + two[1] > Duration::from_secs(1)), "{apart:?}");
    expect_quiet(&mut other);
    gateway.expect_accounts_closed();
}

/// Mapping, sections 1 and 5: a recovery of 5 MB comes to a slow reader in order, each message once, and a ping goes ahead of what waits.
#[test]
fn a_ping_goes_ahead_of_what_waits() {
    let gateway = Setup::new().without_rates().limits("ping_interval = \"500ms\"\nwrite_timeout = \"1m\"\npong_timeout = \"1m\"").start();
    let newest = {
        gateway.publish_many("test.a", 900, 6_000);
        gateway.publish("test.a", "0")
    };
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
            // It stands still until an interval has passed: a ping is due then, whatever waits.
            if offset == 1 {
                gateway.expect_metric("slow_sessions", 1.0);
                std::thread::sleep(Duration::from_millis(700));
            }
        }
    }
    assert!(pings.first().is_some_and(|first| *first < 500), "pings came behind {pings:?} messages of 901");
    gateway.expect_accounts_closed();
}
