//! PROTOCOL 10: the optional claims of Centrifugo's tokens, their expiry, and the bound on wrong tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::centrifugo::{connected_with, dial, error, migrated, subscribe};
use crate::gateway::{Gateway, SECRET, Session, Setup, expiring, signed, token, unix_seconds, within};

/// The time by which a session outlives its token.
const GRACE: Duration = Duration::from_secs(25);

/// The next event that is no ping, or the code of the Close. Answers pings.
fn next(session: &mut Session) -> Result<Value, u16> {
    loop {
        let frame = session.next_message().expect("a connection ends with a Close");
        if let Some(code) = frame.close_code() {
            return Err(code);
        }
        match serde_json::from_slice(&frame.payload).expect("an event is JSON") {
            Value::Object(ping) if ping.is_empty() => session.send(json!({})),
            event => return Ok(event),
        }
    }
}

/// Protocol, section 6: 25 s after its token has expired, a session is closed with 3005, and an SDK reconnects. A
/// subscription ends with 2501, and an SDK subscribes again.
#[test]
fn sessions_and_subscriptions_end_25_s_after_their_token() {
    let gateway = migrated().limits("ping_interval = \"1s\"").start();
    let sign = |claims: Value| signed(SECRET, &claims);
    let (mut session, _) = connected_with(&gateway, json!({"token": sign(json!({"sub": "ann", "exp": unix_seconds() + 2}))}));
    let (mut subscriber, _) = connected_with(&gateway, json!({"token": sign(json!({"sub": "bob"}))}));
    let exp = unix_seconds() + 2;
    let until = |exp: u64| json!({"token": sign(json!({"sub": "bob", "channel": "private.a", "exp": exp}))});
    assert_eq!(subscribe(&mut subscriber, "private.a", until(exp))["expires"], true);
    // Both sessions are read at the same time, because each has pings to answer.
    let session = std::thread::spawn(move || within(GRACE + Duration::from_secs(10), "the session's end", || next(&mut session).err()));
    let ended = within(GRACE + Duration::from_secs(10), "the subscription's end", || next(&mut subscriber).ok());
    assert_eq!(ended, json!({"push": {"channel": "private.a", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}}));
    assert!(unix_seconds() >= exp + GRACE.as_secs(), "the subscription ended too early");
    assert_eq!(session.join().unwrap(), 3005);
    assert_eq!(subscribe(&mut subscriber, "private.a", until(unix_seconds() + 60))["expires"], true, "a new subscribe succeeds");
}

/// Protocol, section 6: `b64info` is an `info` in Base64, each entry of `subs` has an `info`, and `expire_at` overrides
/// `exp`.
#[test]
fn optional_claims_are_read() {
    let gateway = migrated().rule("news.>", "presence = true").start();
    // eyJuIjoxfQ== is {"n":1}
    let claims = json!({"sub": "ann", "b64info": "eyJuIjoxfQ==", "exp": unix_seconds() + 60, "expire_at": 0,
        "subs": {"news.a": {"info": {"seat": 7}}, "news.b": {"b64info": "eyJuIjoxfQ=="}, "news.c": null}});
    let (mut ann, connected) = connected_with(&gateway, json!({"token": signed(SECRET, &claims)}));
    assert_eq!(connected.get("expires"), None, "`expire_at` 0: never");
    let client = connected["client"].as_str().unwrap();
    for (channel, chan_info) in [("news.a", json!({"seat": 7})), ("news.b", json!({"n": 1})), ("news.c", Value::Null)] {
        let presence = ann.ask(json!({"id": 3, "presence": {"channel": channel}}));
        let member = &presence["presence"]["presence"][client];
        assert_eq!((&member["conn_info"], &member["chan_info"]), (&json!({"n": 1}), &chan_info), "{channel}: {presence}");
    }
    let soon = json!({"sub": "ann", "exp": unix_seconds() + 600, "expire_at": unix_seconds() + 30});
    let ttl = connected_with(&gateway, json!({"token": signed(SECRET, &soon)})).1["ttl"].as_u64().unwrap();
    assert!((25..=30).contains(&ttl), "{ttl}");
    for claims in [json!({"sub": "ann", "b64info": "*"}), json!({"sub": "ann", "b64info": "bm8="}), json!({"sub": "ann", "expire_at": "x"})]
    {
        let mut session = dial(&gateway);
        session.send(json!({"id": 1, "connect": {"token": signed(SECRET, &claims)}}));
        assert_eq!(session.expect_close(3500), "invalid token", "{claims}");
    }
}

