//! Publishers that try again, and those that speak Centrifugo's HTTP API (PROTOCOL sections 5 and 10).

use serde_json::{Value, json};

use crate::gateway::{ADMIN, Gateway, Setup, token};

/// Asks `/api/{method}` with a key; the answer's JSON.
fn api(gateway: &Gateway, key: &str, method: &str, asked: &Value) -> Value {
    let reply = gateway.request("POST", &format!("/api/{method}"), &[("X-API-Key", key)], asked.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// A gateway with a publisher of `chat`, beside the base's keys.
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

/// One `Idempotency-Key` publishes once on a topic, and gives the same answer again.
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
    assert_eq!(api_too["result"]["offset"], 2, "the keys of both are the same");
    assert_eq!(session.receive_all(2).iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), [json!(1), json!(4)]);
    session.expect_quiet();
    for bad in ["", &"k".repeat(129)] {
        assert_eq!(publish("chat.a", bad, "6").problem(400), "bad_request");
    }
}

/// Past `idempotency_keys` the oldest key is forgotten.
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

/// PROTOCOL 10: `publish` and `broadcast`; `data` byte for byte, Base64 decoded, tags kept.
#[test]
fn centrifugos_publishers_publish() {
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
    let told = api(&gateway, "chat-key", "broadcast", &json!({"channels": ["chat.a", "quotes.a", "a..b"], "data": {"n": 1}}));
    let responses = told["result"]["responses"].as_array().unwrap();
    assert_eq!(responses[0]["result"]["offset"], 6);
    let codes: Vec<&Value> = responses.iter().map(|response| &response["error"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!(103), &json!(107)]);
    let told = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 2}));
    let publications = told["result"]["publications"].as_array().unwrap();
    assert_eq!((&publications[0]["tags"], &publications[0]["offset"]), (&json!({"a": "b"}), &json!(1)));
    assert_eq!((publications.len(), &told["result"]["offset"]), (2, &json!(6)));
    let told = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 1, "reverse": true}));
    assert_eq!(told["result"]["publications"][0]["offset"], 6);
    let told = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "since": {"offset": 1, "epoch": "another"}}));
    assert_eq!(told["error"], json!({"code": 112, "message": "unrecoverable position"}));
}

