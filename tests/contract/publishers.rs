//! PROTOCOL 5 and 10: `Idempotency-Key`, and Centrifugo's HTTP API.

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Gateway, Session, Setup, token, unix_seconds};

/// Calls `/api/{method}` with a key; gives the JSON of the reply.
fn api(gateway: &Gateway, key: &str, method: &str, request: &Value) -> Value {
    let reply = gateway.request("POST", &format!("/api/{method}"), &[("X-API-Key", key)], request.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// A gateway with a key for `chat` and `plain`, and an admin key with every right to publish.
fn gateway() -> Gateway {
    let auth = r#"
anonymous = { subscribe = ["chat.>"], publish = [] }
keys = [{ algorithm = "HS256", secret = "a secret of the tests, 32 bytes or more" }]
api_keys = [
    { name = "admin", key = "admin-key", admin = true, publish = [">"] },
    { name = "chat", key = "chat-key", subscribe = ["chat.>"], publish = ["chat.>", "plain.>"] },
]
"#;
    Setup::new().auth(auth).start()
}

/// PROTOCOL 5: repeated publishes to a topic with one `Idempotency-Key` publish once, and have the same answer.
#[test]
fn an_idempotency_key_publishes_once() {
    let gateway = gateway();
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    let publish = |topic: &str, key: &str, body: &str| {
        let headers = [("Authorization", "Bearer chat-key"), ("Idempotency-Key", key)];
        gateway.request("POST", &format!("/v1/topics/{topic}"), &headers, body.as_bytes())
    };
    let (first, again) = (publish("chat.a", "k1", "1"), publish("chat.a", "k1", "2"));
    assert_eq!((first.json()["offset"].clone(), first.json()), (json!(1), again.json()));
    assert_eq!(publish("chat.b", "k1", "3").json()["offset"], 1, "another topic");
    assert_eq!(publish("chat.a", "k2", "4").json()["offset"], 2, "another key");
    let api_too = api(&gateway, "chat-key", "publish", &json!({"channel": "chat.a", "data": 5, "idempotency_key": "k2"}));
    assert_eq!(api_too["result"]["offset"], 2, "both APIs share the keys");
    assert_eq!(session.receive_all(2).iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), [json!(1), json!(4)]);
    session.expect_quiet();
    for bad in ["", &"k".repeat(129)] {
        assert_eq!(publish("chat.a", bad, "6").problem(400), "bad_request");
    }
}

/// PROTOCOL 7: past `idempotency_keys` the oldest key is forgotten.
#[test]
fn idempotency_keys_are_bounded() {
    let gateway = Gateway::with_limits("idempotency_keys = 1");
    let publish = |key: &str| {
        let reply = gateway.request("POST", "/v1/topics/chat.a", &[("Idempotency-Key", key)], b"1");
        reply.json()["offset"].as_u64().unwrap()
    };
    assert_eq!([publish("a"), publish("a"), publish("b"), publish("a")], [1, 1, 2, 3]);
    gateway.expect_limit_hit("idempotency_keys");
}

/// PROTOCOL 10: `publish`, `broadcast` and `history`. `data` is published byte for byte and `b64data` decoded; tags are
/// kept.
#[test]
fn the_api_publishes_and_reads_history() {
    let gateway = gateway();
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    let body = br#"{"channel":"chat.a","data":{"p" : 1.50, "n":123456789012345678901234567890},"tags":{"a":"b"},"unknown":1}"#;
    let reply = gateway.request("POST", "/api/publish", &[("X-API-Key", "chat-key")], body);
    assert_eq!((reply.status, reply.json()["result"]["offset"].clone()), (200, json!(1)));
    assert!(session.receive_text().contains(r#""data":{"p" : 1.50, "n":123456789012345678901234567890}"#));
    for (key, value) in [("Authorization", "apikey chat-key"), ("Authorization", "APIKEY chat-key")] {
        let reply = gateway.request("POST", "/api/publish", &[(key, value)], br#"{"channel":"chat.a","b64data":"eyJhIjoxfQ=="}"#);
        assert_eq!(reply.status, 200);
        assert_eq!(session.receive()["data"], json!({"a": 1}));
    }
    assert_eq!(gateway.request("POST", "/api/publish?api_key=chat-key", &[], br#"{"channel":"chat.a","data":1}"#).status, 200);
    assert_eq!(session.receive()["data"], 1);
    assert_eq!(api(&gateway, "chat-key", "publish", &json!({"channel": "chat.a", "data": null}))["result"]["offset"], 5);
    assert_eq!(session.receive()["data"], Value::Null);
    let answer = api(&gateway, "chat-key", "broadcast", &json!({"channels": ["chat.a", "quotes.a", "a..b"], "data": {"n": 1}}));
    let responses = answer["result"]["responses"].as_array().unwrap();
    assert_eq!(responses[0]["result"]["offset"], 6);
    let codes: Vec<&Value> = responses.iter().map(|response| &response["error"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!(103), &json!(107)]);
    let answer = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 2}));
    let publications = answer["result"]["publications"].as_array().unwrap();
    assert_eq!((&publications[0]["tags"], &publications[0]["offset"]), (&json!({"a": "b"}), &json!(1)));
    assert_eq!((publications.len(), &answer["result"]["offset"]), (2, &json!(6)));
    let answer = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 1, "reverse": true}));
    assert_eq!(answer["result"]["publications"][0]["offset"], 6);
    let answer = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "since": {"offset": 1, "epoch": "another"}}));
    assert_eq!(answer["error"], json!({"code": 112, "message": "unrecoverable position"}));
}

