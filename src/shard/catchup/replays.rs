//! One session's cursors into histories, and its watermarks.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::expansion::Expansion;

use crate::clock::Moment;
use crate::hub::{ReplayPiece, Topic};
use crate::position::{Offset, Position};
use crate::shard::pattern_set::PatternSet;
use crate::topic_name::{Pattern, TopicName};

/// The most messages that are read from a history at once.
const PIECE_MESSAGES: usize = 64;

/// The number of cursors from which on no more topics are searched for a session.
const CURSORS_AHEAD: usize = 64;

/// About the most bytes of payloads that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// The bytes that a cursor takes, with its entry in `replaying` and the watermark that follows it.
const CURSOR_BYTES: usize = 128;

/// The topics that one session still reads from history, and the position from which each topic is live for it.
#[derive(Default)]
pub struct Replays {
    /// The cursors; the first is read next.
    cursors: VecDeque<Cursor>,
    /// How many of the first cursors are still to be examined after subscriptions have ended. Nothing is read before
    /// that.
    unchecked: usize,
    /// The topics of the cursors, so that a live message is not compared with each cursor.
    replaying: HashSet<TopicName>,
    watermarks: HashMap<TopicName, Watermark>,
    /// The search for the topics that the session's newest patterns match, while it is under way.
    expansion: Option<Box<Expansion>>,
    /// Whether the expansion can continue only after the shard has processed more of its inbox.
    expansion_waits: bool,
    /// The subscriptions from before a subscribe that waits for its next turn.
    before: Option<Box<PatternSet>>,
    /// Whether the messages that no subscription of `before` matches are withheld.
    withholds_new: bool,
    /// Whether the session is queued for a share of history.
    is_queued: bool,
}

struct Cursor {
    topic: Arc<Topic>,
    /// A position at or before the next message.
    next: Position,
}

/// Withholds live messages of a topic at or below a position, and those of another epoch. The session has these
/// messages, or must not have them.
struct Watermark {
    position: Position,
    /// The number of items that the shard has to process until no such message can come any more.
    until_processed: u64,
}

impl Replays {
    /// Has the session read `topic` from `next` on, after the topics that it reads already.
    pub fn add(&mut self, topic: Arc<Topic>, next: Position) {
        if self.replaying.insert(topic.name().clone()) {
            self.cursors.push_back(Cursor { topic, next });
        }
    }

    /// Has the session read the new log of `topic`, behind `after` or behind the last message that it has received
    /// since. A topic that is being read continues by itself.
    pub fn switch_log(&mut self, topic: &Arc<Topic>, after: Position) {
        let had = match self.watermarks.get(topic.name()) {
            Some(mark) if mark.position.epoch != after.epoch || mark.position.offset > after.offset => mark.position,
            _ => after,
        };
        self.add(Arc::clone(topic), Position { offset: had.offset.next(), ..had });
    }

    /// Withholds live messages of `topic` at or below `position` until the shard has processed `until_processed` items.
    pub fn set_watermark(&mut self, topic: TopicName, position: Position, until_processed: u64) {
        let mark = self.watermarks.entry(topic).or_insert(Watermark { position, until_processed });
        if mark.position.epoch != position.epoch || mark.position.offset < position.offset {
            mark.position = position;
        }
        mark.until_processed = mark.until_processed.max(until_processed);
    }

    /// Whether a message of `topic` at `position` is withheld as a live one.
    pub fn withholds(&self, topic: &TopicName, position: Position) -> bool {
        self.is_unanswered(topic)
            || self.is_replaying(topic)
            || self.watermarks.get(topic).is_some_and(|mark| !mark.position.is_before(position))
    }

    /// Whether `topic` is still read from history.
    pub fn is_replaying(&self, topic: &TopicName) -> bool {
        self.replaying.contains(topic)
    }

    /// Whether the session has something to read from history now.
    pub fn has_more(&self) -> bool {
        self.unchecked == 0 && (!self.cursors.is_empty() || self.expansion.is_some() && !self.expansion_waits)
    }

    /// Keeps the subscriptions from before a subscribe until its next turn. With `withholds_new`, messages that none of
    /// them matches are withheld.
    pub fn keep_before(&mut self, before: PatternSet, withholds_new: bool) {
        (self.before, self.withholds_new) = (Some(Box::new(before)), withholds_new);
    }

    /// Takes the subscriptions that were kept, without those that have ended.
    pub fn take_before(&mut self) -> Option<PatternSet> {
        self.before.take().map(|before| *before)
    }

