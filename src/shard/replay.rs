//! Cursors into histories: what a session has not seen yet, pulled as its socket takes it, until a topic has caught up.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Moment;
use crate::hub::{ReplayPiece, Topic};
use crate::position::Offset;
use crate::topic_name::TopicName;

/// Messages that are read from a history at once.
const PIECE_MESSAGES: usize = 64;

/// About how many bytes of payloads are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What one session still reads out of histories, and from where on a topic is live for it.
#[derive(Default)]
pub struct Replays {
    /// The first is being read; the others follow.
    cursors: VecDeque<Cursor>,
    /// Topics whose messages up to an offset the session has or must not have; older ones may still be in the inbox.
    floors: Vec<Floor>,
}

struct Cursor {
    topic: Arc<Topic>,
    next: Offset,
}

struct Floor {
    topic: TopicName,
    offset: Offset,
    /// Once the shard has taken so many items, none at or below the offset can come any more.
    until_taken: u64,
}

impl Replays {
    /// Reads `topic` from `next` on, after what it reads already.
    pub fn add(&mut self, topic: Arc<Topic>, next: Offset) {
        self.cursors.push_back(Cursor { topic, next });
    }

    /// What comes of `topic` is live above `offset` only.
    pub fn set_floor(&mut self, topic: TopicName, offset: Offset, until_taken: u64) {
        self.floors.push(Floor { topic, offset, until_taken });
    }

    /// Whether a message of `topic` at `offset` is not to be given to the session as a live one.
    pub fn withholds(&self, topic: &TopicName, offset: Offset) -> bool {
        self.is_replaying(topic) || self.floors.iter().any(|floor| floor.topic == *topic && offset <= floor.offset)
    }

    /// Whether `topic` is still read from history.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.cursors.iter().any(|cursor| cursor.topic.name() == topic)
    }

    /// Whether something is left to read.
    pub fn has_more(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Ends the replay of topics that `left` names; the session has left them.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) {
        self.cursors.retain(|cursor| !left(cursor.topic.name()));
        self.floors.retain(|floor| !left(&floor.topic));
    }

    /// Forgets floors that nothing can come under any more; whether anything is left at all.
    pub fn settle(&mut self, taken: u64) -> bool {
        self.floors.retain(|floor| floor.until_taken > taken);
        !self.floors.is_empty() || !self.cursors.is_empty()
    }

    /// Reads the next piece, with its topic's name. `pushed`, asked once a topic has caught up, says how many items the inbox has had by then.
    pub fn pull(&mut self, now: Moment, pushed: impl FnOnce() -> u64) -> Option<(TopicName, ReplayPiece)> {
        let cursor = self.cursors.front_mut()?;
        let piece = cursor.topic.replay(cursor.next, PIECE_MESSAGES, PIECE_BYTES, now);
        let name = cursor.topic.name().clone();
        let reached = piece.messages.last().map(|message| message.position.offset).or(piece.gap.map(|(_, to)| to));
        if let Some(reached) = reached {
            cursor.next = reached.next();
        }
        if piece.caught_up {
            let floor = Offset(cursor.next.0 - 1);
            self.cursors.pop_front();
            self.set_floor(name.clone(), floor, pushed());
        }
        Some((name, piece))
    }
}
