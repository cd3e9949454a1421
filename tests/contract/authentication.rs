//! PROTOCOL 3, 6 and 8: tokens, keys and grants.

use serde_json::{Value, json};

use crate::gateway::{Gateway, SECRET, Setup, expiring, message, signed, token, unix_seconds, without_exp};

/// PROTOCOL 3: `authenticated` has the user and the token's `exp`. The token's grants hold at once.
#[test]
fn auth_gives_the_tokens_grants() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    let exp = unix_seconds() + 600;
    let reply = session.ask(json!({"op": "auth", "id": 6, "token": expiring("alice", exp, &["private.>"], &["private.>"])}));
    assert_eq!(reply, json!({"op": "authenticated", "id": 6, "user": "alice", "expires": exp}));
    session.subscribe(&["private.a"]);
    session.send(json!({"op": "publish", "topic": "private.a", "data": 1}));
    assert_eq!(session.receive()["data"], 1);
}

/// PROTOCOL 2 and 8: the grants of `auth.authenticated` hold for every session with a user. `{user}` in them is that
/// user.
#[test]
fn every_user_has_the_authenticated_grants() {
    let authenticated = "authenticated = { subscribe = [\"#{user}\", \"news.>\"], publish = [\"from.{user}\"] }";
    let gateway = Setup::new().more_auth(authenticated).start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["news.a"]}));
    session.expect_error(1, "not_allowed");
    session.send(json!({"op": "subscribe", "id": 2, "topics": ["#{user}"]}));
    session.expect_error(2, "not_allowed");
    session.ask(json!({"op": "auth", "id": 3, "token": token("ann", &["personal:#{user}"], &[])}));
    session.subscribe(&["#ann", "news.a", "personal:#ann", "chat.a"]);
    session.send(json!({"op": "subscribe", "id": 4, "topics": ["#bob", "personal:#bob"]}));
    session.expect_error(4, "not_allowed");
    let as_bob = format!("Bearer {}", token("bob", &[], &[]));
    let reply = gateway.request("POST", "/v1/topics/from.ann", &[("Authorization", &as_bob)], b"1");
    assert_eq!(reply.problem(403), "not_allowed");
    session.ask(json!({"op": "auth", "id": 5, "token": token("ben", &[], &[])}));
    let lost = session.receive();
    assert_eq!(lost["code"], "not_allowed");
    let message = lost["message"].as_str().unwrap();
    assert!(message.contains("#ann") && message.contains("personal:#ann") && !message.contains("news.a"), "{message}");
}

/// PROTOCOL 3: a successful `auth` without `id` is not answered.
#[test]
fn auth_is_silent_without_id() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send(json!({"op": "auth", "token": token("alice", &["private.>"], &[])}));
    session.expect_quiet();
    session.subscribe(&["private.a"]);
}

/// PROTOCOL 3: a new token's grants replace the old ones. Subscriptions that are no longer covered end with a
/// `not_allowed` that names them.
#[test]
fn a_renewal_ends_subscriptions_that_it_does_not_cover() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("alice", &["private.>"], &[]));
    session.subscribe(&["private.a", "private.b.*", "private.c", "chat.a"]);
    session.send(json!({"op": "auth", "id": 6, "token": token("alice", &["private.c"], &[])}));
    let mut replies = session.receive_all(2);
    replies.sort_by_key(|reply| reply["op"].to_string());
    assert_eq!(replies[0]["op"], "authenticated");
    let message = replies[1]["message"].as_str().unwrap();
    assert_eq!(replies[1]["code"], "not_allowed");
    assert!(message.contains("private.a") && message.contains("private.b.*") && !message.contains("private.c"), "{message}");
    let mut left = session.ask(json!({"op": "subscriptions", "id": 8}))["topics"].take();
    left.as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(left, json!(["chat.a", "private.c"]));
}

/// PROTOCOL 3 and 6: a bad or expired token in the `auth` command is an error. The session and its grants stay.
#[test]
fn a_bad_token_in_the_command_is_an_error() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("alice", &["private.>"], &[]));
    let wrong_secret = signed("another secret of the tests, 32 bytes or more", &json!({"sub": "eve", "exp": unix_seconds() + 60}));
    for token in
        ["", "nonsense", "a.b.c", &wrong_secret, &without_exp("eve"), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJldmUiLCJleHAiOjk5OTk5OTk5OTl9."]
    {
        session.send(json!({"op": "auth", "id": 6, "token": token}));
        session.expect_error(6, "token_invalid");
    }
    session.send(json!({"op": "auth", "id": 7, "token": expiring("alice", unix_seconds() - 3600, &[], &[])}));
    session.expect_error(7, "token_expired");
    session.subscribe(&["private.a"]);
}

/// PROTOCOL 6: a bad token at the upgrade: 101, then at once 4001. An expired token: 4002.
#[test]
fn a_bad_token_at_the_upgrade_closes_at_once() {
    let gateway = Gateway::start();
    gateway.dial("/ws?token=nonsense").expect_close(4001);
    gateway.dial(&format!("/ws?token={}", without_exp("alice"))).expect_close(4001);
    gateway.dial(&format!("/ws?token={}", expiring("alice", unix_seconds() - 3600, &[], &[]))).expect_close(4002);
    gateway.dial(&format!("/raw/chat.a?token={}", without_exp("alice"))).expect_close(4001);
    gateway.expect_metric("sessions_closed_total{reason=\"token_invalid\"}", 3.0);
    gateway.expect_metric("sessions_closed_total{reason=\"token_expired\"}", 1.0);
}

