//! The write batch: the frames that sessions are owed and that are not written yet. Each frame is in it once, and each
//! session has a chain of links to its frames. A batch begins with the first frame and ends when no session is owed
//! any. Under load that takes many ticks, and later messages join the chains that still wait.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

use crate::dialect::{Encoded, Encoder, Encoding, FrameBytes};
use crate::hub::{Message, PresenceChange};
use crate::metrics::{RuleId, Tally};
use crate::position::Position;
use crate::shard::delivery::outbox::{FrameKind, Queued, QueuedMessage};
use crate::topic_name::TopicName;

const NONE: u32 = u32::MAX;

/// Set in a link whose session has unsubscribed from the message's topic since. A batch has far fewer frames than this.
const UNSUBSCRIBED: u32 = 1 << 31;

/// The bytes that a message counts in a batch beside its payload and metadata.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// The most frames of a batch. A batch that is full is written completely before anything is read, so that it ends and
/// its memory is reused.
const FRAMES_MAX: usize = 1 << 14;
/// The most links of a batch.
pub const LINKS_MAX: usize = 1 << 18;

/// A session's links in this batch. An idle session's chain takes 8 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    first: u32,
    last: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Chain {
    /// Whether the chain has no link.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// The number of a frame in this batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber(u32);

/// A frame in a session's chain, with whether the session has unsubscribed from the message's topic since. It takes
/// four bytes, because a chain is walked for each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedFrame(u32);

impl LinkedFrame {
    fn new(frame: FrameNumber) -> Self {
        Self(frame.0)
    }

    /// The number of the frame.
    #[cfg(test)]
    pub fn number(self) -> FrameNumber {
        FrameNumber(self.0 & !UNSUBSCRIBED)
    }

    /// Whether the session has unsubscribed from the message's topic since.
    fn is_unsubscribed(self) -> bool {
        self.0 & UNSUBSCRIBED != 0
    }

    fn mark_unsubscribed(&mut self) {
        self.0 |= UNSUBSCRIBED;
    }

    fn index(self) -> usize {
        (self.0 & !UNSUBSCRIBED) as usize
    }
}

struct Link {
    frame: LinkedFrame,
    next: u32,
}

enum Frame {
    /// A message for any number of sessions.
    Message {
        encoded: Encoded,
        /// The message without its payload. Made when the first socket does not accept the frame at once.
        info: Option<Arc<QueuedMessage>>,
        /// Whether a session whose socket does not accept the message reads it from history later. Such a message
        /// counts as routed once it is written or queued.
        deferrable: bool,
    },
    /// A join or a leave for any number of sessions of one encoding.
    Change { change: Arc<PresenceChange>, frame: FrameBytes },
    /// A frame for one session. `None` once it was taken by a flush.
    Single(Option<Queued>),
}

/// The frames that wait to be written, and their links. At its end the batch is emptied and keeps its memory.
#[derive(Default)]
pub struct WriteBatch {
    frames: Vec<Frame>,
    links: Vec<Link>,
    /// A buffer for the chain that is being written.
    buffer: Vec<LinkedFrame>,
    /// Slots with a chain, in the order in which their chains began.
    dirty: VecDeque<u32>,
    /// The number of slots that were taken off the list of dirty slots.
    taken: usize,
    marks: VecDeque<Mark>,
    /// The number of frames that are written to all their sessions.
    written: usize,
    /// The number of messages that are not written to all their sessions yet.
    messages: usize,
    /// The bytes of these messages.
    bytes: usize,
    /// The held message of each topic that was added since the last mark. Other sessions that get the same message
    /// share its frame.
    shared: HashMap<TopicName, (Position, FrameNumber)>,
}

/// The first `frames` frames are written once `taken` slots were taken off the list of dirty slots. That list is a
/// FIFO, and every slot with a link to one of these frames was on it when the mark was made.
struct Mark {
    frames: usize,
    taken: usize,
}

impl WriteBatch {
    /// Adds a message. Returns the number to link to. A `deferrable` message is not counted as routed yet.
    pub fn add_message(&mut self, message: &Message, deferrable: bool) -> FrameNumber {
        self.messages += 1;
        self.bytes += cost(message);
        self.frames.push(Frame::Message { encoded: Encoded::new(message.clone()), info: None, deferrable });
        FrameNumber((self.frames.len() - 1) as u32)
    }

    /// Adds a message that other sessions may have been given already, one after the other. It is encoded once for all
    /// of them. Returns the number to link to.
    pub fn share_message(&mut self, message: &Message) -> FrameNumber {
        if let Some(&(position, frame)) = self.shared.get(&message.topic)
            && position == message.position
        {
            return frame;
        }
        let frame = self.add_message(message, false);
        self.shared.insert(message.topic.clone(), (message.position, frame));
        frame
    }

    /// Adds a join or a leave for sessions of one encoding. Returns the number to link to.
    pub fn add_change(&mut self, change: &Arc<PresenceChange>, frame: FrameBytes) -> FrameNumber {
        self.frames.push(Frame::Change { change: Arc::clone(change), frame });
        FrameNumber((self.frames.len() - 1) as u32)
    }

    /// Adds a frame for one session. Returns the number to link to.
    pub fn add_frame(&mut self, queued: Queued) -> FrameNumber {
        self.frames.push(Frame::Single(Some(queued)));
        FrameNumber((self.frames.len() - 1) as u32)
    }

    /// Links `frame` to the end of the chain of `slot`.
    pub fn link(&mut self, slot: u32, chain: &mut Chain, frame: FrameNumber) {
        let link = self.links.len() as u32;
        self.links.push(Link { frame: LinkedFrame::new(frame), next: NONE });
        if chain.first == NONE {
            chain.first = link;
            self.dirty.push_back(slot);
        } else {
            self.links[chain.last as usize].next = link;
        }
        chain.last = link;
    }

    /// Forgets a chain. Its slot may stay on the list of dirty slots, and is listed again with its next link.
    pub fn unlink(&mut self, chain: &mut Chain) {
        *chain = Chain::default();
    }

    /// Marks the messages in `chain` for whose topics `is_gone` holds: the session has unsubscribed from these. Their
    /// gaps are told even if no message of the topic follows.
    pub fn mark_unsubscribed(&mut self, chain: Chain, is_gone: impl Fn(&TopicName) -> bool) {
        let mut next = chain.first;
        while next != NONE {
            let link = &mut self.links[next as usize];
            match &mut self.frames[link.frame.index()] {
                Frame::Message { encoded, .. } if is_gone(&encoded.message().topic) => link.frame.mark_unsubscribed(),
                Frame::Single(Some(Queued { kind, .. })) if kind.gap().is_some_and(|dropped| is_gone(&dropped.topic)) => {
                    *kind = FrameKind::Reply;
                }
                _ => {}
            }
            next = link.next;
        }
    }

    /// Whether no session has a chain.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Whether the batch has to end before anything is added.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX || self.links.len() >= LINKS_MAX
    }

    /// How many messages, and how many bytes, may be added now if `messages` and `bytes` are the most that may wait.
    pub fn room(&self, messages: usize, bytes: usize) -> (usize, usize) {
        (messages.saturating_sub(self.messages), bytes.saturating_sub(self.bytes))
    }

    /// Marks the frames added so far. They are written once all slots that are on the list now were taken off it.
    pub fn mark(&mut self) {
        if self.marks.back().map_or(self.written, |mark| mark.frames) < self.frames.len() {
            self.shared.clear(); // no link is added to a frame before the mark
            self.marks.push_back(Mark { frames: self.frames.len(), taken: self.taken + self.dirty.len() });
        }
    }

    /// Takes the slot that has waited longest off the list. It counts as clean from then on.
    pub fn next_dirty(&mut self) -> Option<u32> {
        let slot = self.dirty.pop_front()?;
        self.taken += 1;
        Some(slot)
    }

    /// Releases the frames that were written to all of their sessions, and calls `written` with each message among
    /// them.
    pub fn release_written(&mut self, mut written: impl FnMut(&Message)) {
        while let Some(&Mark { frames, .. }) = self.marks.front().filter(|mark| mark.taken <= self.taken) {
            for frame in &mut self.frames[self.written..frames] {
                if let Frame::Message { encoded, .. } = std::mem::replace(frame, Frame::Single(None)) {
                    self.messages -= 1;
                    self.bytes -= cost(encoded.message());
                    written(encoded.message());
                }
            }
            self.written = frames;
            self.marks.pop_front();
        }
    }

    /// Whether a chain has a frame for its session alone, such as a reply. Live messages and changes of presence do not
    /// count.
    pub fn has_answers(&self, chain: Chain) -> bool {
        let is_answer = |frame: &Frame| matches!(frame, Frame::Single(Some(Queued { kind, .. })) if !matches!(kind, FrameKind::Message(_)));
        self.linked(chain).any(|frame| is_answer(&self.frames[frame.index()]))
    }

    /// Takes the frames of a chain, in order, and forgets the chain. The vector has to be given back by
    /// [`WriteBatch::return_buffer`].
    #[inline] // for each write; a call of its own costs a twentieth of a delivery
    pub fn take_frames(&mut self, chain: &mut Chain) -> Vec<LinkedFrame> {
        let mut frames = std::mem::take(&mut self.buffer);
        self.frames_of(*chain, &mut frames);
        self.unlink(chain);
        frames
    }

    /// Gives back the vector of [`WriteBatch::take_frames`].
    pub fn return_buffer(&mut self, buffer: Vec<LinkedFrame>) {
        self.buffer = buffer;
    }

    /// Replaces `frames` by the frames of a chain, in order.
    pub fn frames_of(&self, chain: Chain, frames: &mut Vec<LinkedFrame>) {
        frames.clear();
        frames.extend(self.linked(chain));
    }

    /// The frames of a chain, in order. Every chain is empty when the batch is cleared, so its links are of this batch.
    #[inline]
    fn linked(&self, chain: Chain) -> impl Iterator<Item = LinkedFrame> {
        let mut next = chain.first;
        std::iter::from_fn(move || {
            let link = (next != NONE).then(|| &self.links[next as usize])?;
            next = link.next;
            Some(link.frame)
        })
    }

    /// The message of a frame, if the frame is a message for any number of sessions.
    pub fn encoded(&mut self, frame: LinkedFrame) -> Option<&mut Encoded> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded),
            Frame::Change { .. } | Frame::Single(_) => None,
        }
    }

    /// The bytes of a frame in the encoding of one session.
    pub fn bytes(&mut self, frame: LinkedFrame, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded.frame(encoding, encoder, tally)),
            Frame::Change { frame, .. } => Some(frame.clone()),
            Frame::Single(queued) => queued.as_ref().map(|queued| queued.frame.clone()),
        }
    }

    /// A frame in the encoding of one session, for its outbox. A frame for one session is taken out of the batch.
    pub fn queued(&mut self, frame: LinkedFrame, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<Queued> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, info, .. } => {
                let bytes = encoded.frame(encoding, encoder, tally);
                let info = info.get_or_insert_with(|| Arc::new(QueuedMessage::from(encoded.message())));
                let info = Arc::clone(info);
                // The unsubscribe happened before the frame came to an outbox, so its number is 0.
                let kind = if frame.is_unsubscribed() { FrameKind::Unsubscribed(info, 0) } else { FrameKind::Message(info) };
                Some(Queued { frame: bytes, kind })
            }
            Frame::Change { change, frame } => Some(Queued { frame: frame.clone(), kind: FrameKind::Presence(Arc::clone(change)) }),
            Frame::Single(queued) => queued.take(),
        }
    }

    /// The topic and position of the frame's message, if it carries one.
    pub fn position(&self, frame: LinkedFrame) -> Option<(&TopicName, Position)> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some((&encoded.message().topic, encoded.message().position)),
            Frame::Change { .. } => None,
            Frame::Single(queued) => queued.as_ref().and_then(Queued::message).map(|message| (&message.topic, message.position)),
        }
    }

    /// The topic of the frame's message or gap, if it carries one.
    pub fn topic(&self, frame: LinkedFrame) -> Option<&TopicName> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(&encoded.message().topic),
            Frame::Change { .. } => None,
            Frame::Single(queued) => queued.as_ref().and_then(Queued::topic),
        }
    }

    /// The rule of the frame's message, if it carries one.
    pub fn rule(&self, frame: LinkedFrame) -> Option<RuleId> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded.message().rule.id),
            Frame::Change { .. } => None,
            Frame::Single(queued) => queued.as_ref().and_then(Queued::message).map(|message| message.rule.id),
        }
    }

    /// The rule of the frame's message, if the message is counted as routed already.
    pub fn routed_rule(&self, frame: LinkedFrame) -> Option<RuleId> {
        self.rule(frame).filter(|_| !self.is_deferrable(frame))
    }

    /// Whether a frame carries a message that is not counted as routed yet.
    pub fn is_deferrable(&self, frame: LinkedFrame) -> bool {
        matches!(self.frames[frame.index()], Frame::Message { deferrable: true, .. })
    }

    /// The message that a session reads from history later if its socket does not accept this frame. A session does not
    /// do so for a topic that it has unsubscribed from.
    pub fn message_to_defer(&self, frame: LinkedFrame) -> Option<&Message> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, deferrable: true, .. } if !frame.is_unsubscribed() => Some(encoded.message()),
            _ => None,
        }
    }

    /// Empties the batch, all of whose chains were flushed.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.links.clear();
        self.marks.clear();
        self.shared.clear();
        (self.taken, self.written, self.messages, self.bytes) = (0, 0, 0, 0);
    }
}

fn cost(message: &Message) -> usize {
    message.transit_bytes() + MESSAGE_OVERHEAD_BYTES
}
