//! PROTOCOL 3: presence: the members of a topic, their joins and their leaves.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Session, message, token};

fn change(op: &str, topic: &str, member: Value) -> Value {
    json!({"op": op, "topic": topic, "member": member})
}

fn watch(session: &mut Session, topic: &str) {
    session.subscribe_with(&[topic], json!({"presence": true}));
}

/// PROTOCOL 3: presence has the count and the members. The `user` of an anonymous member is null.
#[test]
fn presence_lists_the_members() {
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
fn a_session_subscribed_by_pattern_is_no_member() {
    let gateway = Gateway::start();
    let (mut named, mut pattern) = (gateway.session(), gateway.session());
    pattern.subscribe(&["chat.>"]);
    watch(&mut named, "chat.lobby");
    let reply = pattern.ask(json!({"op": "presence", "id": 5, "topic": "chat.lobby"}));
    assert_eq!((&reply["count"], &reply["members"]), (&json!(1), &json!([named.member(Value::Null)])));
}

/// PROTOCOL 3: a watcher gets the joins and leaves of other members, and not its own. A member leaves by an unsubscribe
/// and by the end of its session.
#[test]
fn a_watcher_gets_the_joins_and_leaves_of_others() {
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

/// PROTOCOL 3: a subscription without `presence`, or whose `presence` was replaced, gets no joins and leaves.
#[test]
fn a_subscription_without_presence_gets_no_joins() {
    let gateway = Gateway::start();
    let (mut plain, mut former, mut watcher) = (gateway.session(), gateway.session(), gateway.session());
    plain.subscribe(&["chat.lobby"]);
    watch(&mut former, "chat.lobby");
    former.subscribe(&["chat.lobby"]);
    watch(&mut watcher, "chat.lobby");
    let mut other = gateway.session();
    other.subscribe(&["chat.lobby"]);
    watcher.expect(change("join", "chat.lobby", other.member(Value::Null)));
    plain.expect_quiet();
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

/// PROTOCOL 3: where the rule has presence off, a subscribe with `presence` succeeds and is answered with
/// `presence_off` too. The `presence` command is answered with `presence_off`.
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
    let position = gateway.publish("quotes.A", "1");
    session.expect(message("quotes.A", &position, 1));
}
