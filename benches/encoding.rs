//! Encoding: the frame of a message is made once for all subscribers, and compressed once for each window.

#[path = "stage/allocations.rs"]
mod allocations;
#[path = "stage/hub.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod hub;
#[path = "stage/wire.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod wire;

use std::hint::black_box;
use std::sync::Arc;

use allocations::allocations;
use belfry::clock::{Clock, Timestamp};
use belfry::config::{Deflate, Rule};
use belfry::dialect::{Dialect, Encoded, Encoder, Encoding, ReferenceAccount};
use belfry::frame::ServerWindow;
use belfry::hub::{About, Message, PayloadKind};
use belfry::metrics::{Metrics, Tally};
use belfry::position::{Epoch, Offset, Position};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hub::name;
use wire::json;

const TAKERS: usize = 1_000;

fn message(payload: &[u8]) -> Message {
    let clock = Clock::by_hand(Timestamp(1_732_233_600_123));
    let about = About {
        topic: name("quotes.AAPL"),
        position: Position { epoch: Epoch::random(), offset: Offset(12_345) },
        published_at: clock.now(),
        moment: clock.moment(),
        kind: PayloadKind::Json,
        except: None,
        rule: Arc::new(Rule::plain(None)),
        extra: None,
    };
    Message::new(about, payload)
}

fn encoder() -> Encoder {
    Encoder::new(&Deflate::default(), ReferenceAccount::new(Arc::default(), 1 << 20))
}

/// Every kind of session: both dialects, each without deflate and with windows of 9 and 15 bits.
fn encodings() -> impl Iterator<Item = Encoding> {
    let windows = [None, Some(9), Some(15)];
    [Dialect::Json, Dialect::Raw]
        .into_iter()
        .flat_map(move |dialect| windows.map(|bits| Encoding::websocket(dialect, bits.map(|bits| ServerWindow { bits, is_kept: false }))))
}

/// Asserts that only the first subscriber of each kind costs allocations, and that all share the same bytes.
fn fanout_encodes_once(_: &mut Criterion) {
    let metrics = Arc::new(Metrics::new());
    let (mut encoder, mut tally) = (encoder(), Tally::new(Arc::clone(&metrics)));
    let mut encoded = Encoded::new(message(&json(2_048)));
    for encoding in encodings() {
        let mut first = None;
        let of_first = allocations(|| first = Some(encoded.frame(encoding, &mut encoder, &mut tally)));
        let first = first.expect("it has just been made");
        let of_others = allocations(|| {
            for _ in 1..TAKERS {
                let frame = encoded.frame(encoding, &mut encoder, &mut tally);
                assert!(std::ptr::eq(frame.as_ptr(), first.as_ptr()) && frame.len() == first.len());
            }
        });
        println!(
            "fanout_encodes_once: {encoding:?}: {} allocations ({} bytes) for the first of {TAKERS}, {} for the others",
            of_first.count, of_first.bytes, of_others.count
        );
        assert_eq!(of_others.count, 0);
        if encoding == (Encoding::websocket(Dialect::Raw, None)) {
            assert_eq!(of_first.count, 0, "a message carries this frame from the beginning");
        }
    }
    tally.hand_over();
    let plain = Encoded::new(message(&json(2_048))).frame(Encoding::websocket(Dialect::Json, None), &mut encoder, &mut tally);
    let payloads = (plain.len() - 4 + 2_048) * 2;
    let line = format!("belfry_deflate_in_bytes_total {payloads}");
    assert!(metrics.render().lines().any(|other| other == line), "both dialects were compressed once for each of two windows: {line}");
}

fn an_envelope_is_written_around_the_payload(criterion: &mut Criterion) {
    for encoding in encodings() {
        let window = encoding.framing.window().map_or("plain".to_owned(), |window| format!("window_{}", window.bits));
        let mut group = criterion.benchmark_group(format!("an_envelope_is_written_around_the_payload/{}_{window}", encoding.name()));
        for bytes in [128, 2_048] {
            let (mut encoder, mut tally) = (encoder(), Tally::new(Arc::new(Metrics::new())));
            let message = message(&json(bytes));
            group.throughput(Throughput::Elements(1));
            group.bench_function(bytes.to_string(), |bencher| {
                bencher.iter(|| Encoded::new(black_box(&message).clone()).frame(encoding, &mut encoder, &mut tally));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, fanout_encodes_once, an_envelope_is_written_around_the_payload);
criterion_main!(benches);
