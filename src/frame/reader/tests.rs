mod client;
mod properties;
mod reference;

use super::*;
use crate::frame::negotiate;
use client::{Outcome, deflated, frame, read_pieces};

const LIMIT: usize = 1000;

fn plain() -> FrameReader {
    FrameReader::new(LIMIT, None)
}

fn with_deflate() -> FrameReader {
    FrameReader::new(LIMIT, negotiate([&b"permessage-deflate"[..]], false).as_ref())
}

/// Reads `frames` at once and byte by byte, which must give the same messages.
fn read_frames(make: fn() -> FrameReader, frames: &[Vec<u8>]) -> Vec<Outcome> {
    let stream = frames.concat();
    let at_once = read_pieces(&mut make(), &[&stream]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read_pieces(&mut make(), &bytes), at_once, "read byte by byte");
    at_once
}

fn text(text: &str) -> Outcome {
    Outcome::Text(text.as_bytes().to_vec())
}

/// DESIGN, "an idle session costs next to nothing".
#[test]
fn an_idle_reader_is_small_and_owns_no_buffer() {
    assert!(size_of::<FrameReader>() <= 48, "{}", size_of::<FrameReader>());
    let mut reader = plain();
    let stream = [frame(0x01, b"Hel"), frame(0x89, b"ping"), frame(0x80, b"lo")].concat();
    let mut inflater = Inflater::default();
    for (at, &byte) in stream.iter().enumerate() {
        assert_eq!(reader.is_mid_message(), at > 0, "before byte {at}");
        let mut piece = [byte];
        let (used, received) = reader.read(&mut piece, &mut inflater);
        assert!(used == 1 && received.is_ok());
    }
    assert!(!reader.is_mid_message() && reader.assembly.is_none());
    assert_eq!(reader.take_frames(), 3);
    assert_eq!(reader.take_frames(), 0);
}

/// DESIGN, Frames: a whole frame is unmasked in place, and its payload is borrowed from the input.
#[test]
fn a_whole_message_is_lent_from_the_input() {
    let mut input = [frame(0x81, b"Hello"), frame(0x82, b"next")].concat();
    let at = input.as_ptr().addr() + 6;
    let (mut reader, mut inflater) = (plain(), Inflater::default());
    let (used, received) = reader.read(&mut input, &mut inflater);
    let Ok(Some(Received::Text(payload))) = received else { panic!("{received:?}") };
    assert_eq!((used, payload, payload.as_ptr().addr()), (11, &b"Hello"[..], at));
    assert!(!reader.is_mid_message());
}

/// RFC 6455 §5.4: control frames may come between fragments. A Close there ends the connection.
#[test]
fn control_frames_between_fragments_are_read() {
    let fragments = [frame(0x01, b"He"), frame(0x89, b"?"), frame(0x00, b""), frame(0x8a, b"!"), frame(0x80, b"llo"), frame(0x82, b"")];
    assert_eq!(read_frames(plain, &fragments), [Outcome::Ping(b"?".to_vec()), Outcome::Pong, text("Hello"), Outcome::Binary(vec![])]);
    let closed = [frame(0x01, b"He"), frame(0x88, b"\x03\xe8bye"), frame(0x80, b"llo")];
    assert_eq!(read_frames(plain, &closed), [Outcome::Close(Some((1000, "bye".to_owned())))]);
}

/// RFC 6455 §5.4: a message can't begin within another, and a continuation needs a message. Earlier messages are
/// returned.
#[test]
fn fragments_out_of_order_are_refused() {
    let before = frame(0x81, b"before");
    assert_eq!(read_frames(plain, &[before.clone(), frame(0x80, b"x")]), [text("before"), Outcome::Violation(1002)]);
    assert_eq!(read_frames(plain, &[before.clone(), frame(0x01, b"x"), frame(0x81, b"y")]), [text("before"), Outcome::Violation(1002)]);
    assert_eq!(read_frames(plain, &[before, frame(0x81, b"x"), frame(0x00, b"y")]), [text("before"), text("x"), Outcome::Violation(1002)]);
}

/// RFC 6455 §8.1: characters may be cut anywhere. An invalid byte is an error at once, before the frame is whole.
#[test]
fn text_is_checked_as_it_arrives() {
    let text = "κόσμε 聊天 🦀".as_bytes();
    for cut in 0..=text.len() {
        let fragments = [frame(0x01, &text[..cut]), frame(0x80, &text[cut..])];
        assert_eq!(read_frames(plain, &fragments), [Outcome::Text(text.to_vec())]);
    }
    let mut bad = "κόσμε".as_bytes().to_vec();
    let good = bad.len();
    bad.extend(b"\xf4\x90\x80\x80edited");
    let stream = frame(0x81, &bad);
    assert_eq!(read_pieces(&mut plain(), &[&stream]), [Outcome::Violation(1007)]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read_pieces(&mut plain(), &bytes[..6 + good + 1]), []);
    assert_eq!(read_pieces(&mut plain(), &bytes[..6 + good + 2]), [Outcome::Violation(1007)]);
    assert_eq!(read_frames(plain, &[frame(0x01, "κ".as_bytes()), frame(0x00, b"\xce"), frame(0x80, b"")]), [Outcome::Violation(1007)]);
    assert_eq!(read_frames(plain, &[frame(0x02, b"\xff"), frame(0x80, b"\xff")]), [Outcome::Binary(b"\xff\xff".to_vec())]);
}

