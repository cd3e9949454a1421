//! The frames of one chain joined for one write.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use super::client_window::ClientWindow;
use super::outbox::PARTS_MAX;
use super::window_use::{Added, WindowUse};
use super::write_batch::{LinkedFrame, WriteBatch};
use crate::dialect::{Encoder, Encoding, FrameBytes, StreamPosition, stamp};
use crate::metrics::{RuleId, Tally};
use crate::shard::slot::Connection;

/// Frames up to this size are copied together for one write; longer ones are written from where they are.
const COPIED_FRAME_BYTES_MAX: usize = 4 << 10;

/// Room that is kept for the next chain, in bytes.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The last chain's bytes, since the subscribers of a topic mostly have the same chain: joined once, written for each.
#[derive(Default)]
pub struct Joined {
    chain: Vec<LinkedFrame>,
    variant: Option<Encoding>,
    bytes: Vec<u8>,
    /// Frames that are too long to be copied, in order.
    long: Vec<Long>,
    /// Of `bytes` and `long` together.
    length: usize,
    /// How many messages of each rule are in it.
    messages: Vec<(RuleId, u64)>,
    /// How many of these are counted as routed once they are written.
    unrouted: Vec<(RuleId, u64)>,
    stands: Option<Stands>,
    /// What the client's window has to do with it.
    window_use: WindowUse,
}

/// A frame that is written from where it is.
struct Long {
    frame: FrameBytes,
    /// How much of `bytes` is written before it.
    after: usize,
    /// Its first bytes, which a stamp in `bytes` stands in place of.
    stamped: usize,
}

/// What the bytes of a chain depend on beside the chain and the encoding.
#[derive(Clone, Copy)]
pub struct ClientState<'a> {
    /// Where a stream stands that tells so.
    pub stands: Option<&'a Arc<StreamPosition>>,
    /// What the client has in its window of deflate.
    pub window: &'a ClientWindow,
}

/// Where a stream stands that tells so.
struct Stands {
    /// Before the chain.
    before: Arc<StreamPosition>,
    /// Behind it.
    after: Arc<StreamPosition>,
}

impl Joined {
    /// Whether these are the bytes of `chain` in `variant` for such a client.
    pub fn is_of(&self, chain: &[LinkedFrame], variant: Encoding, client: ClientState<'_>) -> bool {
        let stands_there = || match (client.stands, &self.stands) {
            (None, None) => true,
            (Some(stands), Some(Stands { before, .. })) => Arc::ptr_eq(stands, before) || stands == before,
            _ => false,
        };
        self.variant == Some(variant) && self.chain == chain && stands_there() && self.window_use.serves(client.window)
    }

    /// Joins the frames of `chain` for such a client.
    pub fn join(
        &mut self,
        chain: &[LinkedFrame],
        variant: Encoding,
        client: ClientState<'_>,
        batch: &mut WriteBatch,
        encoder: &mut Encoder,
        tally: &mut Tally,
    ) {
        self.clear();
        let ClientState { stands, window } = client;
        self.stands = stands.map(|stands| Stands { before: Arc::clone(stands), after: Arc::clone(stands) });
        let kept = variant.kept_window();
        for (index, &frame) in chain.iter().enumerate() {
            let Self { bytes: joined, window_use, .. } = self;
            let added = match kept {
                Some(kept) => window_use.add((index, frame), variant, kept, window, batch, encoder, joined, tally),
                None => batch.bytes(frame, variant, encoder, tally).map(Added::Alone),
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
            if let (Some(Stands { after, .. }), Some((topic, position))) = (&mut self.stands, batch.position(frame)) {
                Arc::make_mut(after).advance(topic, position);
                stamped = stamp(&mut self.bytes, after, &bytes, variant.framing);
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
        self.variant = Some(variant);
    }

    /// Counts a frame that was added, if it is a message.
    fn count(&mut self, frame: LinkedFrame, batch: &WriteBatch) {
        let Some(rule) = batch.rule(frame) else { return };
        count(&mut self.messages, rule);
        if batch.is_deferrable(frame) {
            count(&mut self.unrouted, rule);
        }
    }

    /// All of it is in the socket of the session whose client has `window`.
    pub fn book_written(&self, window: &mut ClientWindow, topics_max: usize, tally: &mut Tally) {
        self.unrouted.iter().for_each(|&(rule, messages)| tally.routed(rule, messages));
        self.messages.iter().for_each(|&(rule, messages)| tally.delivered(rule, messages));
        self.window_use.apply_to(window, topics_max, tally);
    }

    /// The frame at `index` of the chain, if it was made for a client that keeps its window.
    pub fn own_frame(&self, index: usize) -> Option<FrameBytes> {
        self.window_use.own_frame(index, &self.bytes)
    }

    /// The frame at `index` of the chain is in the socket of the session whose client has `window`, and not all of them are.
    pub fn book_unreferred(&self, index: usize, window: &ClientWindow, tally: &mut Tally) {
        self.window_use.book_unreferred(index, window, tally);
    }

    /// Where a stream stands that has taken it, if it tells so.
    pub fn stands_after(&self) -> Option<&Arc<StreamPosition>> {
        self.stands.as_ref().map(|Stands { after, .. }| after)
    }

    /// How many bytes are written to a session.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Writes what follows the first `start` bytes, as much as goes in one write; and how many bytes the socket was offered.
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

    /// Forgets the chain, whose frames are gone.
    pub fn clear(&mut self) {
        self.chain.clear();
        self.variant = None;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        (self.long, self.length) = (Vec::new(), 0);
        self.messages.clear();
        self.unrouted.clear();
        self.stands = None;
        self.window_use.clear();
    }
}

fn count(messages: &mut Vec<(RuleId, u64)>, rule: RuleId) {
    match messages.iter_mut().find(|(known, _)| *known == rule) {
        Some((_, messages)) => *messages += 1,
        None => messages.push((rule, 1)),
    }
}
