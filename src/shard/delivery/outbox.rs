//! The queue of one session whose socket is full, and what gives way when the queue is too long.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use foldhash::{HashMap, HashSet};

use crate::clock::Moment;
use crate::config::OnSlow;
use crate::dialect::FrameBytes;
use crate::hub::PresenceChange;
use crate::metrics::{DropReason, Tally};
use crate::position::Position;
use crate::shard::slot::Connection;
use crate::topic_name::TopicName;

mod account;
mod age;
mod end;
mod gaps;
mod index;
mod queued;
mod stable_queue;
mod stamps;

use account::Account;
use age::Ages;
use end::{Departed, settle};
pub use end::{End, book_delivered};
use gaps::{Gap, Gaps};
use index::Index;
pub use queued::{Queued, Routed, What};
use stable_queue::StableQueue;
pub use stamps::Stamps;

/// Frames that go to the socket in one vectored write.
pub const PARTS_MAX: usize = 64;
/// Pongs that wait at once; past that only the newest is kept (RFC 6455 §5.5.3 asks for no more).
const PONGS_MAX: usize = 16;

/// What one offer did to the queue.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It waits.
    Queued,
    /// The queue was past its bound, and something gave way as its rule says.
    GaveWay,
    /// It waits, but the queue is past its bound and no rule frees enough.
    Overflowed,
}

/// The queue of one session. The cost of an offer does not grow with the queue: its places keep their numbers, and an index finds
/// whatever may be replaced or taken out.
#[derive(Default)]
pub struct Outbox {
    queue: StableQueue,
    /// The bytes of all that waits.
    account: Account,
    /// Where what may be replaced or taken out waits, but for `latest`.
    index: Index,
    /// What the socket has of the first frame already. That frame gives way no more.
    begun: usize,
    /// Messages dropped and not yet told: before the next message of the topic, a `gap` says so.
    gaps: Gaps,
    /// Of each `conflate` topic the one place before `conflated_to` where it waits; nothing until the bound is first passed.
    latest: HashMap<TopicName, i64>,
    /// Before this place each `conflate` topic waits once, but for the frame that has begun.
    conflated_to: i64,
    /// Before this place nothing may be dropped.
    kept_to: i64,
    /// How often its session has left something.
    leavings: u32,
    /// When something is too old.
    ages: Ages,
    /// What has left it, for the client's window.
    pub departed: Departed,
    /// It is among the `slow_sessions`.
    is_slow: bool,
    /// When the socket last took something, or the queue began.
    moved_at: Moment,
}

impl Outbox {
    /// Nothing waits yet.
    pub fn new(now: Moment) -> Self {
        Self { moved_at: now, ..Self::default() }
    }

    /// Whether nothing waits and nothing is left to be told.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty() && self.gaps.is_empty()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// All bytes that wait.
    pub fn bytes(&self) -> usize {
        self.account.bytes()
    }

    /// The bytes that wait, by what they are of.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The bytes of what was dropped and is to be told.
    pub fn gap_bytes(&self) -> usize {
        self.gaps.bytes()
    }

    /// When the socket last took something.
    pub fn moved_at(&self) -> Moment {
        self.moved_at
    }

    /// Whether a heartbeat waits, so that its peer can't have answered it.
    pub fn has_ping(&self) -> bool {
        self.index.has_ping()
    }

    /// The oldest message that waits.
    pub fn oldest(&self) -> Option<&Arc<Routed>> {
        self.queue.iter().find_map(|(_, queued)| queued.message())
    }

    /// Books whether the session is slow: something waits for its socket. A gap that waits for its topic's next message doesn't.
    pub fn book_slow(&mut self, now: Moment, tally: &mut Tally) {
        let is_slow = !self.queue.is_empty();
        if is_slow != self.is_slow {
            tally.slow_sessions(if is_slow { 1 } else { -1 });
            self.is_slow = is_slow;
            self.moved_at = now;
        }
        self.queue.shrink();
    }

    /// Queues a frame whose first `begun` bytes the socket has already taken; only into an empty queue.
    pub fn begin(&mut self, queued: Queued, begun: usize, tally: &mut Tally) {
        self.push(queued, tally);
        self.begun = begun;
    }

