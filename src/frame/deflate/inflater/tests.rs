use super::*;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

fn packed(message: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut packed = Vec::with_capacity(message.len() + 100);
    Compress::new(Compression::new(6), false).compress_vec(message, &mut packed, flush).unwrap();
    packed
}

fn without_tail(message: &[u8]) -> Vec<u8> {
    let mut packed = packed(message, FlushCompress::Sync);
    packed.truncate(packed.len() - 4);
    packed
}

fn inflated(payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    Inflater::default().inflate(payload, limit).map(<[u8]>::to_vec)
}

/// RFC 7692 §7.2.3: the examples, byte for byte.
#[test]
fn rfc_examples_are_inflated() {
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],                     // §7.2.3.1: one block
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], // §7.2.3.3: a stored block
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],                   // §7.2.3.4: a last block
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], // §7.2.3.5: two blocks
    ] {
        assert_eq!(inflated(payload, 5).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
        assert_eq!(inflated(payload, 4), Err(Violation::too_big()), "{payload:x?}");
    }
}

/// RFC 7692 §7.2.3.6 writes an empty message as `00`. Other empty streams are accepted too.
#[test]
fn empty_streams_are_empty_messages() {
    for payload in [&[0x00][..], &[], &[0x01], &[0x03, 0x00], &[0x02, 0x00], &[0x03, 0x00, 0x00]] {
        assert_eq!(inflated(payload, 0).as_deref(), Ok(&b""[..]), "{payload:x?}");
    }
}

/// RFC 7692 §7.2.3.4: the empty block after a last block may be missing at the end.
#[test]
fn data_may_follow_a_last_block() {
    let (one, two) = (packed(b"one", FlushCompress::Finish), packed(b"two", FlushCompress::Finish));
    assert_eq!(inflated(&one, 9).as_deref(), Ok(&b"one"[..]));
    assert_eq!(inflated(&[&one[..], &two].concat(), 9).as_deref(), Ok(&b"onetwo"[..]));
    assert_eq!(inflated(&[&one[..], &without_tail(b"three")].concat(), 9).as_deref(), Ok(&b"onethree"[..]));
    assert_eq!(inflated(&[&one[..], &[0x00], &TAIL_AND_END[..4], &two].concat(), 9).as_deref(), Ok(&b"onetwo"[..]));
    assert_eq!(inflated(&[&one[..], &two].concat(), 5), Err(Violation::too_big()));
}

#[test]
fn an_incomplete_stream_is_corrupt() {
    let text = "what goes on repeats, and what repeats goes on ".repeat(8);
    let whole = without_tail(text.as_bytes());
    assert!(inflated(&whole, 1000).is_ok());
    for cut in 1..whole.len() - 1 {
        assert_eq!(inflated(&whole[..cut], 1000), Err(corrupt()), "cut at {cut} of {}", whole.len());
    }
    for payload in [
        &[0x06][..], // a block of type 3
        &[0xff; 10],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48], // a stored block that lacks four bytes
        &[0x00, 0x05, 0x00, 0xfb, 0xff, 0x48], // a stored block whose length is not confirmed
        &[0x4a, 0x04, 0x20, 0x00, 0x00],       // a distance behind the beginning
    ] {
        assert_eq!(inflated(payload, 1000), Err(corrupt()), "{payload:x?}");
    }
}

/// PROTOCOL 7: `message_bytes` bounds the inflated message exactly.
#[test]
fn the_limit_is_exact() {
    for length in [1, 100, 4095, 4096, 4097, 65_536, 100_000] {
        for message in [vec![b'x'; length], (0..length).map(|at| ((at * at) >> 3) as u8).collect()] {
            let payload = without_tail(&message);
            assert_eq!(inflated(&payload, length).as_deref(), Ok(&message[..]));
            assert_eq!(inflated(&payload, length - 1), Err(Violation::too_big()));
        }
    }
}

/// The inflation of a decompression bomb stops at the limit, which bounds its memory.
#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let bomb = without_tail(&vec![0; 10_000_000]);
    let mut inflater = Inflater::default();
    for limit in [0, 1, 65_536, 1_000_000] {
        assert_eq!(inflater.inflate(&bomb, limit), Err(Violation::too_big()));
        assert!(inflater.scratch.capacity() <= limit.max(SCRATCH_BYTES_KEPT) + 1);
        inflater.trim();
        assert!(inflater.scratch.capacity() <= SCRATCH_BYTES_KEPT);
    }
}

#[test]
fn a_damaged_message_does_not_affect_the_next() {
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(&[0x06], 9), Err(corrupt()));
    assert_eq!(inflater.inflate(&without_tail(b"fine"), 9), Ok(&b"fine"[..]));
    assert_eq!(inflater.lend(b"lent".to_vec()), b"lent");
    assert_eq!(inflater.inflate(&without_tail(b"fine"), 3), Err(Violation::too_big()));
    assert_eq!(inflater.inflate(&without_tail(b"fine"), 9), Ok(&b"fine"[..]));
}

proptest! {
    #[test]
    fn no_payload_panics_or_outgrows_the_limit(payload in prop::collection::vec(any::<u8>(), 0..300), limit in 0usize..5000) {
        let mut inflater = Inflater::default();
        if let Ok(message) = inflater.inflate(&payload, limit) {
            prop_assert!(message.len() <= limit);
        }
    }
}
