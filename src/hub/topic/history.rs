//! The history of one topic: the messages that `since` and `last` replay.

use std::collections::VecDeque;

use crate::clock::Moment;
use crate::config::Rule;
use crate::hub::message::Message;
use crate::position::Offset;

/// The memory of a kept message beside its payload, in bytes: metadata, frame head, entry in the queue, and the allocator's overhead.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The newest messages of one topic, oldest first: every message above `missing_up_to`.
#[derive(Debug, Default)]
pub struct History {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The highest offset at or below which messages may be missing.
    missing_up_to: Offset,
}

impl History {
    /// An empty history that will have every message above `missing_up_to`.
    pub fn above(missing_up_to: Offset) -> Self {
        Self { missing_up_to, ..Self::default() }
    }

    /// Appends `message` if its rule keeps a history, and removes the oldest messages beyond the rule's `history`.
    pub fn keep(&mut self, message: &Message) {
        if message.rule.history == 0 {
            self.clear();
            self.missing_up_to = message.position.offset;
            return;
        }
        self.bytes += cost(message);
        self.messages.push_back(message.clone());
        self.keep_newest(message.rule.history);
    }

    /// Removes all but the newest `count` messages.
    pub fn keep_newest(&mut self, count: usize) {
        while self.messages.len() > count {
            self.drop_oldest();
        }
    }

    /// Removes the messages that are older than the rule's `history_ttl`.
    pub fn expire(&mut self, rule: &Rule, now: Moment) {
        while self.messages.front().is_some_and(|oldest| now.since(oldest.moment) >= rule.history_ttl) {
            self.drop_oldest();
        }
    }

    /// Removes the oldest message. Returns its memory in bytes.
    pub fn drop_oldest(&mut self) -> usize {
        let Some(message) = self.messages.pop_front() else { return 0 };
        let freed = cost(&message);
        self.bytes -= freed;
        self.missing_up_to = message.position.offset;
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        freed
    }

    pub fn clear(&mut self) {
        let missing_up_to = self.messages.back().map_or(self.missing_up_to, |newest| newest.position.offset);
        *self = Self::above(missing_up_to);
    }

    /// When the oldest message was published.
    pub fn oldest_moment(&self) -> Option<Moment> {
        self.messages.front().map(|message| message.moment)
    }

    /// Notes that messages up to `missing_up_to` may be missing.
    pub fn note_missing_up_to(&mut self, missing_up_to: Offset) {
        self.missing_up_to = self.missing_up_to.max(missing_up_to);
    }

    /// Notes that no message above `offset` is missing.
    pub fn note_complete_above(&mut self, offset: Offset) {
        self.missing_up_to = self.missing_up_to.min(offset);
    }

    pub fn missing_up_to(&self) -> Offset {
        self.missing_up_to
    }

    /// The messages from `offset` on, oldest first.
    pub fn from(&self, offset: Offset) -> impl Iterator<Item = &Message> {
        self.messages.range(self.messages.partition_point(|message| message.position.offset < offset)..)
    }

    /// The messages before `offset`, newest first.
    pub fn before(&self, offset: Offset) -> impl Iterator<Item = &Message> {
        self.messages.range(..self.messages.partition_point(|message| message.position.offset < offset)).rev()
    }

    /// The newest messages, `count` at most, oldest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Message> {
        self.messages.range(self.messages.len().saturating_sub(count)..)
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The memory of the history, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(message: &Message) -> usize {
    message.bytes() + MESSAGE_OVERHEAD_BYTES
}
