//! What waits for one session whose socket is full, and what gives way when it is too much.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};

use super::socket::Socket;
use crate::clock::Moment;
use crate::config::OnSlow;
use crate::hub::{Message, PresenceChange};
use crate::metrics::{DropReason, Tally};
use crate::position::Offset;
use crate::topic_name::TopicName;

/// Frames that go to the socket in one vectored write.
const PARTS_MAX: usize = 64;

/// Pongs that wait at once; past that only the newest is kept (RFC 6455 §5.5.3 asks for no more).
const PONGS_MAX: usize = 16;

/// A frame on its way to one session.
pub struct Queued {
    /// The whole frame, shared with whoever else takes it.
    pub frame: Bytes,
    /// What it is.
    pub what: What,
}

/// What a queued frame is, for the accounts and for what may give way.
pub enum What {
    /// A live message.
    Message(Arc<Message>),
    /// A message out of history; it is read as the socket takes it, and does not count against the bound.
    Replayed(Arc<Message>),
    /// A join or a leave.
    Presence(Arc<PresenceChange>),
    /// A reply, an echo or a notice; never dropped.
    Reply,
    /// The answer to a Ping.
    Pong,
    /// The last frame.
    Close,
}

/// How a message's way to one session ends; each that was routed has one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Written to the socket, whole.
    Delivered,
    /// A newer one of its topic took its place.
    Conflated,
    /// Given up.
    Dropped(DropReason),
}

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

/// What waits for one session.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    /// Of messages and presence; the bound is for these.
    bytes: usize,
    /// Of replies, echoes and replayed messages.
    uncounted_bytes: usize,
    /// What the socket has of the first frame already. That frame gives way no more.
    begun: usize,
    /// Messages dropped and not yet told: before the next message of the topic, a `gap` says so.
    gaps: Vec<Gap>,
    /// When the socket last took something, or the queue began.
    moved_at: Moment,
}

/// Offsets that were dropped, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Of which topic.
    pub topic: TopicName,
    /// The first.
    pub from: Offset,
    /// The last.
    pub to: Offset,
}

