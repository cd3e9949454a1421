//! What a frame costs: reading, checking, inflating and deflating it; and that a small whole message allocates nothing.

use std::hint::black_box;

use belfry::frame::{Deflater, FrameReader, Inflater, OpCode, Received, negotiate, write_head};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const MESSAGE_BYTES: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame as a client sends it.
fn client_frame(opcode: OpCode, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_head(&mut frame, opcode, compressed, payload.len());
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A quote as the simulator writes it, repeated with other figures up to `bytes`.
fn quotes(bytes: usize) -> Vec<u8> {
    let quote = |at: usize| {
        format!(
            r#"{{"stock_id":"AAPL","price":{}.31,"bid":{}.30,"volume":{},"ts":{}}},"#,
            180 + at % 17,
            180 + at % 17,
            at * 7919 % 5000,
            1_732_233_600_123_usize + at
        )
    };
    (0..).flat_map(|at| quote(at).into_bytes()).take(bytes).collect()
}

/// Reads all of `input`; how many messages there were.
fn read_all(reader: &mut FrameReader, inflater: &mut Inflater, input: &mut [u8]) -> usize {
    let (mut at, mut messages) = (0, 0);
    while at < input.len() {
        let (used, received) = reader.read(&mut input[at..], inflater);
        at += used;
        if let Ok(Some(Received::Text(payload) | Received::Binary(payload))) = received {
            black_box(payload);
            messages += 1;
        }
    }
    messages
}

/// A count, so it is asserted: 1,000 small whole messages, no allocation.
fn a_whole_small_message_allocates_nothing(_: &mut Criterion) {
    for opcode in [OpCode::Text, OpCode::Binary] {
        let mut input = client_frame(opcode, false, &quotes(128)).repeat(1000);
        let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, None), Inflater::default());
        let mut messages = 0;
        let counted = allocation_counter::measure(|| messages = read_all(&mut reader, &mut inflater, &mut input));
        assert_eq!(messages, 1000);
        println!("allocations for 1000 whole {opcode:?} messages of 128 bytes: {}", counted.count_total);
        assert_eq!(counted.count_total, 0);
    }
    // The inflater's scratch is there after the first message; from then on compressed ones are free, too.
    let mut packed = Vec::new();
    assert!(Deflater::new(3).compress(&quotes(1024), 15, &mut packed));
    let input = client_frame(OpCode::Text, true, &packed).repeat(100);
    let agreement = negotiate([&b"permessage-deflate"[..]]);
    let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, agreement.as_ref()), Inflater::default());
    assert_eq!(read_all(&mut reader, &mut inflater, &mut input.clone()), 100);
    let mut again = input.clone();
    let counted = allocation_counter::measure(|| assert_eq!(read_all(&mut reader, &mut inflater, &mut again), 100));
    println!("allocations for 100 compressed messages of 1 KiB: {}", counted.count_total);
    assert_eq!(counted.count_total, 0);
}

fn reading(criterion: &mut Criterion) {
    for (name, opcode) in [("text", OpCode::Text), ("binary", OpCode::Binary)] {
        let mut group = criterion.benchmark_group(format!("read_{name}"));
        for bytes in [16, 128, 2048, 65_536] {
            let input = client_frame(opcode, false, &quotes(bytes));
            group.throughput(Throughput::Bytes(bytes as u64));
            let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, None), Inflater::default());
            group.bench_function(bytes.to_string(), |bencher| {
                bencher.iter_batched_ref(|| input.clone(), |input| read_all(&mut reader, &mut inflater, input), BatchSize::SmallInput);
            });
        }
        group.finish();
    }
    let chinese = client_frame(OpCode::Text, false, "聊天大厅".repeat(5000).as_bytes());
    let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, None), Inflater::default());
    criterion.bench_function("read_text/chinese_60000", |bencher| {
        bencher.iter_batched_ref(|| chinese.clone(), |input| read_all(&mut reader, &mut inflater, input), BatchSize::SmallInput);
    });
}

fn deflating(criterion: &mut Criterion) {
    let agreement = negotiate([&b"permessage-deflate"[..]]);
    for bytes in [256, 2048, 65_536] {
        let message = quotes(bytes);
        let (mut deflater, mut packed) = (Deflater::new(3), Vec::new());
        let mut group = criterion.benchmark_group("deflate");
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(bytes.to_string(), |bencher| {
            bencher.iter(|| {
                packed.clear();
                deflater.compress(black_box(&message), 15, &mut packed)
            });
        });
        group.finish();
        let input = client_frame(OpCode::Text, true, &packed);
        let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, agreement.as_ref()), Inflater::default());
        let mut group = criterion.benchmark_group("inflate");
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(bytes.to_string(), |bencher| {
            bencher.iter_batched_ref(|| input.clone(), |input| read_all(&mut reader, &mut inflater, input), BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, a_whole_small_message_allocates_nothing, reading, deflating);
criterion_main!(benches);