    /// Queues a frame; past `bytes_max`, whatever may give way does.
    pub fn offer(&mut self, queued: Queued, bytes_max: usize, tally: &mut Tally) -> Offered {
        match &queued.what {
            What::Presence(change) if self.cancels(change, tally) => return Offered::Queued,
            What::Pong if self.replaces_pong(&queued, tally) => return Offered::Queued,
            _ => {}
        }
        let is_counted = queued.is_counted();
        self.push(queued, tally);
        if is_counted { self.shrink(bytes_max, DropReason::Slow, tally) } else { Offered::Queued }
    }

    /// Makes the queue fit into `bytes_max`: `conflate` messages conflated, then the oldest of `conflate` and `drop_oldest`
    /// topics dropped. One item may be of any size, and behind a frame that has begun, a topic's newest that conflates.
    pub fn shrink(&mut self, bytes_max: usize, reason: DropReason, tally: &mut Tally) -> Offered {
        if self.account.fits(bytes_max) {
            return Offered::Queued;
        }
        self.conflate(tally);
        self.drop_oldest(bytes_max, reason, tally);
        self.close_up();
        if self.gave_enough(bytes_max, reason) && self.gaps.fit(bytes_max) { Offered::GaveWay } else { Offered::Overflowed }
    }

    /// Whether nothing more need give way, once all is conflated. The newest conflated message is kept even if the frame
    /// that has begun exceeds the bound, for no other may come and bring its reader up to date; not where the total is passed.
    fn gave_enough(&self, bytes_max: usize, reason: DropReason) -> bool {
        let pinned = self.pinned();
        let begun = pinned.and_then(|place| self.queue.get(place)).is_some_and(Queued::is_counted);
        let is_newest_alone =
            || self.account.counted() - usize::from(begun) == 1 && self.latest.values().any(|place| Some(*place) != pinned);
        self.account.fits(bytes_max) || reason == DropReason::Slow && is_newest_alone()
    }

    /// The place of the frame that has begun.
    fn pinned(&self) -> Option<i64> {
        (self.begun > 0).then(|| self.queue.first())
    }

    /// The first place that may give way.
    fn first_loose(&self) -> i64 {
        self.queue.first() + i64::from(self.begun > 0)
    }

    /// Each `conflate` topic's newest message takes the place of its oldest; the others end here. What was looked at by an
    /// earlier call is not looked at again.
    fn conflate(&mut self, tally: &mut Tally) {
        let pinned = self.pinned();
        for place in self.conflated_to.max(self.first_loose())..self.queue.end() {
            let Some(topic) = self.queue.get(place).and_then(Queued::conflated_topic) else { continue };
            let Some(older) = self.latest.get(topic).copied().filter(|older| Some(*older) != pinned) else {
                self.latest.insert(topic.clone(), place);
                continue;
            };
            let Some(newer) = self.queue.remove(place) else { continue };
            let Some(waiting) = self.queue.get_mut(older) else { continue };
            let older = std::mem::replace(waiting, newer);
            self.account.remove(&older, tally);
            settle(&older, End::Conflated, tally);
        }
        self.conflated_to = self.queue.end();
        self.kept_to = self.kept_to.min(self.queue.end());
    }

    fn drop_oldest(&mut self, bytes_max: usize, reason: DropReason, tally: &mut Tally) {
        self.kept_to = self.kept_to.max(self.first_loose());
        while self.kept_to < self.queue.end() && !self.gave_enough(bytes_max, reason) {
            if self.queue.get(self.kept_to).is_some_and(Queued::may_be_dropped) {
                self.drop_at(self.kept_to, reason, tally);
            } else {
                self.kept_to += 1;
            }
        }
    }

    fn drop_at(&mut self, place: i64, reason: DropReason, tally: &mut Tally) {
        let Some(queued) = self.remove(place, tally) else { return };
        settle(&queued, End::Dropped(reason), tally);
        match &queued.what {
            What::Message(message) => self.gaps.note(message),
            What::Left(message, leaving) => {
                self.gaps.note(message);
                if !self.is_told_before_leaving(&message.topic, *leaving) {
                    self.gaps.forget(&message.topic);
                }
            }
            _ => {}
        }
    }

    /// Gives up what is older than its rule allows: conflated where a newer one of its topic waits, else dropped; the newest
    /// message of a `conflate` topic always goes out.
    pub fn give_up_aged(&mut self, now: Moment, tally: &mut Tally) {
        let pinned = self.pinned();
        for (place, end) in self.ages.take_aged(&self.queue, pinned, now) {
            match end {
                End::Dropped(reason) => self.drop_at(place, reason, tally),
                end => self.remove(place, tally).into_iter().for_each(|queued| settle(&queued, end, tally)),
            }
        }
        self.close_up();
    }

