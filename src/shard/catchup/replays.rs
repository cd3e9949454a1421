//! One session's cursors into histories, read as its socket takes them, and its watermarks.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

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
    /// Their topics: a live message is not compared with each cursor.
    replaying: HashSet<TopicName>,
    watermarks: HashMap<TopicName, Watermark>,
    /// The session is on the list of those that want a share of history.
    awaits: bool,
}

struct Cursor {
    topic: Arc<Topic>,
    next: Offset,
}

/// Suppresses live messages of a topic at or below an offset: the session has them, or must not have them.
struct Watermark {
    offset: Offset,
    /// Once the shard has taken so many items, none at or below the offset can come any more.
    until_taken: u64,
}

impl Replays {
    /// Reads `topic` from `next` on, after what it reads already.
    pub fn add(&mut self, topic: Arc<Topic>, next: Offset) {
        if self.replaying.insert(topic.name().clone()) {
            self.cursors.push_back(Cursor { topic, next });
        }
    }

    /// What comes of `topic` is live above `offset` only, until the shard has taken `until_taken` items.
    pub fn set_watermark(&mut self, topic: TopicName, offset: Offset, until_taken: u64) {
        let mark = self.watermarks.entry(topic).or_insert(Watermark { offset, until_taken });
        mark.offset = mark.offset.max(offset);
        mark.until_taken = mark.until_taken.max(until_taken);
    }

    /// Whether a message of `topic` at `offset` is not to be given to the session as a live one.
    pub fn withholds(&self, topic: &TopicName, offset: Offset) -> bool {
        self.is_replaying(topic) || self.watermarks.get(topic).is_some_and(|mark| offset <= mark.offset)
    }

    /// Whether `topic` is still read from history.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.replaying.contains(topic)
    }

    /// Whether something is left to read.
    pub fn has_more(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Ends the replay of topics that `left` names; the session has left them.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) {
        self.cursors.retain(|cursor| !left(cursor.topic.name()));
        self.replaying.retain(|topic| !left(topic));
        self.watermarks.retain(|topic, _| !left(topic));
    }

    /// Forgets watermarks that nothing can come under any more; whether anything is left at all.
    pub fn settle(&mut self, taken: u64) -> bool {
        self.watermarks.retain(|_, mark| mark.until_taken > taken);
        !self.watermarks.is_empty() || !self.cursors.is_empty()
    }

    /// The session wants its next share; `false`: it is on the list already, or has nothing left to read.
    pub fn begin_to_await(&mut self) -> bool {
        self.has_more() && !std::mem::replace(&mut self.awaits, true)
    }

    /// Whether the session is on the list of those that want a share.
    pub fn awaits(&self) -> bool {
        self.awaits
    }

    /// The session has its share.
    pub fn end_await(&mut self) {
        self.awaits = false;
    }

    /// Reads the next piece, with its topic's name. Once the topic has caught up, the newest offset that was read comes with it:
    /// what is published from then on is live.
    pub fn pull(&mut self, now: Moment) -> Option<(TopicName, ReplayPiece, Option<Offset>)> {
        let cursor = self.cursors.front_mut()?;
        let piece = cursor.topic.replay(cursor.next, PIECE_MESSAGES, PIECE_BYTES, now);
        let name = cursor.topic.name().clone();
        let reached = piece.messages.last().map(|message| message.position.offset).or(piece.gap.map(|(_, to)| to));
        if let Some(reached) = reached {
            cursor.next = reached.next();
        }
        let live_above = piece.caught_up.then(|| Offset(cursor.next.0 - 1));
        if piece.caught_up {
            self.cursors.pop_front();
            self.replaying.remove(&name);
        }
        Some((name, piece, live_above))
    }
}
