//! An inflater for tests with a window of exactly the given size (RFC 1951 §3.2). Inflaters of libraries accept distances into all of the
//! output that they still hold. This inflater refuses distances beyond the window.

use flate2::{Decompress, FlushDecompress};

const LENGTH_BASES: [usize; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA_BITS: [u32; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The end of a flushed stream, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A client that keeps its window. Each message is inflated by zlib and by [`ExactInflater`].
pub struct Client {
    exact: ExactInflater,
    /// zlib's, which has no window of 8 bits.
    zlib: Option<Decompress>,
}

impl Client {
    /// A client with nothing in its window.
    pub fn new(window_bits: u8) -> Self {
        let zlib = (window_bits > 8).then(|| Decompress::new_with_window_bits(false, window_bits));
        Self { exact: ExactInflater::new(window_bits), zlib }
    }

    /// Inflates a message. An error: an inflater refuses the message, or the results differ.
    pub fn read(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let exact = self.exact.inflate(payload)?;
        let Some(zlib) = &mut self.zlib else { return Ok(exact) };
        let stream = [payload, &TAIL].concat();
        let mut plain = Vec::with_capacity(exact.len() + 64);
        zlib.decompress_vec(&stream, &mut plain, FlushDecompress::Sync).map_err(|error| error.to_string())?;
        if plain == exact { Ok(plain) } else { Err("zlib reads something else".to_owned()) }
    }

    /// Whether the last message refers to an earlier one.
    pub fn refers(&self) -> bool {
        self.exact.refers
    }
}

/// The inflater of one client, with its earlier output.
pub struct ExactInflater {
    window_bytes: usize,
    /// The output of earlier messages that may be referred to, and that of this message.
    output: Vec<u8>,
    /// The bytes of earlier messages in `output`.
    kept: usize,
    farthest: usize,
    /// Whether the last message referred to an earlier one.
    refers: bool,
}

impl ExactInflater {
    /// An inflater with nothing in its window.
    pub fn new(window_bits: u8) -> Self {
        Self { window_bytes: 1 << window_bits, output: Vec::new(), kept: 0, farthest: 0, refers: false }
    }

    /// The largest distance in `payload`, a message without references.
    pub fn farthest(payload: &[u8]) -> usize {
        let mut inflater = Self::new(15);
        inflater.inflate(payload).unwrap();
        inflater.farthest
    }

    /// Inflates one message without its tail. The error names what a client would refuse.
    pub fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let kept = self.output.len().min(self.window_bytes);
        self.output.drain(..self.output.len() - kept);
        (self.kept, self.refers) = (kept, false);
        let stream = [payload, &TAIL].concat();
        let mut bits = Bits { bytes: &stream, at: 0 };
        while bits.at < 8 * payload.len() {
            if bits.take(1)? != 0 {
                return Err("a last block in a flushed stream".to_owned());
            }
            match bits.take(2)? {
                0 => self.stored(&mut bits)?,
                1 => self.block(&mut bits, &Code::new(&fixed()), &Code::new(&[5; 30]))?,
                2 => {
                    let (literals, distances) = tables(&mut bits)?;
                    self.block(&mut bits, &literals, &distances)?;
                }
                _ => return Err("a block of type 3".to_owned()),
            }
        }
        if bits.at != 8 * stream.len() {
            return Err(format!("the stream ends at bit {} of {}", bits.at, 8 * stream.len()));
        }
        Ok(self.output[kept..].to_vec())
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Result<(), String> {
        bits.at = bits.at.next_multiple_of(8);
        let (length, complement) = (bits.take(16)?, bits.take(16)?);
        if length != !complement & 0xffff {
            return Err("a stored block whose lengths differ".to_owned());
        }
        for _ in 0..length {
            let byte = bits.take(8)?;
            self.output.push(byte as u8);
        }
        Ok(())
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Code, distances: &Code) -> Result<(), String> {
        loop {
            match bits.symbol(literals)? {
                256 => return Ok(()),
                byte @ 0..=255 => self.output.push(byte as u8),
                length => {
                    let base = *LENGTH_BASES.get(length - 257).ok_or("no such length")?;
                    let length = base + bits.take(LENGTH_EXTRA_BITS[length - 257])?;
                    let symbol = bits.symbol(distances)?;
                    let extra = (symbol as u32 / 2).saturating_sub(1);
                    let base = if symbol < 2 { symbol } else { (2 + symbol % 2) << extra };
                    self.copy(length, 1 + base + bits.take(extra)?)?;
                }
            }
        }
    }

    fn copy(&mut self, length: usize, distance: usize) -> Result<(), String> {
        if distance > self.window_bytes.min(self.output.len()) {
            return Err(format!("a distance of {distance}, with {} bytes inflated", self.output.len()));
        }
        self.farthest = self.farthest.max(distance);
        self.refers |= distance > self.output.len() - self.kept;
        for _ in 0..length {
            self.output.push(self.output[self.output.len() - distance]);
        }
        Ok(())
    }
}

fn fixed() -> Vec<u8> {
    let length = |symbol| match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    };
    (0..288).map(length).collect()
}

fn tables(bits: &mut Bits<'_>) -> Result<(Code, Code), String> {
    let (literals, distances, codes) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut code_lengths = [0; 19];
    for &at in &ORDER[..codes] {
        code_lengths[at] = bits.take(3)? as u8;
    }
    let code_lengths = Code::new(&code_lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match bits.symbol(&code_lengths)? {
            16 => (*lengths.last().ok_or("nothing to repeat")?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    let distances = lengths.split_off(literals);
    Ok((Code::new(&lengths), Code::new(&distances)))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<usize, String> {
        (0..count).try_fold(0, |value, place| {
            let byte = *self.bytes.get(self.at / 8).ok_or("the stream ends within a block")?;
            let bit = usize::from(byte >> (self.at % 8) & 1);
            self.at += 1;
            Ok(value | bit << place)
        })
    }

    /// Canonical Huffman decoding, a bit at a time.
    fn symbol(&mut self, code: &Code) -> Result<usize, String> {
        let (mut word, mut first, mut at) = (0, 0, 0);
        for count in &code.counts[1..] {
            word |= self.take(1)?;
            if word < first + count {
                return Ok(code.symbols[at + word - first]);
            }
            at += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        Err("no such code".to_owned())
    }
}

struct Code {
    /// The number of symbols of each code length, which is in bits.
    counts: [usize; 16],
    /// The symbols in the order of their code lengths.
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
