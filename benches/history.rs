//! History: the cost of an append does not depend on the length of the history, and a replay copies no message.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/hub.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod hub;

use allocations::{Allocations, allocations};
use belfry::hub::{Publication, ReplayRequest, TopicStart};
use belfry::position::{Offset, Position};
use belfry::topic_name::TopicName;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hub::{Stage, name, publication};

/// A stage whose topics keep `history` messages.
fn keeping(history: usize) -> Stage {
    Stage::new(&format!("[{{ match = \"quotes.>\", history = {history} }}]"))
}

fn publish_one(stage: &Stage, topic: &TopicName, publication: &Publication) {
    stage.publish(topic, publication);
}

/// Asserts that an append to a full history allocates the message only.
fn an_append_allocates_its_message_alone(_: &mut Criterion) {
    let (stage, topic, publication) = (keeping(100), name("quotes.AAPL"), publication(&[b'1'; 128]));
    (0..1_000).for_each(|_| publish_one(&stage, &topic, &publication));
    let Allocations { count, bytes } = allocations(|| (0..1_000).for_each(|_| publish_one(&stage, &topic, &publication)));
    println!("an_append_allocates_its_message_alone: {count} ({bytes} bytes) for 1000 messages");
    assert_eq!(count, 1_000);
}

fn an_append_costs_the_same_whatever_is_kept(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("an_append_costs_the_same_whatever_is_kept");
    for history in [0, 1, 100, 10_000] {
        let (stage, topic, publication) = (keeping(history), name("quotes.AAPL"), publication(&[b'1'; 128]));
        (0..history).for_each(|_| publish_one(&stage, &topic, &publication));
        group.bench_function(history.to_string(), |bencher| bencher.iter(|| stage.publish(&topic, &publication)));
    }
    group.finish();
}

/// Reads like a session that reconnects: the start, then pieces of 64 messages.
fn a_replay_reads_without_copying(criterion: &mut Criterion) {
    const PIECE_MESSAGES: usize = 64;
    const PIECE_BYTES: usize = 1 << 20;
    let mut group = criterion.benchmark_group("a_replay_reads_without_copying");
    for missed in [1, 100, 10_000] {
        let (stage, topic) = (keeping(10_000), name("quotes.AAPL"));
        let publication = publication(&[b'1'; 128]);
        let newest = (0..10_000).fold(None, |_, _| Some(stage.publish(&topic, &publication))).expect("there are some");
        let since = Some((Some(newest.epoch.as_str()), Offset(newest.offset.0 - missed)));
        group.throughput(Throughput::Elements(missed));
        group.bench_function(missed.to_string(), |bencher| {
            bencher.iter(|| {
                let TopicStart { topic, start } = stage.hub.start(&topic, ReplayRequest { since, last: None }).expect("the topic lives");
                let offset = start.replay_from.expect("something was missed");
                let (mut next, mut read) = (Position { offset, ..start.position }, 0);
                loop {
                    let piece = topic.replay(next, PIECE_MESSAGES, PIECE_BYTES, stage.clock.moment());
                    read += piece.messages.len() as u64;
                    next.offset = piece.messages.last().expect("a piece has something").position.offset.next();
                    if piece.caught_up {
                        break;
                    }
                }
                assert_eq!(read, missed);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, an_append_allocates_its_message_alone, an_append_costs_the_same_whatever_is_kept, a_replay_reads_without_copying);
criterion_main!(benches);
