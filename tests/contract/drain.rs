//! PROTOCOL 6: the drain on SIGTERM.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Session, Setup, close, eventually, message};

fn expect_draining(session: &mut Session, drain_ms: u64) {
    let event = session.receive();
    assert_eq!(event, json!({"op": "draining", "retry_after_ms": event["retry_after_ms"]}));
    let retry_after = event["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("{event}"));
    assert!(
        (drain_ms * 8 / 10..=drain_ms * 2).contains(&retry_after),
        "what is left of {drain_ms} ms, plus a random part of one more: {event}"
    );
}

/// PROTOCOL 6: `draining` to every session, then 1001, then the process ends with status 0.
#[test]
fn a_drain_tells_every_session_and_closes_it() {
    let mut gateway = Setup::new().server("drain = \"1s\"").start();
    let mut sessions: Vec<_> = (0..6).map(|_| gateway.session()).collect();
    gateway.terminate();
    sessions.iter_mut().for_each(|session| expect_draining(session, 1000));
    for session in &mut sessions {
        session.expect_close(1001);
        session.send_frame(close(1001));
    }
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: while it drains: `/readyz` 503, new upgrades 503 with `Retry-After`, publishes over HTTP 503.
#[test]
fn a_draining_gateway_is_not_ready() {
    let gateway = Setup::new().server("drain = \"20s\"").start();
    let mut sessions: Vec<_> = (0..10).map(|_| gateway.session()).collect();
    gateway.terminate();
    sessions.iter_mut().for_each(|session| expect_draining(session, 20_000));
    assert_eq!((gateway.get("/readyz").status, gateway.get("/healthz").status), (503, 200));
    for path in ["/ws", "/raw/chat.a", "/echo"] {
        let reply = gateway.refusal(path, &[]);
        assert_eq!((reply.status, reply.header("Retry-After").is_some()), (503, true), "{path}: {reply:?}");
    }
    gateway.post("/v1/topics/chat.a", "1").problem(503);
    gateway.post("/v1/publish", r#"{"topic":"chat.a","data":1}"#).problem(503);
    gateway.expect_metric("handshakes_rejected_total{reason=\"draining\"}", 3.0);
}

/// PROTOCOL 6: publishes of a session are accepted until its 1001, and what was routed is delivered before it.
#[test]
fn a_session_publishes_until_its_1001() {
    let gateway = Setup::new().server("drain = \"20s\"").start();
    let mut sessions: Vec<_> = (0..10).map(|_| gateway.session()).collect();
    sessions.iter_mut().for_each(|session| drop(session.subscribe(&["chat.a"])));
    gateway.terminate();
    sessions.iter_mut().for_each(|session| expect_draining(session, 20_000));
    sessions[0].send(json!({"op": "publish", "id": 1, "topic": "chat.a", "data": 1}));
    let reply = std::iter::repeat_with(|| sessions[0].receive()).find(|event| event["op"] != "message").unwrap();
    assert_eq!((&reply["op"], &reply["offset"]), (&json!("published"), &json!(1)));
    let mut reached = sessions[1..].iter_mut().filter_map(|session| session.next_message()).filter(|frame| frame.opcode == 1);
    assert!(reached.all(|frame| frame.text().contains(r#""data":1"#)));
}

/// PROTOCOL 6 and 9: what an interval holds back is in the outbox, so it comes before the 1001. (It was dropped.)
#[test]
fn what_an_interval_holds_back_comes_before_the_1001() {
    let gateway = Setup::new().server("drain = \"1s\"").start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    let place = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect(message("test.a", &place.at(1), 1));
    gateway.terminate();
    expect_draining(&mut session, 1000);
    session.expect(message("test.a", &place, 3));
    session.expect_close(1001);
}

/// PROTOCOL 6: with no session left it exits at once, status 0.
#[test]
fn without_sessions_it_exits_at_once() {
    let mut gateway = Setup::new().server("drain = \"60s\"").start();
    let mut session = gateway.session();
    session.send_frame(close(1000));
    session.expect_close(1000);
    gateway.expect_metric("sessions", 0.0);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: a session that leaves during the drain is not waited for.
#[test]
fn the_last_session_that_leaves_ends_the_drain() {
    let mut gateway = Setup::new().server("drain = \"60s\"").start();
    let mut session = gateway.session();
    gateway.terminate();
    expect_draining(&mut session, 60_000);
    session.cut();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: 1001 is spread over `drain`, so that clients do not come back all at once.
#[test]
fn the_closes_are_spread_over_the_drain() {
    let mut gateway = Setup::new().server("drain = \"2s\"").start();
    let mut sessions: Vec<_> = (0..12).map(|_| gateway.session()).collect();
    gateway.terminate();
    sessions.iter_mut().for_each(|session| expect_draining(session, 2_000));
    let start = Instant::now();
    let mut ends: Vec<Duration> = std::thread::scope(|scope| {
        let waits: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                scope.spawn(move || {
                    session.expect_close(1001);
                    session.send_frame(close(1001));
                    start.elapsed()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().expect("each session ends with 1001")).collect()
    });
    ends.sort();
    let spread = ends[11].saturating_sub(ends[0]);
    assert!(spread > Duration::from_millis(500), "the closes lie within {spread:?}: {ends:?}");
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: a session that reads nothing does not keep the gateway from ending.
#[test]
fn a_slow_session_does_not_keep_the_gateway() {
    let mut gateway = Setup::new().without_rates().server("drain = \"500ms\"").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 150, 5_000);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: raw sessions are closed with 1001 without another word.
#[test]
fn a_raw_session_sees_1001_alone() {
    let mut gateway = Setup::new().server("drain = \"300ms\"").start();
    let mut raw = gateway.dial("/raw/chat.a");
    gateway.terminate();
    raw.expect_close(1001);
    drop(raw);
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: SIGTERM drains a gateway that is busy: outboxes are flushed before the 1001.
#[test]
fn outboxes_are_flushed_before_the_1001() {
    let gateway = Setup::new().without_rates().server("drain = \"1s\"").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 100, 5_000);
    gateway.terminate();
    let (events, code) = slow.read_to_close();
    let offsets: Vec<_> = events.iter().filter_map(|event| event["offset"].as_u64()).collect();
    assert_eq!((offsets, code), ((1..=100).collect(), 1001));
    drop(slow);
    eventually("the listener to be gone", || std::net::TcpStream::connect(gateway.address()).is_err().then_some(()));
}