/// PROTOCOL 7: wrong tokens in commands count to `failures_per_minute`; expired tokens do not. Past the limit every
/// token is refused.
#[test]
fn wrong_tokens_in_commands_are_bounded() {
    let gateway = Setup::new().limits("failures_per_minute = 3").start();
    let connect = |token: &str| {
        let mut session = dial(&gateway);
        session.send(json!({"id": 1, "connect": {"token": token}}));
        session
    };
    connect("wrong-1").expect_close(3500);
    connect(&expiring("ann", unix_seconds() - 5, &[">"], &[])).expect(error(1, 109, "token expired"));
    let mut native = gateway.session();
    native.send(json!({"op": "auth", "id": 1, "token": "wrong-2"}));
    native.expect_error(1, "token_invalid");
    let (mut subscriber, _) = connected_with(&gateway, json!({}));
    subscriber.send(json!({"id": 2, "subscribe": {"channel": "private.a", "token": "wrong-3"}}));
    subscriber.expect(error(2, 103, "permission denied"));
    let right = token("ann", &["private.>"], &[]);
    connect(&right).expect(json!({"id": 1, "error": {"code": 111, "message": "too many requests", "temporary": true}}));
    native.send(json!({"op": "auth", "id": 2, "token": right}));
    native.expect_error(2, "rate_limited");
    native.expect_quiet();
    gateway.expect_limit_hit("failures_per_minute");
}

/// PROTOCOL 8 and 10: where a reload turns presence on, members that subscribed before have the `info` of their tokens.
#[test]
fn presence_turned_on_by_a_reload_has_the_infos() {
    let auth =
        format!("require_exp = false\nkeys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]\nanonymous.subscribe = [\"rooms.>\"]");
    let setup = |lines: &str| Setup::new().auth(&auth).rule("rooms.>", lines);
    let gateway = setup("history = 5").start();
    let claims = json!({"sub": "ann", "info": {"n": 1}, "subs": {"rooms.a": {"info": {"seat": 7}}}});
    let (_ann, connected) = connected_with(&gateway, json!({"token": signed(SECRET, &claims)}));
    gateway.reload(&setup("history = 5\npresence = true"));
    let (mut other, _) = connected_with(&gateway, json!({}));
    let presence = crate::gateway::eventually("presence", || {
        let reply = other.ask(json!({"id": 3, "presence": {"channel": "rooms.a"}}));
        reply["presence"]["presence"][connected["client"].as_str().unwrap()].as_object().cloned()
    });
    assert_eq!((&presence["conn_info"], &presence["chan_info"]), (&json!({"n": 1}), &json!({"seat": 7})));
}

/// Mapping, section 5: the offsets that a slow reader of a conflated topic gets rise with holes, and without an error.
#[test]
fn conflation_leaves_holes_without_an_error() {
    let gateway = Gateway::with_limits("commands_per_second = 1000000\ncommands_burst = 1000000\nwrite_timeout = \"1m\"");
    let mut session = crate::centrifugo::slow(&gateway);
    subscribe(&mut session, "quotes.A", json!({}));
    gateway.publish_many("quotes.A", 3_000, 4_000);
    let (mut newest, mut received) = (0, 0);
    while newest < 3_000 {
        let event = session.receive();
        let offset = event["push"]["pub"]["offset"].as_u64().unwrap_or_else(|| panic!("no publication: {event}"));
        assert!(offset > newest, "{offset} after {newest}");
        (newest, received) = (offset, received + 1);
    }
    assert!(received < 3_000, "nothing was conflated");
    gateway.expect_accounts_closed();
}
