//! Test of the topics that a session's new patterns match.

use foldhash::HashSet;

use super::bench::{Bench, HEAD};
use super::pattern;
use crate::hub::Selection;
use crate::shard::Expansion;

/// PROTOCOL 3: a message that is published behind the answer to a subscribe is live, however late the shard's next tick
/// is. (Until that tick it was taken for a replay, and a slow session read it from history in spite of `on_slow`.)
#[tokio::test]
async fn a_message_behind_the_answer_is_live() {
    let mut bench = Bench::new();
    bench.publish("h.a");
    let wild = pattern("h.>");
    let mut context = bench.context();
    assert!(context.reserve_subscription(&wild).is_ok());
    context.subscribe_pattern(&wild, None);
    let selection = Box::new(Selection::of([&wild]));
    context.expand(Expansion::new(selection, Default::default(), HashSet::default(), Some(1)));
    bench.publish("h.b");
    let mut client = bench.arrive(HEAD);
    bench.flush();
    let read = bench.read(&mut client).await;
    let read = String::from_utf8_lossy(&read);
    let live = read.find(r#""topic":"h.b""#);
    let replayed = read.find(r#""topic":"h.a""#);
    assert!(live.is_some() && live < replayed, "{read}");
    assert_eq!(read.matches(r#""replay":true"#).count(), 1, "{read}");
}
