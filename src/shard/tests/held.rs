//! Tests of held messages: they count against the session's outbox.

use std::time::Duration;

use super::bench::{Bench, events};
use super::pattern;
use crate::codes::ErrorCode;
use crate::dialect::Event;
use crate::shard::context::SessionContext;
use crate::shard::upkeep::{Drain, bound_outboxes, bound_paced};

/// A session with an interval on `topic`. Topics of `c.>` conflate, those of `k.>` disconnect. Its outbox holds 900
/// bytes.
fn paced(topic: &str) -> Bench {
    let mut bench = Bench::new();
    pace(&mut bench, 0, topic);
    bench
}

/// Subscribes the session in `slot` to `topic`, with an interval.
fn pace(bench: &mut Bench, slot: u32, topic: &str) {
    let mut context = SessionContext::new(bench.state(), slot);
    assert!(context.reserve_subscription(&pattern(topic)).is_ok());
    context.subscribe_pattern(&pattern(topic), Some(Duration::from_secs(1)));
    context.set_interval(&pattern(topic), Some(Duration::from_secs(1)));
    context.adapt_intervals();
}

/// Held messages count against `outbox_bytes`. Past it, the oldest gives way, or the session is closed. (124 MiB were
/// held for one session.)
#[tokio::test]
async fn held_messages_are_bounded() {
    for (topic, stays) in [("c", true), ("k", false)] {
        let mut bench = paced(&format!("{topic}.>"));
        for number in 0..10 {
            (0..2).for_each(|_| bench.publish(&format!("{topic}.{number}")));
            bound_paced(bench.state());
        }
        assert!(bench.state().pacing.bytes(0) <= 900, "{topic}");
        assert_eq!(bench.state().table.is_open(0), stays, "{topic}");
    }
}

/// PROTOCOL 3 and 7: a session whose socket accepts everything is told of held messages that were dropped, before the
/// next message of their topic. (The newest message of a topic was lost silently.)
#[tokio::test]
async fn dropped_held_messages_are_told_as_a_gap() {
    let mut bench = paced("c.>");
    let mut client = bench.arrive(b"");
    for topics in [0..5, 0..5, 0..1] {
        for topic in topics {
            bench.state().env.clock().advance(Duration::from_millis(1));
            bench.publish(&format!("c.{topic}"));
            bound_paced(bench.state());
        }
        bench.flush();
    }
    bench.state().env.clock().advance(Duration::from_secs(1));
    bench.state().begin_tick();
    bench.state().send_due();
    bench.flush();
    let events = events(&bench.read(&mut client).await);
    assert_eq!(events[..5], ["message 1"; 5]);
    assert_eq!(events[5..], ["gap", "message 3", "gap", "gap", "gap", "message 2"], "two of five held messages have room");
}

/// PROTOCOL 3: messages of a topic keep their order while a session begins to pace the topic and its socket is full.
/// (The first message was read from history, behind the later ones.)
#[tokio::test]
async fn a_topic_that_begins_to_be_paced_keeps_its_order() {
    let mut bench = Bench::subscribed("r.a");
    bench.subscribe("d.a");
    bench.publish("d.a"); // the first frame that the socket does not accept
    bench.publish("r.a");
    let mut context = SessionContext::new(bench.state(), 0);
    context.set_interval(&pattern("r.a"), Some(Duration::from_secs(1)));
    context.adapt_intervals();
    bench.publish("r.a");
    bench.flush();
    assert_eq!(events(&bench.read_all().await), ["message 1", "message 1", "message 2"]);
}

/// Past `outbox_total_bytes`, the session that holds most gives way, and no other. (Another session was closed with
/// 1013 instead.)
#[tokio::test]
async fn the_session_that_holds_most_gives_way() {
    let mut bench = paced("k.>");
    let other = bench.join();
    bench.subscribe_with(other, "d.a", 0);
    bench.publish_bytes("d.a", 100);
    (0..2).for_each(|_| bench.publish("k.a"));
    bench.flush();
    let owed = bench.state().delivery.outgoing.outbox_bytes(other);
    assert!(owed > 0 && bench.state().pacing.bytes(0) > owed, "{owed}");
    bound_outboxes(bench.state(), owed);
    assert_eq!(bench.state().delivery.outgoing.outbox_bytes(other), owed);
    assert!(bench.state().table.is_open(other) && bench.state().pacing.bytes(0) == 0);
}

/// PROTOCOL 3: replayed messages and replies do not count against `outbox_bytes`, so they take no room from held
/// messages. (A slow session that read on from history lost the newest message of a paced topic.)
#[tokio::test]
async fn replies_leave_room_for_held_messages() {
    let mut bench = paced("k.>");
    bench.state().queue_event(0, &Event::Error { id: None, code: ErrorCode::BadRequest, message: &"x".repeat(200_000) });
    bench.flush();
    (0..2).for_each(|_| bench.publish("k.a"));
    bound_paced(bench.state());
    assert!(bench.state().delivery.outgoing.outbox_bytes(0) > 900, "the reply waits");
    assert!(bench.state().pacing.bytes(0) > 0 && bench.state().table.is_open(0));
}

/// PROTOCOL 6: a session that leaves a draining gateway gets what was held for it before its Close. Sessions with many
/// held messages leave in several sweeps. (All that left in one sweep were sent theirs at once.) A session without an
/// interval does not wait for them.
#[test]
fn held_messages_of_a_drain_go_out_over_several_sweeps() {
    const TOPICS: usize = 1_500;
    let mut bench = Bench::new();
    (1..5).for_each(|_| _ = bench.join());
    (0..4).for_each(|slot| pace(&mut bench, slot, "c.*"));
    (0..2 * TOPICS).for_each(|number| bench.publish_bytes(&format!("c.{}", number % TOPICS), 1));
    assert_eq!(bench.state().pacing.holding().count(), 4);
    let now = bench.state().env.now;
    bench.sessions.drain(Drain::new(Duration::ZERO, now));
    for left in [vec![3], vec![]] {
        bench.sessions.sweep();
        assert_eq!(bench.state().table.open_slots(), left);
        assert_eq!(bench.state().pacing.holding().collect::<Vec<_>>(), left);
    }
}
