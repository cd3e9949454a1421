//! Inflating what a server compressed (RFC 7692), cheaply: most frames have come before, to another session.

use std::collections::{HashMap, VecDeque};

use flate2::{Decompress, FlushDecompress, Status};

/// The four bytes that end each message's deflate stream and do not travel (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest message that is inflated.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// How many results are kept; a subscriber that lags has this many messages to catch up with.
const KEPT_MAX: usize = 1024;

/// The inflater of all sessions.
///
/// A gateway that compresses once for all sends the same bytes to each subscriber whose window it does not count on, so results are
/// kept, and a frame that was seen before costs a look-up. What refers to earlier messages is inflated in the session's own window.
#[derive(Debug)]
pub struct Inflater {
    state: Decompress,
    kept: HashMap<Box<[u8]>, Box<[u8]>, foldhash::fast::FixedState>,
    /// The keys in the order in which they came.
    order: VecDeque<Box<[u8]>>,
    plain: Vec<u8>,
}

/// What one session has inflated, the newest 32 KiB of it (RFC 7692 §7.2.2).
#[derive(Debug)]
pub struct Window(Decompress);

/// The bytes were no deflate stream, or too many.
#[derive(Debug, thiserror::Error)]
#[error("a compressed message can't be inflated")]
pub struct BadDeflate;

impl Inflater {
    /// With nothing kept.
    pub fn new() -> Self {
        Self { state: Decompress::new(false), kept: HashMap::default(), order: VecDeque::new(), plain: Vec::new() }
    }

    /// Inflates a message that stands alone.
    pub fn inflate(&mut self, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        if !self.kept.contains_key(deflated) {
            self.state.reset(false);
            run(&mut self.state, deflated, &mut self.plain)?;
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

    /// Inflates a message that may refer to what `window` has, and adds it there.
    pub fn inflate_in(&mut self, window: &mut Window, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        run(&mut window.0, deflated, &mut self.plain)?;
        Ok(&self.plain)
    }
}

impl Window {
    /// Nothing inflated yet.
    pub fn new() -> Self {
        Self(Decompress::new(false))
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

fn run(state: &mut Decompress, deflated: &[u8], plain: &mut Vec<u8>) -> Result<(), BadDeflate> {
    plain.clear();
    for piece in [deflated, &TAIL[..]] {
        let mut taken = 0;
        loop {
            plain.reserve(piece.len() * 4 + 1024);
            let before = state.total_in();
            let status = state.decompress_vec(&piece[taken..], plain, FlushDecompress::Sync).map_err(|_| BadDeflate)?;
            taken += (state.total_in() - before) as usize;
            if status == Status::StreamEnd || (taken == piece.len() && plain.len() < plain.capacity()) {
                break;
            }
            if plain.len() > PLAIN_BYTES_MAX {
                return Err(BadDeflate);
            }
        }
    }
    Ok(())
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

    /// RFC 7692 §7.2.3.2: with a window that is kept the same message again is a reference, which means nothing in another window.
    #[test]
    fn a_message_may_refer_to_an_earlier_one_of_its_window() {
        let mut compress = Compress::new(Compression::fast(), false);
        let mut next = |plain: &[u8]| {
            let mut out = Vec::with_capacity(plain.len() + 64);
            compress.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - TAIL.len());
            out
        };
        let (first, again) = (next(b"first, not like others"), next(b"first, not like others"));
        assert!(again.len() < first.len());
        let (mut inflater, mut window) = (Inflater::new(), Window::new());
        assert_eq!(inflater.inflate_in(&mut window, &first).unwrap(), b"first, not like others");
        assert_eq!(inflater.inflate_in(&mut window, &again).unwrap(), b"first, not like others");
        assert!(inflater.inflate_in(&mut Window::new(), &again).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Inflater::new().inflate(&[0xff; 20]).is_err());
    }
}
