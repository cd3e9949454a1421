//! The frames that wait in an outbox, in order, with the indexes by kind and the account of their bytes.

use std::sync::Arc;

use foldhash::HashMap;

use super::account::Account;
use super::end::{End, book_end};
use super::index::Index;
use super::queued::{FrameKind, Queued, QueuedMessage};
use super::stable_queue::StableQueue;
use crate::hub::PresenceChange;
use crate::metrics::Tally;
use crate::topic_name::TopicName;

/// The most Pongs that wait. Past that, only the newest is kept (RFC 6455 §5.5.3 asks for no more).
pub const PONGS_MAX: usize = 16;

/// Frames in the order in which they go out. The cost of an operation does not grow with the number of frames: places
/// keep their numbers, and indexes find the frames that may be replaced or removed.
#[derive(Default)]
pub struct Backlog {
    queue: StableQueue,
    /// The bytes of all frames.
    account: Account,
    /// The places of frames that may be replaced or removed, except those in `newest_conflated`.
    index: Index,
    /// The number of bytes of the first frame that the socket has accepted. A partly written frame stays in its place.
    accepted_bytes: usize,
    /// For each `conflate` topic, the place of its only message before `conflated_to`. Empty until the bound is first
    /// exceeded.
    newest_conflated: HashMap<TopicName, i64>,
    /// Before this place, each `conflate` topic has one message, not counting a partly written frame.
    conflated_to: i64,
    /// Before this place no frame may be dropped.
    kept_to: i64,
    /// The examination of frames while messages are marked.
    marking: Option<MarkedFrames>,
}

/// The frames that waited when the marking began, and how far they were examined.
#[derive(Default)]
struct MarkedFrames {
    /// The first place that was not examined.
    next: i64,
    /// The place behind the last frame.
    end: i64,
    /// For each topic with marked messages and a gap, the newest place of a message before which the gap is told.
    told_before: HashMap<TopicName, i64>,
}

impl Backlog {
    /// The frames by place.
    pub fn queue(&self) -> &StableQueue {
        &self.queue
    }

    /// The bytes of the frames, split into counted and uncounted ones.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether a heartbeat waits.
    pub fn has_ping(&self) -> bool {
        self.index.has_ping()
    }

    /// The number of bytes of the first frame that the socket has accepted.
    pub fn accepted_bytes(&self) -> usize {
        self.accepted_bytes
    }

    /// Sets the number of bytes of the first frame that the socket has accepted.
    pub fn set_accepted_bytes(&mut self, bytes: usize) {
        self.accepted_bytes = bytes;
    }

    /// The place of the partly written frame, if there is one.
    pub fn pinned(&self) -> Option<i64> {
        (self.accepted_bytes > 0).then(|| self.queue.first())
    }

    /// The first place whose frame may give way.
    pub fn first_unpinned(&self) -> i64 {
        self.queue.first() + i64::from(self.accepted_bytes > 0)
    }

    /// Puts a frame behind all others.
    pub fn push(&mut self, queued: Queued, tally: &mut Tally) {
        self.account.add(&queued, tally);
        let place = self.queue.push_back(queued);
        self.index_frame(place);
    }

    /// Puts a frame before all others.
    pub fn push_first(&mut self, queued: Queued, tally: &mut Tally) {
        self.account.add(&queued, tally);
        self.queue.push_front(queued);
        if let Some(queued) = self.queue.front() {
            self.index.insert_first(self.queue.first(), &queued.kind);
        }
    }

    /// Puts a frame behind a partly written one, before all others.
    pub fn push_next(&mut self, queued: Queued, tally: &mut Tally) {
        let partly_written = if self.accepted_bytes > 0 { self.remove(self.queue.first(), tally) } else { None };
        [Some(queued), partly_written].into_iter().flatten().for_each(|queued| self.push_first(queued, tally));
    }

