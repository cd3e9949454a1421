//! The write batch: frames that were given to sessions and are not written yet, each once, and for each session a chain of links to
//! the frames that it takes. A batch begins when the first session has something and ends when none has; under load that takes many
//! ticks, and what comes meanwhile joins what still waits for the same sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

use super::outbox::{Queued, Routed, What};
use crate::dialect::{Encoded, Encoder, Encoding, FrameBytes};
use crate::hub::{Message, PresenceChange};
use crate::metrics::{RuleId, Tally};
use crate::position::Position;
use crate::topic_name::TopicName;

const NONE: u32 = u32::MAX;

/// Set in a link whose session has left the message's topic since. A batch has far fewer frames.
const LEFT: u32 = 1 << 31;

/// What a message costs in a batch beside its payload, in bytes.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// How large a batch grows: then all is written before anything is read, so that it ends and its memory is used anew.
const FRAMES_MAX: usize = 1 << 14;
pub const LINKS_MAX: usize = 1 << 18;

/// A session's links in this batch: 8 bytes at rest.
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
    /// Whether it has no link.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// A frame of this batch, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber(u32);

/// A frame as one session takes it: which, and whether the session has left the message's topic since. Four bytes, for a chain is
/// walked for each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedFrame(u32);

impl LinkedFrame {
    fn new(frame: FrameNumber) -> Self {
        Self(frame.0)
    }

    /// The frame.
    #[cfg(test)]
    pub fn number(self) -> FrameNumber {
        FrameNumber(self.0 & !LEFT)
    }

    /// Whether the session has left the message's topic since.
    fn is_left(self) -> bool {
        self.0 & LEFT != 0
    }

    fn leave(&mut self) {
        self.0 |= LEFT;
    }

    fn index(self) -> usize {
        (self.0 & !LEFT) as usize
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
        /// Made when the first socket doesn't take it at once.
        routed: Option<Arc<Routed>>,
        /// A session whose socket doesn't take it reads it from history later. It counts as routed once it is written or queued.
        deferrable: bool,
    },
    /// A join or a leave for any number of sessions of one encoding.
    Change { change: Arc<PresenceChange>, frame: FrameBytes },
    /// A frame for one session; taken when it is flushed.
    Made(Option<Queued>),
}

/// Everything that waits to be written; emptied at its end, its memory kept.
#[derive(Default)]
pub struct WriteBatch {
    frames: Vec<Frame>,
    links: Vec<Link>,
    /// Room for the chain that is being written.
    room: Vec<LinkedFrame>,
    /// Slots with a chain, in the order in which they got it.
    dirty: VecDeque<u32>,
    /// How many slots have been taken off that list.
    taken: usize,
    marks: VecDeque<Mark>,
    /// The frames before this one are written.
    written: usize,
    /// The messages that are not written to all yet.
    messages: usize,
    /// Their bytes.
    bytes: usize,
    /// Of each topic the message that was held for a session and added since the last mark: others may be given the same.
    shared: HashMap<TopicName, (Position, FrameNumber)>,
}

/// The first `frames` frames are done once `taken` slots have been taken off the list of dirty slots: that list is a FIFO, and every
/// slot with a link to one of these frames was on it when the mark was made.
struct Mark {
    frames: usize,
    taken: usize,
}

impl WriteBatch {
    /// Adds a message; the number to link to. One that is `deferrable` is not counted as routed yet.
    pub fn add_message(&mut self, message: &Message, deferrable: bool) -> FrameNumber {
        self.messages += 1;
        self.bytes += cost(message);
        self.frames.push(Frame::Message { encoded: Encoded::new(message.clone()), routed: None, deferrable });
        FrameNumber((self.frames.len() - 1) as u32)
    }

    /// Adds a message that others may have been given already, one session after the other: it is encoded once for all of them.
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

    /// Adds a join or a leave as sessions of one encoding take it; the number to link to.
    pub fn add_change(&mut self, change: &Arc<PresenceChange>, frame: FrameBytes) -> FrameNumber {
        self.frames.push(Frame::Change { change: Arc::clone(change), frame });
        FrameNumber((self.frames.len() - 1) as u32)
    }

    /// Adds a frame for one session; the number to link to.
    pub fn add_frame(&mut self, queued: Queued) -> FrameNumber {
        self.frames.push(Frame::Made(Some(queued)));
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

    /// Forgets a chain; its slot may stay on the list of dirty ones, and gets another link as if it were not.
    pub fn unlink(&mut self, chain: &mut Chain) {
        *chain = Chain::default();
    }

    /// Marks the messages in `chain` whose topics `left` names: the session has left these.
    pub fn leave(&mut self, chain: Chain, left: impl Fn(&TopicName) -> bool) {
        let mut next = chain.first;
        while next != NONE {
            let link = &mut self.links[next as usize];
            if let Frame::Message { encoded, .. } = &self.frames[link.frame.index()]
                && left(&encoded.message().topic)
            {
                link.frame.leave();
            }
            next = link.next;
        }
    }

    /// Whether nobody has a chain.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Whether it is to end before anything is added.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX || self.links.len() >= LINKS_MAX
    }

    /// How many messages, and of how many bytes, may be added now where so many may wait in all.
    pub fn room(&self, messages: usize, bytes: usize) -> (usize, usize) {
        (messages.saturating_sub(self.messages), bytes.saturating_sub(self.bytes))
    }

    /// Everything that was added goes out with the slots that are on the list now.
    pub fn mark(&mut self) {
        if self.marks.back().map_or(self.written, |mark| mark.frames) < self.frames.len() {
            self.shared.clear(); // a frame before the mark is not linked to any more
            self.marks.push_back(Mark { frames: self.frames.len(), taken: self.taken + self.dirty.len() });
        }
    }

