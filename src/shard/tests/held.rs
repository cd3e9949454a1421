//! What pacing holds for a session is in that session's account.

use std::time::Duration;

use super::bench::Bench;
use super::pattern;
use crate::codes::ErrorCode;
use crate::dialect::Event;
use crate::shard::upkeep::{bound_held, keep_budget};

/// A session that is paced; topics of `c.>` conflate, those of `k.>` disconnect. It may have 900 bytes.
fn paced(topic: &str) -> Bench {
    let mut bench = Bench::new();
    let mut context = bench.context();
    assert!(context.take_place(&pattern(topic)).is_ok());
    context.subscribe_pattern(&pattern(topic), Some(Duration::from_secs(1)));
    context.set_interval(&pattern(topic), Some(Duration::from_secs(1)));
    context.follow_intervals();
    bench
}

/// What is held counts against `outbox_bytes`; past it the oldest gives way, or the session is closed.
/// (124 MiB were held for one session.)
#[tokio::test]
async fn what_is_held_is_bounded() {
    for (topic, stays) in [("c", true), ("k", false)] {
        let mut bench = paced(&format!("{topic}.>"));
        for number in 0..10 {
            (0..2).for_each(|_| bench.publish(&format!("{topic}.{number}")));
            bound_held(bench.state());
        }
        assert!(bench.state().pacing.bytes(0) <= 900, "{topic}");
        assert_eq!(bench.state().table.is_open(0), stays, "{topic}");
    }
}

/// Past `outbox_total_bytes` the session that holds most pays, and no other. (Another was closed 1013 for it.)
#[tokio::test]
async fn who_holds_it_pays() {
    let mut bench = paced("k.>");
    let other = bench.join();
    bench.subscribe_with(other, "d.a", 0);
    bench.publish_bytes("d.a", 100);
    (0..2).for_each(|_| bench.publish("k.a"));
    bench.flush();
    let owed = bench.state().delivery.outbox_bytes(other);
    assert!(owed > 0 && bench.state().pacing.bytes(0) > owed, "{owed}");
    keep_budget(bench.state(), owed);
    assert_eq!(bench.state().delivery.outbox_bytes(other), owed);
    assert!(bench.state().table.is_open(other) && bench.state().pacing.bytes(0) == 0);
}

/// PROTOCOL 3: what counts not against `outbox_bytes`, a replay or a reply, takes no room from what an interval holds. (A slow session
/// that read on from history lost the newest message of a paced topic.)
#[tokio::test]
async fn replies_leave_room_for_what_is_held() {
    let mut bench = paced("k.>");
    bench.state().say(0, &Event::Error { id: None, code: ErrorCode::BadRequest, message: &"x".repeat(200_000) });
    bench.flush();
    (0..2).for_each(|_| bench.publish("k.a"));
    bound_held(bench.state());
    assert!(bench.state().delivery.outbox_bytes(0) > 900, "the reply waits");
    assert!(bench.state().pacing.bytes(0) > 0 && bench.state().table.is_open(0));
}
