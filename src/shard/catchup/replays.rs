//! One session's cursors into histories, read as its socket takes them, and its watermarks.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::expansion::Expansion;

use crate::clock::Moment;
use crate::hub::{ReplayPiece, Topic};
use crate::position::{Offset, Position};
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::TopicName;

/// Messages that are read from a history at once.
const PIECE_MESSAGES: usize = 64;

/// Cursors with which a session goes on before more topics are looked for.
const CURSORS_AHEAD: usize = 64;

/// About how many bytes of payloads are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a cursor takes, in bytes, with its place among the topics that are being read and the watermark that follows it.
const CURSOR_BYTES: usize = 128;

/// What one session still reads out of histories, and from where on a topic is live for it.
#[derive(Default)]
pub struct Replays {
    /// The first is being read; the others follow.
    cursors: VecDeque<Cursor>,
    /// The first so many are still to be looked at, for subscriptions have ended; none is read before.
    unchecked: usize,
    /// Their topics: a live message is not compared with each cursor.
    replaying: HashSet<TopicName>,
    watermarks: HashMap<TopicName, Watermark>,
    /// What its newest patterns match, while that is looked for.
    expansion: Option<Box<Expansion>>,
    /// The expansion goes on only once the shard has taken more of its inbox.
    expansion_waits: bool,
    /// The subscriptions from before a subscribe that is not answered yet.
    before: Option<Arc<PatternSet>>,
    /// The session is on the list of those that want a share of history.
    awaits: bool,
}

struct Cursor {
    topic: Arc<Topic>,
    /// The position of the next message, or before it.
    next: Position,
}

/// Suppresses live messages of a topic at or below a position, and those of another life: the session has them, or must not
/// have them.
struct Watermark {
    position: Position,
    /// Once the shard has taken so many items, none of these can come any more.
    until_taken: u64,
}

impl Replays {
    /// Reads `topic` from `next` on, after what it reads already.
    pub fn add(&mut self, topic: Arc<Topic>, next: Position) {
        if self.replaying.insert(topic.name().clone()) {
            self.cursors.push_back(Cursor { topic, next });
        }
    }

    /// Reads on in the new log of `topic`, behind `after` or what the session has had of it since; one that is being read goes on by
    /// itself.
    pub fn go_on(&mut self, topic: &Arc<Topic>, after: Position) {
        let had = match self.watermarks.get(topic.name()) {
            Some(mark) if mark.position.epoch != after.epoch || mark.position.offset > after.offset => mark.position,
            _ => after,
        };
        self.add(Arc::clone(topic), Position { offset: had.offset.next(), ..had });
    }

    /// What comes of `topic` is live above `position` only, until the shard has taken `until_taken` items.
    pub fn set_watermark(&mut self, topic: TopicName, position: Position, until_taken: u64) {
        let mark = self.watermarks.entry(topic).or_insert(Watermark { position, until_taken });
        if mark.position.epoch != position.epoch || mark.position.offset < position.offset {
            mark.position = position;
        }
        mark.until_taken = mark.until_taken.max(until_taken);
    }

    /// Whether a message of `topic` at `position` is not to be given to the session as a live one.
    pub fn withholds(&self, topic: &TopicName, position: Position) -> bool {
        self.is_unanswered(topic)
            || self.is_replaying(topic)
            || self.watermarks.get(topic).is_some_and(|mark| !mark.position.is_before(position))
    }