    /// Notes that the subscription to `pattern` has ended.
    pub fn note_ended(&mut self, pattern: &Pattern) {
        self.before.iter_mut().for_each(|before| before.remove(pattern));
    }

    /// Whether the session receives `topic` only by a subscribe that is not answered yet.
    pub fn is_unanswered(&self, topic: &TopicName) -> bool {
        self.withholds_new && self.before.as_ref().is_some_and(|before| !before.matches(topic))
    }

    /// Begins an expansion of the session's newest patterns.
    pub fn expand(&mut self, expansion: Box<Expansion>) {
        self.expansion = Some(expansion);
        self.expansion_waits = false;
    }

    /// The search for the topics that the session's newest patterns match, while it is under way.
    pub fn expansion(&mut self) -> Option<&mut Expansion> {
        self.expansion.as_deref_mut()
    }

    /// The expansion, if it can continue: it waits neither for the inbox nor for cursors to be read.
    pub fn runnable_expansion(&mut self) -> Option<&mut Expansion> {
        if self.expansion_waits || self.cursors.len() >= CURSORS_AHEAD { None } else { self.expansion.as_deref_mut() }
    }

    /// Has the expansion wait for the inbox. Returns the number of items that the shard has to process first.
    pub fn wait_to_expand(&mut self) -> u64 {
        self.expansion_waits = true;
        self.expansion.as_ref().map_or(0, |expansion| expansion.waits_for())
    }

    /// Ends the expansion, whose topics have all begun.
    pub fn end_expansion(&mut self) {
        self.expansion = None;
    }

    /// The number of topics that have a cursor or will have one.
    pub fn topics(&self) -> usize {
        self.cursors.len() + self.expansion.as_ref().map_or(0, |expansion| expansion.noted())
    }

    /// About the memory of these topics, in bytes.
    pub fn bytes(&self) -> usize {
        self.topics() * CURSOR_BYTES
    }

    /// Releases at most `most` topics, at the session's end. Returns the number of topics. Only this may be called from
    /// then on.
    pub fn release(&mut self, most: usize) -> usize {
        let cursors = most.min(self.cursors.len());
        self.cursors.drain(..cursors).for_each(|cursor| _ = self.replaying.remove(cursor.topic.name()));
        cursors + self.expansion().map_or(0, |expansion| expansion.release(most - cursors))
    }

    /// Notes that subscriptions of the session have ended. Nothing is read until [`Replays::prune`] has examined all
    /// topics.
    pub fn begin_pruning(&mut self) {
        self.unchecked = self.cursors.len();
        self.expansion().into_iter().for_each(Expansion::note_ended_subscriptions);
    }

    /// Examines at most `most` topics, and ends the replays of those for which `is_gone` holds. Returns how many were
    /// examined; fewer than `most` means that all were. Watermarks are examined with the last topics: they are few,
    /// because a shard takes its inbox within some ticks.
    pub fn prune(&mut self, most: usize, is_gone: impl Fn(&TopicName) -> bool) -> usize {
        let examined = most.min(self.unchecked);
        for _ in 0..examined {
            let Some(cursor) = self.cursors.pop_front() else { break };
            if is_gone(cursor.topic.name()) {
                self.replaying.remove(cursor.topic.name());
            } else {
                self.cursors.push_back(cursor);
            }
        }
        self.unchecked -= examined;
        if examined < most {
            self.watermarks.retain(|topic, _| !is_gone(topic));
        }
        examined
    }

    /// Forgets watermarks that no message can come under any more. Returns whether anything of the session is left.
    pub fn forget_passed(&mut self, processed: u64) -> bool {
        self.watermarks.retain(|_, mark| mark.until_processed > processed);
        self.expansion_waits &= self.expansion.as_ref().is_some_and(|expansion| expansion.waits_for() > processed);
        !self.cursors.is_empty() || !self.watermarks.is_empty() || self.expansion.is_some() || self.before.is_some()
    }

    /// Notes that the session wants its next share of history. Returns `false` if it is queued already, or has nothing
    /// to read.
    pub fn enqueue(&mut self) -> bool {
        self.has_more() && !std::mem::replace(&mut self.is_queued, true)
    }

    /// Whether the session is queued for a share of history.
    pub fn is_queued(&self) -> bool {
        self.is_queued
    }

    /// Notes that the session has got its share.
    pub fn dequeue(&mut self) {
        self.is_queued = false;
    }

    /// Reads the next piece. Returns the topic's name, the piece and, once the topic has caught up, the newest position
    /// read: messages above it are live.
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
            self.cursors.rotate_left(1); // a topic that grows faster than it is read does not block the others
        }
        Some((name, piece, live_above))
    }
}
