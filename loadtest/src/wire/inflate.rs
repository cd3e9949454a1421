//! Inflating what a server compressed (RFC 7692), cheaply: most frames have come before, to another session.

use std::collections::{HashMap, VecDeque};

use flate2::{Decompress, FlushDecompress, Status};

/// The four bytes that end each message's deflate stream and do not travel (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest message that is inflated.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// How many results are kept; a subscriber that lags has this many messages to catch up with.
const KEPT_MAX: usize = 1024;

/// One inflater for all sessions whose server keeps no window.
///
/// A gateway that compresses once for all sends the same bytes to each subscriber, so results are kept, and a frame that was seen
/// before costs a look-up.
#[derive(Debug)]
pub struct Inflater {
    state: Decompress,
    kept: HashMap<Box<[u8]>, Box<[u8]>, foldhash::fast::FixedState>,
    /// The keys in the order in which they came.
    order: VecDeque<Box<[u8]>>,
    plain: Vec<u8>,
}

/// The bytes were no deflate stream, or too many.
#[derive(Debug, thiserror::Error)]
#[error("a compressed message can't be inflated")]
pub struct BadDeflate;

impl Inflater {
    /// With an empty window.
    pub fn new() -> Self {
        Self { state: Decompress::new(false), kept: HashMap::default(), order: VecDeque::new(), plain: Vec::new() }
    }

    /// Inflates one message.
    pub fn inflate(&mut self, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        if !self.kept.contains_key(deflated) {
            self.run(deflated)?;
            if self.order.len() == KEPT_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.kept.remove(&oldest);
            }
            self.order.push_back(deflated.into());
            self.kept.insert(deflated.into(), self.plain.as_slice().into());
        }
        Ok(&self.kept[deflated])
    }

    fn run(&mut self, deflated: &[u8]) -> Result<(), BadDeflate> {
        self.state.reset(false);
        self.plain.clear();
        for piece in [deflated, &TAIL[..]] {
            let mut taken = 0;
            loop {
                self.plain.reserve(piece.len() * 4 + 1024);
                let before = self.state.total_in();
                let status = self.state.decompress_vec(&piece[taken..], &mut self.plain, FlushDecompress::Sync).map_err(|_| BadDeflate)?;
                taken += (self.state.total_in() - before) as usize;
                if status == Status::StreamEnd || (taken == piece.len() && self.plain.len() < self.plain.capacity()) {
                    break;
                }
                if self.plain.len() > PLAIN_BYTES_MAX {
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