    /// Removes and returns the frame at `place`.
    pub fn remove(&mut self, place: i64, tally: &mut Tally) -> Option<Queued> {
        let queued = self.queue.remove(place)?;
        // The next frame may get the number of this place if it was the last.
        self.conflated_to = self.conflated_to.min(self.queue.end());
        self.kept_to = self.kept_to.min(self.queue.end());
        self.account.remove(&queued, tally);
        self.index.remove(place, &queued.kind);
        if let Some(topic) = queued.conflated_topic().filter(|topic| self.newest_conflated.get(*topic) == Some(&place)) {
            self.newest_conflated.remove(topic);
        }
        Some(queued)
    }

    /// Removes the newest waiting change of the same member and topic, if `change` undoes it. Returns `false` if no
    /// frame was removed.
    pub fn cancel(&mut self, change: &PresenceChange, tally: &mut Tally) -> bool {
        let Some(place) = self.index.newest_change(change) else { return false };
        let is_undone = match self.queue.get(place).map(|queued| &queued.kind) {
            Some(FrameKind::Presence(earlier)) => earlier.joined != change.joined && earlier.member == change.member,
            _ => false,
        };
        is_undone && self.pinned() != Some(place) && self.remove(place, tally).is_some()
    }

    /// Replaces the newest Pong by `pong`, if [`PONGS_MAX`] Pongs wait. Returns `false` if fewer do.
    pub fn replace_pong(&mut self, pong: &Queued, tally: &mut Tally) -> bool {
        let pinned = self.pinned().and_then(|place| self.queue.get(place));
        let waiting = self.index.pongs - usize::from(pinned.is_some_and(|queued| matches!(queued.kind, FrameKind::Pong)));
        let newest = self.index.newest_pong.filter(|_| waiting >= PONGS_MAX);
        let Some(newest) = newest.and_then(|place| self.queue.get_mut(place)) else { return false };
        self.account.remove(newest, tally);
        newest.frame = pong.frame.clone();
        self.account.add(newest, tally);
        true
    }

    /// Moves the newest message of each `conflate` topic to the place of its oldest. The others end here. Frames that
    /// an earlier call examined are not examined again.
    pub fn conflate(&mut self, tally: &mut Tally) {
        let pinned = self.pinned();
        for place in self.conflated_to.max(self.first_unpinned())..self.queue.end() {
            let Some(topic) = self.queue.get(place).and_then(Queued::conflated_topic) else { continue };
            let Some(older) = self.newest_conflated.get(topic).copied().filter(|older| Some(*older) != pinned) else {
                self.newest_conflated.insert(topic.clone(), place);
                continue;
            };
            let Some(newer) = self.queue.remove(place) else { continue };
            let Some(waiting) = self.queue.get_mut(older) else { continue };
            let older = std::mem::replace(waiting, newer);
            self.account.remove(&older, tally);
            book_end(&older, End::Conflated, tally);
        }
        self.conflated_to = self.queue.end();
        self.kept_to = self.kept_to.min(self.queue.end());
    }

    /// The place of the oldest frame that may be dropped. Frames that an earlier call passed over are not examined
    /// again.
    pub fn next_droppable(&mut self) -> Option<i64> {
        self.kept_to = self.kept_to.max(self.first_unpinned());
        while self.kept_to < self.queue.end() {
            if self.queue.get(self.kept_to).is_some_and(Queued::may_be_dropped) {
                return Some(self.kept_to);
            }
            self.kept_to += 1;
        }
        None
    }

    /// Whether the only frame that counts against the bound, beside a partly written one, is the newest message of a
    /// `conflate` topic.
    pub fn is_newest_alone(&self) -> bool {
        let pinned = self.pinned();
        let counts_pinned = pinned.and_then(|place| self.queue.get(place)).is_some_and(Queued::is_counted);
        self.account.counted - usize::from(counts_pinned) == 1 && self.newest_conflated.values().any(|place| Some(*place) != pinned)
    }

    /// The newest message of `topic` that waits from before the unsubscribe number `unsubscribe`.
    pub fn newest_unsubscribed(&self, topic: &TopicName, unsubscribe: u32) -> Option<&QueuedMessage> {
        self.message(self.index.newest_unsubscribed(topic, unsubscribe)?)
    }