/// PROTOCOL 8: a token is in `?token=` or in `Authorization: Bearer`. An API key is in the header.
#[test]
fn a_token_may_be_in_the_query_or_the_header() {
    let gateway = Gateway::start();
    let token = token("alice", &["private.>"], &[]);
    gateway.session_as(&token).subscribe(&["private.a"]);
    for bearer in [format!("Bearer {token}"), "Bearer feed-key".to_owned()] {
        let mut session = gateway.dial_with("/ws", &[("Authorization", &bearer)]).expect("the upgrade is accepted");
        session.read_welcome();
        session.subscribe(&["private.a"]);
    }
}

/// PROTOCOL 6: a session is closed with 4002 once its token has expired.
#[test]
fn a_session_is_closed_once_its_token_has_expired() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&expiring("alice", unix_seconds() + 2, &["private.>"], &[]));
    session.expect_close(4002);
    gateway.expect_metric("sessions_closed_total{reason=\"token_expired\"}", 1.0);
}

/// PROTOCOL 3: a session whose token is renewed outlives the first token.
#[test]
fn a_renewed_session_outlives_its_first_token() {
    let gateway = Gateway::start();
    let mut renewed = gateway.session_as(&expiring("alice", unix_seconds() + 2, &[], &[]));
    let mut left = gateway.session_as(&expiring("bob", unix_seconds() + 3, &[], &[]));
    renewed.ask(json!({"op": "auth", "id": 6, "token": token("alice", &[], &[])}));
    left.expect_close(4002);
    renewed.expect_quiet();
}

/// PROTOCOL 7 and 8: without anonymous grants, a session that has not authenticated in `auth_timeout` is closed with
/// 1008.
#[test]
fn a_session_not_authenticated_in_time_is_closed() {
    let gateway = Setup::new().without_anonymous().limits("auth_timeout = \"300ms\"").start();
    let mut session = gateway.session();
    session.expect_close(1008);
    gateway.expect_limit_hit("auth_timeout");
    gateway.expect_metric("sessions_closed_total{reason=\"policy\"}", 1.0);
}

/// PROTOCOL 7: a session that authenticates in time stays open, by the command and at the upgrade.
#[test]
fn a_session_authenticated_in_time_stays_open() {
    let gateway = Setup::new().without_anonymous().limits("auth_timeout = \"2s\"").start();
    let (mut by_command, mut at_upgrade) = (gateway.session(), gateway.session_as(&token("alice", &["chat.>"], &[])));
    by_command.ask(json!({"op": "auth", "id": 6, "token": token("bob", &["chat.>"], &[])}));
    gateway.session().expect_close(1008);
    by_command.expect_quiet();
    at_upgrade.expect_quiet();
}

/// PROTOCOL 8: a session with a token has the anonymous grants too.
#[test]
fn a_token_adds_to_the_anonymous_grants() {
    let gateway = Gateway::start();
    let mut session = gateway.session_as(&token("alice", &["private.>"], &[]));
    session.subscribe(&["private.a", "chat.a"]);
    let position = gateway.publish("chat.a", "1");
    session.expect(message("chat.a", &position, 1));
}

/// PROTOCOL 7: a session may subscribe to a pattern only where one grant covers all of it.
#[test]
fn one_grant_covers_all_of_a_pattern() {
    let gateway = Setup::new().without_anonymous().start();
    let mut session = gateway.session_as(&token("alice", &["a.>", "b.*", "c.x.>", "c.y.>"], &[]));
    session.subscribe(&["a.>", "a.*", "a.b", "a.*.c", "a.b.>", "b.*", "b.x", "c.x.*"]);
    for pattern in [">", "*", "*.b", "*.>", "a", "b.>", "b.*.c", "b.x.y", "c.*.z", "c.>"] {
        session.send(json!({"op": "subscribe", "id": 1, "topics": [pattern]}));
        session.expect_error(1, "not_allowed");
    }
}

/// PROTOCOL 8: a token with another algorithm than the key's is refused, also where the key's secret fits.
#[test]
fn a_token_must_have_the_keys_algorithm() {
    let gateway = Gateway::start();
    let claims = json!({"sub": "eve", "exp": unix_seconds() + 60, "subscribe": ["private.>"], "publish": []});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS512);
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    gateway.dial(&format!("/ws?token={token}")).expect_close(4001);
}

/// PROTOCOL 8: grants that are not lists of patterns make a token invalid.
#[test]
fn bad_grants_make_a_token_invalid() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for subscribe in [json!("chat.>"), json!([1]), json!(["chat..a"])] {
        let token = signed(SECRET, &json!({"sub": "eve", "exp": unix_seconds() + 60, "subscribe": subscribe, "publish": []}));
        session.send(json!({"op": "auth", "id": 1, "token": token}));
        session.expect_error(1, "token_invalid");
    }
}

/// PROTOCOL 7: after `failures_per_minute` wrong credentials an address gets 429 for a minute, at upgrades too.
#[test]
fn wrong_credentials_of_an_address_are_bounded() {
    let gateway = Gateway::with_limits("failures_per_minute = 3");
    let sessions_with = |key: &str| gateway.request("GET", "/v1/sessions", &[("Authorization", &format!("Bearer {key}"))], b"");
    assert_eq!(sessions_with("wrong-1").status, 401);
    gateway.dial_with("/ws?token=wrong-2", &[]).expect("a browser needs a Close, so the upgrade is accepted").read_to_close();
    assert_eq!(sessions_with("wrong-3").status, 401);
    let reply = sessions_with("admin-key");
    assert_eq!(reply.problem(429), "rate_limited");
    assert!(reply.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 50)), "{reply:?}");
    assert_eq!(gateway.refusal("/ws?token=wrong-4", &[]).problem(429), "rate_limited");
    gateway.session().expect_quiet();
    gateway.expect_limit_hit("failures_per_minute");
}
