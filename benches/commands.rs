//! Parsing the commands of the native dialect: the gateway borrows the payload unparsed, simd-json parses everything.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use std::hint::black_box;

use allocations::{Allocations, allocations};
use belfry::dialect::{Command, native};
use belfry::topic_name::TopicName;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use simd_json::prelude::*;
use wire::json;

/// The most frequent commands, with the payload of a chat message, a quote and a document.
fn commands() -> Vec<(&'static str, Vec<u8>)> {
    let publish = |bytes| [br#"{"op":"publish","id":3,"topic":"chat.lobby","data":"#, &json(bytes)[..], b"}"].concat();
    vec![
        ("ping", br#"{"op":"ping","id":7}"#.to_vec()),
        ("subscribe", br#"{"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>"],"last":1}"#.to_vec()),
        ("publish_32", publish(32)),
        ("publish_128", publish(128)),
        ("publish_1024", publish(1_024)),
        ("publish_16384", publish(16_384)),
    ]
}

/// Asserts the allocations of parsing a publish: one for the topic's name, none for the payload, which is borrowed.
fn a_publish_allocates_its_topic_alone(_: &mut Criterion) {
    let (_, command) = commands().swap_remove(3);
    let Allocations { count, bytes } = allocations(|| {
        let request = native::request(black_box(&command)).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert!(matches!(request.command, Command::Publish { data, .. } if data.len() == 128));
    });
    let Allocations { count: of_name, .. } = allocations(|| drop(black_box(TopicName::parse("chat.lobby"))));
    println!("a_publish_allocates_its_topic_alone: {count} ({bytes} bytes), {of_name} for the name");
    assert_eq!(count, of_name);
}

/// simd-json parses in place, and `data` must stay unchanged, so the command is copied first. Then topic and payload are looked up.
fn commands_are_read_without_parsing_their_data(criterion: &mut Criterion) {
    for (name, command) in commands() {
        let mut group = criterion.benchmark_group(format!("commands_are_read_without_parsing_their_data/{name}"));
        group.throughput(Throughput::Bytes(command.len() as u64));
        group.bench_function("raw_value", |bencher| bencher.iter(|| native::request(black_box(&command)).is_ok()));
        group.bench_function("simd_json", |bencher| {
            let mut buffers = simd_json::Buffers::new(command.len());
            bencher.iter_batched_ref(
                || command.clone(),
                |command| {
                    let value = simd_json::to_borrowed_value_with_buffers(command, &mut buffers).expect("it is JSON");
                    black_box(value.get_str("op")).is_some() && black_box(value.get("data")).is_none_or(|data| !data.is_null())
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, a_publish_allocates_its_topic_alone, commands_are_read_without_parsing_their_data);
criterion_main!(benches);
