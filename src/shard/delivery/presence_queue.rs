//! Joins and leaves that watchers are still to be told. A change is told in the tick in which it comes, unless the
//! changes before it exceed the budget of the tick. If a join and a leave of one member cancel out while they wait, no
//! watcher is told.
//!
//! Under load, changes are told in rounds: some changes to a part of their watchers, then to the next part. So each
//! session is written to once in a round, and other messages wait behind one part instead of all watchers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use crate::clock::Moment;
use crate::dialect::{Encoder, Encoding, Event, FrameBytes, event_frame};
use crate::hub::PresenceChange;
use crate::metrics::{Gauge, Tally};
use crate::session_id::SessionId;
use crate::topic_name::TopicName;

/// The number of frames for watchers after which a tick tells no more: with their writes, about a millisecond's work.
const FRAMES_PER_TICK: usize = 2_048;

/// The number of watchers after which a tick tells no more, and the size of a part: as many sessions as a tick writes
/// to.
pub const WATCHERS_PER_PART: usize = 128;

/// The most changes of a round.
const ROUND_CHANGES: usize = 32;

/// The pause after a tick that told as many changes as it may. It leaves at least two thirds of the shard's time to
/// other work, and later changes may cancel waiting ones.
const PAUSE: Duration = Duration::from_millis(2);

/// A shard's changes of presence, by the numbers of their items in its inbox.
#[derive(Debug, Default)]
pub struct PresenceQueue {
    waiting: BTreeMap<u64, Waiting>,
    /// The newest waiting change of each member of a topic.
    newest: HashMap<(TopicName, SessionId), u64>,
    /// Topics whose members a session has asked for, and the number of the newest change that the answer may have
    /// contained.
    asked: HashMap<TopicName, u64>,
    /// The entries of `asked`, in the order of the requests.
    asked_in_order: VecDeque<(u64, TopicName)>,
    /// The bytes of the changes that are not told to all watchers yet.
    bytes: usize,
    /// The changes that are being told, in their order.
    round: Vec<RoundChange>,
    /// The slot from which on watchers are still to be told of the round.
    from: u32,
    frames_in_tick: usize,
    watchers_in_tick: usize,
    /// No change is told before this moment.
    paused_until: Option<Moment>,
}

/// A change that is being told.
#[derive(Debug)]
pub struct RoundChange {
    /// The change's number.
    pub number: u64,
    /// The change.
    pub change: Arc<PresenceChange>,
    /// The frames of the change, each made once, in the order of first need. `None` where an encoding has no such
    /// event.
    frames: Vec<(Encoding, Option<FrameBytes>)>,
}

#[derive(Debug)]
struct Waiting {
    change: Arc<PresenceChange>,
    /// The number of the member's change before this one, which may have been told since.
    before: Option<u64>,
}

impl PresenceQueue {
    /// Takes the change with `number`. If it undoes the newest waiting change of the same member, both are dropped.
    /// That does not happen if a session may know of the waiting change already: `is_known` says whether a session
    /// began to watch behind a number.
    pub fn take(&mut self, number: u64, change: &Arc<PresenceChange>, is_known: impl Fn(u64) -> bool, tally: &mut Tally) {
        let key = (change.topic.clone(), change.member.session);
        let before = self.newest.get(&key).copied();
        let asked = self.asked.get(&change.topic).copied().unwrap_or(0);
        if let Some(before) = before.filter(|&before| before > asked && !is_known(before) && self.is_undone(before, change)) {
            let cancelled = self.remove(before, tally);
            let earlier = cancelled.and_then(|cancelled| cancelled.before).filter(|earlier| self.waiting.contains_key(earlier));
            match earlier {
                Some(earlier) => _ = self.newest.insert(key, earlier),
                None => _ = self.newest.remove(&key),
            }
            return;
        }
        self.newest.insert(key, number);
        self.bytes += change.bytes();
        tally.add(Gauge::PresenceBytes, change.bytes() as i64);
        self.waiting.insert(number, Waiting { change: Arc::clone(change), before });
    }

    /// Notes that a session is told the members of `topic`. Changes up to the number `pushed` are not cancelled by
    /// later ones. `processed` is the number of items that the shard has processed; it may still have to process some
    /// of these changes.
    pub fn ask(&mut self, topic: &TopicName, pushed: u64, processed: u64) {
        if pushed <= processed && self.waiting.is_empty() || self.asked.get(topic) == Some(&pushed) {
            return;
        }
        self.asked.insert(topic.clone(), pushed);
        self.asked_in_order.push_back((pushed, topic.clone()));
    }

