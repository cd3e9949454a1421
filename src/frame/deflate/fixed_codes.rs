//! Deflate's fixed Huffman codes (RFC 1951 §3.2.6), as bits in the order in which they are sent.

/// The longest match of deflate, in bytes.
pub(super) const MATCH_BYTES_MAX: usize = 258;

/// The most bits of a distance: its code and its extra bits.
pub(super) const DISTANCE_BITS_MAX: u32 = 5 + 13;

/// The bits of the end of a block.
pub(super) const END_OF_BLOCK: Code = Code { bits: 0, count: 7 };

/// A sequence of bits. The lowest bit is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub bits: u32,
    pub count: u32,
}

/// RFC 1951 §3.2.5: the shortest match of each code of a length, from code 257 on.
const LENGTH_BASES: [usize; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];

/// RFC 1951 §3.2.5: the extra bits of each code of a length.
const LENGTH_EXTRA_BITS: [u32; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

const LITERALS: [Code; 256] = {
    let mut codes = [END_OF_BLOCK; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte] = if byte < 144 { huffman(0x30 + byte as u32, 8) } else { huffman(0x190 + byte as u32 - 144, 9) };
        byte += 1;
    }
    codes
};

/// The code of each length of a match. Lengths below 3 have no code.
const LENGTHS: [Code; MATCH_BYTES_MAX + 1] = {
    let mut codes = [END_OF_BLOCK; MATCH_BYTES_MAX + 1];
    let mut length = 3;
    while length <= MATCH_BYTES_MAX {
        let mut class = LENGTH_BASES.len() - 1;
        while LENGTH_BASES[class] > length {
            class -= 1;
        }
        let symbol = 257 + class as u32;
        let Code { bits, count } = if symbol < 280 { huffman(symbol - 256, 7) } else { huffman(0xc0 + symbol - 280, 8) };
        let extra = (length - LENGTH_BASES[class]) as u32;
        codes[length] = Code { bits: bits | extra << count, count: count + LENGTH_EXTRA_BITS[class] };
        length += 1;
    }
    codes
};

const DISTANCE_SYMBOLS: [u32; 30] = {
    let mut bits = [0; 30];
    let mut symbol = 0;
    while symbol < 30 {
        bits[symbol] = huffman(symbol as u32, 5).bits;
        symbol += 1;
    }
    bits
};

/// Reverses a Huffman code, which is sent from its highest bit on (RFC 1951 §3.1.1).
const fn huffman(code: u32, count: u32) -> Code {
    Code { bits: code.reverse_bits() >> (32 - count), count }
}

/// The code of a literal byte.
pub(super) fn literal(byte: u8) -> Code {
    LITERALS[usize::from(byte)]
}

/// The length of a match, 3 to 258 bytes, without its distance.
pub(super) fn length(bytes: usize) -> Code {
    debug_assert!((3..=MATCH_BYTES_MAX).contains(&bytes));
    LENGTHS[bytes.min(MATCH_BYTES_MAX)]
}

/// A distance, 1 to 32,768 bytes (RFC 1951 §3.2.5: two codes for each power of two, then extra bits).
#[inline]
pub(super) fn distance(bytes: u32) -> Code {
    debug_assert!((1..=1 << 15).contains(&bytes));
    let from_zero = bytes.wrapping_sub(1) & 0x7fff;
    let (symbol, extra, extra_bits) = if from_zero < 4 {
        (from_zero, 0, 0)
    } else {
        let top = 31 - from_zero.leading_zeros();
        (2 * top + (from_zero >> (top - 1) & 1), from_zero & ((1 << (top - 1)) - 1), top - 1)
    };
    Code { bits: DISTANCE_SYMBOLS[symbol as usize] | extra << 5, count: 5 + extra_bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951 §3.2.5, §3.2.6: the ends of the ranges in the RFC's tables.
    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(literal(0), huffman(0b0011_0000, 8));
        assert_eq!(literal(143), huffman(0b1011_1111, 8));
        assert_eq!(literal(144), huffman(0b1_1001_0000, 9));
        assert_eq!(literal(255), huffman(0b1_1111_1111, 9));
        assert_eq!(length(3), huffman(1, 7));
        assert_eq!(length(258), huffman(0b1100_0101, 8));
        assert_eq!(length(257).count, 8 + 5);
        assert_eq!(distance(1), huffman(0, 5));
        assert_eq!(distance(4), huffman(3, 5));
        assert_eq!(distance(24_577), huffman(29, 5).with_extra_bits(13));
        assert_eq!(distance(32_768).count, DISTANCE_BITS_MAX);
    }

    impl Code {
        fn with_extra_bits(self, more: u32) -> Self {
            Self { count: self.count + more, ..self }
        }
    }
}
