//! The queue of one session whose socket is full, and the rules by which messages give way when the queue is too long.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use foldhash::HashSet;

use crate::clock::Moment;
use crate::config::OnSlow;
use crate::dialect::FrameBytes;
use crate::metrics::{DropReason, Gauge, Tally};
use crate::position::Position;
use crate::shard::slot::Connection;
use crate::topic_name::TopicName;

mod account;
mod age;
mod backlog;
mod end;
mod gaps;
mod index;
mod queued;
mod stable_queue;
mod stamps;
mod written_counts;

use account::Account;
use age::Ages;
use backlog::Backlog;
use end::book_end;
pub use end::{End, book_delivered};
use gaps::{Gap, Gaps, TopicGaps};
pub use queued::{FrameKind, Queued, QueuedMessage};
pub use stamps::Stamps;
use written_counts::WrittenCounts;

/// The most frames that are written to the socket in one vectored write.
pub const PARTS_MAX: usize = 64;

/// The effect of an offer on the queue.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// The frame is queued.
    Queued,
    /// The queue was past its bound, and messages gave way as their rules say.
    GaveWay,
    /// The frame is queued, but the queue is past its bound and no rule frees enough.
    Overflowed,
}

/// The queue of one session, with the rules by which messages in it give way.
#[derive(Default)]
pub struct Outbox {
    backlog: Backlog,
    /// Dropped messages that the session is not told of yet. A `gap` is sent before the next message of their topic.
    gaps: Gaps,
    /// The number of times that the session has unsubscribed from topics.
    unsubscribes: u32,
    /// The part of the outbox that [`Outbox::mark_unsubscribed`] examines next.
    marking: Marking,
    /// The moments at which messages exceed their rule's `max_age`.
    ages: Ages,
    /// Counts of the written frames, for the client's deflate window.
    written_counts: WrittenCounts,
    /// Whether the session is counted in `slow_sessions`.
    is_slow: bool,
    /// When the socket last accepted bytes, or the queue began.
    moved_at: Moment,
}