impl Gap {
    /// Whether it is to be told before `message`: what was dropped lies behind the replayed messages that still wait.
    fn is_before(&self, message: &Message) -> bool {
        self.topic == message.topic && self.to < message.position.offset
    }
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
        self.bytes + self.uncounted_bytes
    }

    /// The bytes of replies, echoes and replayed messages that wait.
    pub fn uncounted_bytes(&self) -> usize {
        self.uncounted_bytes
    }

    /// When the socket last took something.
    pub fn moved_at(&self) -> Moment {
        self.moved_at
    }

    /// The oldest message that waits.
    pub fn oldest(&self) -> Option<&Arc<Message>> {
        self.queue.iter().find_map(|queued| queued.message())
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
            What::Pong if self.replaces_pong(&queued) => return Offered::Queued,
            _ => {}
        }
        self.push(queued, tally);
        self.shrink(bytes_max, DropReason::Slow, tally)
    }

    /// Makes the queue fit into `bytes_max`: `conflate` messages conflated, then the oldest of `conflate` and `drop_oldest`
    /// topics dropped. One item may be of any size.
    pub fn shrink(&mut self, bytes_max: usize, reason: DropReason, tally: &mut Tally) -> Offered {
        if self.fits(bytes_max) {
            return Offered::Queued;
        }
        self.conflate(tally);
        self.drop_oldest(bytes_max, reason, tally);
        if self.fits(bytes_max) { Offered::GaveWay } else { Offered::Overflowed }
    }

    fn fits(&self, bytes_max: usize) -> bool {
        self.bytes <= bytes_max || self.queue.iter().filter(|queued| queued.is_counted()).nth(1).is_none()
    }

    /// Each `conflate` topic's newest message takes the place of its oldest; the others end here.
    fn conflate(&mut self, tally: &mut Tally) {
        let pinned = usize::from(self.begun > 0);
        let mut places: HashMap<TopicName, usize> = HashMap::new();
        let mut kept: VecDeque<Queued> = VecDeque::with_capacity(self.queue.len());
        let (mut freed, mut index) = (0, 0);
        for queued in self.queue.drain(..) {
            let topic = match &queued.what {
                What::Message(message) if message.rule.on_slow == OnSlow::Conflate && index >= pinned => Some(message.topic.clone()),
                _ => None,
            };
            index += 1;
            match topic {
                Some(topic) => match places.get(&topic).copied() {
                    Some(place) => {
                        let older = std::mem::replace(&mut kept[place], queued);
                        freed += older.frame.len();
                        settle(&older, End::Conflated, tally);
                    }
                    None => {
                        places.insert(topic, kept.len());
                        kept.push_back(queued);
                    }
                },
                None => kept.push_back(queued),
            }
        }
        self.queue = kept;
        self.bytes -= freed;
        tally.outbox_bytes(-(freed as i64));
    }

    fn drop_oldest(&mut self, bytes_max: usize, reason: DropReason, tally: &mut Tally) {
        let mut index = usize::from(self.begun > 0);
        while index < self.queue.len() && !self.fits(bytes_max) {
            let may_go = matches!(&self.queue[index].what, What::Message(message) if message.rule.on_slow != OnSlow::Disconnect);
            if !may_go {
                index += 1;
                continue;
            }
            self.drop_at(index, reason, tally);
        }
    }

    fn drop_at(&mut self, index: usize, reason: DropReason, tally: &mut Tally) {
        let Some(queued) = self.queue.remove(index) else { return };
        self.took(&queued, tally);
        settle(&queued, End::Dropped(reason), tally);
        if let What::Message(message) = &queued.what {
            self.note_gap(message.topic.clone(), message.position.offset);
        }
    }

    fn note_gap(&mut self, topic: TopicName, offset: Offset) {
        let adjoining = self.gaps.iter_mut().rev().find(|gap| gap.topic == topic).filter(|gap| gap.to.next() == offset);
        match adjoining {
            Some(gap) => gap.to = offset,
            None => self.gaps.push(Gap { topic, from: offset, to: offset }),
        }
    }

    /// Gives up what is older than its rule allows: conflated where a newer one of its topic waits, else dropped; the newest
    /// message of a `conflate` topic always goes out.
    pub fn give_up_aged(&mut self, now: Moment, tally: &mut Tally) {
        let mut index = usize::from(self.begun > 0);
        while index < self.queue.len() {
            let What::Message(message) = &self.queue[index].what else {
                index += 1;
                continue;
            };
            let aged = message.rule.max_age.is_some_and(|max_age| now.since(message.moment) > max_age);
            let conflates = message.rule.on_slow == OnSlow::Conflate;
            let has_newer = aged && conflates && self.has_newer(index, &message.topic);
            match (aged, conflates) {
                (true, true) if has_newer => {
                    if let Some(queued) = self.queue.remove(index) {
                        self.took(&queued, tally);
                        settle(&queued, End::Conflated, tally);
                    }
                }
                (true, false) => self.drop_at(index, DropReason::Age, tally),
                _ => index += 1,
            }
        }
    }

    fn has_newer(&self, index: usize, topic: &TopicName) -> bool {
        self.queue.range(index + 1..).any(|queued| matches!(&queued.what, What::Message(newer) if newer.topic == *topic))
    }

    /// A join and a leave of one member, under one name, cancel out while the first still waits.
    fn cancels(&mut self, change: &PresenceChange, tally: &mut Tally) -> bool {
        let pinned = usize::from(self.begun > 0);
        let earlier = self.queue.iter().enumerate().skip(pinned).rev().find_map(|(index, queued)| match &queued.what {
            What::Presence(earlier) if earlier.topic == change.topic && earlier.member.session == change.member.session => {
                Some((index, earlier))
            }
            _ => None,
        });
        let Some((index, _)) = earlier.filter(|(_, earlier)| earlier.joined != change.joined && earlier.member == change.member) else {
            return false;
        };
        if let Some(queued) = self.queue.remove(index) {
            self.took(&queued, tally);
        }
        true
    }

    fn replaces_pong(&mut self, pong: &Queued) -> bool {
        let pinned = usize::from(self.begun > 0);
        let mut waiting = self.queue.iter_mut().skip(pinned).filter(|queued| matches!(queued.what, What::Pong));
        let Some(newest) = waiting.nth(PONGS_MAX - 1) else { return false };
        self.uncounted_bytes = self.uncounted_bytes - newest.frame.len() + pong.frame.len();
        newest.frame = pong.frame.clone();
        true
    }

    fn push(&mut self, queued: Queued, tally: &mut Tally) {
        let bytes = queued.frame.len();
        match queued.is_counted() {
            true => self.bytes += bytes,
            false => self.uncounted_bytes += bytes,
        }
        tally.outbox_bytes(bytes as i64);
        if let Some(message) = queued.message() {
            tally.queued(message.rule.id, 1);
        }
        self.queue.push_back(queued);
    }

    /// Takes a frame that has left the queue off the books of bytes.
    fn took(&mut self, queued: &Queued, tally: &mut Tally) {
        let bytes = queued.frame.len();
        match queued.is_counted() {
            true => self.bytes -= bytes,
            false => self.uncounted_bytes -= bytes,
        }
        tally.outbox_bytes(-(bytes as i64));
    }

    /// The gaps to be told before the next frame, if that is a message of their topic; the raw dialect drops them unsaid.
    pub fn take_gaps_before_next(&mut self) -> Vec<Gap> {
        if self.gaps.is_empty() || self.begun > 0 {
            return Vec::new();
        }
        let Some(What::Message(message) | What::Replayed(message)) = self.queue.front().map(|queued| &queued.what) else {
            return Vec::new();
        };
        let (told, left) = std::mem::take(&mut self.gaps).into_iter().partition(|gap| gap.is_before(message));
        self.gaps = left;
        told
    }

    /// Puts a notice before everything that waits.
    pub fn push_first(&mut self, frame: Bytes, tally: &mut Tally) {
        self.uncounted_bytes += frame.len();
        tally.outbox_bytes(frame.len() as i64);
        self.queue.push_front(Queued { frame, what: What::Reply });
    }

    /// Writes what the socket takes now, up to the next frame that a gap must be told before. And the bytes that it took.
    pub fn write(&mut self, socket: &mut Socket, context: &mut Context<'_>, now: Moment, tally: &mut Tally) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let mut count = 0;
        for (part, queued) in parts.iter_mut().zip(&self.queue) {
            if count > 0 && queued.message().is_some_and(|message| self.gaps.iter().any(|gap| gap.is_before(message))) {
                break;
            }
            let skipped = if count == 0 { self.begun } else { 0 };
            *part = IoSlice::new(&queued.frame[skipped..]);
            count += 1;
        }
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = match socket.poll_write(context, &parts[..count]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => written,
            other => return other,
        };
        self.moved_at = now;
        self.begun += written;
        while let Some(first) = self.queue.front().map(|queued| queued.frame.len()).filter(|&first| self.begun >= first) {
            self.begun -= first;
            if let Some(queued) = self.queue.pop_front() {
                self.took(&queued, tally);
                settle(&queued, End::Delivered, tally);
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Discards everything but the frame that has begun; each message ends as `reason` says.
    pub fn discard(&mut self, reason: DropReason, tally: &mut Tally) {
        let pinned = usize::from(self.begun > 0);
        while self.queue.len() > pinned {
            if let Some(queued) = self.queue.pop_back() {
                self.took(&queued, tally);
                settle(&queued, End::Dropped(reason), tally);
            }
        }
        self.gaps.clear();
    }

    /// Discards everything, at the session's end.
    pub fn abandon(&mut self, tally: &mut Tally) {
        self.begun = 0;
        self.discard(DropReason::Closed, tally);
    }

    /// The session has left the topics that `left` names: what was dropped of one is told only if a message of it still waits.
    pub fn leave(&mut self, left: impl Fn(&TopicName) -> bool) {
        let Self { queue, gaps, .. } = self;
        let waits = |topic: &TopicName| queue.iter().filter_map(Queued::message).any(|message| message.topic == *topic);
        gaps.retain(|gap| !left(&gap.topic) || waits(&gap.topic));
    }
}

impl Queued {
    /// The message that it carries, if it is one.
    pub fn message(&self) -> Option<&Arc<Message>> {
        match &self.what {
            What::Message(message) | What::Replayed(message) => Some(message),
            _ => None,
        }
    }

    fn is_counted(&self) -> bool {
        matches!(self.what, What::Message(_) | What::Presence(_))
    }
}

/// Books how a message that was in a queue has ended.
fn settle(queued: &Queued, end: End, tally: &mut Tally) {
    let Some(message) = queued.message() else { return };
    tally.queued(message.rule.id, -1);
    match end {
        End::Delivered => tally.delivered(message.rule.id, 1),
        End::Conflated => tally.conflated(message.rule.id, 1),
        End::Dropped(reason) => tally.dropped(message.rule.id, reason, 1),
    }
}

#[cfg(test)]
mod tests;
