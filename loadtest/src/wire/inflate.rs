//! Inflates messages (RFC 7692) with a cache, because most frames were inflated before for another session.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use foldhash::fast::FixedState;

/// The last four bytes of each message's deflate stream, which are not sent (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest inflated message, in bytes.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// The number of cached results. A subscriber that lags by more messages does not profit.
const KEPT_MAX: usize = 1024;
/// The largest number of kept streams. With more groups of sessions, streams are rebuilt from the texts.
const STREAMS_MAX: usize = 256;
/// The farthest that a message can refer back (RFC 1951 §3.2.5).
const WINDOW_BYTES: usize = 32 << 10;
/// The most bytes of a stored block (RFC 1951 §3.2.4).
const STORED_MAX: usize = 0xffff;

/// Identifies all that a session has inflated before a message. Sessions at the same point inflate the same bytes to
/// the same text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Point(u64);

/// The point before any message, and before each message without references. It is the default.
const EMPTY: Point = Point(0);

/// A cached message.
#[derive(Debug)]
struct Kept {
    at: Point,
    deflated: Box<[u8]>,
    text: Arc<[u8]>,
    /// The point of a session that has inflated the message.
    next: Point,
}

/// The inflater of all sessions.
///
/// A gateway that compresses once for all sends the same bytes to each subscriber with the same past. So results are
/// cached by point and bytes, and a repeated message costs a look-up.
#[derive(Debug, Default)]
pub struct Inflater {
    /// Allocated with the first message without references, so that an empty inflater costs nothing.
    state: Option<Decompress>,
    /// Results by the hash of point and bytes. If two messages have the same hash, the later one is kept.
    kept: HashMap<u64, Kept, FixedState>,
    /// The keys in order of insertion.
    order: VecDeque<u64>,
    /// The number of points that were assigned.
    points: u64,
    /// The streams at their points, the newest last. The first session with the next message continues the stream.
    streams: VecDeque<(Point, Decompress)>,
    plain: Vec<u8>,
    sharing: Sharing,
}

/// Whether sessions with windows receive the same bytes, as the first messages have shown.
#[derive(Debug, Default)]
struct Sharing {
    shared: u32,
    alone: u32,
}

impl Sharing {
    /// The number of messages that decide.
    const TRIED: u32 = 1024;

    /// If most messages come to one session only, look-ups cost more than they save.
    fn pays(&self) -> bool {
        self.alone < Self::TRIED || self.shared > self.alone
    }
}

/// The window of a session: the newest 32 KiB of inflated data (RFC 7692 §7.2.2).
#[derive(Debug, Default)]
pub struct Window {
    at: Point,
    /// The texts before the point, as far as a message can refer back.
    texts: VecDeque<Arc<[u8]>>,
    text_bytes: usize,
    /// The session's own stream, if sharing does not pay.
    own: Option<Decompress>,
}

/// The bytes are not a deflate stream, or the result is too large.
#[derive(Debug, thiserror::Error)]
#[error("a compressed message can't be inflated")]
pub struct BadDeflate;

impl Inflater {
    /// Inflates a message without references to earlier ones.
    pub fn inflate(&mut self, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        let key = self.key(EMPTY, deflated);
        if self.find(key, EMPTY, deflated).is_none() {
            let state = self.state.get_or_insert_with(|| Decompress::new(false));
            state.reset(false);
            run(state, deflated, &mut self.plain)?;
            self.keep(key, EMPTY, deflated);
        }
        Ok(&self.kept[&key].text)
    }

    /// Inflates a message that may refer to earlier ones in `window`, and adds it there.
    pub fn inflate_in(&mut self, window: &mut Window, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        if !self.sharing.pays() {
            run(window.own_stream()?, deflated, &mut self.plain)?;
            return Ok(&self.plain);
        }
        let key = self.key(window.at, deflated);
        if self.find(key, window.at, deflated).is_some() {
            self.sharing.shared = self.sharing.shared.saturating_add(1);
        } else {
            self.inflate_first(window, key, deflated)?;
            self.sharing.alone = self.sharing.alone.saturating_add(1);
        }
        let kept = &self.kept[&key];
        window.pass(kept);
        Ok(&kept.text)
    }