    /// A join and a leave of one member, under one name, cancel out while the first still waits.
    fn cancels(&mut self, change: &PresenceChange, tally: &mut Tally) -> bool {
        let Some(place) = self.index.newest_change(change) else { return false };
        let is_undone = match self.queue.get(place).map(|queued| &queued.what) {
            Some(What::Presence(earlier)) => earlier.joined != change.joined && earlier.member == change.member,
            _ => false,
        };
        is_undone && self.pinned() != Some(place) && self.remove(place, tally).is_some()
    }

    fn replaces_pong(&mut self, pong: &Queued, tally: &mut Tally) -> bool {
        let pinned = self.pinned().and_then(|place| self.queue.get(place));
        let waiting = self.index.pongs() - usize::from(pinned.is_some_and(|queued| matches!(queued.what, What::Pong)));
        let newest = self.index.newest_pong().filter(|_| waiting >= PONGS_MAX);
        let Some(newest) = newest.and_then(|place| self.queue.get_mut(place)) else { return false };
        self.account.remove(newest, tally);
        newest.frame = pong.frame.clone();
        self.account.add(newest, tally);
        true
    }

    fn push(&mut self, queued: Queued, tally: &mut Tally) {
        self.account.add(&queued, tally);
        if let Some(message) = queued.message() {
            tally.queued(message.rule.id, 1);
        }
        if let What::Message(message) | What::Left(message, _) = &queued.what {
            self.ages.note(message);
        }
        let place = self.queue.push_back(queued);
        self.enter(place);
    }

    /// Enters what was put at `place` into the index.
    fn enter(&mut self, place: i64) {
        if let Some(queued) = self.queue.get(place) {
            self.index.enter(place, &queued.what);
        }
    }

    /// Takes out what is at `place`, off the index and the books of bytes.
    fn remove(&mut self, place: i64, tally: &mut Tally) -> Option<Queued> {
        let queued = self.queue.remove(place)?;
        // The next frame may get the number of a place that was the last.
        self.conflated_to = self.conflated_to.min(self.queue.end());
        self.kept_to = self.kept_to.min(self.queue.end());
        self.account.remove(&queued, tally);
        self.index.leave(place, &queued.what);
        if let Some(topic) = queued.conflated_topic().filter(|topic| self.latest.get(*topic) == Some(&place)) {
            self.latest.remove(topic);
        }
        Some(queued)
    }

    /// Closes the queue up once it is mostly empty places, and makes the index anew.
    fn close_up(&mut self) {
        if !self.queue.is_sparse() {
            return;
        }
        let (conflated, kept) = (self.queue.count_before(self.conflated_to), self.queue.count_before(self.kept_to));
        self.queue.close_up();
        self.conflated_to = self.queue.first() + conflated as i64;
        self.kept_to = self.queue.first() + kept as i64;
        self.latest.clear();
        self.index.clear();
        for place in self.queue.first()..self.queue.end() {
            self.enter(place);
            if let Some(topic) = self.queue.get(place).and_then(Queued::conflated_topic).filter(|_| place < self.conflated_to) {
                self.latest.insert(topic.clone(), place);
            }
        }
    }

    /// Queues a frame behind the one that has begun, before everything else.
    pub fn push_next(&mut self, queued: Queued, tally: &mut Tally) {
        let begun = if self.begun > 0 { self.remove(self.queue.first(), tally) } else { None };
        [Some(queued), begun].into_iter().flatten().for_each(|queued| self.put_first(queued, tally));
    }

    /// Takes the topics of which messages were dropped that a client without gaps is to be told of; from now on nothing is left to be
    /// told.
    pub fn take_lost(&mut self) -> Vec<TopicName> {
        let lost = self.gaps.topics().filter(|(_, rule)| rule.on_slow != OnSlow::Conflate).map(|(topic, _)| topic.clone()).collect();
        self.gaps.clear();
        lost
    }

    /// Drops the messages of `topics`, but for a frame that has begun.
    pub fn drop_topics(&mut self, topics: &HashSet<TopicName>, tally: &mut Tally) {
        for place in self.first_loose()..self.queue.end() {
            let is_of_them = |queued: &Queued| queued.message().is_some_and(|message| topics.contains(&message.topic));
            if self.queue.get(place).is_some_and(is_of_them)
                && let Some(queued) = self.remove(place, tally)
            {
                settle(&queued, End::Dropped(DropReason::Slow), tally);
            }
        }
        self.close_up();
    }