/// PROTOCOL 10: options that Belfry does not have are refused, and so are requests without a grant.
#[test]
fn the_api_refuses_unsupported_options_and_missing_grants() {
    let gateway = gateway();
    for (method, request, code) in [
        ("publish", json!({"channel": "chat.a", "data": 1, "skip_history": true}), 107),
        ("publish", json!({"channel": "chat.a", "data": 1, "delta": true}), 107),
        ("publish", json!({"channel": "chat.a", "data": 1, "version": 3}), 107),
        ("publish", json!({"channel": "chat.a"}), 107),
        ("publish", json!({"channel": "chat.a", "b64data": "*"}), 107),
        ("publish", json!({"channel": "chat.a", "data": 1, "idempotency_key": "k".repeat(129)}), 107),
        ("publish", json!({"channel": "chat.a", "data": "x".repeat(65_536)}), 106),
        ("publish", json!({"channel": "quotes.a", "data": 1}), 103),
        ("history", json!({"channel": "quotes.a"}), 103),
        ("history", json!({"channel": "plain.a"}), 103),
        ("channels", json!({}), 103),
        ("info", json!({}), 103),
        ("disconnect", json!({"user": "ann"}), 103),
        ("history_remove", json!({"channel": "chat.a"}), 103),
    ] {
        assert_eq!(api(&gateway, "chat-key", method, &request)["error"]["code"], code, "{method} {request}");
    }
    let as_ann = token("ann", &["chat.>"], &["chat.>"]);
    for key in ["wrong", "", &as_ann] {
        assert_eq!(gateway.request("POST", "/api/info", &[("X-API-Key", key)], b"{}").status, 401);
    }
    assert_eq!(gateway.post("/api/info", b"{}").status, 401);
    let by_status = [("X-API-Key", "chat-key"), ("X-Centrifugo-Error-Mode", "transport")];
    assert_eq!(gateway.request("POST", "/api/info", &by_status, b"{}").status, 403);
    assert_eq!(gateway.request("POST", "/api/publish", &by_status, b"[]").problem(400), "bad_request");
    assert_eq!(gateway.request("POST", "/api/nothing", &by_status, b"{}").status, 404);
}

