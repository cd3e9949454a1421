//! The stamps before the messages of a stream that tells its position. A stamp is made when its message is written and
//! not before, because conflated, dropped and replayed messages change the position.

use std::io::IoSlice;
use std::sync::Arc;

use super::gaps::Gaps;
use super::queued::Queued;
use super::stable_queue::StableQueue;
use crate::dialect::{Framing, StreamPosition, stamp};

/// The most frames that are stamped for one write.
const STAMPED_MAX: usize = 16;

/// The stamps of one session for one write. Most sessions have none.
pub struct Stamps<'a> {
    position: Option<&'a mut Arc<StreamPosition>>,
    framing: Framing,
    /// The stamps of the frames that are to be written.
    text: Vec<u8>,
}

impl<'a> Stamps<'a> {
    /// The stamps of a session whose stream is at `position`; `None`: its stream does not tell its position.
    pub fn of(framing: Framing, position: Option<&'a mut Arc<StreamPosition>>) -> Self {
        Self { position, framing, text: Vec::new() }
    }

    /// Puts the frames of `queue` into `parts`, without the first `accepted_bytes`, up to the next frame before which one
    /// of `gaps` must be told. Returns the number of parts.
    pub fn gather<'p>(&'p mut self, queue: &'p StableQueue, gaps: &Gaps, accepted_bytes: usize, parts: &mut [IoSlice<'p>]) -> usize {
        let is_next = |index, queued: &Queued| index == 0 || !queued.message().is_some_and(|message| gaps.has_before(message));
        let waiting = queue.iter().map(|(_, queued)| queued).enumerate().take_while(|&(index, queued)| is_next(index, queued));
        let frames = waiting.map(|(_, queued)| queued);
        let Some(position) = &self.position else {
            let mut count = 0;
            for (part, queued) in parts.iter_mut().zip(frames) {
                *part = IoSlice::new(&queued.frame[if count == 0 { accepted_bytes } else { 0 }..]);
                count += 1;
            }
            return count;
        };
        let mut position = StreamPosition::clone(position);
        self.text.clear();
        let ends: Vec<(usize, usize)> = frames
            .clone()
            .take(STAMPED_MAX.min(parts.len() / 2))
            .map(|queued| {
                let stamped = put_stamp(&mut self.text, &mut position, queued, self.framing);
                (self.text.len(), stamped)
            })
            .collect();
        let (mut count, mut start, mut skipped) = (0, 0, accepted_bytes);
        for (queued, (end, stamped)) in frames.zip(ends) {
            for piece in [&self.text[start..end], &queued.frame[stamped..]] {
                let rest = piece.get(skipped..).unwrap_or_default();
                skipped = skipped.saturating_sub(piece.len());
                if !rest.is_empty() {
                    parts[count] = IoSlice::new(rest);
                    count += 1;
                }
            }
            start = end;
        }
        count
    }

    /// The number of bytes of `queued`, the next frame, with its stamp.
    pub fn stamped_bytes(&mut self, queued: &Queued) -> usize {
        let Some(position) = &self.position else { return queued.frame.len() };
        self.text.clear();
        let stamped = put_stamp(&mut self.text, &mut StreamPosition::clone(position), queued, self.framing);
        self.text.len() + queued.frame.len() - stamped
    }

    /// Notes that `queued` was written completely.
    pub fn written(&mut self, queued: &Queued) {
        if let (Some(position), Some(message)) = (&mut self.position, queued.message()) {
            Arc::make_mut(position).advance(&message.topic, message.position);
        }
    }
}

/// Appends the stamp of `queued` to `text`. `position` is the stream's position before it, and is advanced. Returns the
/// number of bytes of the frame that the stamp replaces.
fn put_stamp(text: &mut Vec<u8>, position: &mut StreamPosition, queued: &Queued, framing: Framing) -> usize {
    let Some(message) = queued.message() else { return 0 };
    position.advance(&message.topic, message.position);
    stamp(text, position, &queued.frame, framing)
}
