//! What one turn has to write: its frames, each once, and for each session a chain of links to those it takes.

use std::sync::Arc;

use super::outbox::{Queued, Routed, What};
use crate::config::RuleId;
use crate::dialect::{Encoded, Encoder, FrameBytes, Variant};
use crate::hub::Message;
use crate::metrics::Tally;
use crate::topic_name::TopicName;

const NONE: u32 = u32::MAX;

/// Set in a link's number of a message whose topic the session has left since. A turn has far fewer frames.
const LEFT: u32 = 1 << 31;

/// A session's frames of this turn: 8 bytes at rest.
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

struct Link {
    frame: u32,
    next: u32,
}

enum Frame {
    /// A message for any number of sessions.
    Message {
        encoded: Encoded,
        /// Made when the first socket doesn't take it at once.
        routed: Option<Arc<Routed>>,
    },
    /// A frame for one session; taken when it is flushed.
    Made(Option<Queued>),
}

/// One turn's arena; emptied at its end, its memory kept.
#[derive(Default)]
pub struct Turn {
    frames: Vec<Frame>,
    links: Vec<Link>,
    /// Slots with a chain, in the order in which they got it.
    dirty: Vec<u32>,
}

impl Turn {
    /// Adds a message; the number to link to.
    pub fn add_message(&mut self, message: &Message) -> u32 {
        self.frames.push(Frame::Message { encoded: Encoded::new(message.clone()), routed: None });
        (self.frames.len() - 1) as u32
    }

    /// Adds a frame for one session; the number to link to.
    pub fn add_frame(&mut self, queued: Queued) -> u32 {
        self.frames.push(Frame::Made(Some(queued)));
        (self.frames.len() - 1) as u32
    }

    /// Links `frame` to the end of the chain of `slot`.
    pub fn link(&mut self, slot: u32, chain: &mut Chain, frame: u32) {
        let link = self.links.len() as u32;
        self.links.push(Link { frame, next: NONE });
        if chain.first == NONE {
            chain.first = link;
            self.dirty.push(slot);
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
            if let Frame::Message { encoded, .. } = &self.frames[index(link.frame)]
                && left(&encoded.message().topic)
            {
                link.frame |= LEFT;
            }
            next = link.next;
        }
    }

    /// Whether nobody has a chain.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// The slots with a chain; they count as clean from then on.
    pub fn take_dirty(&mut self, dirty: &mut Vec<u32>) {
        std::mem::swap(dirty, &mut self.dirty);
    }

    /// The numbers of a chain's frames, in order.
    pub fn frames_of(&self, chain: Chain, frames: &mut Vec<u32>) {
        frames.clear();
        let mut link = chain.first;
        while link != NONE {
            let Link { frame, next } = self.links[link as usize];
            frames.push(frame);
            link = next;
        }
    }

    /// A frame's bytes as one session takes them.
    pub fn bytes(&mut self, frame: u32, variant: Variant, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
        match &mut self.frames[index(frame)] {
            Frame::Message { encoded, .. } => Some(encoded.frame(variant, encoder, tally)),
            Frame::Made(queued) => queued.as_ref().map(|queued| queued.frame.clone()),
        }
    }

    /// A frame as one session takes it.
    pub fn queued(&mut self, frame: u32, variant: Variant, encoder: &mut Encoder, tally: &mut Tally) -> Option<Queued> {
        match &mut self.frames[index(frame)] {
            Frame::Message { encoded, routed } => {
                let bytes = encoded.frame(variant, encoder, tally);
                let routed = routed.get_or_insert_with(|| Arc::new(Routed::from(encoded.message())));
                let routed = Arc::clone(routed);
                // No outbox has seen it leave.
                let what = if frame & LEFT == 0 { What::Message(routed) } else { What::Left(routed, 0) };
                Some(Queued { frame: bytes, what })
            }
            Frame::Made(queued) => queued.take(),
        }
    }

    /// The rule of the message that a frame carries, if it does.
    pub fn rule(&self, frame: u32) -> Option<RuleId> {
        match &self.frames[index(frame)] {
            Frame::Message { encoded, .. } => Some(encoded.message().rule.id),
            Frame::Made(queued) => queued.as_ref().and_then(Queued::message).map(|message| message.rule.id),
        }
    }

    /// The messages of this turn.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.frames.iter().filter_map(|frame| match frame {
            Frame::Message { encoded, .. } => Some(encoded.message()),
            Frame::Made(_) => None,
        })
    }

    /// Empties it; every chain has been flushed.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.links.clear();
    }
}

/// Where a frame is in the arena, by its number in a link.
fn index(frame: u32) -> usize {
    (frame & !LEFT) as usize
}
