//! One topic's log: its epoch, its newest offset and its history.

use std::sync::Arc;

use super::history::History;
use crate::clock::Moment;
use crate::config::Rule;
use crate::hub::message::Message;
use crate::hub::stream::StreamLife;
use crate::position::{Epoch, Offset, Position};

/// The replay that a subscriber asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplayRequest<'a> {
    /// The epoch and offset of the last message that the subscriber says it has. Without an epoch, the offset alone is
    /// compared.
    pub since: Option<(Option<&'a str>, Offset)>,
    /// How many of the newest messages are replayed without `since`; `None`: as many as the rule's `last`.
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

/// A piece of history that is replayed to one session.
#[derive(Debug)]
pub struct ReplayPiece {
    /// The epoch of the messages.
    pub epoch: Epoch,
    /// The offsets that the history no longer has.
    pub gap: Option<ReplayGap>,
    /// The messages after the gap.
    pub messages: Vec<Message>,
    /// Whether the piece ends at the topic's newest message.
    pub caught_up: bool,
}

/// Offsets that a reader of a history does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayGap {
    /// The first of the offsets.
    pub from: Offset,
    /// The last of the offsets, at least `from`.
    pub to: Offset,
    /// The epoch of both offsets, where the reader has read in another epoch so far.
    pub epoch: Option<Epoch>,
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

/// A part of a topic's history, with the topic's newest position.
#[derive(Debug, Clone)]
pub struct HistoryPart {
    /// The newest position.
    pub position: Position,
    /// The messages, in the order that was asked for.
    pub messages: Vec<Message>,
}

/// Where a part of a history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The messages after this offset, oldest first.
    After(Offset),
    /// The messages before this offset, newest first.
    Before(Offset),
}

/// The kept messages of one life of a topic. A log assigns positions, or takes messages whose position an engine
/// assigned. A log has no subscribers.
#[derive(Debug)]
pub struct Log {
    life: Life,
    /// The offset of its newest message, 0 before the first.
    newest: Offset,
    history: History,
    /// When the newest message was published; before the first one, when the log was made.
    published_at: Moment,
}

/// What assigns the offsets of a log.
#[derive(Debug)]
enum Life {
    /// The log itself, without holes.
    Own(Epoch),
    /// The stream that the topic belongs to. Messages of the stream's other topics have the offsets between.
    OfStream(Arc<StreamLife>),
}

impl Log {
    /// A new life without messages.
    pub fn new(now: Moment) -> Self {
        Self { life: Life::Own(Epoch::random()), newest: Offset(0), history: History::default(), published_at: now }
    }

    /// An empty log in the life of a stream. Every message of the topic above `missing_up_to` is going to be appended.
    pub fn of_stream(life: &Arc<StreamLife>, missing_up_to: Offset, now: Moment) -> Self {
        Self { life: Life::OfStream(Arc::clone(life)), newest: Offset(0), history: History::above(missing_up_to), published_at: now }
    }

    /// A life that continues at `position`, with its last `messages`, oldest first.
    pub fn restored(position: Position, messages: impl Iterator<Item = Message>, now: Moment) -> Self {
        let mut messages = messages.peekable();
        let missing_up_to = messages.peek().map_or(position.offset, |first| Offset(first.position.offset.0.saturating_sub(1)));
        let mut log =
            Self { life: Life::Own(position.epoch), newest: position.offset, history: History::above(missing_up_to), published_at: now };
        messages.for_each(|message| log.append(&message));
        log
    }

