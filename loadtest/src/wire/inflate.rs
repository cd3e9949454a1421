//! Inflates messages (RFC 7692) with a cache, because most frames were inflated before for another session.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use foldhash::fast::FixedState;

/// The last four bytes of each message's deflate stream, which are not sent (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest inflated message, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// The number of cached messages. A subscriber that lags by more messages does not profit.
const CACHED_MAX: usize = 1024;
/// The largest number of streams that wait for their next message. With more groups of sessions, streams are rebuilt from
/// the texts.
const STREAMS_MAX: usize = 256;
/// The farthest that a message can refer back (RFC 1951 §3.2.5).
const WINDOW_BYTES: usize = 32 << 10;
/// The most bytes of a stored block (RFC 1951 §3.2.4).
const STORED_MAX: usize = 0xffff;

/// Identifies all that a session has inflated before a message. Sessions with the same history inflate the same bytes to
/// the same text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct HistoryId(u64);

/// The history before any message, and before each message without references. It is the default.
const NO_HISTORY: HistoryId = HistoryId(0);

#[derive(Debug)]
struct CachedMessage {
    before: HistoryId,
    deflated: Box<[u8]>,
    text: Arc<[u8]>,
    /// The history of a session that has inflated the message.
    after: HistoryId,
}

/// The inflater of all sessions.
///
/// A gateway that compresses once for all sends the same bytes to each subscriber with the same history. So messages are
/// cached by history and bytes, and a repeated message costs a look-up.
#[derive(Debug, Default)]
pub struct Inflater {
    /// Allocated with the first message without references, so that an empty inflater costs nothing.
    single: Option<Decompress>,
    /// Messages by the hash of history and bytes. If two have the same hash, the later one is kept.
    cache: HashMap<u64, CachedMessage, FixedState>,
    /// The keys of the cache in order of insertion.
    order: VecDeque<u64>,
    /// The number of histories that have an id.
    histories: u64,
    /// The streams after their histories, the newest last. The first session with the next message continues the stream.
    streams: VecDeque<(HistoryId, Decompress)>,
    text: Vec<u8>,
    sharing: Sharing,
}

/// Whether sessions with windows receive the same bytes, as the first messages have shown.
#[derive(Debug, Default)]
struct Sharing {
    /// Messages that were cached.
    shared: u32,
    single: u32,
}

impl Sharing {
    /// The number of messages that decide.
    const SAMPLE: u32 = 1024;

    /// If most messages come to one session only, look-ups cost more than they save.
    fn is_worthwhile(&self) -> bool {
        self.single < Self::SAMPLE || self.shared > self.single
    }
}

/// The window of a session: the newest 32 KiB of inflated data (RFC 7692 §7.2.2).
#[derive(Debug, Default)]
pub struct Window {
    history: HistoryId,
    /// The texts of the history, as far as a message can refer back.
    texts: VecDeque<Arc<[u8]>>,
    text_bytes: usize,
    /// The session's own stream, if sharing is not worthwhile.
    own: Option<Decompress>,
}

/// The bytes are not a deflate stream, or the result is too large.
#[derive(Debug, thiserror::Error)]
#[error("a compressed message can't be inflated")]
pub struct BadDeflate;

impl Inflater {
    /// Inflates a message without references to earlier ones.
    pub fn inflate(&mut self, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        let key = self.key(NO_HISTORY, deflated);
        if !self.is_cached(key, NO_HISTORY, deflated) {
            let stream = self.single.get_or_insert_with(|| Decompress::new(false));
            stream.reset(false);
            inflate_message(stream, deflated, &mut self.text)?;
            self.cache_text(key, NO_HISTORY, deflated);
        }
        Ok(&self.cache[&key].text)
    }

