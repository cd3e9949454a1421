//! The outbox: messages that waited for a full socket leave in few writes.

#[path = "stage/gateway.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod gateway;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use std::time::{Duration, Instant};

use belfry::frame::OpCode;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::Gateway;
use wire::{client_frame, json};

/// Several times the bytes that the kernel buffers for a socket that is not read.
const BACKLOG_BYTES: usize = 16 << 20;

/// The time from the first read of a client that had stopped, to the last queued byte.
fn a_backlog_leaves_in_few_writes(criterion: &mut Criterion) {
    let gateway = Gateway::start(&[]);
    let mut group = criterion.benchmark_group("a_backlog_leaves_in_few_writes");
    group.sample_size(10);
    let mut routed = 0.0;
    for bytes in [128, 2_048, 16_384] {
        let (topic, messages) = (format!("bench.{bytes}"), BACKLOG_BYTES / bytes);
        let frames = client_frame(OpCode::Text, false, &json(bytes)).repeat(64);
        let mut publisher = gateway.dial(&format!("/raw/{topic}"), None);
        let mut subscriber = gateway.subscribers(&topic, 1, None).remove(0);
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(bytes.to_string(), |bencher| {
            bencher.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        (0..messages / 64).for_each(|_| publisher.send(&frames));
                        routed += messages as f64;
                        gateway.metric("belfry_messages_routed_total{rule=\"\"}", routed);
                        let began = Instant::now();
                        subscriber.skip(messages);
                        began.elapsed()
                    })
                    .sum::<Duration>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, a_backlog_leaves_in_few_writes);
criterion_main!(benches);
