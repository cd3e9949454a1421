//! One topic's history: the messages that `since` and `last` replay.

use std::collections::VecDeque;

use crate::clock::Moment;
use crate::config::Rule;
use crate::hub::message::Message;
use crate::position::Offset;

/// The cost of a kept message beside its payload, in bytes: its metadata, its frame's head, its place in the queue and the allocator's
/// overhead.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The newest messages of one topic, oldest first: every message above `floor`.
#[derive(Debug, Default)]
pub struct History {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The highest offset at or below which messages may be missing.
    floor: Offset,
}

impl History {
    /// An empty history that will have every message above `floor`.
    pub fn above(floor: Offset) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Keeps `message` if its rule keeps any, and gives up the oldest messages beyond the rule's `history`.
    pub fn keep(&mut self, message: &Message) {
        if message.rule.history == 0 {
            self.clear();
            self.floor = message.position.offset;
            return;
        }
        self.bytes += cost(message);
        self.messages.push_back(message.clone());
        self.give_up_beyond(message.rule.history);
    }

    /// Gives up all but the newest `count` messages.
    pub fn give_up_beyond(&mut self, count: usize) {
        while self.messages.len() > count {
            self.give_up_oldest();
        }
    }

    /// Gives up the messages that are older than the rule's `history_ttl`.
    pub fn expire(&mut self, rule: &Rule, now: Moment) {
        while self.messages.front().is_some_and(|oldest| now.since(oldest.moment) >= rule.history_ttl) {
            self.give_up_oldest();
        }
    }

    /// Gives up the oldest message, and returns its cost in bytes.
    pub fn give_up_oldest(&mut self) -> usize {
        let Some(message) = self.messages.pop_front() else { return 0 };
        let freed = cost(&message);
        self.bytes -= freed;
        self.floor = message.position.offset;
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        freed
    }

    /// Gives up all messages.
    pub fn clear(&mut self) {
        let floor = self.messages.back().map_or(self.floor, |newest| newest.position.offset);
        *self = Self::above(floor);
    }

    /// When the oldest message was published.
    pub fn oldest_moment(&self) -> Option<Moment> {
        self.messages.front().map(|message| message.moment)
    }

    /// Notes that messages up to `floor` may be missing.
    pub fn raise_floor(&mut self, floor: Offset) {
        self.floor = self.floor.max(floor);
    }

    /// Notes that above `floor` no message is missing.
    pub fn lower_floor(&mut self, floor: Offset) {
        self.floor = self.floor.min(floor);
    }

    /// The highest offset at or below which messages may be missing.
    pub fn floor(&self) -> Offset {
        self.floor
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

    /// Whether the history has no message.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The cost of the history, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(message: &Message) -> usize {
    message.payload().len() + message.extra.as_ref().map_or(0, |extra| extra.bytes()) + MESSAGE_OVERHEAD_BYTES
}