    /// Inflates a message that may refer to earlier ones in `window`, and adds it there.
    pub fn inflate_in(&mut self, window: &mut Window, deflated: &[u8]) -> Result<&[u8], BadDeflate> {
        if !self.sharing.is_worthwhile() {
            inflate_message(window.own_stream()?, deflated, &mut self.text)?;
            return Ok(&self.text);
        }
        let key = self.key(window.history, deflated);
        if self.is_cached(key, window.history, deflated) {
            self.sharing.shared = self.sharing.shared.saturating_add(1);
        } else {
            self.inflate_first(window, key, deflated)?;
            self.sharing.single = self.sharing.single.saturating_add(1);
        }
        let message = &self.cache[&key];
        window.add(message);
        Ok(&message.text)
    }

    /// Inflates a message that is not cached for the window's history.
    fn inflate_first(&mut self, window: &Window, key: u64, deflated: &[u8]) -> Result<(), BadDeflate> {
        let waiting = self.streams.iter().rposition(|(history, _)| *history == window.history);
        let mut stream = match waiting.and_then(|index| self.streams.remove(index)) {
            Some((_, stream)) => stream,
            None => window.rebuild_stream()?,
        };
        inflate_message(&mut stream, deflated, &mut self.text)?;
        if self.streams.len() == STREAMS_MAX {
            self.streams.pop_front();
        }
        let after = self.cache_text(key, window.history, deflated);
        self.streams.push_back((after, stream));
        Ok(())
    }

    fn key(&self, history: HistoryId, deflated: &[u8]) -> u64 {
        self.cache.hasher().hash_one((history, deflated))
    }

    fn is_cached(&self, key: u64, history: HistoryId, deflated: &[u8]) -> bool {
        self.cache.get(&key).is_some_and(|message| message.before == history && *message.deflated == *deflated)
    }

    /// Caches the inflated text. Returns the history after the message.
    fn cache_text(&mut self, key: u64, before: HistoryId, deflated: &[u8]) -> HistoryId {
        if self.order.len() == CACHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.cache.remove(&oldest);
        }
        self.histories += 1;
        let after = HistoryId(self.histories);
        self.order.push_back(key);
        self.cache.insert(key, CachedMessage { before, deflated: deflated.into(), text: self.text.as_slice().into(), after });
        after
    }
}

impl Window {
    /// Adds a message that the session has received.
    fn add(&mut self, message: &CachedMessage) {
        self.history = message.after;
        self.text_bytes += message.text.len();
        self.texts.push_back(Arc::clone(&message.text));
        while let Some(oldest) = self.texts.front()
            && self.text_bytes - oldest.len() >= WINDOW_BYTES
        {
            self.text_bytes -= oldest.len();
            self.texts.pop_front();
        }
    }

    /// A stream after the session's history. It is fed the texts as stored blocks.
    fn rebuild_stream(&self) -> Result<Decompress, BadDeflate> {
        let mut stream = Decompress::new(false);
        let mut text = Vec::new();
        for part in self.texts.iter().flat_map(|text| text.chunks(STORED_MAX)) {
            let length = part.len() as u16;
            // BFINAL 0, BTYPE 00, and the length with its complement (RFC 1951 §3.2.4).
            let block = [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), part].concat();
            text.clear();
            feed(&mut stream, &block, &mut text)?;
        }
        Ok(stream)
    }

    /// The session's own stream; makes it at the first call.
    fn own_stream(&mut self) -> Result<&mut Decompress, BadDeflate> {
        let own = match self.own.take() {
            Some(own) => own,
            None => self.rebuild_stream()?,
        };
        self.texts = VecDeque::new();
        Ok(self.own.insert(own))
    }
}

/// Inflates one message in place of `text`.
fn inflate_message(stream: &mut Decompress, deflated: &[u8], text: &mut Vec<u8>) -> Result<(), BadDeflate> {
    text.clear();
    feed(stream, deflated, text)?;
    feed(stream, &TAIL, text)
}