/// PROTOCOL 10: `presence`, `presence_stats`, `channels`, `info` and `disconnect`.
#[test]
fn the_api_lists_and_disconnects_sessions() {
    let gateway = gateway();
    let (mut ann, mut twin, mut bob) = (
        gateway.session_as(&token("ann", &[], &[])),
        gateway.session_as(&token("ann", &[], &[])),
        gateway.session_as(&token("bob", &[], &[])),
    );
    [&mut ann, &mut twin, &mut bob].into_iter().for_each(|session| drop(session.subscribe(&["chat.a"])));
    let stats = api(&gateway, "chat-key", "presence_stats", &json!({"channel": "chat.a"}));
    assert_eq!(stats["result"], json!({"num_clients": 3, "num_users": 2}));
    let presence = api(&gateway, "chat-key", "presence", &json!({"channel": "chat.a"}));
    assert_eq!(presence["result"]["presence"][bob.id()], json!({"client": bob.id(), "user": "bob"}));
    let channels = api(&gateway, "admin-key", "channels", &json!({"pattern": "chat*"}));
    assert_eq!(channels["result"]["channels"], json!({"chat.a": {"num_clients": 3}}));
    assert_eq!(api(&gateway, "admin-key", "info", &json!({}))["result"]["nodes"][0]["num_clients"], 3);
    assert_eq!(api(&gateway, "admin-key", "disconnect", &json!({"user": "ann", "whitelist": [twin.id()]}))["result"], json!({}));
    ann.expect_close(4009);
    assert_eq!(api(&gateway, "admin-key", "disconnect", &json!({"user": "bob", "client": twin.id()}))["result"], json!({}));
    twin.expect_quiet();
    bob.expect_quiet();
    assert_eq!(api(&gateway, "admin-key", "disconnect", &json!({"user": "ann", "disconnect": {"code": 4000}}))["error"]["code"], 107);
}

