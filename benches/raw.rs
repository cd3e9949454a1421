//! The raw dialect from socket to socket: the allocations of a small message in the whole gateway.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/gateway.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod gateway;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use allocations::{Allocations, allocations};
use belfry::frame::OpCode;
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::Gateway;
use wire::{client_frame, json};

/// The messages that are sent at once. They are few, so that no socket becomes full.
const AT_ONCE: usize = 64;
const ROUNDS: usize = 100;
/// One allocation has the message and its outgoing frame, for any number of subscribers. Reading and routing allocate nothing.
const ALLOCATIONS: usize = 1;
/// Allocations of the rest of the process in the same time: statistics once a second, and the upkeep of the hub.
const ELSEWHERE: usize = 500;

fn a_raw_message_allocates_its_shared_frame_alone(_: &mut Criterion) {
    let gateway = Gateway::start(&[]);
    let mut publisher = gateway.dial("/raw/bench.raw", None);
    let mut subscriber = gateway.dial("/raw/bench.raw", None);
    let frames = client_frame(OpCode::Text, false, &json(128)).repeat(AT_ONCE);
    let mut exchange = |rounds| {
        for _ in 0..rounds {
            publisher.send(&frames);
            (0..AT_ONCE).for_each(|_| assert_eq!(subscriber.next().len(), 128));
        }
    };
    exchange(10);
    let Allocations { count, bytes } = allocations(|| exchange(ROUNDS));
    let messages = ROUNDS * AT_ONCE;
    let each = count as f64 / messages as f64;
    println!("a_raw_message_allocates_its_shared_frame_alone: {each:.2} ({} bytes) a message", bytes / messages);
    assert!(count <= ALLOCATIONS * messages + ELSEWHERE, "{each:.2} allocations a message");
}

criterion_group!(benches, a_raw_message_allocates_its_shared_frame_alone);
criterion_main!(benches);
