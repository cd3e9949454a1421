//! Fan-out over real sockets: the cost of a message for each subscriber. A thousand subscribers allocate no more than one.

#[path = "stage/allocations.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod allocations;
#[path = "stage/gateway.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod gateway;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use allocations::allocations;
use belfry::frame::OpCode;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::{Gateway, Peer};
use wire::{client_frame, json};

const SUBSCRIBERS: [usize; 4] = [1, 10, 100, 1_000];
const MESSAGES: usize = 200;
/// Allocations of the rest of the process in the same time: statistics once a second, and the upkeep of the hub.
const ELSEWHERE: usize = 500;

fn exchange(publisher: &mut Peer, subscribers: &mut [Peer], frames: &[u8], messages: usize) {
    publisher.send(frames);
    for subscriber in subscribers {
        subscriber.skip(messages);
    }
}

/// Asserts that a message to 1,000 subscribers allocates as much as to one, and that each message is deflated once.
fn fanout_encodes_once(_: &mut Criterion) {
    let gateway = Gateway::start(&[]);
    let payload = json(2_048);
    let frame = client_frame(OpCode::Text, false, &payload);
    let mut counts = Vec::new();
    for subscribers in [1, 1_000] {
        let topic = format!("bench.{subscribers}");
        let mut publisher = gateway.dial(&format!("/raw/{topic}"), None);
        let mut peers = gateway.subscribers(&topic, subscribers, Some("permessage-deflate"));
        exchange(&mut publisher, &mut peers, &frame, 1);
        let deflated = gateway.metric("belfry_deflate_in_bytes_total", 1.0);
        let counted = allocations(|| (0..MESSAGES).for_each(|_| exchange(&mut publisher, &mut peers, &frame, 1)));
        let least = deflated + (MESSAGES * payload.len()) as f64;
        let messages_deflated = (gateway.metric("belfry_deflate_in_bytes_total", least) - deflated) / payload.len() as f64;
        println!(
            "fanout_encodes_once: {subscribers} subscribers: {} allocations and {messages_deflated:.0} payloads deflated for {MESSAGES} messages",
            counted.count
        );
        assert!((MESSAGES as f64..MESSAGES as f64 * 1.1).contains(&messages_deflated));
        counts.push(counted.count);
    }
    assert!(counts[1] <= counts[0] + ELSEWHERE, "a subscriber costs no allocation, but 999 more cost {counts:?}");
}

/// One message, sent by one session and read by all. The time is that of the kernel, the gateway and the clients together.
fn a_message_goes_to_all_its_subscribers(criterion: &mut Criterion) {
    let gateway = Gateway::start(&[]);
    let frame = client_frame(OpCode::Text, false, &json(128));
    for (name, extension) in [("plain", None), ("deflate", Some("permessage-deflate"))] {
        let mut group = criterion.benchmark_group(format!("a_message_goes_to_all_its_subscribers/{name}"));
        for subscribers in SUBSCRIBERS {
            let topic = format!("bench.{name}.{subscribers}");
            let mut publisher = gateway.dial(&format!("/raw/{topic}"), None);
            let mut peers = gateway.subscribers(&topic, subscribers, extension);
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(subscribers.to_string(), |bencher| {
                bencher.iter(|| exchange(&mut publisher, &mut peers, &frame, 1));
            });
        }
        group.finish();
    }
}

/// 32 messages at the same time leave each socket in one write.
fn messages_that_wait_leave_together(criterion: &mut Criterion) {
    const AHEAD: usize = 32;
    let gateway = Gateway::start(&[]);
    let frames = client_frame(OpCode::Text, false, &json(128)).repeat(AHEAD);
    let mut group = criterion.benchmark_group("messages_that_wait_leave_together");
    for subscribers in SUBSCRIBERS {
        let topic = format!("bench.{subscribers}");
        let mut publisher = gateway.dial(&format!("/raw/{topic}"), None);
        let mut peers = gateway.subscribers(&topic, subscribers, None);
        group.throughput(Throughput::Elements((AHEAD * subscribers) as u64));
        group.bench_function(subscribers.to_string(), |bencher| {
            bencher.iter(|| exchange(&mut publisher, &mut peers, &frames, AHEAD));
        });
    }
    group.finish();
}

criterion_group!(benches, fanout_encodes_once, a_message_goes_to_all_its_subscribers, messages_that_wait_leave_together);
criterion_main!(benches);
