//! Inflating what a server compressed (RFC 7692), cheaply: the frame that came before is often the same frame.

use flate2::{Decompress, FlushDecompress, Status};

/// The four bytes that end each message's deflate stream and do not travel (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// One inflater for all sessions whose server keeps no window.
///
/// A gateway that compresses once for all sends the same bytes to each subscriber, so the last result is kept and a frame that is
/// equal to it costs a comparison.
#[derive(Debug)]
pub struct Inflater {
    state: Decompress,
    source: Vec<u8>,
    plain: Vec<u8>,
}

/// The bytes were no deflate stream, or too many.
#[derive(Debug, thiserror::Error)]
#[error("a compressed message can't be inflated")]
pub struct BadDeflate;

impl Inflater {
    /// With an empty window.
    pub fn new() -> Self {
        Self { state: Decompress::new(false), source: Vec::new(), plain: Vec::new() }
    }

    /// Inflates one message.
    pub fn inflate(&mut self, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        if self.source != deflated || self.plain.is_empty() {
            self.source.clear();
            self.source.extend_from_slice(deflated);
            self.state.reset(false);
            let inflated = self.run();
            if inflated.is_err() {
                self.source.clear();
            }
            inflated?;
        }
        Ok(&self.plain)
    }

    fn run(&mut self) -> Result<(), BadDeflate> {
        self.plain.clear();
        for piece in [&self.source[..], &TAIL[..]] {
            let mut taken = 0;
            loop {
                self.plain.reserve(piece.len() * 4 + 1024);
                let before = self.state.total_in();
                let status = self.state.decompress_vec(&piece[taken..], &mut self.plain, FlushDecompress::Sync).map_err(|_| BadDeflate)?;
                taken += (self.state.total_in() - before) as usize;
                if status == Status::StreamEnd || (taken == piece.len() && self.plain.len() < self.plain.capacity()) {
                    break;
                }
                if self.plain.len() > 64 << 20 {
                    return Err(BadDeflate);
                }
            }
        }
        Ok(())
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + 64);
        Compress::new(Compression::fast(), false).compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn each_message_stands_alone() {
        let mut inflater = Inflater::new();
        for plain in [&b"first first first"[..], b"second", &[b'x'; 100_000], b"first first first"] {
            let deflated = deflate(plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain, "the same frame again");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Inflater::new().inflate(&[0xff; 20]).is_err());
    }
}
