//! The bytes of one chain's frames, joined for one write.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use super::batch::{LinkedFrame, WriteBatch};
use super::client_window::ClientWindow;
use super::window_use::{Added, WindowUse};
use crate::dialect::{Encoder, Encoding, FrameBytes, StreamPosition, stamp};
use crate::metrics::{RuleId, Tally};
use crate::shard::delivery::outbox::PARTS_MAX;
use crate::shard::slot::Connection;

/// Frames up to this size are copied into one buffer; longer ones are written from their own buffers.
const COPIED_FRAME_BYTES_MAX: usize = 4 << 10;

/// The capacity that is kept for the next chain, in bytes.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The bytes of the last chain. The subscribers of a topic mostly have the same chain, so it is joined once and written
/// to each.
#[derive(Default)]
pub struct ChainBytes {
    chain: Vec<LinkedFrame>,
    encoding: Option<Encoding>,
    bytes: Vec<u8>,
    /// Frames that are too long to be copied, in order.
    long: Vec<Long>,
    /// The length of `bytes` and `long` together.
    length: usize,
    /// The number of messages of each rule in the chain.
    messages: Vec<(RuleId, u64)>,
    /// The number of these messages that count as routed once they are written.
    unrouted: Vec<(RuleId, u64)>,
    positions: Option<StreamPositions>,
    /// The references into the client's deflate window.
    window_use: WindowUse,
}

/// A frame that is written from its own buffer.
struct Long {
    frame: FrameBytes,
    /// The number of bytes of `bytes` that are written before the frame.
    after: usize,
    /// The number of the frame's first bytes that a stamp in `bytes` replaces.
    stamped: usize,
}

/// The client's state that the bytes of a chain depend on, beside the chain and the encoding.
#[derive(Clone, Copy)]
pub struct ClientState<'a> {
    /// The position of a stream that tells its position.
    pub position: Option<&'a Arc<StreamPosition>>,
    /// The content of the client's deflate window.
    pub window: &'a ClientWindow,
}

/// The position of a stream that tells its position.
struct StreamPositions {
    /// The position before the chain.
    before: Arc<StreamPosition>,
    /// The position behind the chain.
    after: Arc<StreamPosition>,
}

impl ChainBytes {
    /// Whether these are the bytes of `chain` in `encoding` for a client in the state `client`.
    pub fn is_of(&self, chain: &[LinkedFrame], encoding: Encoding, client: ClientState<'_>) -> bool {
        let same_position = || match (client.position, &self.positions) {
            (None, None) => true,
            (Some(position), Some(StreamPositions { before, .. })) => Arc::ptr_eq(position, before) || position == before,
            _ => false,
        };
        self.encoding == Some(encoding) && self.chain == chain && same_position() && self.window_use.serves(client.window)
    }

    /// Joins the frames of `chain` for a client in the state `client`.
    pub fn join(
        &mut self,
        chain: &[LinkedFrame],
        encoding: Encoding,
        client: ClientState<'_>,
        batch: &mut WriteBatch,
        encoder: &mut Encoder,
        tally: &mut Tally,
    ) {
        self.clear();
        let ClientState { position, window } = client;
        self.positions = position.map(|position| StreamPositions { before: Arc::clone(position), after: Arc::clone(position) });
        let kept = encoding.kept_window();
        for (index, &frame) in chain.iter().enumerate() {
            let Self { bytes: joined, window_use, .. } = self;
            let added = match kept {
                Some(kept) => window_use.add((index, frame), encoding, kept, window, batch, encoder, joined, tally),
                None => batch.bytes(frame, encoding, encoder, tally).map(Added::Alone),
            };
            self.count(frame, batch);
            let bytes = match added {
                Some(Added::Alone(bytes)) => bytes,
                Some(Added::Written) | None => continue,
            };
            if kept.is_none() && bytes.is_compressed() && batch.rule(frame).is_some() {
                self.window_use.count_alone();
            }
            let mut stamped = 0;
            if let (Some(StreamPositions { after, .. }), Some((topic, position))) = (&mut self.positions, batch.position(frame)) {
                Arc::make_mut(after).advance(topic, position);
                stamped = stamp(&mut self.bytes, after, &bytes, encoding.framing);
            }
            if bytes.len() <= COPIED_FRAME_BYTES_MAX {
                self.bytes.extend_from_slice(&bytes[stamped..]);
            } else {
                self.length += bytes.len() - stamped;
                self.long.push(Long { frame: bytes, after: self.bytes.len(), stamped });
            }
        }
        self.length += self.bytes.len();
        self.chain.extend_from_slice(chain);
        self.encoding = Some(encoding);
    }