/// The part of the outbox that is examined next while messages are marked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Marking {
    /// No message is being marked.
    #[default]
    Nothing,
    /// The frames that waited when the marking began.
    Frames,
    /// The gaps that are not told yet. They follow when all frames were examined.
    Gaps,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(now: Moment) -> Self {
        Self { moved_at: now, ..Self::default() }
    }

    /// Whether no frame waits and no gap is still to be told.
    pub fn is_done(&self) -> bool {
        self.is_empty() && self.gaps.is_empty()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.backlog.queue().is_empty()
    }

    /// About the number of frames that wait. Removed frames may be counted.
    pub fn places(&self) -> usize {
        (self.backlog.queue().end() - self.backlog.queue().first()) as usize
    }

    /// About how many steps it takes to abandon the outbox: one for each frame, and one for each topic with gaps.
    pub fn steps_to_abandon(&self) -> usize {
        self.places() + self.gaps.len()
    }

    /// The bytes of all frames that wait.
    pub fn bytes(&self) -> usize {
        self.backlog.account().bytes()
    }

    /// The bytes of all frames that wait, split into counted and uncounted ones.
    pub fn account(&self) -> &Account {
        self.backlog.account()
    }

    /// The bytes of gaps that are not told yet.
    pub fn gap_bytes(&self) -> usize {
        self.gaps.bytes()
    }

    /// When the socket last accepted bytes, or the queue began.
    pub fn moved_at(&self) -> Moment {
        self.moved_at
    }

    /// The number of bytes that the written frames inflate to.
    pub fn inflated_bytes(&self) -> u64 {
        self.written_counts.inflated_bytes
    }

    /// The number of messages written since the last call that might have referred to earlier ones if they had not
    /// waited.
    pub fn take_unreferred(&mut self) -> u64 {
        std::mem::take(&mut self.written_counts.unreferred)
    }

    /// Whether a heartbeat waits. The peer can't have answered it.
    pub fn has_ping(&self) -> bool {
        self.backlog.has_ping()
    }

    /// The oldest message that waits.
    pub fn oldest(&self) -> Option<&Arc<QueuedMessage>> {
        self.backlog.queue().iter().find_map(|(_, queued)| queued.message())
    }

    /// Counts the session as slow while frames wait for its socket. A gap that waits for its topic's next message does
    /// not count.
    pub fn book_slow(&mut self, now: Moment, tally: &mut Tally) {
        let is_slow = !self.is_empty();
        if is_slow != self.is_slow {
            tally.add(Gauge::SlowSessions, if is_slow { 1 } else { -1 });
            self.is_slow = is_slow;
            self.moved_at = now;
        }
        self.backlog.shrink();
    }

    /// Queues a frame of which the socket has accepted the first `accepted_bytes`. The queue must be empty.
    pub fn begin(&mut self, queued: Queued, accepted_bytes: usize, tally: &mut Tally) {
        self.push(queued, tally);
        self.backlog.set_accepted_bytes(accepted_bytes);
    }

    /// Queues a frame. If the queue exceeds `bytes_max`, messages give way as their rules say.
    pub fn offer(&mut self, queued: Queued, bytes_max: usize, tally: &mut Tally) -> Offered {
        match &queued.kind {
            FrameKind::Gap(dropped) if !self.is_empty() || self.gaps.has(&dropped.topic) => {
                self.gaps.note_range(dropped);
                return if self.gaps.fit(bytes_max) { Offered::Queued } else { Offered::Overflowed };
            }
            FrameKind::Presence(change) if self.backlog.cancel(change, tally) => return Offered::Queued,
            FrameKind::Pong if self.backlog.replace_pong(&queued, tally) => return Offered::Queued,
            _ => {}
        }
        let is_counted = queued.is_counted();
        self.push(queued, tally);
        if is_counted { self.shrink(bytes_max, DropReason::Slow, tally) } else { Offered::Queued }
    }

    /// Shrinks the queue to `bytes_max`: messages of `conflate` topics are conflated, then the oldest of `conflate` and
    /// `drop_oldest` topics are dropped. A single frame may exceed the bound, and so may the newest message of a
    /// `conflate` topic behind a partly written frame.
    pub fn shrink(&mut self, bytes_max: usize, reason: DropReason, tally: &mut Tally) -> Offered {
        if self.backlog.account().fits(bytes_max) {
            return Offered::Queued;
        }
        self.backlog.conflate(tally);
        while !self.gave_enough(bytes_max, reason)
            && let Some(oldest) = self.backlog.next_droppable()
        {
            self.drop_at(oldest, reason, tally);
        }
        self.backlog.close_up();
        if self.gave_enough(bytes_max, reason) && self.gaps.fit(bytes_max) { Offered::GaveWay } else { Offered::Overflowed }
    }

    /// Whether enough was freed, once messages are conflated. The newest message of a `conflate` topic is kept even if
    /// the partly written frame exceeds the bound, because no later message may bring the client up to date. This does
    /// not hold for `outbox_total_bytes`.
    fn gave_enough(&self, bytes_max: usize, reason: DropReason) -> bool {
        self.backlog.account().fits(bytes_max) || reason == DropReason::Slow && self.backlog.is_newest_alone()
    }

    fn drop_at(&mut self, place: i64, reason: DropReason, tally: &mut Tally) {
        let Some(queued) = self.backlog.remove(place, tally) else { return };
        book_end(&queued, End::Dropped(reason), tally);
        let (FrameKind::Message(message) | FrameKind::Unsubscribed(message, _)) = &queued.kind else { return };
        self.gaps.note(message);
        if let FrameKind::Unsubscribed(_, unsubscribe) = queued.kind {
            // While messages are marked, not all of its messages are examined yet.
            let is_being_marked = self.marking == Marking::Frames && unsubscribe == self.unsubscribes;
            if !is_being_marked && !self.is_told_before_marked(&message.topic, unsubscribe) {
                self.gaps.forget_to(&message.topic, message.position.offset);
            }
        }
    }

    /// Ends messages that exceed their rule's `max_age`. A message of a `conflate` topic is conflated if a newer
    /// one waits and kept otherwise; others are dropped.
    pub fn end_aged(&mut self, now: Moment, tally: &mut Tally) {
        for (place, end) in self.ages.take_aged(self.backlog.queue(), self.backlog.pinned(), now) {
            match end {
                End::Dropped(reason) => self.drop_at(place, reason, tally),
                end => self.backlog.remove(place, tally).into_iter().for_each(|queued| book_end(&queued, end, tally)),
            }
        }
        self.backlog.close_up();
    }

    fn push(&mut self, queued: Queued, tally: &mut Tally) {
        if let Some(message) = queued.message() {
            tally.queued(message.rule.id, 1);
        }
        if let FrameKind::Message(message) | FrameKind::Unsubscribed(message, _) = &queued.kind {
            self.ages.note(message);
        }
        self.backlog.push(queued, tally);
    }

    /// Queues a frame behind a partly written one, before all others.
    pub fn push_next(&mut self, queued: Queued, tally: &mut Tally) {
        self.backlog.push_next(queued, tally);
    }

    /// Takes the topics that lost messages, for a client without gap notices. Topics of `conflate` rules are left out.
    /// No gap remains to be told after that.
    pub fn take_lost(&mut self) -> Vec<TopicName> {
        let lost = self.gaps.topics().filter(|(_, rule)| rule.on_slow != OnSlow::Conflate).map(|(topic, _)| topic.clone()).collect();
        self.gaps.clear();
        lost
    }

    /// Drops the messages of `topics`, except a partly written frame.
    pub fn drop_topics(&mut self, topics: &HashSet<TopicName>, tally: &mut Tally) {
        for place in self.backlog.first_unpinned()..self.backlog.queue().end() {
            let is_of_them = |queued: &Queued| queued.message().is_some_and(|message| topics.contains(&message.topic));
            if self.backlog.queue().get(place).is_some_and(is_of_them)
                && let Some(queued) = self.backlog.remove(place, tally)
            {
                book_end(&queued, End::Dropped(DropReason::Slow), tally);
            }
        }
        self.backlog.close_up();
    }

    /// Takes the gaps to be told before the next frame, if that is a message of their topic. The raw dialect has no gap
    /// notice.
    pub fn take_gaps_before_next(&mut self) -> Vec<Gap> {
        if self.gaps.is_empty() || self.backlog.accepted_bytes() > 0 {
            return Vec::new();
        }
        let next = self.backlog.queue().front().and_then(Queued::message);
        next.map(|message| self.gaps.take_before(&message.topic, message.position)).unwrap_or_default()
    }

    /// Takes the gaps to be told before a replay of `topic` that begins at `position`. A replay begins once the outbox
    /// is empty.
    pub fn take_gaps_before_replay(&mut self, topic: &TopicName, position: Position) -> Vec<Gap> {
        self.gaps.take_before(topic, position)
    }

    /// Queues a notice before all other frames.
    pub fn push_first(&mut self, frame: FrameBytes, tally: &mut Tally) {
        self.backlog.push_first(Queued { frame, kind: FrameKind::Reply }, tally);
    }

    /// Writes the frames that the socket accepts now, up to the next frame before which a gap must be told. Returns the
    /// number of bytes accepted.
    pub fn write(&mut self, to: &mut Connection, stamps: &mut Stamps<'_>, now: Moment, tally: &mut Tally) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let count = stamps.gather(self.backlog.queue(), &self.gaps, self.backlog.accepted_bytes(), &mut parts);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = match to.poll_write(&parts[..count]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => written,
            other => return other,
        };
        self.moved_at = now;
        let mut accepted_bytes = self.backlog.accepted_bytes() + written;
        while let Some(bytes) =
            self.backlog.queue().front().map(|first| stamps.stamped_bytes(first)).filter(|&bytes| accepted_bytes >= bytes)
        {
            accepted_bytes -= bytes;
            if let Some(queued) = self.backlog.remove(self.backlog.queue().first(), tally) {
                stamps.written(&queued);
                self.written_counts.note(&queued);
                book_end(&queued, End::Delivered, tally);
            }
        }
        self.backlog.set_accepted_bytes(accepted_bytes);
        Poll::Ready(Ok(written))
    }

    /// Moves a partly written frame into a new outbox, which replaces this one.
    pub fn take_partly_written(&mut self, now: Moment, tally: &mut Tally) -> Self {
        let mut outbox = Self::new(now);
        let bytes = self.backlog.accepted_bytes();
        self.backlog.set_accepted_bytes(0);
        let first = if bytes > 0 { self.backlog.remove(self.backlog.queue().first(), tally) } else { None };
        if let Some(first) = first {
            outbox.backlog.push(first, tally);
            outbox.backlog.set_accepted_bytes(bytes);
        }
        outbox.is_slow = std::mem::take(&mut self.is_slow);
        outbox.moved_at = self.moved_at;
        outbox
    }

    /// Discards at most `most` frames and topics with gaps, at the session's end, and books the messages as dropped.
    /// Returns the number of frames and topics.
    pub fn abandon(&mut self, most: usize, tally: &mut Tally) -> usize {
        self.backlog.set_accepted_bytes(0);
        let mut frames = 0;
        while frames < most && !self.is_empty() {
            frames += 1;
            if let Some(queued) = self.backlog.remove(self.backlog.queue().end() - 1, tally) {
                book_end(&queued, End::Dropped(DropReason::Closed), tally);
            }
        }
        if self.is_empty() {
            self.book_slow(self.moved_at, tally);
        }
        frames + self.gaps.forget_some(most - frames)
    }

    /// Whether a message of `topic` from before the unsubscribe number `unsubscribe` waits, and a gap is told before
    /// it.
    fn is_told_before_marked(&self, topic: &TopicName, unsubscribe: u32) -> bool {
        self.backlog.newest_unsubscribed(topic, unsubscribe).is_some_and(|message| self.gaps.has_before(message))
    }

    /// Notes that the session has unsubscribed from topics. [`Outbox::mark_unsubscribed`] has to examine everything
    /// again.
    pub fn begin_marking(&mut self) {
        self.marking = Marking::Nothing;
    }

    /// Examines at most `most` frames and topics with gaps. Returns how many were examined; fewer than `most` means
    /// that all were.
    ///
    /// The session has unsubscribed from the topics for which `is_gone` holds. Dropped messages of such a topic are
    /// told only before one of its messages that still waits. After another subscribe, messages from before and after
    /// it are not conflated with each other and share no gap.
    pub fn mark_unsubscribed(&mut self, most: usize, is_gone: impl Fn(&TopicName) -> bool) -> usize {
        let Self { backlog, gaps, unsubscribes, marking, .. } = self;
        if *marking == Marking::Nothing {
            *marking = Marking::Frames;
            *unsubscribes = unsubscribes.wrapping_add(1);
            backlog.begin_marking();
        }
        let mut examined = backlog.mark_unsubscribed(most, *unsubscribes, &is_gone, |message| gaps.has_before(message));
        if examined == most {
            return most;
        }
        if *marking == Marking::Frames {
            *marking = Marking::Gaps;
            gaps.begin_pruning();
        }
        let newest = |topic: &TopicName| [backlog.newest_marked(topic), backlog.newest_unsubscribed(topic, *unsubscribes)];
        let told =
            |topic: &TopicName, gaps: &TopicGaps| newest(topic).into_iter().flatten().map(|message| gaps.before(message.position)).max();
        examined += gaps.prune(most - examined, |topic, gaps| if is_gone(topic) { told(topic, gaps).unwrap_or(0) } else { gaps.count() });
        if examined < most {
            *marking = Marking::Nothing;
            backlog.end_marking();
        }
        examined
    }
}

#[cfg(test)]
mod tests;