    /// Begins a tick at `now`. The shard has processed `processed` items.
    pub fn begin_tick(&mut self, processed: u64, now: Moment) {
        if self.has_told_enough() {
            self.paused_until = Some(now + PAUSE);
        } else if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        (self.frames_in_tick, self.watchers_in_tick) = (0, 0);
        let reported = self.first().map_or(processed, |first| first.saturating_sub(1).min(processed));
        while let Some((pushed, topic)) = self.asked_in_order.front().filter(|(pushed, _)| *pushed <= reported) {
            if self.asked.get(topic) == Some(pushed) {
                self.asked.remove(topic);
            }
            self.asked_in_order.pop_front();
        }
    }

    /// Whether this tick may tell more changes.
    pub fn may_be_told(&self) -> bool {
        !self.is_empty() && self.paused_until.is_none() && !self.has_told_enough()
    }

    /// The moment from which on more may be told; `None`: no change waits.
    pub fn due(&self, now: Moment) -> Option<Moment> {
        (!self.is_empty()).then(|| self.paused_until.unwrap_or(now))
    }

    fn has_told_enough(&self) -> bool {
        self.frames_in_tick >= FRAMES_PER_TICK || self.watchers_in_tick >= WATCHERS_PER_PART
    }

    /// The changes of the current or next round, and the slot from which on watchers are to be told.
    pub fn round(&mut self) -> (&mut [RoundChange], u32) {
        while self.round.len() < ROUND_CHANGES && self.from == 0 {
            let Some((number, Waiting { change, .. })) = self.waiting.pop_first() else { break };
            let key = (change.topic.clone(), change.member.session);
            if self.newest.get(&key) == Some(&number) {
                self.newest.remove(&key);
            }
            self.round.push(RoundChange { number, change, frames: Vec::new() });
        }
        (&mut self.round, self.from)
    }

    /// Notes that watchers below slot `to` were told of the round; `None`: all watchers were. `watchers` is the number
    /// of sessions that had nothing to be written before, and `frames` the number of frames.
    pub fn announced(&mut self, to: Option<u32>, watchers: usize, frames: usize, tally: &mut Tally) {
        self.watchers_in_tick += watchers;
        self.frames_in_tick += frames + self.round.len();
        self.from = to.unwrap_or(0);
        if to.is_none() {
            let told: usize = self.round.drain(..).map(|told| told.change.bytes()).sum();
            self.bytes -= told;
            tally.add(Gauge::PresenceBytes, -(told as i64));
        }
    }

    /// The number of the first change that is not told to all watchers.
    pub fn first(&self) -> Option<u64> {
        let waiting = || self.waiting.first_key_value().map(|(number, _)| *number);
        self.round.first().map(|told| told.number).or_else(waiting)
    }

    /// Whether all changes are told.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.round.is_empty()
    }

    /// The bytes of the changes that are not told to all watchers yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether `change` undoes the waiting change with `number`.
    fn is_undone(&self, number: u64, change: &PresenceChange) -> bool {
        let earlier = self.waiting.get(&number).map(|waiting| &waiting.change);
        earlier.is_some_and(|earlier| earlier.joined != change.joined && earlier.member == change.member)
    }

    fn remove(&mut self, number: u64, tally: &mut Tally) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.bytes -= waiting.change.bytes();
        tally.add(Gauge::PresenceBytes, -(waiting.change.bytes() as i64));
        Some(waiting)
    }
}

