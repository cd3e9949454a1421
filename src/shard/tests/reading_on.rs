//! Tests of slow sessions whose topics are read on from their histories (`on_slow = "replay"`).

use super::bench::{Bench, events};
use super::name;
use crate::hub::{ReplayRequest, TopicStart};
use crate::shard::upkeep::bound_bookkeeping;

/// The number of messages that the tests publish. The history keeps 20.
const MESSAGES: usize = 12;

fn offsets(events: &[String]) -> Vec<u64> {
    events.iter().filter_map(|event| event.strip_prefix("message ")?.parse().ok()).collect()
}

/// PROTOCOL 7: only the frame by which the socket reports room is queued. All messages come, in order and once.
#[tokio::test]
async fn a_slow_session_reads_on_from_history() {
    let mut bench = Bench::subscribed("r.a");
    bench.send("r.a");
    let first = bench.state().owed_bytes(0);
    (1..MESSAGES / 2).for_each(|_| bench.publish("r.a"));
    bench.flush();
    (MESSAGES / 2..MESSAGES).for_each(|_| {
        bench.send("r.a");
    });
    assert_eq!(bench.state().owed_bytes(0), first, "only the first frame is queued");
    let read = bench.read_all().await;
    assert_eq!(offsets(&events(&read)), (1..=MESSAGES as u64).collect::<Vec<_>>());
}

/// PROTOCOL 7: a write batch with many messages of the topic leaves only one of them in the outbox.
#[tokio::test]
async fn messages_that_one_write_left_are_read_on() {
    let mut bench = Bench::subscribed("r.a");
    (0..MESSAGES).for_each(|_| bench.publish("r.a"));
    bench.flush();
    assert!(bench.state().owed_bytes(0) < 600, "{} bytes", bench.state().owed_bytes(0));
    bench.send("r.a");
    let read = bench.read_all().await;
    assert_eq!(offsets(&events(&read)), (1..=MESSAGES as u64 + 1).collect::<Vec<_>>());
}

/// PROTOCOL 7: a gap is told only for messages that history has dropped.
#[tokio::test]
async fn a_gap_is_told_for_messages_that_history_dropped() {
    let mut bench = Bench::subscribed("r.a");
    (0..50).for_each(|_| {
        bench.send("r.a");
    });
    let events = events(&bench.read_all().await);
    assert_eq!((&*events[0], &*events[1], &*events[2]), ("message 1", "gap", "message 31"));
    assert_eq!(offsets(&events), [1].into_iter().chain(31..=50).collect::<Vec<_>>());
}

/// PROTOCOL 3 and 7: an unsubscribe ends reading on. A queued message comes before the answer.
#[tokio::test]
async fn an_unsubscribe_ends_reading_on() {
    let mut bench = Bench::subscribed("r.a");
    bench.subscribe("r.b");
    for topic in ["r.a", "r.b", "r.a"] {
        bench.send(topic);
    }
    bench.unsubscribe("r.a");
    bench.flush();
    bench.publish("r.a");
    bench.send("r.b");
    assert_eq!(events(&bench.read_all().await), ["message 1", "unsubscribed", "message 1", "message 2"]);
}

/// PROTOCOL 7: messages of other topics are queued as their rule says, in order.
#[tokio::test]
async fn other_topics_are_queued_as_before() {
    let mut bench = Bench::subscribed("r.a");
    bench.subscribe("k.a");
    for topic in ["k.a", "r.a", "k.a", "r.a"] {
        bench.send(topic);
    }
    assert_eq!(events(&bench.read_all().await), ["message 1", "message 2", "message 1", "message 2"]);
}

/// PROTOCOL 7: cursors into histories count for their session. A session with cursors on more topics than its
/// `outbox_bytes` allows is closed with 4004, and no other. (Cursors were not counted and had no bound.)
#[test]
fn cursors_are_bounded() {
    let mut bench = Bench::new();
    bench.join();
    let read_on = |bench: &mut Bench, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let topic = format!("h.{number}");
            bench.publish(&topic);
            let TopicStart { topic, start } = bench.state().env.hub().start(&name(&topic), ReplayRequest::default()).unwrap();
            bench.state().catch_up.read_from(0, topic, start.position);
        }
        bound_bookkeeping(bench.state());
        bench.state().table.is_open(0)
    };
    assert!(read_on(&mut bench, 0..500) && !read_on(&mut bench, 500..600));
    assert!(bench.state().table.is_open(1));
    bound_bookkeeping(bench.state());
    assert_eq!(bench.state().catch_up.cursor_bytes().count(), 0);
}
