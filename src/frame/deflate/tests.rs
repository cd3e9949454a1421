use super::*;
use crate::frame::Inflater;
use proptest::prelude::*;

/// Bytes that don't compress.
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1), next).map(|state| state.to_be_bytes()[0]).take(length).collect()
}

/// Something that compresses, with repetitions at every distance up to its length.
fn repetitive(length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = noise(97 * 3).chunks(3).map(|word| [word, b"\":"].concat()).collect();
    noise(length).iter().flat_map(|&byte| words[usize::from(byte) % words.len()].clone()).take(length).collect()
}

/// RFC 7692 §7.2.1: every window and level gives what inflates to the same, without the tail, behind what was there.
#[test]
fn every_window_and_level_inflates_to_the_same() {
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

/// An echo of a compressed message is compressed, though it be longer; an empty one is `00` (RFC 7692 §7.2.3.6).
#[test]
fn what_must_be_compressed_is_compressed() {
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

/// RFC 7692 §7.1.2.1: no distance reaches behind the agreed window, 8 bits included, at any level.
#[test]
fn no_distance_is_larger_than_the_window() {
    let message = repetitive(70_000);
    for level in 1..=9 {
        let mut deflater = Deflater::new(level);
        for window_bits in 8..=15 {
            let mut packed = Vec::new();
            assert!(deflater.compress(&message, window_bits, &mut packed));
            let farthest = distances::farthest(&packed);
            assert!(farthest <= 1 << window_bits, "level {level}, {window_bits} bits: {farthest}");
            assert!(farthest > 100, "the test's message has nothing to look back at");
        }
    }
}

#[test]
fn what_does_not_get_smaller_stays_plain() {
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
    fn any_message_stays_the_same(message in prop::collection::vec(0u8..4, 0..3000), level in 1u32..=9, window_bits in 8u8..=15, spare in 0usize..5000) {
        let mut packed = Vec::with_capacity(spare);
        if Deflater::new(level).compress(&message, window_bits, &mut packed) {
            prop_assert!(packed.len() < message.len());
            prop_assert!(distances::farthest(&packed) <= 1 << window_bits);
            let mut inflater = Inflater::default();
            prop_assert_eq!(inflater.inflate(&packed, message.len()), Ok(&message[..]));
        } else {
            prop_assert!(packed.is_empty());
        }
    }
}

/// A decoder that looks only at how far back a stream reaches (RFC 1951 §3.2).
mod distances {
    const LENGTHS: [(u16, u32); 29] = [
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 1),
        (13, 1),
        (15, 1),
        (17, 1),
        (19, 2),
        (23, 2),
        (27, 2),
        (31, 2),
        (35, 3),
        (43, 3),
        (51, 3),
        (59, 3),
        (67, 4),
        (83, 4),
        (99, 4),
        (115, 4),
        (131, 5),
        (163, 5),
        (195, 5),
        (227, 5),
        (258, 0),
    ];
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    /// The largest distance in `packed`, a flushed stream without its tail.
    pub fn farthest(packed: &[u8]) -> usize {
        let stream = [packed, &super::TAIL].concat();
        let mut bits = Bits { bytes: &stream, at: 0 };
        let mut farthest = 0;
        while bits.at < 8 * packed.len() {
            assert_eq!(bits.take(1), 0, "no last block in a flushed stream");
            match bits.take(2) {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let length = bits.take(16);
                    bits.take(16);
                    bits.at += 8 * length;
                }
                1 => {
                    let literals: Vec<u8> = (0..288)
                        .map(|at| match at {
                            0..=143 => 8,
                            144..=255 => 9,
                            256..=279 => 7,
                            _ => 8,
                        })
                        .collect();
                    farthest = farthest.max(block(&mut bits, &Code::new(&literals), &Code::new(&[5; 30])));
                }
                2 => {
                    let (literals, distances) = tables(&mut bits);
                    farthest = farthest.max(block(&mut bits, &literals, &distances));
                }
                _ => panic!("a block of type 3"),
            }
        }
        farthest
    }

    fn tables(bits: &mut Bits<'_>) -> (Code, Code) {
        let (literals, distances, codes) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
        let mut code_lengths = [0; 19];
        for &at in &ORDER[..codes] {
            code_lengths[at] = bits.take(3) as u8;
        }
        let code_lengths = Code::new(&code_lengths);
        let mut lengths: Vec<u8> = Vec::new();
        while lengths.len() < literals + distances {
            let (value, times) = match bits.symbol(&code_lengths) {
                16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (length as u8, 1),
            };
            lengths.extend(std::iter::repeat_n(value, times));
        }
        let distances = lengths.split_off(literals);
        (Code::new(&lengths), Code::new(&distances))
    }

    fn block(bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> usize {
        let mut farthest = 0;
        loop {
            match bits.symbol(literals) {
                256 => return farthest,
                0..=255 => {}
                length => {
                    bits.take(LENGTHS[length - 257].1);
                    let symbol = bits.symbol(distances);
                    let extra = (symbol as u32 / 2).saturating_sub(1);
                    let base = if symbol < 2 { symbol } else { (2 + symbol % 2) << extra };
                    farthest = farthest.max(1 + base + bits.take(extra));
                }
            }
        }
    }

    struct Bits<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Bits<'_> {
        fn take(&mut self, count: u32) -> usize {
            (0..count).fold(0, |value, place| {
                let bit = usize::from(self.bytes[self.at / 8] >> (self.at % 8) & 1);
                self.at += 1;
                value | bit << place
            })
        }

        /// Canonical Huffman decoding, a bit at a time.
        fn symbol(&mut self, code: &Code) -> usize {
            let (mut word, mut first, mut at) = (0, 0, 0);
            for count in &code.counts[1..] {
                word |= self.take(1);
                if word < first + count {
                    return code.symbols[at + word - first];
                }
                at += count;
                first = (first + count) << 1;
                word <<= 1;
            }
            panic!("no such code")
        }
    }

    struct Code {
        /// How many symbols have each length, in bits.
        counts: [usize; 16],
        /// The symbols that have one, by length.
        symbols: Vec<usize>,
    }

    impl Code {
        fn new(lengths: &[u8]) -> Self {
            let mut counts = [0; 16];
            lengths.iter().filter(|&&length| length > 0).for_each(|&length| counts[usize::from(length)] += 1);
            let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&at| lengths[at] > 0).collect();
            symbols.sort_by_key(|&at| lengths[at]);
            Self { counts, symbols }
        }
    }
}
