//! Compression of one message for all its subscribers (RFC 7692 §7.2.1), without a window that outlives it.

/// Compresses messages one at a time; a shard owns one for all its sessions.
#[derive(Debug)]
pub struct Deflater {}

impl Deflater {
    /// A compressor of `level` (1 to 9); windows are made at first use.
    pub fn new(_level: u32) -> Self {
        unimplemented!()
    }

    /// Appends the payload of a compressed message (without head, tail `00 00 ff ff` taken off) to `packed`.
    /// `false`, with `packed` as it was, if it could not be done within `window_bits` or did not get smaller; then the message goes plain.
    pub fn compress(&mut self, _message: &[u8], _window_bits: u8, _packed: &mut Vec<u8>) -> bool {
        unimplemented!()
    }
}