    /// Inflates a message that is not cached for this point.
    fn inflate_first(&mut self, window: &Window, key: u64, deflated: &[u8]) -> Result<(), BadDeflate> {
        let standing = self.streams.iter().rposition(|(at, _)| *at == window.at).and_then(|index| self.streams.remove(index));
        let mut stream = match standing {
            Some((_, stream)) => stream,
            None => window.stream()?,
        };
        run(&mut stream, deflated, &mut self.plain)?;
        if self.streams.len() == STREAMS_MAX {
            self.streams.pop_front();
        }
        let next = self.keep(key, window.at, deflated);
        self.streams.push_back((next, stream));
        Ok(())
    }

    fn key(&self, at: Point, deflated: &[u8]) -> u64 {
        self.kept.hasher().hash_one((at, deflated))
    }

    fn find(&self, key: u64, at: Point, deflated: &[u8]) -> Option<&Kept> {
        self.kept.get(&key).filter(|kept| kept.at == at && *kept.deflated == *deflated)
    }

    /// Caches the inflated text. Returns the point behind the message.
    fn keep(&mut self, key: u64, at: Point, deflated: &[u8]) -> Point {
        if self.order.len() == KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.points += 1;
        let next = Point(self.points);
        self.order.push_back(key);
        self.kept.insert(key, Kept { at, deflated: deflated.into(), text: self.plain.as_slice().into(), next });
        next
    }
}

impl Window {
    /// Adds a message that the session has received.
    fn pass(&mut self, message: &Kept) {
        self.at = message.next;
        self.text_bytes += message.text.len();
        self.texts.push_back(Arc::clone(&message.text));
        while let Some(oldest) = self.texts.front()
            && self.text_bytes - oldest.len() >= WINDOW_BYTES
        {
            self.text_bytes -= oldest.len();
            self.texts.pop_front();
        }
    }

    /// A stream at the session's point. It is fed the texts as stored blocks.
    fn stream(&self) -> Result<Decompress, BadDeflate> {
        let mut stream = Decompress::new(false);
        let (mut block, mut plain) = (Vec::new(), Vec::new());
        for part in self.texts.iter().flat_map(|text| text.chunks(STORED_MAX)) {
            let length = part.len() as u16;
            // BFINAL 0, BTYPE 00, and the length with its complement (RFC 1951 §3.2.4).
            block.clear();
            block.push(0);
            block.extend_from_slice(&length.to_le_bytes());
            block.extend_from_slice(&(!length).to_le_bytes());
            block.extend_from_slice(part);
            plain.clear();
            feed(&mut stream, &block, &mut plain)?;
        }
        Ok(stream)
    }

    /// The session's own stream; makes it at the first call.
    fn own_stream(&mut self) -> Result<&mut Decompress, BadDeflate> {
        if self.own.is_none() {
            self.own = Some(self.stream()?);
            self.texts = VecDeque::new();
        }
        self.own.as_mut().ok_or(BadDeflate)
    }
}

fn run(state: &mut Decompress, deflated: &[u8], plain: &mut Vec<u8>) -> Result<(), BadDeflate> {
    plain.clear();
    feed(state, deflated, plain)?;
    feed(state, &TAIL, plain)
}

