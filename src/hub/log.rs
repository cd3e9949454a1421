//! One topic's log: its epoch, its newest offset and its history.

use super::history::History;
use super::message::Message;
use crate::clock::Moment;
use crate::config::Rule;
use crate::position::{Epoch, Offset, Position};

/// What a subscriber asks to have replayed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The epoch and offset of the last message that the subscriber says it has.
    pub since: Option<(&'a str, Offset)>,
    /// How many of the newest messages; `None`: the rule's `last`.
    pub last: Option<usize>,
}

/// How a subscriber begins on a topic.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The topic's newest position when the subscription begins; later messages are live.
    pub position: Position,
    /// The first offset to replay; `None`: no message is replayed.
    pub replay_from: Option<Offset>,
    /// Whether every message after `since` can be replayed; `None` without `since`.
    pub recovered: Option<bool>,
}

/// A piece of history on its way to one session.
#[derive(Debug, Default)]
pub struct ReplayPiece {
    /// First and last of the offsets that history no longer has.
    pub gap: Option<(Offset, Offset)>,
    /// The messages after the gap.
    pub messages: Vec<Message>,
    /// Whether the piece ends at the topic's newest message.
    pub caught_up: bool,
}

/// A part of a topic's history, oldest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The topic's epoch; `None` where the topic does not live.
    pub epoch: Option<Epoch>,
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether more messages follow.
    pub more: bool,
}

/// The messages of one life of a topic, as far as they are kept. The log assigns positions, and it also takes messages whose
/// position was assigned elsewhere; it knows nothing of who hears them.
#[derive(Debug)]
pub struct Log {
    epoch: Epoch,
    newest: Offset,
    history: History,
    published_at: Moment,
}

impl Log {
    /// A new life without messages.
    pub fn new(now: Moment) -> Self {
        Self { epoch: Epoch::random(), newest: Offset(0), history: History::default(), published_at: now }
    }

    /// A life that goes on at `position` with its last `messages`, oldest first.
    pub fn restored(position: Position, messages: impl Iterator<Item = Message>, now: Moment) -> Self {
        let mut log = Self { epoch: position.epoch, newest: position.offset, history: History::default(), published_at: now };
        messages.for_each(|message| log.append(&message));
        log
    }

    /// The messages that are kept, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.from(Offset(0))
    }

    /// The position of the newest message.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.newest }
    }

    /// The position of the next message.
    pub fn next_position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.newest.next() }
    }

    /// Appends `message`, which has its position and is newer than all others.
    pub fn append(&mut self, message: &Message) {
        self.newest = message.position.offset;
        self.published_at = message.moment;
        self.history.keep(message);
    }

    /// Where a subscriber begins; `last` is the rule's.
    pub fn start(&self, wanted: Wanted<'_>, last: usize) -> Start {
        let newest = self.newest;
        let first = self.first();
        let reaches_back = |offset: Offset| offset <= newest && offset.next() >= first;
        let recovered = wanted.since.map(|(epoch, offset)| epoch == self.epoch.as_str() && reaches_back(offset));
        let replay_from = match wanted.since {
            Some((_, offset)) if recovered == Some(true) => offset.next(),
            _ => {
                let last = wanted.last.unwrap_or(last).min(self.history.len());
                Offset(newest.0 - last as u64).next()
            }
        };
        Start { position: self.position(), replay_from: (replay_from <= newest).then_some(replay_from), recovered }
    }

    /// Reads on from `offset`, at most `messages` and about `bytes`.
    pub fn read(&self, offset: Offset, messages: usize, mut bytes: usize) -> ReplayPiece {
        let first = self.first();
        let mut piece = ReplayPiece::default();
        if first > offset {
            piece.gap = Some((offset, Offset(first.0 - 1)));
        }
        let mut reached = offset.max(first);
        for message in self.history.from(reached).take(messages) {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(message.payload().len());
            reached = message.position.offset.next();
            piece.messages.push(message.clone());
        }
        piece.caught_up = reached > self.newest;
        piece
    }

    /// The messages after `since`, or the newest `limit`; at most about `bytes` of payloads.
    pub fn page(&self, since: Option<Offset>, limit: usize, mut bytes: usize) -> HistoryPage {
        let first = match since {
            Some(offset) => offset.next(),
            None => Offset(self.newest.0.saturating_sub(limit as u64) + 1),
        };
        let mut messages: Vec<Message> = Vec::new();
        for message in self.history.from(first).take(limit) {
            if message.payload().len() > bytes && !messages.is_empty() {
                break;
            }
            bytes = bytes.saturating_sub(message.payload().len());
            messages.push(message.clone());
        }
        let more = messages.last().is_some_and(|last| last.position.offset < self.newest);
        HistoryPage { epoch: Some(self.epoch), messages, more }
    }

    /// Gives up the messages that are older than `rule` keeps them.
    pub fn expire(&mut self, rule: &Rule, now: Moment) {
        self.history.expire(rule, now);
    }

    /// Gives up its oldest messages until `bytes` are freed or none is left; how many bytes were freed.
    pub fn give_up_oldest(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes && !self.history.is_empty() {
            freed += self.history.give_up_oldest();
        }
        freed
    }

    /// Gives up its history. The position stays.
    pub fn clear(&mut self) {
        self.history.clear();
    }

    /// When the oldest message that is kept was published.
    pub fn oldest_moment(&self) -> Option<Moment> {
        self.history.oldest_moment()
    }

    /// When the newest message was published, if any message is kept.
    pub fn kept_since(&self) -> Option<Moment> {
        (!self.history.is_empty()).then_some(self.published_at)
    }

    /// The cost of its history, in bytes.
    pub fn bytes(&self) -> usize {
        self.history.bytes()
    }

    /// The first offset that is kept, or the next one if none is.
    fn first(&self) -> Offset {
        self.history.first().unwrap_or(self.newest.next())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::hub::message::{About, PayloadKind};
    use crate::topic_name::TopicName;

    fn message(position: Position, history: usize) -> Message {
        let about = About {
            topic: TopicName::parse("chat.a").unwrap(),
            position,
            published_at: Timestamp(0),
            moment: Moment::default(),
            kind: PayloadKind::Text,
            except: None,
            rule: Arc::new(Rule { history, ..Rule::plain(None) }),
        };
        Message::new(about, b"x")
    }

    /// A log continues from a message whose position it did not assign, as a restored history has them.
    #[test]
    fn a_log_takes_positions_that_were_assigned_elsewhere() {
        let mut log = Log::new(Moment::default());
        let epoch = log.position().epoch;
        for offset in 41..=43 {
            log.append(&message(Position { epoch, offset: Offset(offset) }, 2));
        }
        assert_eq!((log.position().offset, log.next_position().offset), (Offset(43), Offset(44)));
        let start = |since| {
            let start = log.start(Wanted { since: Some((epoch.as_str(), Offset(since))), last: None }, 1);
            (start.recovered, start.replay_from)
        };
        assert_eq!(start(41), (Some(true), Some(Offset(42))));
        assert_eq!(start(40), (Some(false), Some(Offset(43))), "41 was pushed out");
        let piece = log.read(Offset(40), 10, 1_000);
        assert_eq!((piece.gap, piece.messages.len(), piece.caught_up), (Some((Offset(40), Offset(41))), 2, true));
    }
}
