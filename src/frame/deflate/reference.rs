//! Compression of a message against an earlier one, without a window on this side (RFC 1951, RFC 7692 §7.2.1).
//!
//! A back-reference of deflate is a distance in the receiver's inflated data. So a message is parsed once against an earlier one, and the
//! outputs for several receivers differ only in the distances. These depend on the bytes that a receiver has inflated since the earlier
//! message began.

use super::fixed_codes::{Code, DISTANCE_BITS_MAX, END_OF_BLOCK, MATCH_BYTES_MAX, distance, length, literal};

/// The largest window of deflate, in bytes. Neither message may be longer.
pub const REFERENCE_BYTES_MAX: usize = 1 << 15;

/// The shortest match, in bytes. Shorter ones take more bits than literals.
const MATCH_BYTES_MIN: usize = 4;

/// A match of at least this number of bytes is used without trying the next position.
const GOOD_MATCH_BYTES: usize = 16;

/// The most positions in the reference that are tried for one position, beside the one behind the last match.
const CANDIDATES_MAX: usize = 8;

/// The number of hash chains, a power of two.
const CHAINS: usize = 1 << CHAIN_BITS;
const CHAIN_BITS: u32 = 9;

/// A block with fixed Huffman codes that is not the last: BFINAL 0, BTYPE 01 (RFC 1951 §3.2.3).
const FIXED_BLOCK: Code = Code { bits: 0b010, count: 3 };

/// The beginning of an empty stored block, whose rest is the tail that is not sent (RFC 7692 §7.2.1).
const STORED_BLOCK: Code = Code { bits: 0, count: 3 };

/// The most bits that a piece holds.
const PIECE_BITS_MAX: u32 = 48;

/// Parses messages against earlier ones. Its memory is used again by each call.
#[derive(Debug)]
pub struct ReferenceParser {
    /// By the hash of 4 bytes, their last position in the reference, counted from 1; 0: none.
    last: Box<[u16; CHAINS]>,
    /// For each position in the reference, the one before it with the same hash, counted from 1.
    before: Vec<u16>,
}

/// A message as literals and matches in an earlier one.
#[derive(Debug)]
pub struct ParsedMessage {
    pieces: Vec<Piece>,
    /// The bits of all pieces, without the distances.
    bits: usize,
    /// How many pieces end with a distance.
    matches: usize,
}

/// Bits that are the same for all receivers, and a distance behind them.
#[derive(Debug, Clone, Copy)]
struct Piece {
    bits: u64,
    count: u8,
    /// Whether a distance follows.
    is_match: bool,
    /// The distance minus the bytes that the receiver has inflated since the earlier message began.
    shift: i32,
}

impl Default for ReferenceParser {
    fn default() -> Self {
        Self { last: Box::new([0; CHAINS]), before: Vec::new() }
    }
}

impl ReferenceParser {
    /// `message` as literals and matches in `reference`. The cost is bounded by a few comparisons of 258 bytes for each byte.
    /// `None`: one of them is longer than [`REFERENCE_BYTES_MAX`].
    pub fn parse(&mut self, reference: &[u8], message: &[u8]) -> Option<ParsedMessage> {
        if reference.len().max(message.len()) > REFERENCE_BYTES_MAX {
            return None;
        }
        self.index(reference);
        let mut writer = PieceWriter::new();
        let (mut at, mut shift) = (0, 0);
        while let Some(&byte) = message.get(at) {
            let mut found = self.longest(reference, message, at, shift, MATCH_BYTES_MIN - 1);
            if found.bytes == 0 {
                writer.push(literal(byte));
                at += 1;
                continue;
            }
            if found.bytes < GOOD_MATCH_BYTES {
                let next = self.longest(reference, message, at + 1, shift, found.bytes);
                if next.bytes > 0 {
                    writer.push(literal(byte));
                    at += 1;
                    found = next;
                }
            }
            shift = at as i32 - found.place as i32;
            writer.push_match(found.bytes, shift);
            at += found.bytes;
        }
        Some(writer.finish())
    }

    /// Notes where each 4 bytes of `reference` are.
    fn index(&mut self, reference: &[u8]) {
        self.last.fill(0);
        self.before.clear();
        for (place, four) in reference.windows(4).enumerate() {
            let last = &mut self.last[chain(four)];
            self.before.push(*last);
            *last = (place + 1) as u16;
        }
    }

    /// The longest match for `message` from `at` on, if it is longer than `least`. The position with the `shift` of the last match is tried
    /// first: it continues that match behind a change of equal length.
    fn longest(&self, reference: &[u8], message: &[u8], at: usize, shift: i32, least: usize) -> Match {
        let Some(wanted) = message.get(at..).filter(|wanted| wanted.len() >= MATCH_BYTES_MIN) else { return Match::default() };
        let mut best = Match { bytes: least, place: 0 };
        let mut found = false;
        let mut consider = |place: usize| {
            let bytes = reference.get(place..).map_or(0, |there| common(there, wanted));
            if bytes > best.bytes {
                best = Match { bytes, place };
                found = true;
            }
        };
        if let Ok(place) = usize::try_from(at as i32 - shift) {
            consider(place);
        }
        let mut next = self.last[chain(wanted)];
        for _ in 0..CANDIDATES_MAX {
            let Some(place) = usize::from(next).checked_sub(1) else { break };
            consider(place);
            next = self.before.get(place).copied().unwrap_or(0);
        }
        if found { best } else { Match::default() }
    }
}

