//! PROTOCOL 6: the drain on SIGTERM.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Session, Setup, close, eventually, message};

/// Asserts that the next event is a `draining` that fits `server.drain`.
fn expect_draining(session: &mut Session, drain_ms: u64) {
    let event = session.receive();
    assert_eq!(event, json!({"op": "draining", "retry_after_ms": event["retry_after_ms"]}));
    let retry_after = event["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("{event}"));
    assert!((drain_ms * 8 / 10..=drain_ms * 2).contains(&retry_after), "the rest of {drain_ms} ms, plus a random part of as much: {event}");
}

/// PROTOCOL 6: every session gets `draining`, then 1001. Then the process exits with status 0.
#[test]
fn a_drain_notifies_and_closes_every_session() {
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

/// PROTOCOL 6: during a drain `/readyz`, upgrades and publishes over HTTP get 503, upgrades with `Retry-After`.
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

/// PROTOCOL 6: a session may publish until its 1001, and its messages are delivered before the 1001 of a subscriber.
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
    // A session whose 1001 came before the publish has a Close here.
    let frames: Vec<_> = sessions[1..].iter_mut().map(|session| session.next_message().unwrap()).collect();
    let delivered: Vec<_> = frames.iter().filter(|frame| frame.opcode == 1).map(|frame| frame.text()).collect();
    assert!(!delivered.is_empty() && delivered.iter().all(|event| event.contains(r#""data":1"#)), "{frames:?}");
}

/// PROTOCOL 6 and 9: a message that an interval holds back is in the outbox, so it comes before the 1001. The bug: the
/// message was dropped.
#[test]
fn a_held_message_comes_before_the_1001() {
    let gateway = Setup::new().server("drain = \"1s\"").start();
    let mut session = gateway.session();
    session.subscribe_with(&["test.a"], json!({"interval_ms": 3_600_000}));
    let position = gateway.publish_all("test.a", ["1", "2", "3"]);
    session.expect(message("test.a", &position.at(1), 1));
    gateway.terminate();
    expect_draining(&mut session, 1000);
    session.expect(message("test.a", &position, 3));
    session.expect_close(1001);
}

/// PROTOCOL 6: without a session the gateway exits at once, with status 0.
#[test]
fn without_sessions_the_gateway_exits_at_once() {
    let mut gateway = Setup::new().server("drain = \"60s\"").start();
    let mut session = gateway.session();
    session.send_frame(close(1000));
    session.expect_close(1000);
    gateway.expect_metric("sessions", 0.0);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: the drain ends with its last session.
#[test]
fn the_end_of_the_last_session_ends_the_drain() {
    let mut gateway = Setup::new().server("drain = \"60s\"").start();
    let mut session = gateway.session();
    gateway.terminate();
    expect_draining(&mut session, 60_000);
    session.cut();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: the Closes with 1001 are spread over `drain`, so that clients do not reconnect at the same time.
#[test]
fn the_closes_are_spread_over_the_drain() {
    const DRAIN: Duration = Duration::from_secs(2);
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
    assert!(spread > DRAIN / 4, "the closes lie within {spread:?}: {ends:?}");
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: the gateway exits, also where a client does not read.
#[test]
fn a_slow_session_does_not_prevent_the_exit() {
    let mut gateway = Setup::new().without_rates().server("drain = \"500ms\"").start();
    let mut slow = gateway.slow_session();
    slow.subscribe(&["test.a"]);
    gateway.publish_many("test.a", 150, 5_000);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 4 and 6: a session of the raw dialect gets no `draining`, and is closed with 1001.
#[test]
fn a_raw_session_gets_1001_alone() {
    let mut gateway = Setup::new().server("drain = \"300ms\"").start();
    let mut raw = gateway.dial("/raw/chat.a");
    gateway.terminate();
    raw.expect_close(1001);
    drop(raw);
    assert!(gateway.exit_status().success());
}

/// PROTOCOL 6: outboxes are flushed before the 1001.
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
    eventually("the listener to be closed", || std::net::TcpStream::connect(gateway.address()).is_err().then_some(()));
}