    /// Counts an added frame, if it is a message.
    fn count(&mut self, frame: LinkedFrame, batch: &WriteBatch) {
        let Some(rule) = batch.rule(frame) else { return };
        count(&mut self.messages, rule);
        if batch.is_deferrable(frame) {
            count(&mut self.unrouted, rule);
        }
    }

    /// Books that the whole chain was written to the session whose client has `window`.
    pub fn book_written(&self, window: &mut ClientWindow, topics_max: usize, tally: &mut Tally) {
        self.unrouted.iter().for_each(|&(rule, messages)| tally.routed(rule, messages));
        self.messages.iter().for_each(|&(rule, messages)| tally.delivered(rule, messages));
        self.window_use.apply_to(window, topics_max, tally);
    }

    /// The frame at `index` of the chain, if it was made for a client that keeps its window.
    pub fn own_frame(&self, index: usize) -> Option<FrameBytes> {
        self.window_use.own_frame(index, &self.bytes)
    }

    /// Books that the frame at `index` of the chain was written to the session whose client has `window`, while others
    /// were not.
    pub fn book_unreferred(&self, index: usize, window: &ClientWindow, tally: &mut Tally) {
        self.window_use.book_unreferred(index, window, tally);
    }

    /// The stream's position behind the chain, if the stream tells its position.
    pub fn position_after(&self) -> Option<&Arc<StreamPosition>> {
        self.positions.as_ref().map(|StreamPositions { after, .. }| after)
    }

    /// The number of bytes that are written to a session.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Writes as much of the bytes behind the first `start` bytes as one write takes. Returns the number of bytes
    /// written, and the number of bytes that were offered to the socket.
    pub fn write(&self, start: usize, to: &mut Connection) -> (Poll<io::Result<usize>>, usize) {
        if self.long.is_empty() {
            let rest = self.bytes.get(start..).unwrap_or_default();
            return (to.poll_write(&[IoSlice::new(rest)]), rest.len());
        }
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let (mut count, mut offered, mut skipped, mut copied) = (0, 0, start, 0);
        let last = (self.bytes.len(), &[][..]);
        let pieces = self.long.iter().map(|Long { frame, after, stamped }| (*after, &frame[*stamped..])).chain([last]);
        for (after, frame) in pieces {
            for piece in [&self.bytes[copied..after], frame] {
                let rest = piece.get(skipped..).unwrap_or_default();
                skipped = skipped.saturating_sub(piece.len());
                if let Some(part) = parts.get_mut(count).filter(|_| !rest.is_empty()) {
                    *part = IoSlice::new(rest);
                    (count, offered) = (count + 1, offered + rest.len());
                }
            }
            copied = after;
        }
        (to.poll_write(&parts[..count]), offered)
    }

    /// Forgets the chain and its frames.
    pub fn clear(&mut self) {
        self.chain.clear();
        self.encoding = None;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        (self.long, self.length) = (Vec::new(), 0);
        self.messages.clear();
        self.unrouted.clear();
        self.positions = None;
        self.window_use.clear();
    }
}

fn count(messages: &mut Vec<(RuleId, u64)>, rule: RuleId) {
    match messages.iter_mut().find(|(known, _)| *known == rule) {
        Some((_, messages)) => *messages += 1,
        None => messages.push((rule, 1)),
    }
}
