//! One topic's history: what `since` and `last` are owed.

use std::collections::VecDeque;

use super::message::Message;
use crate::clock::Moment;
use crate::config::Rule;
use crate::position::Offset;

/// What a kept message costs beside its payload, in bytes: what is known of it, its frame's head, its place in the queue, the
/// allocator's share.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The newest messages of one topic, without holes, oldest first.
#[derive(Debug, Default)]
pub struct History {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl History {
    /// Keeps `message` if its rule keeps any, and gives up what that pushes out.
    pub fn keep(&mut self, message: &Message) {
        if message.rule.history == 0 {
            return self.clear();
        }
        self.bytes += cost(message);
        self.messages.push_back(message.clone());
        while self.messages.len() > message.rule.history {
            self.give_up_oldest();
        }
    }

    /// Gives up what is older than `rule` keeps.
    pub fn expire(&mut self, rule: &Rule, now: Moment) {
        while self.messages.front().is_some_and(|oldest| now.since(oldest.moment) >= rule.history_ttl) {
            self.give_up_oldest();
        }
    }

    /// Gives up the oldest message; its cost in bytes.
    pub fn give_up_oldest(&mut self) -> usize {
        let Some(message) = self.messages.pop_front() else { return 0 };
        let freed = cost(&message);
        self.bytes -= freed;
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        freed
    }

    /// Gives up everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// When its oldest message came.
    pub fn oldest_moment(&self) -> Option<Moment> {
        self.messages.front().map(|message| message.moment)
    }

    /// The first offset that it still has.
    pub fn first(&self) -> Option<Offset> {
        self.messages.front().map(|message| message.position.offset)
    }

    /// Its messages from `offset` on.
    pub fn from(&self, offset: Offset) -> impl Iterator<Item = &Message> {
        let skipped = self.first().map_or(0, |first| offset.0.saturating_sub(first.0) as usize);
        self.messages.range(skipped.min(self.messages.len())..)
    }

    /// How many messages it has.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What it costs, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(message: &Message) -> usize {
    message.payload().len() + MESSAGE_OVERHEAD_BYTES
}
