//! permessage-deflate: the cost of a message that is compressed alone or against an earlier one. Neither a message nor a bomb allocates memory.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use std::hint::black_box;

use allocations::{Allocations, allocations};
use belfry::frame::{Agreement, Deflater, FrameReader, Inflater, OpCode, ReferenceParser, negotiate};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, FlushCompress};
use wire::{MESSAGE_BYTES, client_frame, quotes, read_all};

fn agreement() -> Option<Agreement> {
    negotiate([&b"permessage-deflate"[..]], false)
}

fn packed(message: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    assert!(Deflater::new(3).compress(message, 15, &mut packed));
    packed
}

/// Asserts that the shard's inflater allocates nothing from the second message on.
fn inflating_allocates_nothing(_: &mut Criterion) {
    let input = client_frame(OpCode::Text, true, &packed(&quotes(1_024))).repeat(100);
    let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, agreement().as_ref()), Inflater::default());
    assert_eq!(read_all(&mut reader, &mut inflater, &mut input.clone()), 100);
    let mut again = input.clone();
    let Allocations { count, bytes } = allocations(|| assert_eq!(read_all(&mut reader, &mut inflater, &mut again), 100));
    println!("inflating_allocates_nothing: {count} ({bytes} bytes) for 100 compressed messages of 1 KiB");
    assert_eq!(count, 0);
}

/// Asserts that 10 MB of zeros with a limit of 64 KiB grow the buffer to the limit only, and end with an error.
fn a_bomb_costs_no_more_than_the_limit(_: &mut Criterion) {
    let mut bomb = Vec::with_capacity(20_000);
    let zeros = vec![0; 10_000_000];
    Compress::new(Compression::best(), false).compress_vec(&zeros, &mut bomb, FlushCompress::Sync).expect("zeros can be compressed");
    bomb.truncate(bomb.len() - 4);
    let frame = client_frame(OpCode::Binary, true, &bomb);
    let (limit, mut inflater) = (64 << 10, Inflater::default());
    // The window of the inflater is allocated before, as in a shard that has inflated a message already.
    let mut input = client_frame(OpCode::Binary, true, &packed(&quotes(1_024)));
    assert_eq!(read_all(&mut FrameReader::new(limit, agreement().as_ref()), &mut inflater, &mut input), 1);
    let (mut reader, mut input) = (FrameReader::new(limit, agreement().as_ref()), frame);
    let mut code = None;
    let Allocations { count, bytes } =
        allocations(|| code = reader.read(&mut input, &mut inflater).1.err().map(|violation| violation.code.number()));
    println!("a_bomb_costs_no_more_than_the_limit: {count} allocations, {bytes} bytes for {} bytes on the wire", bomb.len());
    assert_eq!(code, Some(1009));
    assert!(bytes <= 2 * limit, "doubling up to {limit} bytes adds up to less than twice as many, not {bytes}");
}

/// A quote of the simulator in the native dialect.
fn quote(step: usize) -> Vec<u8> {
    let (whole, cents, volume, ts) = (187 + step % 3, step * 37 % 100, step * 7_919 % 5_000, 1_732_233_600_123 + step * 1_003);
    let head = format!(r#"{{"op":"message","topic":"quotes.AAPL","epoch":"k3f9x2","offset":{step},"data":"#);
    format!(r#"{head}{{"stock_id":"AAPL","price":{whole}.{cents:02},"bid":{whole}.{cents:02},"volume":{volume},"ts":{ts}}}}}"#).into_bytes()
}

/// Asserts that writing a parsed message for a session allocates nothing, at any distance.
fn writing_distances_allocates_nothing(_: &mut Criterion) {
    let parsed = ReferenceParser::default().parse(&quote(100), &quote(101)).expect("both are within a window");
    let mut payload = Vec::with_capacity(1_024);
    let Allocations { count, bytes } = allocations(|| {
        for inflated in 0..1_000 {
            payload.clear();
            parsed.write(black_box(200 + 30 * inflated), &mut payload);
        }
    });
    println!("writing_distances_allocates_nothing: {count} ({bytes} bytes) for 1,000 sessions, {} bytes each", payload.len());
    assert_eq!(count, 0);
    assert!(payload.len() < quote(101).len() / 4);
}

/// A message is parsed once for a shard, and written for each session with distances of its own.
fn a_message_refers_to_the_one_before(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a_message_refers_to_the_one_before");
    let (former, message, mut parser) = (quote(100), quote(101), ReferenceParser::default());
    group.bench_function("parsed", |bencher| bencher.iter(|| parser.parse(black_box(&former), black_box(&message))));
    let parsed = parser.parse(&former, &message).expect("both are within a window");
    let mut payload = Vec::with_capacity(1_024);
    group.bench_function("written", |bencher| {
        bencher.iter(|| {
            payload.clear();
            parsed.write(black_box(1_234), &mut payload);
        });
    });
    group.finish();
}

fn a_message_is_deflated(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a_message_is_deflated");
    for bytes in [256, 2_048, 65_536] {
        let message = quotes(bytes);
        let (mut deflater, mut packed) = (Deflater::new(3), Vec::new());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(bytes.to_string(), |bencher| {
            bencher.iter(|| {
                packed.clear();
                deflater.compress(black_box(&message), 15, &mut packed)
            });
        });
    }
    group.finish();
}

fn a_message_is_inflated(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a_message_is_inflated");
    for bytes in [256, 2_048, 65_536] {
        let input = client_frame(OpCode::Text, true, &packed(&quotes(bytes)));
        let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, agreement().as_ref()), Inflater::default());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(bytes.to_string(), |bencher| {
            bencher.iter_batched_ref(|| input.clone(), |input| read_all(&mut reader, &mut inflater, input), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    inflating_allocates_nothing,
    a_bomb_costs_no_more_than_the_limit,
    writing_distances_allocates_nothing,
    a_message_is_deflated,
    a_message_is_inflated,
    a_message_refers_to_the_one_before
);
criterion_main!(benches);
