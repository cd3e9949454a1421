//! Reading frames: heads are parsed, payloads are unmasked in place and checked for UTF-8. A small unfragmented message allocates nothing.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use allocations::{Allocations, allocations};
use belfry::frame::{FrameReader, Inflater, OpCode};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use wire::{MESSAGE_BYTES, client_frame, quotes, read_all};

/// Asserts that 1,000 small unfragmented messages allocate nothing.
fn a_whole_small_message_allocates_nothing(_: &mut Criterion) {
    for opcode in [OpCode::Text, OpCode::Binary] {
        let mut input = client_frame(opcode, false, &quotes(128)).repeat(1_000);
        let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, None), Inflater::default());
        let mut messages = 0;
        let Allocations { count, bytes } = allocations(|| messages = read_all(&mut reader, &mut inflater, &mut input));
        println!("a_whole_small_message_allocates_nothing: {count} ({bytes} bytes) for {messages} whole {opcode:?} messages of 128 bytes");
        assert_eq!((messages, count), (1_000, 0));
    }
}

/// Heads and unmasking alone (binary), and with the check for UTF-8 (text).
fn whole_messages_are_read_where_they_lie(criterion: &mut Criterion) {
    for (name, opcode) in [("binary", OpCode::Binary), ("text", OpCode::Text)] {
        let mut group = criterion.benchmark_group(format!("whole_messages_are_read_where_they_lie/{name}"));
        for bytes in [16, 128, 2_048, 65_536] {
            measure(&mut group, &bytes.to_string(), &client_frame(opcode, false, &quotes(bytes)));
        }
        group.finish();
    }
}

/// Text in which every character has three bytes, unfragmented and in fragments that split characters.
fn text_is_checked_as_it_arrives(criterion: &mut Criterion) {
    let text = "聊天大厅".repeat(5_000);
    let mut group = criterion.benchmark_group("text_is_checked_as_it_arrives");
    measure(&mut group, "whole_60000", &client_frame(OpCode::Text, false, text.as_bytes()));
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(1_000).collect();
    let mut fragments = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let mut frame = client_frame(if at == 0 { OpCode::Text } else { OpCode::Continuation }, false, piece);
        frame[0] = if at + 1 == pieces.len() { frame[0] } else { frame[0] & 0x7f };
        fragments.extend(frame);
    }
    measure(&mut group, "fragments_60000", &fragments);
    group.finish();
}

fn measure(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, name: &str, input: &[u8]) {
    let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, None), Inflater::default());
    group.throughput(Throughput::Bytes(input.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched_ref(|| input.to_vec(), |input| read_all(&mut reader, &mut inflater, input), BatchSize::SmallInput);
    });
}

criterion_group!(benches, a_whole_small_message_allocates_nothing, whole_messages_are_read_where_they_lie, text_is_checked_as_it_arrives);
criterion_main!(benches);
