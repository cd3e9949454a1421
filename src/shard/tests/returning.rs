//! Many that come back at once for what they missed.

use super::bench::Bench;

const SESSIONS: u32 = 20;
const MESSAGES: usize = 64;

/// What waits for all sessions, in pieces of history; and how many have to wait for the next turn.
fn given(bench: &mut Bench, slots: impl IntoIterator<Item = u32>) -> (usize, Vec<u32>) {
    bench.sessions.begin_turn();
    slots.into_iter().for_each(|slot| bench.sessions.write_outbox(slot));
    let bytes: usize = bench.sessions.slots.iter().map(|(_, session)| session.outbox_bytes()).sum();
    let of_one = bench.sessions.slot(1).map_or(0, |session| session.outbox_bytes());
    (bytes / of_one, std::mem::take(&mut bench.sessions.again))
}

/// Threats, row T6: a turn gives out no more than so much of history, so that what is live doesn't wait for all who come back;
/// the others have theirs in the next.
#[tokio::test]
async fn a_turn_gives_out_a_share_of_history() {
    let mut bench = Bench::new();
    (0..MESSAGES).for_each(|_| bench.publish("h.a"));
    for _ in 0..SESSIONS {
        let slot = bench.join();
        bench.subscribe_with(slot, "h.a", MESSAGES);
    }
    bench.sessions.again.clear(); // the turns are this test's own
    let (pieces, waiting) = given(&mut bench, 1..=SESSIONS);
    assert_eq!((pieces, &waiting[..]), (16, &[17, 18, 19, 20][..]));
    assert_eq!(bench.sessions.replayed_last, 16);
    let (pieces, waiting) = given(&mut bench, waiting);
    assert_eq!((pieces, waiting.len()), (20, 0));
}
