//! Tests of live, replayed and echoed frames.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::Deflate;
use crate::dialect::{Event, ReferenceAccount, echo_frame, event_frame, replay_frame};
use crate::frame::OpCode;
use crate::hub::{About, PayloadKind};
use crate::metrics::Metrics;
use crate::position::{Epoch, Offset, Position};

const RSV1: u8 = 0x40;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

fn message(payload: impl AsRef<[u8]>, kind: PayloadKind) -> Message {
    let position = Position { epoch: Epoch::random(), offset: Offset(1) };
    Message::new(About::of_test("chat.lobby", position, kind), payload.as_ref())
}

fn tools() -> (Encoder, Tally, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Encoder::new(&Deflate::default(), ReferenceAccount::new(Arc::default(), 1 << 20)), Tally::new(Arc::clone(&metrics)), metrics)
}

/// `dialect` over a WebSocket. `bits` is the size of a window that the client does not keep; `None`: without compression.
fn websocket(dialect: Dialect, bits: Option<u8>) -> Encoding {
    Encoding::websocket(dialect, bits.map(|bits| ServerWindow { bits, is_kept: false }))
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

/// The first byte of `frame`, and its payload, inflated.
fn read(frame: &[u8]) -> (u8, Vec<u8>) {
    let head_bytes = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = &frame[head_bytes..];
    if frame[0] & RSV1 == 0 {
        return (frame[0], payload.to_vec());
    }
    let mut plain = Vec::with_capacity(1 << 20);
    let tail = [payload, &[0, 0, 0xff, 0xff]].concat();
    flate2::Decompress::new(false).decompress_vec(&tail, &mut plain, flate2::FlushDecompress::Sync).unwrap();
    (frame[0], plain)
}

/// DESIGN, rule 1: encoded once per dialect, compressed once per window.
#[test]
fn each_encoding_is_made_once() {
    let (mut encoder, mut tally, metrics) = tools();
    let mut encoded = Encoded::new(message(format!("[{}1]", "187.30,".repeat(200)), PayloadKind::Json));
    for dialect in [Dialect::Json, Dialect::Raw] {
        let frames = [None, Some(15), Some(12), Some(10)].map(|bits| encoded.frame(websocket(dialect, bits), &mut encoder, &mut tally));
        for (bits, frame) in [None, Some(15), Some(12), Some(10)].into_iter().zip(&frames) {
            assert!(
                is_same(frame, &encoded.frame(websocket(dialect, bits), &mut encoder, &mut tally)),
                "{dialect:?} {bits:?} was encoded twice"
            );
            assert_eq!(read(frame).1, read(&frames[0]).1);
            assert_eq!(frame[0], if bits.is_some() { TEXT | RSV1 } else { TEXT });
        }
    }
    tally.hand_over();
    let text = metrics.render();
    let counted = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok()).unwrap();
    let plain =
        [Dialect::Json, Dialect::Raw].map(|dialect| read(&encoded.frame(websocket(dialect, None), &mut encoder, &mut tally)).1.len());
    assert_eq!(counted("belfry_deflate_in_bytes_total"), 3 * (plain[0] + plain[1]));
    assert!(counted("belfry_deflate_out_bytes_total") < counted("belfry_deflate_in_bytes_total"));
}

/// `deflate.threshold` bounds the payload of the frame: the JSON event, or in the raw dialect the message's payload.
#[test]
fn a_small_message_is_one_frame_for_all() {
    let (mut encoder, mut tally, _) = tools();
    let mut encoded = Encoded::new(message("a".repeat(255), PayloadKind::Text));
    let plain = encoded.frame(websocket(Dialect::Raw, None), &mut encoder, &mut tally);
    assert!(is_same(&plain, &encoded.frame(websocket(Dialect::Raw, Some(15)), &mut encoder, &mut tally)));
    assert_eq!(encoded.frame(websocket(Dialect::Json, Some(15)), &mut encoder, &mut tally)[0], TEXT | RSV1);
}

#[test]
fn raw_frames_are_payloads_alone() {
    let (mut encoder, mut tally, _) = tools();
    for (kind, first) in [(PayloadKind::Json, TEXT), (PayloadKind::Text, TEXT), (PayloadKind::Binary, BINARY)] {
        let message = message("7", kind);
        let frame = Encoded::new(message.clone()).frame(websocket(Dialect::Raw, None), &mut encoder, &mut tally);
        assert_eq!(frame[..], [first, 1, b'7']);
        assert!(is_same(&frame, message.frame()), "the frame is not a copy");
    }
}

#[test]
fn events_replays_and_echoes_are_encoded() {
    let (mut encoder, mut tally, _) = tools();
    let pong = Event::Pong { id: None };
    let frame = event_frame(&pong, websocket(Dialect::Json, Some(15)), &mut encoder, &mut tally).unwrap();
    assert_eq!(read(&frame), (TEXT, br#"{"op":"pong"}"#.to_vec()));
    assert!(event_frame(&pong, websocket(Dialect::Raw, None), &mut encoder, &mut tally).is_none());
    let replayed = replay_frame(&message("1", PayloadKind::Json), websocket(Dialect::Json, None), &mut encoder, &mut tally);
    assert!(read(&replayed).1.ends_with(br#","offset":1,"replay":true,"data":1}"#));
    let echo = echo_frame(OpCode::Binary, &[7; 300], websocket(Dialect::Echo, Some(15)).framing, &mut encoder, &mut tally);
    assert_eq!(read(&echo), (BINARY | RSV1, vec![7; 300]));
}

proptest! {
    /// This holds for any length and any window.
    #[test]
    fn a_client_reads_the_published_payload(length in prop_oneof![0usize..300, 65_400usize..65_700], bits in prop::option::of(9u8..=15)) {
        let (mut encoder, mut tally, _) = tools();
        let payload: Vec<u8> = (0..length).map(|index| (index % 7) as u8).collect();
        let frame = Encoded::new(message(payload.clone(), PayloadKind::Binary)).frame(websocket(Dialect::Raw, bits), &mut encoder, &mut tally);
        prop_assert_eq!(read(&frame).1, payload);
    }
}

/// PROTOCOL 7: an outbox accounts the memory that a frame takes: the buffer is larger than the frame by at most the unused part of the
/// longest head. The bug: the buffer had room for the longest envelope, so that 4,000 bytes took the allocator's next larger block.
#[test]
fn a_frames_buffer_is_as_long_as_the_frame() {
    let (mut encoder, mut tally, _) = tools();
    let quoted = "\"".repeat(4_000);
    let payloads =
        [(vec![b'1'; 4_000], PayloadKind::Json), (quoted.into_bytes(), PayloadKind::Text), (vec![0xff; 4_000], PayloadKind::Binary)];
    for (payload, kind) in payloads {
        let frame = replay_frame(&message(payload, kind), websocket(Dialect::Json, None), &mut encoder, &mut tally);
        let FrameBytes::Made(frame) = frame else { panic!("not encoded") };
        let (length, room) = (frame.len(), Vec::from(frame).capacity());
        assert!(room <= length + crate::frame::HEAD_BYTES_MAX, "{kind:?}: {length} bytes in {room}");
    }
}
