//! Compresses single messages (RFC 7692 §7.2.1), without a window that outlives a message.

use flate2::{Compress, Compression, FlushCompress};

/// The end of a flushed stream, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The smallest window that zlib compresses raw streams with, in bits.
const WINDOW_BITS_MIN: u8 = 9;

/// The largest window of deflate, in bits.
const WINDOW_BITS_MAX: u8 = 15;

/// Compresses messages one at a time; a shard owns one for all its sessions.
#[derive(Debug)]
pub struct Deflater {
    level: Compression,
    /// One compressor for each size of window from 9 to 15 bits, made at first use.
    streams: [Option<Compress>; (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize],
}

impl Deflater {
    /// A compressor of `level` (1 to 9); windows are made at first use.
    pub fn new(level: u32) -> Self {
        Self { level: Compression::new(level), streams: Default::default() }
    }

    /// Appends the payload of the compressed message to `packed`, without head and without the tail `00 00 ff ff`.
    /// `false`: the message did not get smaller within `window_bits`, and `packed` is unchanged. The message is then sent uncompressed.
    ///
    /// A window of 8 bits is served by a compressor of 9: zlib uses no distance above its window less 262 bytes
    /// (the longest match and its lookahead), so 250 bytes where 256 are allowed. A test reads the distances.
    pub fn compress(&mut self, message: &[u8], window_bits: u8, packed: &mut Vec<u8>) -> bool {
        let start = packed.len();
        // Room for a result that is one byte too long: a message that fills it did not get smaller.
        if self.flush(message, window_bits, packed, message.len() + TAIL.len()) && packed.len() - start < message.len() {
            return true;
        }
        packed.truncate(start);
        false
    }

    /// Does what [`Self::compress`] does, even if the result is longer than the message: an echo is compressed if the client's message was.
    pub fn compress_always(&mut self, message: &[u8], window_bits: u8, packed: &mut Vec<u8>) -> bool {
        let start = packed.len();
        // Nine bits for a literal are the most that deflate writes, and each flush and block has a few bytes of its own.
        let flushed = self.flush(message, window_bits, packed, message.len() + message.len() / 8 + message.len() / 64 + 64);
        if !flushed {
            packed.truncate(start);
        }
        flushed
    }

    /// Appends the flushed stream without its tail, if the stream fits `room` bytes or the free capacity of `packed`.
    fn flush(&mut self, message: &[u8], window_bits: u8, packed: &mut Vec<u8>, room: usize) -> bool {
        if !(8..=WINDOW_BITS_MAX).contains(&window_bits) {
            return false;
        }
        let window_bits = window_bits.max(WINDOW_BITS_MIN);
        let stream = self.streams[usize::from(window_bits - WINDOW_BITS_MIN)]
            .get_or_insert_with(|| Compress::new_with_window_bits(self.level, false, window_bits));
        stream.reset();
        let start = packed.len();
        packed.reserve(room);
        let flushed = stream.compress_vec(message, packed, FlushCompress::Sync).is_ok()
            && stream.total_in() == message.len() as u64
            && packed.len() < packed.capacity()
            && packed[start..].ends_with(&TAIL);
        if flushed {
            packed.truncate(packed.len() - TAIL.len());
        }
        flushed
    }
}

#[cfg(test)]
mod tests;