/// A match with the reference at `place`; 0 bytes: none.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    bytes: usize,
    place: usize,
}

/// The hash chain of 4 bytes.
fn chain(bytes: &[u8]) -> usize {
    let four = bytes.first_chunk().copied().map_or(0, u32::from_le_bytes);
    (four.wrapping_mul(0x9e37_79b1) >> (32 - CHAIN_BITS)) as usize
}

/// The length of the common beginning, at most that of a match.
fn common(one: &[u8], other: &[u8]) -> usize {
    let most = one.len().min(other.len()).min(MATCH_BYTES_MAX);
    let (one, other) = (&one[..most], &other[..most]);
    let (eights, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    for (index, (eight, other)) in eights.iter().zip(others).enumerate() {
        let different = u64::from_le_bytes(*eight) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return 8 * index + (different.trailing_zeros() / 8) as usize;
        }
    }
    let even = 8 * eights.len();
    even + one[even..].iter().zip(&other[even..]).take_while(|(one, other)| one == other).count()
}

impl ParsedMessage {
    /// The most bytes that [`Self::write`] appends, whatever the distance.
    pub fn bytes_max(&self) -> usize {
        (self.bits + self.matches * DISTANCE_BITS_MAX as usize).div_ceil(8)
    }

    /// Appends the payload of the compressed message, without head and tail `00 00 ff ff`, for a receiver that has inflated `inflated` bytes
    /// since the earlier message began, which are counted with that message. `inflated` plus the length of this message must not exceed the
    /// receiver's window.
    #[inline]
    pub fn write(&self, inflated: u32, payload: &mut Vec<u8>) {
        let start = payload.len();
        payload.resize(start + self.bytes_max() + STORE_BYTES, 0);
        let mut writer = BitWriter { room: &mut payload[start..], bytes: 0, bits: 0, count: 0 };
        for piece in &self.pieces {
            writer.push(piece.bits, u32::from(piece.count));
            if piece.is_match {
                let Code { bits, count } = distance(inflated.wrapping_add_signed(piece.shift));
                writer.push(u64::from(bits), count);
            }
        }
        let written = writer.finish();
        payload.truncate(start + written);
    }
}

/// Collects pieces.
struct PieceWriter {
    parsed: ParsedMessage,
    bits: u64,
    count: u32,
}

impl PieceWriter {
    fn new() -> Self {
        let parsed = ParsedMessage { pieces: Vec::with_capacity(24), bits: 0, matches: 0 };
        let mut writer = Self { parsed, bits: 0, count: 0 };
        writer.push(FIXED_BLOCK);
        writer
    }

    fn push(&mut self, code: Code) {
        if self.count + code.count > PIECE_BITS_MAX {
            self.end_piece(false, 0);
        }
        self.bits |= u64::from(code.bits) << self.count;
        self.count += code.count;
    }

    fn push_match(&mut self, bytes: usize, shift: i32) {
        self.push(length(bytes));
        self.end_piece(true, shift);
        self.parsed.matches += 1;
    }

    fn end_piece(&mut self, is_match: bool, shift: i32) {
        self.parsed.pieces.push(Piece { bits: self.bits, count: self.count as u8, is_match, shift });
        self.parsed.bits += self.count as usize;
        (self.bits, self.count) = (0, 0);
    }

    fn finish(mut self) -> ParsedMessage {
        self.push(END_OF_BLOCK);
        self.push(STORED_BLOCK);
        self.end_piece(false, 0);
        self.parsed
    }
}

/// The bytes that [`BitWriter`] stores at once.
const STORE_BYTES: usize = size_of::<u64>();

/// Puts bits into bytes, the first one lowest in its byte (RFC 1951 §3.1.1). It stores all bits that wait at each push, whole bytes or
/// not, which spares a branch.
struct BitWriter<'a> {
    /// Ends at least [`STORE_BYTES`] behind the last byte.
    room: &'a mut [u8],
    /// Whole bytes so far.
    bytes: usize,
    bits: u64,
    /// How many bits wait; fewer than 8 between two calls.
    count: u32,
}

impl BitWriter<'_> {
    /// At most [`PIECE_BITS_MAX`] bits.
    #[inline]
    fn push(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        if let Some(room) = self.room.get_mut(self.bytes..self.bytes + STORE_BYTES) {
            room.copy_from_slice(&self.bits.to_le_bytes());
        }
        self.bytes += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    /// Pads the last byte. Returns the number of bytes.
    fn finish(self) -> usize {
        self.bytes + usize::from(self.count > 0)
    }
}

#[cfg(test)]
mod tests;