    /// The messages that are kept, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.history.from(Offset(0))
    }

    /// The position of the newest message. For a stream's topic that keeps none, the position up to which the stream
    /// was followed: no message of the topic before it is unknown.
    pub fn position(&self) -> Position {
        match self.history.is_empty() {
            true => self.known_to(),
            false => Position { epoch: self.epoch(), offset: self.newest },
        }
    }

    /// The position up to which every message of the topic is known. In a stream, offsets behind the newest message are
    /// those of other topics.
    pub fn known_to(&self) -> Position {
        let cursor = match &self.life {
            Life::OfStream(life) => life.cursor(),
            Life::Own(_) => Offset(0),
        };
        Position { epoch: self.epoch(), offset: self.newest.max(cursor) }
    }

    /// Takes over what `before`, which this log replaces, knows of the same life: up to where `before` is known, no
    /// message may be missing but those that it had given up.
    pub fn reach_back(&mut self, before: &Self) {
        let (missing_up_to, known) = (self.history.missing_up_to(), before.known_to());
        if known.epoch != self.epoch() || known.offset < missing_up_to {
            return;
        }
        let kept = before.history.before(missing_up_to.next()).next().map(|message| message.position.offset);
        let newest = Some(before.newest).filter(|newest| *newest <= missing_up_to).or(kept).unwrap_or_default();
        self.history.note_complete_above(newest.max(before.history.missing_up_to()));
    }

    /// The position of the next message, where the log itself assigns it.
    pub fn next_position(&self) -> Position {
        Position { epoch: self.epoch(), offset: self.newest.next() }
    }

    /// The offset of the newest message, kept or not; 0: none is known.
    pub fn newest(&self) -> Offset {
        self.newest
    }

    /// Whether a stream assigns the offsets.
    pub fn is_of_stream(&self) -> bool {
        matches!(self.life, Life::OfStream(_))
    }

    /// Whether the offsets are those of `life`.
    pub fn is_in(&self, life: &Arc<StreamLife>) -> bool {
        matches!(&self.life, Life::OfStream(own) if Arc::ptr_eq(own, life))
    }

    /// Notes that messages up to `missing_up_to` may be missing.
    pub fn note_missing_up_to(&mut self, missing_up_to: Offset) {
        self.history.note_missing_up_to(missing_up_to);
    }

    /// Removes the history at the topic's end. A stream's life keeps the offset that the topic had.
    pub fn end(&mut self) {
        self.history.clear();
        if let Life::OfStream(life) = &self.life {
            life.raise_base(self.newest.max(self.history.missing_up_to()));
        }
    }

    fn epoch(&self) -> Epoch {
        match &self.life {
            Life::Own(epoch) => *epoch,
            Life::OfStream(life) => life.epoch(),
        }
    }

    /// Appends `message`, which has its position and is newer than all others.
    pub fn append(&mut self, message: &Message) {
        self.newest = message.position.offset;
        self.published_at = message.moment;
        self.history.keep(message);
    }

    /// Where a subscriber begins; `last` is that of the topic's rule.
    pub fn start(&self, wanted: ReplayRequest<'_>, last: usize) -> Start {
        let position = self.position();
        let reaches_back = |offset| (self.history.missing_up_to()..=position.offset).contains(&offset);
        let recovered =
            wanted.since.map(|(epoch, offset)| epoch.is_none_or(|epoch| epoch == position.epoch.as_str()) && reaches_back(offset));
        let replay_from = match wanted.since {
            Some((_, offset)) if recovered == Some(true) => Some(offset.next()).filter(|next| *next <= self.newest),
            _ => self.history.newest(wanted.last.unwrap_or(last)).next().map(|message| message.position.offset),
        };
        Start { position, replay_from, recovered }
    }

    /// The position of the first of the `last` messages before `owed`, or `owed` where none of them is kept.
    pub fn replay_before(&self, owed: Position, last: usize) -> Position {
        if owed.epoch != self.epoch() {
            return owed;
        }
        let first = self.history.before(owed.offset).take(last).last();
        Position { offset: first.map_or(owed.offset, |message| message.position.offset), ..owed }
    }

    /// Reads from `next` on: at most `messages` messages, and about `bytes` bytes. A `next` of another epoch is read
    /// from the oldest message on, with a gap that names the epoch of the log.
    pub fn read(&self, next: Position, messages: usize, mut bytes: usize) -> ReplayPiece {
        let (epoch, missing_up_to) = (self.epoch(), self.history.missing_up_to());
        let gap = match next.offset {
            _ if next.epoch != epoch => Some(ReplayGap { from: Offset(1).min(missing_up_to), to: missing_up_to, epoch: Some(epoch) }),
            from if from <= missing_up_to => Some(ReplayGap { from, to: missing_up_to, epoch: None }),
            _ => None,
        };
        let mut piece = ReplayPiece { epoch, gap, messages: Vec::new(), caught_up: false };
        let mut reached = gap.map_or(next.offset, |gap| gap.to.next());
        for message in self.history.from(reached).take(messages) {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(message.bytes());
            reached = message.position.offset.next();
            piece.messages.push(message.clone());
        }
        piece.caught_up = reached > self.newest;
        piece
    }

    /// The messages after `since`, or the newest `limit`; at most about `bytes` bytes.
    pub fn page(&self, since: Option<Offset>, limit: usize, bytes: usize) -> HistoryPage {
        let first = match since {
            Some(offset) => offset.next(),
            None => self.history.newest(limit).next().map_or(self.newest, |message| message.position.offset),
        };
        let messages = within(self.history.from(first), limit, bytes);
        let more = messages.last().is_some_and(|last| last.position.offset < self.newest);
        HistoryPage { epoch: Some(self.epoch()), messages, more }
    }

    /// The part of the history that begins at `from`, with the newest position; at most `limit` messages and about
    /// `bytes` bytes.
    pub fn part(&self, from: ReadFrom, limit: usize, bytes: usize) -> HistoryPart {
        let messages = match from {
            ReadFrom::After(offset) => self.page(Some(offset), limit, bytes).messages,
            ReadFrom::Before(offset) => within(self.history.before(offset), limit, bytes),
        };
        HistoryPart { position: self.position(), messages }
    }

    /// Removes all but the newest `count` messages.
    pub fn keep_newest(&mut self, count: usize) {
        self.history.keep_newest(count);
    }

    /// Removes the messages that are older than the rule's `history_ttl`.
    pub fn expire(&mut self, rule: &Rule, now: Moment) {
        self.history.expire(rule, now);
    }

    /// Removes the oldest messages until `bytes` are freed or no message is left. Returns the number of freed bytes.
    pub fn trim(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes && !self.history.is_empty() {
            freed += self.history.drop_oldest();
        }
        freed
    }

    /// When the oldest message that is kept was published.
    pub fn oldest_moment(&self) -> Option<Moment> {
        self.history.oldest_moment()
    }

    /// When the newest message was published, if any message is kept.
    pub fn kept_since(&self) -> Option<Moment> {
        (!self.history.is_empty()).then_some(self.published_at)
    }

    /// The memory of the history, in bytes.
    pub fn bytes(&self) -> usize {
        self.history.bytes()
    }
}