    /// Puts a frame before all others, and into the index and the books of bytes.
    fn put_first(&mut self, queued: Queued, tally: &mut Tally) {
        self.account.add(&queued, tally);
        self.queue.push_front(queued);
        if let Some(queued) = self.queue.front() {
            self.index.enter_first(self.queue.first(), &queued.what);
        }
    }

    /// The gaps to be told before the next frame, if that is a message of their topic; the raw dialect drops them unsaid.
    pub fn take_gaps_before_next(&mut self) -> Vec<Gap> {
        if self.gaps.is_empty() || self.begun > 0 {
            return Vec::new();
        }
        let next = self.queue.front().and_then(Queued::message);
        next.map(|message| self.gaps.take_before(&message.topic, message.position)).unwrap_or_default()
    }

    /// The gaps to be told before what a replay of `topic` begins with at `position`. A replay begins once the outbox is empty.
    pub fn take_gaps_before_replay(&mut self, topic: &TopicName, position: Position) -> Vec<Gap> {
        self.gaps.take_before(topic, position)
    }

    /// Puts a notice before everything that waits.
    pub fn push_first(&mut self, frame: FrameBytes, tally: &mut Tally) {
        self.put_first(Queued { frame, what: What::Reply }, tally);
    }

    /// Writes what the socket takes now, up to the next frame that a gap must be told before. And the bytes that it took.
    pub fn write(&mut self, to: &mut Connection, stamps: &mut Stamps<'_>, now: Moment, tally: &mut Tally) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let count = stamps.gather(&self.queue, &self.gaps, self.begun, &mut parts);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = match to.poll_write(&parts[..count]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => written,
            other => return other,
        };
        self.moved_at = now;
        self.begun += written;
        while let Some(bytes) = self.queue.front().map(|first| stamps.stamped_bytes(first)).filter(|&bytes| self.begun >= bytes) {
            self.begun -= bytes;
            if let Some(queued) = self.remove(self.queue.first(), tally) {
                stamps.written(&queued);
                self.departed.note(&queued);
                settle(&queued, End::Delivered, tally);
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Discards everything but the frame that has begun; each message ends as `reason` says.
    pub fn discard(&mut self, reason: DropReason, tally: &mut Tally) {
        while self.queue.end() > self.first_loose() {
            if let Some(queued) = self.remove(self.queue.end() - 1, tally) {
                settle(&queued, End::Dropped(reason), tally);
            }
        }
        self.gaps.clear();
    }

    /// Discards everything, at the session's end.
    pub fn abandon(&mut self, tally: &mut Tally) {
        self.begun = 0;
        self.discard(DropReason::Closed, tally);
        self.book_slow(self.moved_at, tally);
    }

    /// Whether a message of `topic` waits from before that `leaving`, and a gap is told before it.
    fn is_told_before_leaving(&self, topic: &TopicName, leaving: u32) -> bool {
        let newest = self.index.newest_left(topic, leaving).and_then(|place| self.queue.get(place));
        newest.and_then(Queued::message).is_some_and(|message| self.gaps.has_before(message))
    }

    /// The session has left the topics that `left` names: what was dropped of one is told only before a message of it that still waits,
    /// and after a resubscription, messages from before and after it never conflate, nor share a gap.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) {
        self.leavings = self.leavings.wrapping_add(1);
        for place in self.queue.first()..self.queue.end() {
            let Some(queued) = self.queue.get_mut(place) else { continue };
            if let What::Message(message) = &queued.what
                && left(&message.topic)
            {
                queued.what = What::Left(Arc::clone(message), self.leavings);
                self.enter(place);
            }
        }
        self.latest.retain(|topic, _| !left(topic));
        if self.gaps.is_empty() {
            return;
        }
        let Self { queue, gaps, .. } = self;
        let waiting = queue.iter().filter_map(|(_, queued)| queued.message());
        let told: HashSet<TopicName> = waiting.filter(|message| gaps.has_before(message)).map(|message| message.topic.clone()).collect();
        gaps.leave(|topic| left(topic) && !told.contains(topic));
    }
}

#[cfg(test)]
mod tests;