    /// Whether `topic` is still read from history.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.replaying.contains(topic)
    }

    /// Whether something can be read now.
    pub fn has_more(&self) -> bool {
        self.unchecked == 0 && (!self.cursors.is_empty() || self.expansion.is_some() && !self.expansion_waits)
    }

    /// Withholds what comes by subscriptions other than those of `before`.
    pub fn withhold_new(&mut self, before: &Arc<PatternSet>) {
        self.before = Some(Arc::clone(before));
    }

    /// The subscribe is answered.
    pub fn end_withholding(&mut self) {
        self.before = None;
    }

    /// Whether the session has `topic` by nothing but a subscribe that is not answered yet.
    pub fn is_unanswered(&self, topic: &TopicName) -> bool {
        self.before.as_ref().is_some_and(|before| !before.matches(topic))
    }

    /// What the session's newest patterns match is looked for by `expansion`.
    pub fn expand(&mut self, expansion: Box<Expansion>) {
        self.expansion = Some(expansion);
        self.expansion_waits = false;
    }

    /// What its newest patterns match, while that is looked for.
    pub fn expansion(&mut self) -> Option<&mut Expansion> {
        self.expansion.as_deref_mut()
    }

    /// The expansion, if it is its turn: it waits neither for the inbox nor for cursors to be read.
    pub fn runnable_expansion(&mut self) -> Option<&mut Expansion> {
        if self.expansion_waits || self.cursors.len() >= CURSORS_AHEAD { None } else { self.expansion.as_deref_mut() }
    }

    /// The expansion waits for the inbox; from when on not any more.
    pub fn wait_to_expand(&mut self) -> u64 {
        self.expansion_waits = true;
        self.expansion.as_ref().map_or(0, |expansion| expansion.waits_for())
    }

    /// All topics have begun.
    pub fn end_expansion(&mut self) {
        self.expansion = None;
    }

    /// How many topics have a cursor, or are to have one.
    pub fn topics(&self) -> usize {
        self.cursors.len() + self.expansion.as_ref().map_or(0, |expansion| expansion.noted())
    }

    /// About how much memory these take, in bytes.
    pub fn bytes(&self) -> usize {
        self.topics() * CURSOR_BYTES
    }

    /// Gives up no more than `most` topics, at the session's end; how many there were. Nothing else is done with it any more.
    pub fn give_up(&mut self, most: usize) -> usize {
        let cursors = most.min(self.cursors.len());
        self.cursors.drain(..cursors).for_each(|cursor| _ = self.replaying.remove(cursor.topic.name()));
        cursors + self.expansion().map_or(0, |expansion| expansion.give_up(most - cursors))
    }

    /// Subscriptions of the session have ended: it reads on once all topics were looked at.
    pub fn begin_to_leave(&mut self) {
        self.unchecked = self.cursors.len();
        self.expansion().into_iter().for_each(Expansion::narrow);
    }

    /// Looks at no more topics than `most`, and ends the replays of those that `left` names. How many there were; fewer than `most`: that
    /// was all. Watermarks are looked at with the last: they are few, for a shard takes its inbox in some ticks.
    pub fn leave(&mut self, most: usize, left: impl Fn(&TopicName) -> bool) -> usize {
        let looked_at = most.min(self.unchecked);
        for _ in 0..looked_at {
            let Some(cursor) = self.cursors.pop_front() else { break };
            if left(cursor.topic.name()) {
                self.replaying.remove(cursor.topic.name());
            } else {
                self.cursors.push_back(cursor);
            }
        }
        self.unchecked -= looked_at;
        if looked_at < most {
            self.watermarks.retain(|topic, _| !left(topic));
        }
        looked_at
    }

    /// Forgets watermarks that nothing can come under any more; whether anything is left at all.
    pub fn forget_passed(&mut self, taken: u64) -> bool {
        self.watermarks.retain(|_, mark| mark.until_taken > taken);
        self.expansion_waits &= self.expansion.as_ref().is_some_and(|expansion| expansion.waits_for() > taken);
        !self.cursors.is_empty() || !self.watermarks.is_empty() || self.expansion.is_some() || self.before.is_some()
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

    /// Reads the next piece, with its topic's name. Once the topic has caught up, the newest position that was read comes with it:
    /// what is published from then on is live.
    pub fn pull(&mut self, now: Moment) -> Option<(TopicName, ReplayPiece, Option<Position>)> {
        let cursor = self.cursors.front_mut()?;
        let piece = cursor.topic.replay(cursor.next, PIECE_MESSAGES, PIECE_BYTES, now);
        let name = cursor.topic.name().clone();
        let reached = piece.messages.last().map(|message| message.position.offset).or(piece.gap.map(|gap| gap.to));
        let reached = reached.unwrap_or(Offset(cursor.next.offset.0.saturating_sub(1)));
        cursor.next = Position { epoch: piece.epoch, offset: reached.next() };
        let live_above = piece.caught_up.then_some(Position { offset: reached, ..cursor.next });
        if piece.caught_up {
            self.cursors.pop_front();
            self.replaying.remove(&name);
        } else {
            self.cursors.rotate_left(1); // a topic that is published on faster than it is read holds up no other
        }
        Some((name, piece, live_above))
    }
}