    /// Takes the slot off the list that has waited longest; it counts as clean from then on.
    pub fn next_dirty(&mut self) -> Option<u32> {
        let slot = self.dirty.pop_front()?;
        self.taken += 1;
        Some(slot)
    }

    /// Releases the frames that were written to all of their sessions, and calls `written` with each message among them.
    pub fn release_written(&mut self, mut written: impl FnMut(&Message)) {
        while let Some(&Mark { frames, .. }) = self.marks.front().filter(|mark| mark.taken <= self.taken) {
            for frame in &mut self.frames[self.written..frames] {
                if let Frame::Message { encoded, .. } = std::mem::replace(frame, Frame::Made(None)) {
                    self.messages -= 1;
                    self.bytes -= cost(encoded.message());
                    written(encoded.message());
                }
            }
            self.written = frames;
            self.marks.pop_front();
        }
    }

    /// Whether a chain has something that answers its session: not a message, nor what others do.
    pub fn has_answers(&self, chain: Chain) -> bool {
        let mut link = chain.first;
        while link != NONE {
            let Link { frame, next } = self.links[link as usize];
            if let Frame::Made(Some(Queued { what, .. })) = &self.frames[frame.index()]
                && !matches!(what, What::Message(_))
            {
                return true;
            }
            link = next;
        }
        false
    }

    /// Takes the frames of a chain, in order, in room that is to be given back, and forgets the chain.
    pub fn take_frames(&mut self, chain: &mut Chain) -> Vec<LinkedFrame> {
        let mut frames = std::mem::take(&mut self.room);
        self.frames_of(*chain, &mut frames);
        self.unlink(chain);
        frames
    }

    /// Gives the room of [`WriteBatch::take_frames`] back.
    pub fn give_room_back(&mut self, room: Vec<LinkedFrame>) {
        self.room = room;
    }

    /// A chain's frames, in order.
    pub fn frames_of(&self, chain: Chain, frames: &mut Vec<LinkedFrame>) {
        frames.clear();
        let mut link = chain.first;
        while link != NONE {
            let Link { frame, next } = self.links[link as usize];
            frames.push(frame);
            link = next;
        }
    }

    /// The message that a frame is for any number of sessions.
    pub fn encoded(&mut self, frame: LinkedFrame) -> Option<&mut Encoded> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded),
            Frame::Change { .. } | Frame::Made(_) => None,
        }
    }

    /// A frame's bytes as one session takes them.
    pub fn bytes(&mut self, frame: LinkedFrame, variant: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded.frame(variant, encoder, tally)),
            Frame::Change { frame, .. } => Some(frame.clone()),
            Frame::Made(queued) => queued.as_ref().map(|queued| queued.frame.clone()),
        }
    }

    /// A frame as one session takes it.
    pub fn queued(&mut self, frame: LinkedFrame, variant: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<Queued> {
        match &mut self.frames[frame.index()] {
            Frame::Message { encoded, routed, .. } => {
                let bytes = encoded.frame(variant, encoder, tally);
                let routed = routed.get_or_insert_with(|| Arc::new(Routed::from(encoded.message())));
                let routed = Arc::clone(routed);
                // No outbox has seen it leave.
                let what = if frame.is_left() { What::Unsubscribed(routed, 0) } else { What::Message(routed) };
                Some(Queued { frame: bytes, what })
            }
            Frame::Change { change, frame } => Some(Queued { frame: frame.clone(), what: What::Presence(Arc::clone(change)) }),
            Frame::Made(queued) => queued.take(),
        }
    }

    /// The topic and position of the message that a frame carries, if it does.
    pub fn position(&self, frame: LinkedFrame) -> Option<(&TopicName, Position)> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some((&encoded.message().topic, encoded.message().position)),
            Frame::Change { .. } => None,
            Frame::Made(queued) => queued.as_ref().and_then(Queued::message).map(|message| (&message.topic, message.position)),
        }
    }

    /// The rule of the message that a frame carries, if it does.
    pub fn rule(&self, frame: LinkedFrame) -> Option<RuleId> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, .. } => Some(encoded.message().rule.id),
            Frame::Change { .. } => None,
            Frame::Made(queued) => queued.as_ref().and_then(Queued::message).map(|message| message.rule.id),
        }
    }

    /// The rule of the message that a frame carries, if it is counted as routed already.
    pub fn routed_rule(&self, frame: LinkedFrame) -> Option<RuleId> {
        self.rule(frame).filter(|_| !self.is_deferrable(frame))
    }

    /// Whether a frame carries a message that is not counted as routed yet.
    pub fn is_deferrable(&self, frame: LinkedFrame) -> bool {
        matches!(self.frames[frame.index()], Frame::Message { deferrable: true, .. })
    }

    /// The message that a session reads from history later, where its socket doesn't take this frame. One of a topic that it has left
    /// is not read any more.
    pub fn deferrable(&self, frame: LinkedFrame) -> Option<&Message> {
        match &self.frames[frame.index()] {
            Frame::Message { encoded, deferrable: true, .. } if !frame.is_left() => Some(encoded.message()),
            _ => None,
        }
    }

    /// Empties it; every chain has been flushed.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.links.clear();
        self.marks.clear();
        self.shared.clear();
        (self.taken, self.written, self.messages, self.bytes) = (0, 0, 0, 0);
    }
}

fn cost(message: &Message) -> usize {
    message.payload().len() + MESSAGE_OVERHEAD_BYTES
}
