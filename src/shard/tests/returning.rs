//! Tests of many sessions that return at once for the messages that they missed.

use super::bench::{Bench, HEAD, events};

const SESSIONS: u32 = 20;
const MESSAGES: usize = 64;

/// Gives out one tick's share. Returns the number of pieces that wait for all sessions, and the slots left for the next
/// tick.
fn given(bench: &mut Bench) -> (usize, Vec<u32>) {
    bench.state().serve_history(16);
    let bytes: usize = (0..=SESSIONS).map(|slot| bench.state().owed_bytes(slot)).sum();
    (bytes / bench.state().owed_bytes(1), bench.state().catch_up.queue())
}

/// A tick gives out a bounded share of history, so that live messages do not wait for all returning sessions. The
/// others get theirs in the next tick.
#[tokio::test]
async fn a_tick_gives_out_a_share_of_history() {
    let mut bench = Bench::new();
    (0..MESSAGES).for_each(|_| bench.publish("h.a"));
    for _ in 0..SESSIONS {
        let slot = bench.join();
        bench.subscribe_with(slot, "h.a", MESSAGES);
        bench.state().write_outbox(slot);
        bench.state().write_outbox(slot); // the session is queued only once
    }
    assert_eq!(given(&mut bench), (16, vec![17, 18, 19, 20]));
    assert_eq!(given(&mut bench), (20, vec![]));
}

/// PROTOCOL 3: the answer to a subscribe comes before replayed messages, even if the socket arrives in the same tick.
#[tokio::test]
async fn history_comes_behind_the_answer() {
    let mut bench = Bench::new();
    bench.publish("h.a");
    bench.subscribe_with(0, "h.a", 1);
    bench.say(0);
    let mut client = bench.arrive(HEAD);
    bench.flush();
    let read = bench.read(&mut client).await;
    assert_eq!(events(&read[HEAD.len()..]), ["pong", "message 1"]);
}
