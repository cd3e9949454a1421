//! PROTOCOL 3: presence: who is there, and who comes and goes.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Session, token};

fn change(op: &str, topic: &str, member: Value) -> Value {
    json!({"op": op, "topic": topic, "member": member})
}

fn watch(session: &mut Session, topic: &str) {
    session.subscribe_with(&[topic], json!({"presence": true}));
}

/// PROTOCOL 3: presence tells count and members; `user` is null when anonymous.
#[test]
fn presence_tells_who_is_there() {
    let gateway = Gateway::start();
    let (mut bob, mut alice) = (gateway.session(), gateway.session_as(&token("alice", &[], &[])));
    bob.subscribe(&["chat.lobby"]);
    alice.subscribe(&["chat.lobby"]);
    let mut reply = bob.ask(json!({"op": "presence", "id": 5, "topic": "chat.lobby"}));
    reply["members"].as_array_mut().unwrap().sort_by_key(|member| member["user"].is_string());
    let members = json!([bob.member(Value::Null), alice.member("alice")]);
    assert_eq!(reply, json!({"op": "presence", "id": 5, "topic": "chat.lobby", "count": 2, "members": members}));
}

/// PROTOCOL 3: members are the sessions subscribed by name, not by pattern.
#[test]
fn a_pattern_makes_no_member() {
    let gateway = Gateway::start();
    let (mut named, mut pattern) = (gateway.session(), gateway.session());
    pattern.subscribe(&["chat.>"]);
    watch(&mut named, "chat.lobby");
    let reply = pattern.ask(json!({"op": "presence", "id": 5, "topic": "chat.lobby"}));
    assert_eq!((&reply["count"], &reply["members"]), (&json!(1), &json!([named.member(Value::Null)])));
}

/// PROTOCOL 3: a watcher hears other members come and go, by unsubscribing and by leaving; not itself.
#[test]
fn a_watcher_hears_others_come_and_go() {
    let gateway = Gateway::start();
    let (mut watcher, mut other) = (gateway.session(), gateway.session_as(&token("alice", &[], &[])));
    watch(&mut watcher, "chat.lobby");
    other.subscribe(&["chat.lobby"]);
    watcher.expect(change("join", "chat.lobby", other.member("alice")));
    other.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["chat.lobby"]}));
    watcher.expect(change("leave", "chat.lobby", other.member("alice")));
    other.subscribe(&["chat.lobby"]);
    watcher.expect(change("join", "chat.lobby", other.member("alice")));
    other.cut();
    watcher.expect(change("leave", "chat.lobby", other.member("alice")));
    watcher.expect_quiet();
}

/// PROTOCOL 3: who did not ask to watch hears nothing, and who asks no more neither.
#[test]
fn who_does_not_watch_hears_nothing() {
    let gateway = Gateway::start();
    let (mut quiet, mut former, mut watcher) = (gateway.session(), gateway.session(), gateway.session());
    quiet.subscribe(&["chat.lobby"]);
    watch(&mut former, "chat.lobby");
    former.subscribe(&["chat.lobby"]);
    watch(&mut watcher, "chat.lobby");
    let mut other = gateway.session();
    other.subscribe(&["chat.lobby"]);
    watcher.expect(change("join", "chat.lobby", other.member(Value::Null)));
    quiet.expect_quiet();
    former.expect_quiet();
}

/// PROTOCOL 3: a pattern subscription may watch.
#[test]
fn a_pattern_may_watch() {
    let gateway = Gateway::start();
    let (mut watcher, mut other) = (gateway.session(), gateway.session());
    watch(&mut watcher, "chat.>");
    other.subscribe(&["chat.a", "chat.b"]);
    let mut joins = watcher.receive_all(2);
    joins.sort_by_key(|event| event["topic"].to_string());
    assert_eq!(joins, ["chat.a", "chat.b"].map(|topic| change("join", topic, other.member(Value::Null))));
    other.ask(json!({"op": "unsubscribe", "id": 1, "topics": ["chat.a"]}));
    watcher.expect(change("leave", "chat.a", other.member(Value::Null)));
}

/// PROTOCOL 3: sessions of the raw dialect are members too.
#[test]
fn raw_sessions_are_members() {
    let gateway = Gateway::start();
    let mut watcher = gateway.session();
    watch(&mut watcher, "chat.lobby");
    let mut raw = gateway.dial("/raw/chat.lobby");
    let join = watcher.receive();
    assert_eq!((&join["op"], &join["member"]["user"]), (&json!("join"), &Value::Null), "{join}");
    assert_eq!(watcher.ask(json!({"op": "presence", "id": 5, "topic": "chat.lobby"}))["count"], 2);
    raw.cut();
    watcher.expect(change("leave", "chat.lobby", join["member"].clone()));
}

/// PROTOCOL 3: subscribing again is no second join.
#[test]
fn subscribing_again_is_no_second_join() {
    let gateway = Gateway::start();
    let (mut watcher, mut other) = (gateway.session(), gateway.session());
    watch(&mut watcher, "chat.lobby");
    other.subscribe(&["chat.lobby"]);
    other.subscribe_with(&["chat.lobby"], json!({"last": 3}));
    watcher.expect(change("join", "chat.lobby", other.member(Value::Null)));
    watcher.expect_quiet();
    assert_eq!(watcher.ask(json!({"op": "presence", "id": 5, "topic": "chat.lobby"}))["count"], 2);
}

/// PROTOCOL 3: a new `user` after `auth` is a leave, then a join.
#[test]
fn a_new_user_is_a_leave_and_a_join() {
    let gateway = Gateway::start();
    let (mut watcher, mut other) = (gateway.session(), gateway.session());
    watch(&mut watcher, "chat.lobby");
    other.subscribe(&["chat.lobby"]);
    watcher.expect(change("join", "chat.lobby", other.member(Value::Null)));
    other.ask(json!({"op": "auth", "id": 6, "token": token("alice", &[], &[])}));
    watcher.expect(change("leave", "chat.lobby", other.member(Value::Null)));
    watcher.expect(change("join", "chat.lobby", other.member("alice")));
    other.ask(json!({"op": "auth", "id": 6, "token": token("alice", &["test.>"], &[])}));
    watcher.expect_quiet();
}

/// PROTOCOL 3: where the rule has presence off: subscribed all the same, plus `presence_off`; asking is `presence_off` too.
#[test]
fn presence_may_be_off() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["quotes.A"], "presence": true}));
    let mut replies = session.receive_all(2);
    replies.sort_by_key(|reply| reply["op"].to_string());
    assert_eq!((&replies[0]["code"], &replies[0]["id"]), (&json!("presence_off"), &json!(1)), "{replies:?}");
    assert_eq!((&replies[1]["op"], &replies[1]["topics"][0]["topic"]), (&json!("subscribed"), &json!("quotes.A")), "{replies:?}");
    session.send(json!({"op": "presence", "id": 5, "topic": "quotes.A"}));
    session.expect_error(5, "presence_off");
    let place = gateway.publish("quotes.A", "1");
    session.expect(crate::gateway::message("quotes.A", &place, 1));
}
