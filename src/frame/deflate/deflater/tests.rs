use super::*;
use crate::frame::Inflater;
use crate::frame::exact_inflater::ExactInflater;
use proptest::prelude::*;

/// Bytes that don't compress.
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1), next).map(|state| state.to_be_bytes()[0]).take(length).collect()
}

/// Compressible bytes, with repetitions at every distance up to their length.
fn repetitive(length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = noise(97 * 3).chunks(3).map(|word| [word, b"\":"].concat()).collect();
    noise(length).iter().flat_map(|&byte| words[usize::from(byte) % words.len()].clone()).take(length).collect()
}

/// RFC 7692 §7.2.1: with every window and level the payload inflates to the message, has no tail, and is appended.
#[test]
fn every_window_and_level_round_trips() {
    let message = repetitive(20_000);
    let mut inflater = Inflater::default();
    for level in 1..=9 {
        let mut deflater = Deflater::new(level);
        for window_bits in 8..=15 {
            let mut packed = b"head".to_vec();
            for _ in 0..2 {
                packed.truncate(4);
                assert!(deflater.compress(&message, window_bits, &mut packed));
                assert!(packed.starts_with(b"head") && !packed.ends_with(&TAIL) && packed.len() < 4 + message.len());
                assert_eq!(inflater.inflate(&packed[4..], message.len()), Ok(&message[..]));
            }
        }
    }
}

/// An echo of a compressed message is compressed even if it gets longer. An empty one is `00` (RFC 7692 §7.2.3.6).
#[test]
fn echoes_are_always_compressed() {
    let mut inflater = Inflater::default();
    for level in 1..=9 {
        let mut deflater = Deflater::new(level);
        for length in [0, 1, 3, 300, 100_000] {
            let (message, mut packed) = (noise(length), b"head".to_vec());
            assert!(deflater.compress_always(&message, 15, &mut packed), "{length} bytes at level {level}");
            assert_eq!(inflater.inflate(&packed[4..], length), Ok(&message[..]));
        }
        let mut packed = Vec::new();
        assert!(deflater.compress_always(b"", 15, &mut packed) && packed == [0]);
    }
}

/// RFC 7692 §7.1.2.1: no distance exceeds the negotiated window, at any level and also with 8 bits.
#[test]
fn no_distance_exceeds_the_window() {
    let message = repetitive(70_000);
    for level in 1..=9 {
        let mut deflater = Deflater::new(level);
        for window_bits in 8..=15 {
            let mut packed = Vec::new();
            assert!(deflater.compress(&message, window_bits, &mut packed));
            let farthest = ExactInflater::farthest(&packed);
            assert!(farthest <= 1 << window_bits, "level {level}, {window_bits} bits: {farthest}");
            assert!(farthest > 100, "the message has no distant repetitions");
        }
    }
}

#[test]
fn a_message_that_does_not_get_smaller_is_not_compressed() {
    let mut deflater = Deflater::new(3);
    let mut packed = b"head".to_vec();
    let noise = noise(300);
    for message in [&b""[..], b"a", b"abc", &noise] {
        assert!(!deflater.compress(message, 15, &mut packed));
        assert_eq!(packed, b"head");
    }
    assert!(!deflater.compress(&repetitive(1000), 7, &mut packed));
    assert!(!deflater.compress(&repetitive(1000), 16, &mut packed));
}

proptest! {
    #[test]
    fn any_message_round_trips(message in prop::collection::vec(0u8..4, 0..3000), level in 1u32..=9, window_bits in 8u8..=15, spare in 0usize..5000) {
        let mut packed = Vec::with_capacity(spare);
        if Deflater::new(level).compress(&message, window_bits, &mut packed) {
            prop_assert!(packed.len() < message.len());
            prop_assert!(ExactInflater::farthest(&packed) <= 1 << window_bits);
            let mut inflater = Inflater::default();
            prop_assert_eq!(inflater.inflate(&packed, message.len()), Ok(&message[..]));
        } else {
            prop_assert!(packed.is_empty());
        }
    }
}