/// Inflates `bytes`, and appends the result to `text`.
fn feed(stream: &mut Decompress, bytes: &[u8], text: &mut Vec<u8>) -> Result<(), BadDeflate> {
    let mut consumed = 0;
    loop {
        text.reserve(bytes.len() * 4 + 1024);
        let before = stream.total_in();
        let status = stream.decompress_vec(&bytes[consumed..], text, FlushDecompress::Sync).map_err(|_| BadDeflate)?;
        consumed += (stream.total_in() - before) as usize;
        if status == Status::StreamEnd || (consumed == bytes.len() && text.len() < text.capacity()) {
            return Ok(());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadDeflate);
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflate(plain: &[u8]) -> Vec<u8> {
        compressor()(plain)
    }

    #[test]
    fn messages_without_references_are_independent() {
        let mut inflater = Inflater::default();
        for plain in [&b"first first first"[..], b"second", &[b'x'; 100_000], b"first first first"] {
            let deflated = deflate(plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain);
            assert_eq!(inflater.inflate(&deflated).unwrap(), plain, "the same frame again");
        }
    }

    /// A compressor whose messages refer to earlier ones.
    fn compressor() -> impl FnMut(&[u8]) -> Vec<u8> {
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
        let mut next = compressor();
        let (first, again) = (next(b"first, not like others"), next(b"first, not like others"));
        assert!(again.len() < first.len());
        let (mut inflater, mut window) = (Inflater::default(), Window::default());
        assert_eq!(inflater.inflate_in(&mut window, &first).unwrap(), b"first, not like others");
        assert_eq!(inflater.inflate_in(&mut window, &again).unwrap(), b"first, not like others");
        assert!(inflater.inflate_in(&mut Window::default(), &again).is_err());
    }

    /// Sessions with the same history share results. A session that differs or lags has its own window.
    #[test]
    fn sessions_with_the_same_history_share_texts() {
        let text = |n: usize| format!("{{\"n\":{n},\"of\":\"all that are together\",\"pad\":\"{}\"}}", "x".repeat(n % 300));
        let (mut inflater, mut all, mut own) = (Inflater::default(), compressor(), compressor());
        let (mut together, mut separate, mut late): ([Window; 4], _, _) = Default::default();
        let mut missed = Vec::new();
        for n in 0..3 * CACHED_MAX / 2 {
            let (plain, apart) = (text(n), text(n + 7));
            let deflated = all(plain.as_bytes());
            for window in &mut together {
                assert_eq!(inflater.inflate_in(window, &deflated).unwrap(), plain.as_bytes());
            }
            let (deflated_apart, expected) = if n < 500 { (own(plain.as_bytes()), &plain) } else { (own(apart.as_bytes()), &apart) };
            assert_eq!(inflater.inflate_in(&mut separate, &deflated_apart).unwrap(), expected.as_bytes(), "{n}");
            missed.push((deflated, plain));
        }
        assert_eq!(inflater.sharing.shared, 3 * (3 * CACHED_MAX as u32 / 2) + 500, "what the first inflated was not inflated again");
        for (deflated, plain) in missed {
            assert_eq!(inflater.inflate_in(&mut late, &deflated).unwrap(), plain.as_bytes());
        }
    }

    /// If no two sessions receive the same messages, look-ups end, and sessions that shared results continue with their
    /// own streams.
    #[test]
    fn sharing_ends_if_it_is_not_worthwhile() {
        let (mut inflater, mut common) = (Inflater::default(), compressor());
        let (mut first, mut second) = (Window::default(), Window::default());
        let deflated = common(b"the same for both");
        inflater.inflate_in(&mut first, &deflated).unwrap();
        inflater.inflate_in(&mut second, &deflated).unwrap();
        let (mut single, mut alone) = (compressor(), Window::default());
        for n in 0..=Sharing::SAMPLE {
            inflater.inflate_in(&mut alone, &single(format!("only here: {n}").as_bytes())).unwrap();
        }
        assert!(!inflater.sharing.is_worthwhile());
        let deflated = common(b"the same for both, again");
        for window in [&mut first, &mut second] {
            assert_eq!(inflater.inflate_in(window, &deflated).unwrap(), b"the same for both, again");
        }
        assert!(second.own.is_some());
    }

    #[test]
    fn invalid_bytes_are_refused() {
        assert!(Inflater::default().inflate(&[0xff; 20]).is_err());
    }
}