impl RoundChange {
    /// The frame of the change in `encoding`.
    pub fn frame(&mut self, encoding: Encoding, encoder: &mut Encoder, tally: &mut Tally) -> Option<FrameBytes> {
        if let Some((_, frame)) = self.frames.iter().find(|(known, _)| *known == encoding) {
            return frame.clone();
        }
        let frame = event_frame(&Event::PresenceChange(&self.change), encoding, encoder, tally);
        self.frames.push((encoding, frame.clone()));
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Deflate;
    use crate::dialect::{Dialect, ReferenceAccount};
    use crate::metrics::Metrics;
    use crate::session_id::Member;
    use crate::shard::tests::name;

    struct Recorder {
        changes: PresenceQueue,
        tally: Tally,
        number: u64,
    }

    impl Recorder {
        fn new() -> Self {
            Self { changes: PresenceQueue::default(), tally: Tally::new(Arc::new(Metrics::new())), number: 0 }
        }

        fn take(&mut self, session: u64, user: Option<&str>, joined: bool, watched_behind: u64) {
            self.number += 1;
            let member = Member { session: SessionId::from_number(session), user: user.map(Into::into), info: None };
            let change = Arc::new(PresenceChange { topic: name("t.a"), member, joined });
            self.changes.take(self.number, &change, |number| watched_behind >= number, &mut self.tally);
        }

        fn rest(&mut self) -> Vec<(u64, bool)> {
            let mut told = Vec::new();
            while !self.changes.is_empty() {
                told.extend(self.changes.round().0.iter().map(|told| (told.number, told.change.joined)));
                self.changes.announced(None, 1, 1, &mut self.tally);
            }
            assert_eq!((self.changes.bytes(), self.changes.newest.len()), (0, 0));
            told
        }
    }

    /// PROTOCOL 3: a queued join and leave of one member cancel out.
    #[test]
    fn a_join_and_a_leave_cancel_out() {
        let mut recorder = Recorder::new();
        for _ in 0..10_000 {
            recorder.take(1, None, true, 0);
            recorder.take(1, None, false, 0);
        }
        assert!(recorder.changes.is_empty() && recorder.changes.bytes() == 0);
        recorder.take(1, None, true, 0);
        recorder.take(2, None, true, 0);
        recorder.take(1, None, false, 0);
        assert_eq!(recorder.rest(), [(20_002, true)]);
    }

    /// A new user name is told as a leave and a join. If the member then leaves, only the leave of the old name is
    /// left.
    #[test]
    fn a_rename_that_ends_is_a_leave_of_the_old_name() {
        let mut recorder = Recorder::new();
        recorder.take(1, Some("a"), false, 0);
        recorder.take(1, Some("b"), true, 0);
        recorder.take(1, Some("b"), false, 0);
        recorder.take(2, None, true, 0);
        assert_eq!(recorder.rest(), [(1, false), (4, true)]);
        recorder.take(1, Some("a"), false, 0);
        recorder.take(1, Some("b"), true, 0);
        recorder.take(1, Some("b"), false, 0);
        assert_eq!(recorder.rest(), [(5, false)]);
    }

    /// A session that began to watch between a join and a leave may have been told of the member, so it is told of the
    /// leave.
    #[test]
    fn a_change_that_a_watcher_may_know_does_not_cancel_out() {
        let mut recorder = Recorder::new();
        recorder.take(1, None, true, 0);
        recorder.take(1, None, false, 1);
        recorder.take(1, None, true, 1);
        assert_eq!(recorder.rest(), [(1, true)], "the leave and the return were behind it");
        recorder.take(1, None, false, 0);
        recorder.changes.ask(&name("t.a"), 4, 4);
        recorder.take(1, None, true, 0);
        assert_eq!(recorder.rest(), [(4, false), (5, true)]);
        recorder.changes.begin_tick(5, Moment::default());
        assert!(recorder.changes.asked.is_empty() && recorder.changes.asked_in_order.is_empty());
    }

    /// A change is encoded once for all sessions of one encoding, however many parts they are told in.
    #[test]
    fn a_change_is_encoded_once_for_each_encoding() {
        let mut recorder = Recorder::new();
        recorder.take(1, None, true, 0);
        let mut encoder = Encoder::new(&Deflate::default(), ReferenceAccount::new(Arc::default(), 0));
        let of = |dialect| Encoding::websocket(dialect, None);
        let (round, _) = recorder.changes.round();
        let mut frame = |encoding| round[0].frame(encoding, &mut encoder, &mut recorder.tally).map(|frame| frame.as_ptr());
        assert_eq!(frame(of(Dialect::Json)), frame(of(Dialect::Json)));
        assert!(frame(of(Dialect::Raw)).is_none());
        assert_eq!(round[0].frames.len(), 2);
    }

    /// A session that asks for members while their changes are still in the inbox is told of their later changes all
    /// the same.
    #[test]
    fn a_change_still_in_the_inbox_does_not_cancel_out_after_a_request() {
        let mut recorder = Recorder::new();
        recorder.changes.ask(&name("t.a"), 1, 0);
        recorder.changes.begin_tick(0, Moment::default());
        recorder.take(1, None, true, 0);
        recorder.changes.begin_tick(1, Moment::default());
        recorder.take(1, None, false, 0);
        assert_eq!(recorder.rest(), [(1, true), (2, false)]);
    }
}