/// The first `limit` of `messages`, at most about `bytes` bytes; one message may be of any size.
fn within<'a>(messages: impl Iterator<Item = &'a Message>, limit: usize, mut bytes: usize) -> Vec<Message> {
    let mut taken: Vec<Message> = Vec::new();
    for message in messages.take(limit) {
        if message.bytes() > bytes && !taken.is_empty() {
            break;
        }
        bytes = bytes.saturating_sub(message.bytes());
        taken.push(message.clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::message::{About, PayloadKind};

    fn message(position: Position, history: usize) -> Message {
        let rule = Arc::new(Rule { history, ..Rule::plain(None) });
        Message::new(About { rule, ..About::of_test("chat.a", position, PayloadKind::Text) }, b"x")
    }

    /// A restored history has positions that the log did not assign.
    #[test]
    fn a_log_continues_from_a_restored_position() {
        let mut log = Log::new(Moment::default());
        let epoch = log.position().epoch;
        for offset in 41..=43 {
            log.append(&message(Position { epoch, offset: Offset(offset) }, 2));
        }
        assert_eq!((log.position().offset, log.next_position().offset), (Offset(43), Offset(44)));
        let back = |offset, limit, bytes| {
            let part = log.part(ReadFrom::Before(Offset(offset)), limit, bytes);
            part.messages.iter().map(|message| message.position.offset.0).collect::<Vec<_>>()
        };
        assert_eq!((back(43, 10, 1_000), back(u64::MAX, 1, 0)), (vec![42], vec![43]), "43 is not before 43");
        let start = |since| {
            let start = log.start(ReplayRequest { since: Some((Some(epoch.as_str()), Offset(since))), last: None }, 1);
            (start.recovered, start.replay_from)
        };
        assert_eq!(start(41), (Some(true), Some(Offset(42))));
        assert_eq!(start(40), (Some(false), Some(Offset(43))), "41 was evicted");
        let piece = log.read(Position { epoch, offset: Offset(40) }, 10, 1_000);
        let gap = ReplayGap { from: Offset(40), to: Offset(41), epoch: None };
        assert_eq!((piece.gap, piece.messages.len(), piece.caught_up), (Some(gap), 2, true));
    }

    /// Offsets of an engine have holes. `since`, `last` and pages count messages, and not numbers.
    #[test]
    fn a_log_with_holes_counts_messages() {
        let mut log = Log::new(Moment::default());
        let epoch = log.position().epoch;
        for offset in [10, 25, 70, 71, 90] {
            log.append(&message(Position { epoch, offset: Offset(offset) }, 4));
        }
        let start = |wanted| {
            let start = log.start(wanted, 0);
            (start.recovered, start.replay_from.map(|offset| offset.0))
        };
        let since = |offset| ReplayRequest { since: Some((Some(epoch.as_str()), Offset(offset))), last: None };
        assert_eq!(start(since(9)), (Some(false), None), "10 was evicted");
        assert_eq!(start(since(10)), (Some(true), Some(11)));
        assert_eq!(start(since(60)), (Some(true), Some(61)), "an offset of another topic");
        assert_eq!(start(since(90)), (Some(true), None));
        assert_eq!(start(since(91)), (Some(false), None), "past the newest offset");
        assert_eq!(start(ReplayRequest { since: None, last: Some(2) }), (None, Some(71)));
        let offsets = |messages: &[Message]| messages.iter().map(|message| message.position.offset.0).collect::<Vec<_>>();
        assert_eq!(offsets(&log.page(None, 3, 1_000).messages), [70, 71, 90]);
        let page = log.page(Some(Offset(25)), 1, 1_000);
        assert_eq!((offsets(&page.messages), page.more), (vec![70], true));
        let piece = log.read(Position { epoch, offset: Offset(26) }, 2, 1_000);
        assert_eq!((piece.gap, offsets(&piece.messages), piece.caught_up), (None, vec![70, 71], false));
    }

    /// PROTOCOL 13: a gap with the new epoch comes before the first message.
    #[test]
    fn a_reader_with_another_epoch_gets_a_gap_and_all_messages() {
        let mut log = Log::restored(Position { epoch: Epoch::random(), offset: Offset(7) }, std::iter::empty(), Moment::default());
        let position = log.position();
        log.append(&message(Position { offset: Offset(8), ..position }, 4));
        let piece = log.read(Position { epoch: Epoch::random(), offset: Offset(500) }, 10, 1_000);
        let gap = ReplayGap { from: Offset(1), to: Offset(7), epoch: Some(position.epoch) };
        assert_eq!((piece.gap, piece.messages.len(), piece.caught_up), (Some(gap), 1, true));
    }
}