/// Inflates `piece`, and appends the result to `plain`.
fn feed(state: &mut Decompress, piece: &[u8], plain: &mut Vec<u8>) -> Result<(), BadDeflate> {
    let mut consumed = 0;
    loop {
        plain.reserve(piece.len() * 4 + 1024);
        let before = state.total_in();
        let status = state.decompress_vec(&piece[consumed..], plain, FlushDecompress::Sync).map_err(|_| BadDeflate)?;
        consumed += (state.total_in() - before) as usize;
        if status == Status::StreamEnd || (consumed == piece.len() && plain.len() < plain.capacity()) {
            return Ok(());
        }
        if plain.len() > PLAIN_BYTES_MAX {
            return Err(BadDeflate);
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflate(plain: &[u8]) -> Vec<u8> {
        referring()(plain)
    }

    #[test]
    fn each_message_stands_alone() {
        let mut inflater = Inflater::default();
        for plain in [&b"first first first"[..], b"second", &[b'x'; 100_000], b"first first first"] {
            let deflated = deflate(plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain, "the same frame again");
        }
    }

    /// A compressor whose messages refer to earlier ones.
    fn referring() -> impl FnMut(&[u8]) -> Vec<u8> {
        let mut compress = Compress::new(Compression::fast(), false);
        move |plain: &[u8]| {
            let mut out = Vec::with_capacity(plain.len() + 64);
            compress.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - TAIL.len());
            out
        }
    }

    /// RFC 7692 §7.2.3.2: with a kept window, a repeated message is a reference, which is invalid in another window.
    #[test]
    fn a_message_may_refer_to_an_earlier_one_of_its_window() {
        let mut next = referring();
        let (first, again) = (next(b"first, not like others"), next(b"first, not like others"));
        assert!(again.len() < first.len());
        let (mut inflater, mut window) = (Inflater::default(), Window::default());
        assert_eq!(inflater.inflate_in(&mut window, &first).unwrap(), b"first, not like others");
        assert_eq!(inflater.inflate_in(&mut window, &again).unwrap(), b"first, not like others");
        assert!(inflater.inflate_in(&mut Window::default(), &again).is_err());
    }

    /// Sessions with the same past share results. A session that differs or lags has its own window.
    #[test]
    fn sessions_with_the_same_past_share_its_texts() {
        let text = |n: usize| format!("{{\"n\":{n},\"of\":\"all that are together\",\"pad\":\"{}\"}}", "x".repeat(n % 300));
        let (mut inflater, mut all, mut own) = (Inflater::default(), referring(), referring());
        let (mut together, mut parted, mut late): ([Window; 4], _, _) = Default::default();
        let mut missed = Vec::new();
        for n in 0..3 * KEPT_MAX / 2 {
            let (plain, apart) = (text(n), text(n + 7));
            let deflated = all(plain.as_bytes());
            for window in &mut together {
                assert_eq!(inflater.inflate_in(window, &deflated).unwrap(), plain.as_bytes());
            }
            let (deflated_apart, expected) = if n < 500 { (own(plain.as_bytes()), &plain) } else { (own(apart.as_bytes()), &apart) };
            assert_eq!(inflater.inflate_in(&mut parted, &deflated_apart).unwrap(), expected.as_bytes(), "{n}");
            missed.push((deflated, plain));
        }
        assert_eq!(inflater.sharing.shared, 3 * (3 * KEPT_MAX as u32 / 2) + 500, "what the first inflated was not inflated again");
        for (deflated, plain) in missed {
            assert_eq!(inflater.inflate_in(&mut late, &deflated).unwrap(), plain.as_bytes());
        }
    }

    /// If no two sessions receive the same messages, look-ups end, and sessions that shared results continue with their
    /// own streams.
    #[test]
    fn sharing_ends_where_it_does_not_pay() {
        let (mut inflater, mut common) = (Inflater::default(), referring());
        let (mut first, mut second) = (Window::default(), Window::default());
        let deflated = common(b"the same for both");
        inflater.inflate_in(&mut first, &deflated).unwrap();
        inflater.inflate_in(&mut second, &deflated).unwrap();
        let (mut single, mut alone) = (referring(), Window::default());
        for n in 0..=Sharing::TRIED {
            inflater.inflate_in(&mut alone, &single(format!("only here: {n}").as_bytes())).unwrap();
        }
        assert!(!inflater.sharing.pays());
        let deflated = common(b"the same for both, again");
        for window in [&mut first, &mut second] {
            assert_eq!(inflater.inflate_in(window, &deflated).unwrap(), b"the same for both, again");
        }
        assert!(second.own.is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Inflater::default().inflate(&[0xff; 20]).is_err());
    }
}
