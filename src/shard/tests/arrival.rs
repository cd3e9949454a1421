//! How a session's first bytes leave.

use std::io::Read;

use super::bench::{Bench, HEAD, events, read_head};
use crate::shard::slot::{Metered, Stream};

/// The 101 and what the session was told before its socket came leave in one write, so that one read has them.
#[tokio::test]
async fn the_head_leaves_with_the_first_words() {
    let mut bench = Bench::new();
    bench.subscribe("c.a");
    bench.publish("c.a");
    bench.flush();
    let mut client = bench.arrive(HEAD);
    let mut read = [0; 4096];
    let bytes = client.read(&mut read).unwrap();
    assert_eq!(&read[..HEAD.len()], HEAD);
    assert_eq!(events(&read[HEAD.len()..bytes]), ["message 1"]);
}

/// RFC 6455 §4.2.2: the 101 comes first, even where an outbox that was full before the socket came would have ended the session.
#[tokio::test]
async fn the_head_is_never_discarded() {
    let mut bench = Bench::new();
    bench.subscribe("k.a");
    bench.publish("k.a");
    bench.publish("k.a");
    bench.flush();
    let mut client = bench.arrive(HEAD);
    bench.publish("k.a");
    bench.flush();
    let read = bench.read(&mut client).await;
    assert_eq!(&read[..HEAD.len()], HEAD);
    assert_eq!(events(&read[HEAD.len()..]), ["message 1", "message 2", "message 3"]);
}

/// A session that is given something in every tick is read all the same: only its first words go before.
#[tokio::test]
async fn a_busy_session_is_read_after_its_first_words() {
    let mut bench = Bench::new();
    bench.subscribe("c.a");
    let _client = bench.arrive(HEAD);
    let owes_first_words = |bench: &mut Bench| {
        bench.state().table.get(0).is_some_and(|connection| connection.is_fresh()) && !bench.state().delivery.owes_nothing(0)
    };
    assert!(owes_first_words(&mut bench));
    bench.flush();
    bench.publish("c.a");
    assert!(!bench.state().delivery.owes_nothing(0) && !owes_first_words(&mut bench));
    assert!(bench.state().table.get(0).is_some_and(|connection| connection.is_registered()));
}

/// PROTOCOL 6: who is too slow is told so, also where its socket took nothing of what it had.
#[test]
fn who_is_cut_off_in_a_flush_hears_why() {
    let mut bench = Bench::new();
    bench.subscribe("k.a");
    let socket = Metered::default();
    socket.meter().room = HEAD.len();
    bench.arrive_on(Stream::Metered(socket.clone()), HEAD);
    bench.flush();
    bench.publish("k.a");
    bench.flush();
    bench.publish("k.a");
    bench.publish("k.a");
    bench.flush();
    socket.meter().room = 4096;
    bench.flush();
    bench.state().write_outbox(0);
    assert_eq!(events(&socket.meter().taken[HEAD.len()..]), ["4004"]);
}

/// The same for one whose handshake was pending, whose outbox is too small for what comes before its first flush: the 101 is written, and
/// so is a part of the rest, before anything overflows.
#[tokio::test]
async fn the_head_of_an_admitted_session_is_never_discarded() {
    let mut bench = Bench::new();
    let mut client = bench.admit("k.a");
    bench.publish_bytes("k.a", 5_000);
    bench.publish_bytes("k.a", 5_000);
    bench.flush();
    read_head(&mut client);
}

/// What comes when a part of those who are owed something was written to joins what waits for the others, in one write.
#[tokio::test]
async fn what_comes_during_a_flush_joins() {
    let mut bench = Bench::new();
    let (mut first, mut second) = (bench.admit("c.a"), bench.admit("c.a"));
    bench.publish("c.a");
    assert!(!bench.flush_part(1));
    bench.publish("c.a");
    let mut read = [0; 4096];
    let bytes = first.read(&mut read).unwrap();
    assert_eq!(events(&read[HEAD.len()..bytes]), ["message 1"]);
    assert!(!bench.flush_part(1) && bench.flush_part(1));
    let bytes = second.read(&mut read).unwrap();
    assert_eq!(events(&read[HEAD.len()..bytes]), ["message 1", "message 2"]);
    let bytes = first.read(&mut read).unwrap();
    assert_eq!(events(&read[..bytes]), ["message 2"]);
}
