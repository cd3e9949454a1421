//! Catching up: what sessions still read out of history, and from where on a topic is live for each.

mod replays;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

use replays::Replays;

use crate::clock::Moment;
use crate::hub::{ReplayPiece, Topic};
use crate::position::Offset;
use crate::topic_name::TopicName;

/// The replays of a shard's sessions.
#[derive(Default)]
pub struct CatchUp {
    /// By slot, of sessions that read history or have a watermark.
    replays: HashMap<u32, Replays>,
    /// Sessions that want a share of history, in the order in which they get it.
    awaiting: VecDeque<u32>,
    /// Slots with watermarks, and how many items the shard will have taken when each can go.
    watermarks: Vec<(u64, u32)>,
}

impl CatchUp {
    /// Whether the session in `slot` reads history or has a watermark.
    pub fn has(&self, slot: u32) -> bool {
        self.replays.contains_key(&slot)
    }

    /// Whether a live message of `topic` at `offset` is not to be given to the session in `slot`.
    pub fn withholds(&self, slot: u32, topic: &TopicName, offset: Offset) -> bool {
        self.replays.get(&slot).is_some_and(|replays| replays.withholds(topic, offset))
    }

    /// Whether the session in `slot` has history left to read.
    pub fn is_replaying(&self, slot: u32) -> bool {
        self.replays.get(&slot).is_some_and(Replays::has_more)
    }

    /// Whether `topic` is still read from history for the session in `slot`.
    pub fn is_replaying_topic(&self, slot: u32, topic: &TopicName) -> bool {
        self.replays.get(&slot).is_some_and(|replays| replays.is_replaying(topic))
    }

    /// The session in `slot` reads `topic` from `next` on, after what it reads already.
    pub fn read_from(&mut self, slot: u32, topic: Arc<Topic>, next: Offset) {
        self.replays.entry(slot).or_default().add(topic, next);
    }

    /// What comes of `topic` is live for the session in `slot` above `offset` only, until the shard has taken `until_taken` items.
    pub fn set_watermark(&mut self, slot: u32, topic: TopicName, offset: Offset, until_taken: u64) {
        self.replays.entry(slot).or_default().set_watermark(topic, offset, until_taken);
        if self.watermarks.last() != Some(&(until_taken, slot)) {
            self.watermarks.push((until_taken, slot));
        }
    }

    /// The session in `slot`, whose outbox is empty, wants its next share of history.
    pub fn await_history(&mut self, slot: u32) {
        if self.replays.get_mut(&slot).is_some_and(Replays::begin_to_await) {
            self.awaiting.push_back(slot);
        }
    }

    /// Whether a session wants a share of history.
    pub fn is_awaited(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// Takes the sessions that want a share of history, first come first; those that stay are to be put back.
    pub fn take_awaiting(&mut self) -> VecDeque<u32> {
        let mut awaiting = std::mem::take(&mut self.awaiting);
        awaiting.retain(|slot| self.replays.get(slot).is_some_and(Replays::awaits));
        awaiting
    }

    /// Puts sessions back that have not had their share, before those that came meanwhile.
    pub fn put_back(&mut self, mut awaiting: VecDeque<u32>) {
        awaiting.append(&mut self.awaiting);
        self.awaiting = awaiting;
    }

    /// The session in `slot` has its share now.
    pub fn end_await(&mut self, slot: u32) {
        if let Some(replays) = self.replays.get_mut(&slot) {
            replays.end_await();
        }
    }

    /// Reads the next piece of history for the session in `slot`, with its topic's name. `pushed`, asked once a topic has caught up,
    /// says how many items the inbox has had by then.
    pub fn pull(&mut self, slot: u32, now: Moment, pushed: impl FnOnce() -> u64) -> Option<(TopicName, ReplayPiece)> {
        let (topic, piece, reached) = self.replays.get_mut(&slot)?.pull(now)?;
        if let Some(offset) = reached {
            self.set_watermark(slot, topic.clone(), offset, pushed());
        }
        Some((topic, piece))
    }

    /// The session in `slot` has left the topics that `left` names: their replays end.
    pub fn leave(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool) {
        if let Some(replays) = self.replays.get_mut(&slot) {
            replays.leave(left);
        }
    }

    /// The session in `slot` ends.
    pub fn forget(&mut self, slot: u32) {
        self.replays.remove(&slot);
    }

    /// Forgets the watermarks that no message can come under any more, now that the shard has taken `taken` items.
    pub fn settle(&mut self, taken: u64) {
        let Self { watermarks, replays, .. } = self;
        watermarks.retain(|&(until_taken, slot)| {
            let passed = until_taken <= taken;
            if passed && replays.get_mut(&slot).is_some_and(|of_slot| !of_slot.settle(taken)) {
                replays.remove(&slot);
            }
            !passed
        });
    }

    /// The sessions that want a share of history.
    #[cfg(test)]
    pub fn awaiting(&self) -> Vec<u32> {
        self.awaiting.iter().copied().collect()
    }
}