/// PROTOCOL 10: what is wished and not done is refused, and so is what no grant covers.
#[test]
fn what_centrifugos_publishers_are_refused() {
    let gateway = gateway();
    for (method, asked, code) in [
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
        assert_eq!(api(&gateway, "chat-key", method, &asked)["error"]["code"], code, "{method} {asked}");
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

/// PROTOCOL 10: who is there, which topics there are, and the end of a user's sessions.
#[test]
fn centrifugos_publishers_look_and_close() {
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

/// PROTOCOL 10: an operator's program subscribes the sessions of a user, ends their subscriptions, and lets their tokens expire.
#[test]
fn centrifugos_publishers_give_orders_to_sessions() {
    let gateway = gateway();
    let order = |method: &str, asked: Value| api(&gateway, "admin-key", method, &asked);
    let connect = |user: &str| {
        let mut session = gateway.dial("/connection/websocket");
        session.send(json!({"id": 1, "connect": {"token": token(user, &["chat.>"], &[])}}));
        let id = session.receive()["connect"]["client"].as_str().unwrap().to_owned();
        (session, id)
    };
    let ((mut ann, ann_id), (mut twin, _), (mut bob, _)) = (connect("ann"), connect("ann"), connect("bob"));
    let mut native = gateway.session_as(&token("ann", &["chat.>"], &[]));
    native.subscribe(&["chat.a", "chat.b", "chat.>"]);
    let quiet = |session: &mut crate::gateway::Session| {
        session.send(json!({"id": 99, "rpc": {}}));
        session.expect(json!({"id": 99, "error": {"code": 108, "message": "not available"}}));
    };
    assert_eq!(order("subscribe", json!({"user": "ann", "client": ann_id, "channel": "secret.a"})), json!({"result": {}}));
    ann.expect(json!({"push": {"channel": "secret.a", "subscribe": {}}}));
    order("subscribe", json!({"user": "ann", "client": ann_id, "channel": "secret.a"}));
    quiet(&mut ann);
    quiet(&mut twin);
    gateway.publish_as("secret.a", "1", &[ADMIN]);
    ann.expect(json!({"push": {"channel": "secret.a", "pub": {"data": 1}}}));
    assert_eq!(order("unsubscribe", json!({"user": "ann", "channel": "secret.a"})), json!({"result": {}}));
    let ended = |channel: &str| json!({"push": {"channel": channel, "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}});
    ann.expect(ended("secret.a"));
    native.expect_quiet();
    order("unsubscribe", json!({"user": "ann", "channel": "chat.a"}));
    assert!(native.expect_error(Value::Null, "not_allowed").contains("chat.a"));
    for session in [&mut ann, &mut bob] {
        session.send(json!({"id": 2, "subscribe": {"channel": "chat.c"}}));
        assert_eq!(session.receive()["id"], 2);
    }
    order("unsubscribe", json!({"user": "ann"}));
    ann.expect(ended("chat.c"));
    assert!(native.expect_error(Value::Null, "not_allowed").contains("chat.b, chat.>"));
    // A refused order has done nothing.
    for (method, asked, code) in [
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
        assert_eq!(order(method, asked.clone())["error"]["code"], code, "{method} {asked}");
        let keyless = api(&gateway, "chat-key", method, &asked)["error"]["code"].clone();
        assert_eq!(keyless, 103, "{method}");
    }
    quiet(&mut bob);
    order("refresh", json!({"user": "ann", "client": native.id(), "expire_at": crate::gateway::unix_seconds() - 1}));
    native.expect_close(4002);
    order("refresh", json!({"user": "ann", "expired": true}));
    assert_eq!((ann.expect_close(3005), twin.expect_close(3005)), ("connection expired".into(), "connection expired".into()));
    order("refresh", json!({"user": "bob", "expire_at": crate::gateway::unix_seconds() - 26}));
    bob.expect_close(3005);
}

/// PROTOCOL 10: an operator's program gives a subscription `data` for the application, a position to go on from, and joins.
#[test]
fn a_subscription_that_is_ordered_goes_on_where_it_is_told() {
    let gateway = gateway();
    let order = |method: &str, asked: Value| assert_eq!(api(&gateway, "admin-key", method, &asked), json!({"result": {}}), "{asked}");
    let mut ann = gateway.dial("/connection/websocket");
    ann.send(json!({"id": 1, "connect": {"token": token("ann", &[], &[])}}));
    let client = ann.receive()["connect"]["client"].clone();
    let place = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    let since = json!({"offset": 1, "epoch": place.epoch});
    let joins = json!({"force_push_join_leave": {"value": true}, "presence": {"value": true}, "force_recovery": {"value": true}});
    order("subscribe", json!({"user": "ann", "channel": "chat.a", "data": {"seat": 7}, "recover_since": since, "override": joins}));
    let told = json!({"recoverable": true, "epoch": place.epoch, "offset": 1, "positioned": true, "data": {"seat": 7}});
    ann.expect(json!({"push": {"channel": "chat.a", "subscribe": told}}));
    ann.expect(json!({"push": {"channel": "chat.a", "join": {"info": {"user": "ann", "client": client}}}}));
    for (offset, data) in [(2, 2), (3, 3)] {
        ann.expect(json!({"push": {"channel": "chat.a", "pub": {"data": data, "offset": offset}}}));
    }
    order("subscribe", json!({"user": "ann", "channel": "plain.a", "b64data": "aGk="}));
    ann.expect(json!({"push": {"channel": "plain.a", "subscribe": {"data": "hi"}}}));
    order("unsubscribe", json!({"user": "ann", "channel": "chat.a"}));
    ann.expect(json!({"push": {"channel": "chat.a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}));
}

/// PROTOCOL 10: what history has no more is not brought to a subscription that is ordered, and the position says so.
#[test]
fn a_subscription_that_is_ordered_is_told_where_history_no_longer_reaches_back() {
    let gateway = gateway();
    let order = |method: &str, asked: Value| assert_eq!(api(&gateway, "admin-key", method, &asked), json!({"result": {}}), "{asked}");
    let mut ann = gateway.dial("/connection/websocket");
    ann.send(json!({"id": 1, "connect": {"token": token("ann", &[], &[])}}));
    ann.receive();
    let place = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    let since = json!({"offset": 1, "epoch": place.epoch});
    order("history_remove", json!({"channel": "chat.a"}));
    order("subscribe", json!({"user": "ann", "channel": "chat.a", "recover_since": since}));
    let told = json!({"recoverable": true, "epoch": place.epoch, "offset": 3, "positioned": true});
    ann.expect(json!({"push": {"channel": "chat.a", "subscribe": told}}));
}

/// PROTOCOL 10: bytes that are not UTF-8 are Base64 in a history, and a tag says so, as in a publication.
#[test]
fn a_history_says_what_is_base64() {
    let gateway = gateway();
    for (bytes, tags) in [("/wA=", json!({"a": "b"})), ("aGk=", json!({}))] {
        let published = api(&gateway, "chat-key", "publish", &json!({"channel": "chat.a", "b64data": bytes, "tags": tags}));
        assert!(published["result"].is_object(), "{published}");
    }
    let told = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 2}));
    let publications = json!([
        {"offset": 1, "data": "/wA=", "tags": {"a": "b", "encoding": "base64"}},
        {"offset": 2, "data": "hi"},
    ]);
    assert_eq!(told["result"]["publications"], publications);
}

/// PROTOCOL 10: `history_remove` gives up what is kept of a topic; its position stays, and who comes back from before is told.
#[test]
fn a_history_is_removed_and_its_position_stays() {
    let gateway = gateway();
    let place = ["1", "2", "3"].map(|body| gateway.publish_as("chat.a", body, &[ADMIN]))[0].clone();
    assert_eq!(api(&gateway, "admin-key", "history_remove", &json!({"channel": "chat.a"})), json!({"result": {}}));
    let told = api(&gateway, "chat-key", "history", &json!({"channel": "chat.a", "limit": 10}));
    assert_eq!(told["result"], json!({"publications": [], "epoch": place.epoch, "offset": 3}));
    let mut session = gateway.session();
    let begun = session.subscribe_with(&["chat.a"], json!({"since": {"chat.a": place.json()}}));
    assert_eq!((&begun[0]["recovered"], &begun[0]["offset"]), (&json!(false), &json!(3)));
    assert_eq!(gateway.publish_as("chat.a", "4", &[ADMIN]).offset, 4);
    assert_eq!(session.receive()["offset"], 4);
    assert_eq!(api(&gateway, "admin-key", "history_remove", &json!({"channel": "chat.never"})), json!({"result": {}}));
}

/// PROTOCOL 10: a batch does its commands in order and tells of each; each pays a unit.
#[test]
fn a_batch_tells_of_each_command() {
    let gateway = gateway();
    let commands = json!([{"publish": {"channel": "chat.a", "data": 1}}, {"publish": {"channel": "quotes.a", "data": 1}},
                          {"presence_stats": {"channel": "chat.a"}}, {"nothing": {}}, {"batch": {}}, {}]);
    let told = api(&gateway, "chat-key", "batch", &json!({"commands": commands, "parallel": true}));
    let replies = told["replies"].as_array().unwrap();
    assert_eq!(replies[0]["publish"]["offset"], 1);
    assert_eq!(replies[2], json!({"presence_stats": {"num_clients": 0, "num_users": 0}}));
    let codes: Vec<u64> = [1, 3, 4, 5].iter().map(|&index| replies[index]["error"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [103, 104, 107, 107]);
    let many: Vec<Value> = (0..300).map(|number| json!({"publish": {"channel": "chat.b", "data": number}})).collect();
    let told = api(&gateway, "chat-key", "batch", &json!({"commands": many}));
    let replies = told["replies"].as_array().unwrap();
    assert_eq!((replies.len(), &replies[299]["error"]["code"]), (300, &json!(111)));
    gateway.expect_limit_hit("commands_per_second");
}