/// PROTOCOL 7: `message_bytes` bounds all fragments together. A declared length is refused before its payload arrives.
#[test]
fn messages_past_the_limit_are_refused() {
    assert_eq!(read_frames(plain, &[frame(0x82, &[7; LIMIT])]), [Outcome::Binary(vec![7; LIMIT])]);
    assert_eq!(read_frames(plain, &[frame(0x02, &[7; 999]), frame(0x80, &[7])]), [Outcome::Binary(vec![7; LIMIT])]);
    assert_eq!(read_frames(plain, &[frame(0x82, &[7; LIMIT + 1])]), [Outcome::Violation(1009)]);
    assert_eq!(read_frames(plain, &[frame(0x02, &[7; 999]), frame(0x00, &[]), frame(0x80, &[7; 2])]), [Outcome::Violation(1009)]);
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    assert_eq!(read_frames(plain, &[huge.to_vec()]), [Outcome::Violation(1009)]);
}

/// The buffer is bounded by the limit, for any number of fragments.
#[test]
fn fragments_take_one_buffer() {
    let mut reader = FrameReader::new(70_000, None);
    let mut stream = frame(0x02, b"");
    for _ in 0..65_536 {
        stream.extend(frame(0x00, b"x"));
    }
    stream.extend(frame(0x80, b""));
    assert_eq!(read_pieces(&mut reader, &[&stream]), [Outcome::Binary(vec![b'x'; 65_536])]);
    assert_eq!(reader.take_frames(), 65_538);
}

/// RFC 6455 §5.2: RSV1 is refused without the extension. RFC 7692 §6.1: it is refused on a control frame or a
/// continuation.
#[test]
fn rsv1_is_refused_except_on_first_data_frames() {
    let hello = deflated(b"Hello");
    assert_eq!(read_frames(plain, &[frame(0xc1, &hello)]), [Outcome::Violation(1002)]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc1, &hello), frame(0x81, b"plain")]), [text("Hello"), text("plain")]);
    assert_eq!(read_frames(with_deflate, &[frame(0x41, &hello[..2]), frame(0xc0, &hello[2..])]), [Outcome::Violation(1002)]);
    assert_eq!(read_frames(with_deflate, &[frame(0x01, b"He"), frame(0xc0, b"llo")]), [Outcome::Violation(1002)]);
    for opcode in [0xc8, 0xc9, 0xca] {
        assert_eq!(read_frames(with_deflate, &[frame(opcode, b"")]), [Outcome::Violation(1002)]);
        assert_eq!(read_frames(plain, &[frame(opcode, b"")]), [Outcome::Violation(1002)]);
    }
}

/// RFC 7692 §6.2, §7.2.2: the fragments form one stream, and the inflated message is checked like any other.
#[test]
fn compressed_messages_are_inflated() {
    let hello = deflated(b"Hello");
    for cut in 0..=hello.len() {
        let frames = [frame(0x41, &hello[..cut]), frame(0x89, b"?"), frame(0x80, &hello[cut..])];
        assert_eq!(read_frames(with_deflate, &frames), [Outcome::Ping(b"?".to_vec()), text("Hello")]);
    }
    assert_eq!(read_frames(with_deflate, &[frame(0xc1, b"\x00"), frame(0xc2, b"")]), [text(""), Outcome::Binary(vec![])]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc1, &deflated(b"\xff"))]), [Outcome::Violation(1007)]);
    assert_eq!(read_frames(with_deflate, &[frame(0x41, &deflated(b"\xff")), frame(0x80, b"")]), [Outcome::Violation(1007)]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &deflated(b"\xff"))]), [Outcome::Binary(vec![0xff])]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc1, &hello[..4])]), [Outcome::Violation(1007)]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &deflated(&[0; LIMIT]))]), [Outcome::Binary(vec![0; LIMIT])]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &deflated(&[0; LIMIT + 1]))]), [Outcome::Violation(1009)]);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &deflated(&vec![0; 10_000_000]))]), [Outcome::Violation(1009)]);
}

/// An incompressible message of `message_bytes` is larger on the wire, and accepted. Much larger ones are refused.
#[test]
fn the_limit_is_of_the_inflated_message() {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let noise: Vec<u8> = std::iter::successors(Some(1), next).map(|state| state.to_be_bytes()[0]).take(LIMIT).collect();
    let packed = deflated(&noise);
    assert!(packed.len() > LIMIT);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &packed)]), [Outcome::Binary(noise)]);
    let padded = [0u8, 0, 0, 0xff, 0xff].repeat(LIMIT);
    assert_eq!(read_frames(with_deflate, &[frame(0xc2, &padded)]), [Outcome::Violation(1009)]);
}

/// RFC 6455 §1.4: all input after a Close or an error is ignored.
#[test]
fn input_after_the_end_is_ignored() {
    for end in [frame(0x88, b""), frame(0x83, b"")] {
        let mut reader = plain();
        let outcomes = read_pieces(&mut reader, &[&end, &frame(0x81, b"late")]);
        assert_eq!(outcomes.len(), 1);
        assert_eq!(reader.read(&mut frame(0x81, b"late"), &mut Inflater::default()), (10, Ok(None)));
        assert!(!reader.is_mid_message());
    }
}
