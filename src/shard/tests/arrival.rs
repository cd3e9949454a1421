//! Tests of a session's first bytes: the 101 and the frames queued before its socket arrived.

use std::io::Read;

use super::bench::{Bench, HEAD, events, new_session, read_head};
use crate::metrics::CloseReason;
use crate::shard::slot::{Metered, Stream};

/// The 101 and the frames that were queued before the socket arrived are written at once, so that one read returns
/// them.
#[tokio::test]
async fn the_head_and_the_first_frames_take_one_write() {
    let mut bench = Bench::subscribed("c.a");
    bench.send("c.a");
    let mut client = bench.arrive(HEAD);
    let mut read = [0; 4096];
    let bytes = client.read(&mut read).unwrap();
    assert_eq!(&read[..HEAD.len()], HEAD);
    assert_eq!(events(&read[HEAD.len()..bytes]), ["message 1"]);
}

/// RFC 6455 §4.2.2: the 101 comes first, even if the outbox was full before the socket arrived and overflows after it.
#[tokio::test]
async fn the_head_is_never_discarded() {
    let mut bench = Bench::subscribed("k.a");
    bench.publish("k.a");
    bench.send("k.a");
    let mut client = bench.arrive(HEAD);
    bench.send("k.a");
    let read = bench.read(&mut client).await;
    assert_eq!(&read[..HEAD.len()], HEAD);
    assert_eq!(events(&read[HEAD.len()..]), ["message 1", "message 2", "message 3"]);
}

/// A session that gets a message in every tick is read all the same. Only its first frames are written before it is
/// read.
#[tokio::test]
async fn a_busy_session_is_read_after_its_first_frames() {
    let mut bench = Bench::subscribed("c.a");
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

/// PROTOCOL 6: a session that is too slow gets its close code, even if its socket has accepted nothing of its outbox.
#[test]
fn a_session_cut_off_in_a_flush_gets_its_close_code() {
    let mut bench = Bench::subscribed("k.a");
    let socket = Metered::default();
    socket.meter().room = HEAD.len();
    bench.arrive_on(Stream::Metered(socket.clone()), HEAD);
    bench.flush();
    bench.send("k.a");
    bench.publish("k.a");
    bench.send("k.a");
    socket.meter().room = 4096;
    bench.flush();
    bench.state().write_outbox(0);
    assert_eq!(events(&socket.meter().taken[HEAD.len()..]), ["4004"]);
}

/// The 101 of a session whose handshake was pending is written before its outbox overflows, even if the messages before
/// its first flush exceed the outbox.
#[tokio::test]
async fn the_head_of_an_admitted_session_is_never_discarded() {
    let mut bench = Bench::new();
    let mut client = bench.admit("k.a");
    bench.publish_bytes("k.a", 5_000);
    bench.publish_bytes("k.a", 5_000);
    bench.flush();
    read_head(&mut client);
}

/// A message that comes after a part of the sessions was written to joins the frames of the other sessions, in one
/// write.
#[tokio::test]
async fn a_message_during_a_flush_joins_the_waiting_frames() {
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

/// A session whose slot another session left in the same tick keeps its reader. (The reader was dropped with that of the
/// former session, so the new session answered nothing.)
#[test]
fn a_reused_slot_keeps_its_new_reader() {
    let mut bench = Bench::new();
    bench.state().end(0, CloseReason::Gone);
    bench.flush();
    bench.sessions.expect(new_session());
    bench.sessions.drop_closing();
    assert!(bench.state().table.is_open(0) && bench.sessions.reader(0).is_some());
}