    /// Begins to mark messages. [`Backlog::mark_unsubscribed`] examines all frames that wait now.
    pub fn begin_marking(&mut self) {
        self.marking = Some(MarkedFrames { next: self.queue.first(), end: self.queue.end(), ..MarkedFrames::default() });
    }

    /// Examines at most `most` places. Messages of the topics for which `is_gone` holds are marked with the unsubscribe
    /// `number`, and no newer message replaces them from now on. `has_gap` says whether a gap is told before a message.
    /// Returns the number of places examined; fewer than `most` means that all were.
    pub fn mark_unsubscribed(
        &mut self,
        most: usize,
        number: u32,
        is_gone: impl Fn(&TopicName) -> bool,
        has_gap: impl Fn(&QueuedMessage) -> bool,
    ) -> usize {
        let Some(mut marking) = self.marking.take() else { return 0 };
        marking.next = marking.next.max(self.queue.first());
        let mut examined = 0;
        for place in (marking.next..marking.end.min(self.queue.end())).take(most) {
            examined += 1;
            let Some(message) = self.queue.get(place).and_then(Queued::message).filter(|message| is_gone(&message.topic)) else { continue };
            if has_gap(message) {
                marking.told_before.insert(message.topic.clone(), place);
            }
            self.mark(place, number);
        }
        marking.next += examined as i64;
        self.marking = Some(marking);
        examined
    }

    /// The newest message of a topic that the session has unsubscribed from, before which a gap was told when the
    /// message was examined.
    pub fn newest_marked(&self, topic: &TopicName) -> Option<&QueuedMessage> {
        self.message(*self.marking.as_ref()?.told_before.get(topic)?)
    }

    /// Ends the examination; all frames were examined.
    pub fn end_marking(&mut self) {
        self.marking = None;
    }

    fn message(&self, place: i64) -> Option<&QueuedMessage> {
        self.queue.get(place)?.message().map(|message| &**message)
    }

    fn mark(&mut self, place: i64, number: u32) {
        let Some(queued) = self.queue.get_mut(place) else { return };
        let FrameKind::Message(message) = &queued.kind else { return };
        if self.newest_conflated.get(&message.topic) == Some(&place) {
            self.newest_conflated.remove(&message.topic);
        }
        queued.kind = FrameKind::Unsubscribed(Arc::clone(message), number);
        self.index_frame(place);
    }

    /// Removes the empty places of the queue if there are many, and rebuilds the indexes.
    pub fn close_up(&mut self) {
        if !self.queue.is_sparse() {
            return;
        }
        let (conflated, kept) = (self.queue.count_before(self.conflated_to), self.queue.count_before(self.kept_to));
        let left_to = self.marking.as_ref().map(|marking| self.queue.count_before(marking.end));
        self.queue.close_up();
        if let Some(end) = left_to {
            // All frames are examined again, because their places have other numbers.
            let (next, end) = (self.queue.first(), self.queue.first() + end as i64);
            self.marking = Some(MarkedFrames { next, end, ..MarkedFrames::default() });
        }
        self.conflated_to = self.queue.first() + conflated as i64;
        self.kept_to = self.queue.first() + kept as i64;
        self.newest_conflated.clear();
        self.index.clear();
        for place in self.queue.first()..self.queue.end() {
            self.index_frame(place);
            if let Some(topic) = self.queue.get(place).and_then(Queued::conflated_topic).filter(|_| place < self.conflated_to) {
                self.newest_conflated.insert(topic.clone(), place);
            }
        }
    }

    /// Frees the queue's memory, if no frame waits.
    pub fn shrink(&mut self) {
        self.queue.shrink();
    }

    /// Enters the frame at `place` into the index.
    fn index_frame(&mut self, place: i64) {
        if let Some(queued) = self.queue.get(place) {
            self.index.insert(place, &queued.kind);
        }
    }
}