/// PROTOCOL 10: `subscribe`, `unsubscribe` and `refresh` for the sessions of a user.
#[test]
fn the_api_subscribes_unsubscribes_and_expires_sessions() {
    let gateway = gateway();
    let call = |method: &str, request: Value| api(&gateway, "admin-key", method, &request);
    let connect = |user: &str| {
        let mut session = gateway.dial("/connection/websocket");
        session.send(json!({"id": 1, "connect": {"token": token(user, &["chat.>"], &[])}}));
        let id = session.receive()["connect"]["client"].as_str().unwrap().to_owned();
        (session, id)
    };
    let ((mut ann, ann_id), (mut twin, _), (mut bob, _)) = (connect("ann"), connect("ann"), connect("bob"));
    let mut native = gateway.session_as(&token("ann", &["chat.>"], &[]));
    native.subscribe(&["chat.a", "chat.b", "chat.>"]);
    let expect_quiet = |session: &mut Session| {
        session.send(json!({"id": 99, "rpc": {}}));
        session.expect(json!({"id": 99, "error": {"code": 108, "message": "not available"}}));
    };
    assert_eq!(call("subscribe", json!({"user": "ann", "client": ann_id, "channel": "secret.a"})), json!({"result": {}}));
    ann.expect(json!({"push": {"channel": "secret.a", "subscribe": {}}}));
    call("subscribe", json!({"user": "ann", "client": ann_id, "channel": "secret.a"}));
    expect_quiet(&mut ann);
    expect_quiet(&mut twin);
    gateway.publish_as("secret.a", "1", &[ADMIN]);
    ann.expect(json!({"push": {"channel": "secret.a", "pub": {"data": 1}}}));
    assert_eq!(call("unsubscribe", json!({"user": "ann", "channel": "secret.a"})), json!({"result": {}}));
    let ended = |channel: &str| json!({"push": {"channel": channel, "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}});
    ann.expect(ended("secret.a"));
    native.expect_quiet();
    call("unsubscribe", json!({"user": "ann", "channel": "chat.a"}));
    assert!(native.expect_error(Value::Null, "not_allowed").contains("chat.a"));
    for session in [&mut ann, &mut bob] {
        session.send(json!({"id": 2, "subscribe": {"channel": "chat.c"}}));
        assert_eq!(session.receive()["id"], 2);
    }
    call("unsubscribe", json!({"user": "ann"}));
    ann.expect(ended("chat.c"));
    assert!(native.expect_error(Value::Null, "not_allowed").contains("chat.b, chat.>"));
    // A refused request has no effect.
    for (method, request, code) in [
        ("subscribe", json!({"user": "bob", "channel": "a..b"}), 107),
        ("subscribe", json!({"user": "bob", "channel": "chat.d", "b64data": "*"}), 107),
        ("subscribe", json!({"user": "bob", "channel": "chat.d", "data": "x".repeat(65_536)}), 107),
        ("subscribe", json!({"user": "bob", "channel": "chat.d", "override": {"presence": {"value": false}}}), 107),
        ("subscribe", json!({"user": "bob", "channel": "plain.d", "override": {"force_recovery": {"value": true}}}), 107),
        ("subscribe", json!({"user": "bob", "channel": "plain.d", "override": {"force_push_join_leave": {"value": true}}}), 107),
        ("subscribe", json!({"user": "bob", "channel": "chat.d", "info": "x".repeat(9_000)}), 107),
        ("subscribe", json!({"channel": "chat.d"}), 107),
        ("unsubscribe", json!({"user": "bob", "client": "x"}), 107),
        ("refresh", json!({"user": "bob"}), 107),
        ("history_remove", json!({"channel": "plain.a"}), 108),
        ("history_remove", json!({"channel": "a..b"}), 107),
    ] {
        assert_eq!(call(method, request.clone())["error"]["code"], code, "{method} {request}");
        let without_admin = api(&gateway, "chat-key", method, &request)["error"]["code"].clone();
        assert_eq!(without_admin, 103, "{method}");
    }
    expect_quiet(&mut bob);
    call("refresh", json!({"user": "ann", "client": native.id(), "expire_at": unix_seconds() - 1}));
    native.expect_close(4002);
    call("refresh", json!({"user": "ann", "expired": true}));
    assert_eq!((ann.expect_close(3005), twin.expect_close(3005)), ("connection expired".into(), "connection expired".into()));
    call("refresh", json!({"user": "bob", "expire_at": unix_seconds() - 26}));
    bob.expect_close(3005);
}

/// PROTOCOL 10: `subscribe` with `data`, with a position to recover from, and with joins.
#[test]
fn a_subscribe_of_the_api_recovers_from_its_position() {
    let gateway = gateway();
    let call = |method: &str, request: Value| assert_eq!(api(&gateway, "admin-key", method, &request), json!({"result": {}}), "{request}");
    let mut ann = gateway.dial("/connection/websocket");
    ann.send(json!({"id": 1, "connect": {"token": token("ann", &[], &[])}}));
    let client = ann.receive()["connect"]["client"].clone();
    let position = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    let since = json!({"offset": 1, "epoch": position.epoch});
    let joins = json!({"force_push_join_leave": {"value": true}, "presence": {"value": true}, "force_recovery": {"value": true}});
    call("subscribe", json!({"user": "ann", "channel": "chat.a", "data": {"seat": 7}, "recover_since": since, "override": joins}));
    let answer = json!({"recoverable": true, "epoch": position.epoch, "offset": 1, "positioned": true, "data": {"seat": 7}});
    ann.expect(json!({"push": {"channel": "chat.a", "subscribe": answer}}));
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": {"user": "ann", "client": client}}}}));
    for (offset, data) in [(2, 2), (3, 3)] {
        ann.expect(json!({"push": {"channel": "chat.a", "pub": {"data": data, "offset": offset}}}));
    }
    call("subscribe", json!({"user": "ann", "channel": "plain.a", "b64data": "aGk="}));
    ann.expect(json!({"push": {"channel": "plain.a", "subscribe": {"data": "hi"}}}));
    call("unsubscribe", json!({"user": "ann", "channel": "chat.a"}));
    ann.expect(json!({"push": {"channel": "chat.a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}));
}

/// PROTOCOL 10: a `subscribe` whose position history no longer has is pushed with the newest position, and without
/// messages.
#[test]
fn a_subscribe_of_the_api_past_history_recovers_nothing() {
    let gateway = gateway();
    let call = |method: &str, request: Value| assert_eq!(api(&gateway, "admin-key", method, &request), json!({"result": {}}), "{request}");
    let mut ann = gateway.dial("/connection/websocket");
    ann.send(json!({"id": 1, "connect": {"token": token("ann", &[], &[])}}));
    ann.receive();
    let position = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    let since = json!({"offset": 1, "epoch": position.epoch});
    call("history_remove", json!({"channel": "chat.a"}));
    call("subscribe", json!({"user": "ann", "channel": "chat.a", "recover_since": since}));
    let answer = json!({"recoverable": true, "epoch": position.epoch, "offset": 3, "positioned": true});
    ann.expect(json!({"push": {"channel": "chat.a", "subscribe": answer}}));
}

/// PROTOCOL 10: a payload that is not UTF-8 is Base64 in a history, with a tag for the encoding.
#[test]
fn a_tag_marks_base64_in_a_history() {
    let gateway = gateway();
    for (bytes, tags) in [("/wA=", json!({"a": "b"})), ("aGk=", json!({}))] {
        let published = api(&gateway, "chat-key", "publish", &json!({"channel": "chat.a", "b64data": bytes, "tags": tags}));
        assert!(published["result"].is_object(), "{published}");
    }
    let answer = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 2}));
    let publications = json!([
        {"offset": 1, "data": "/wA=", "tags": {"a": "b", "encoding": "base64"}},
        {"offset": 2, "data": "hi"},
    ]);
    assert_eq!(answer["result"]["publications"], publications);
}

/// PROTOCOL 10: `history_remove` removes a topic's history. The topic's position stays; a session with an older
/// position is not recovered.
#[test]
fn a_history_is_removed_and_its_position_stays() {
    let gateway = gateway();
    let position = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    assert_eq!(api(&gateway, "admin-key", "history_remove", &json!({"channel": "chat.a"})), json!({"result": {}}));
    let answer = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 10}));
    assert_eq!(answer["result"], json!({"publications": [], "epoch": position.epoch, "offset": 3}));
    let mut session = gateway.session();
    let entries = session.subscribe_with(&["chat.a"], json!({"since": {"chat.a": position.json()}}));
    assert_eq!((&entries[0]["recovered"], &entries[0]["offset"]), (&json!(false), &json!(3)));
    assert_eq!(gateway.publish_as("chat.a", "4", &[ADMIN]).offset, 4);
    assert_eq!(session.receive()["offset"], 4);
    assert_eq!(api(&gateway, "admin-key", "history_remove", &json!({"channel": "chat.never"})), json!({"result": {}}));
}

/// PROTOCOL 10: `batch` has a reply for each of its commands, in order. Each command takes a unit.
#[test]
fn a_batch_answers_each_command() {
    let gateway = gateway();
    let commands = json!([{"publish": {"channel": "chat.a", "data": 1}}, {"publish": {"channel": "quotes.a", "data": 1}},
                          {"presence_stats": {"channel": "chat.a"}}, {"nothing": {}}, {"batch": {}}, {}]);
    let answer = api(&gateway, "chat-key", "batch", &json!({"commands": commands, "parallel": true}));
    let replies = answer["replies"].as_array().unwrap();
    assert_eq!(replies[0]["publish"]["offset"], 1);
    assert_eq!(replies[2], json!({"presence_stats": {"num_clients": 0, "num_users": 0}}));
    let codes: Vec<u64> = [1, 3, 4, 5].iter().map(|&index| replies[index]["error"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [103, 104, 107, 107]);
    let many: Vec<Value> = (0..300).map(|number| json!({"publish": {"channel": "chat.b", "data": number}})).collect();
    let answer = api(&gateway, "chat-key", "batch", &json!({"commands": many}));
    let replies = answer["replies"].as_array().unwrap();
    assert_eq!((replies.len(), &replies[299]["error"]["code"]), (300, &json!(111)));
    gateway.expect_limit_hit("commands_per_second");
}
