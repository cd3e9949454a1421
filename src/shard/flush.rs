//! The flush: one write for each session that has something, and what its socket does not take waits. A turn flushes a
//! part of them, so that what comes meanwhile is read, and joins what waits for the others.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::outbox::{Offered, Outbox, Queued, What};
use super::pass::Pass;
use super::sessions::Sessions;
use super::slot::Stage;
use crate::codes::CloseCode;
use crate::dialect::{Encoder, Encoding, Event, FrameBytes, event_frame};
use crate::metrics::{CloseReason, DropReason, LimitKey, RuleId, Tally};
use crate::topic_name::TopicName;

/// Frames up to this size are copied together for one write; longer ones are written from where they are.
const COPIED_FRAME_BYTES_MAX: usize = 4 << 10;

/// What flushing keeps from session to session.
#[derive(Default)]
pub struct Flush {
    chain: Vec<u32>,
    joined: Joined,
}

/// The last chain's bytes, since the subscribers of a topic mostly have the same chain: joined once, written for each.
#[derive(Default)]
struct Joined {
    chain: Vec<u32>,
    variant: Option<Encoding>,
    bytes: Vec<u8>,
    /// A lone frame that is too long to be copied.
    long: Option<FrameBytes>,
    /// How many messages of each rule are in it.
    messages: Vec<(RuleId, u64)>,
}

impl Joined {
    fn is_of(&self, chain: &[u32], variant: Encoding) -> bool {
        self.variant == Some(variant) && self.chain == chain
    }

    /// Joins the frames of `chain`; `false`: one among several is too long to be copied.
    fn join(&mut self, chain: &[u32], variant: Encoding, pass: &mut Pass, encoder: &mut Encoder, tally: &mut Tally) -> bool {
        self.clear();
        for &frame in chain {
            let Some(bytes) = pass.bytes(frame, variant, encoder, tally) else { continue };
            if bytes.len() <= COPIED_FRAME_BYTES_MAX {
                self.bytes.extend_from_slice(&bytes);
            } else if chain.len() == 1 {
                self.long = Some(bytes);
            } else {
                return false;
            }
            if let Some(rule) = pass.rule(frame) {
                self.count(rule);
            }
        }
        self.chain.extend_from_slice(chain);
        self.variant = Some(variant);
        true
    }

    fn count(&mut self, rule: RuleId) {
        match self.messages.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, messages)) => *messages += 1,
            None => self.messages.push((rule, 1)),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.long.as_deref().unwrap_or(&self.bytes)
    }

    fn clear(&mut self) {
        self.chain.clear();
        self.variant = None;
        self.bytes.clear();
        self.long = None;
        self.messages.clear();
    }
}

impl Sessions {
    /// Writes what waits for at most so many sessions, those first that have waited longest; whether that was all.
    pub fn flush(&mut self, flush: &mut Flush, sessions: usize) -> bool {
        self.pass.mark();
        for _ in 0..sessions {
            let Some(slot) = self.pass.next_dirty() else { break };
            self.flush_slot(slot, flush);
        }
        let took = self.clock.moment();
        let Self { pass, tally, .. } = self;
        pass.settle(|message| tally.fanout(took.since(message.moment)));
        if !pass.is_empty() {
            return false;
        }
        flush.joined.clear();
        pass.clear();
        self.slots.end_pass();
        true
    }

    fn flush_slot(&mut self, slot: u32, flush: &mut Flush) {
        let Self { slots, pass, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        pass.frames_of(session.chain, &mut flush.chain);
        pass.unlink(&mut session.chain);
        let chain = std::mem::take(&mut flush.chain);
        if session.outbox.is_none() && !chain.is_empty() {
            self.write_chain(slot, &chain, &mut flush.joined);
        } else {
            self.offer_chain(slot, &chain);
        }
        flush.chain = chain;
        if self.slot(slot).is_some_and(|session| !session.is_at_rest()) {
            self.write_outbox(slot);
        }
    }

    /// Writes a chain straight to the socket; what that does not take begins the outbox.
    fn write_chain(&mut self, slot: u32, chain: &[u32], joined: &mut Joined) {
        let Self { slots, pass, encoder, tally, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        let variant = session.variant;
        if !joined.is_of(chain, variant) && !joined.join(chain, variant, pass, encoder, tally) {
            return self.write_first(slot, chain, joined);
        }
        let waker = session.waker();
        match session.socket.poll_write(&mut Context::from_waker(&waker), &[IoSlice::new(joined.bytes())]) {
            Poll::Ready(Ok(written)) => {
                tally.delivered_bytes(written as u64);
                if written == joined.bytes().len() {
                    joined.messages.iter().for_each(|&(rule, messages)| tally.delivered(rule, messages));
                } else {
                    self.begin_outbox(slot, chain, written);
                }
            }
            Poll::Ready(Err(error)) => {
                for rule in chain.iter().filter_map(|&frame| pass.rule(frame)) {
                    tally.dropped(rule, DropReason::Closed, 1);
                }
                self.lose(slot, &error);
            }
            Poll::Pending => self.begin_outbox(slot, chain, 0),
        }
    }

    /// Writes a chain that is too long to be joined: its first frame by itself, so that no outbox overflows before a write was
    /// tried; the rest out of the outbox.
    fn write_first(&mut self, slot: u32, chain: &[u32], joined: &mut Joined) {
        let (first, rest) = chain.split_at(1);
        self.write_chain(slot, first, joined);
        if self.slot(slot).is_some_and(|session| session.outbox.is_none()) {
            self.begin_outbox(slot, rest, 0);
        } else {
            self.offer_chain(slot, rest);
        }
    }

    /// Puts into a new outbox what the socket did not take of a chain.
    fn begin_outbox(&mut self, slot: u32, chain: &[u32], mut written: usize) {
        let Self { slots, pass, encoder, tally, now, backlogged, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        let mut queue: VecDeque<Queued> = chain.iter().filter_map(|&frame| pass.queued(frame, session.variant, encoder, tally)).collect();
        while let Some(first) = queue.front().filter(|queued| queued.frame.len() <= written) {
            written -= first.frame.len();
            if let Some(message) = first.message() {
                tally.delivered(message.rule.id, 1);
            }
            queue.pop_front();
        }
        let Some(first) = queue.pop_front() else { return };
        let mut outbox = Box::new(Outbox::new(*now));
        outbox.begin(first, written, tally);
        backlogged.insert(slot);
        session.outbox = Some(outbox);
        queue.into_iter().for_each(|queued| self.offer(slot, queued));
    }

    /// Marks what waits for a session of the topics that it has left, and what is to be written to it: that is of the subscription that
    /// ends, too. Of a slow session it goes into the outbox first, so that a gap before it is still told.
    pub fn leave_waiting(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool) {
        let mut chain = Vec::new();
        let Self { slots, pass, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        if session.outbox.is_none() {
            return pass.leave(session.chain, left); // its socket may not take it all
        }
        pass.frames_of(session.chain, &mut chain);
        pass.unlink(&mut session.chain);
        self.offer_chain(slot, &chain);
        if let Some(outbox) = self.slot(slot).and_then(|session| session.outbox.as_mut()) {
            outbox.leave(left);
        }
    }

    fn offer_chain(&mut self, slot: u32, chain: &[u32]) {
        for &frame in chain {
            let Self { slots, pass, encoder, tally, .. } = self;
            let Some(session) = slots.get_mut(slot) else {
                pass.rule(frame).into_iter().for_each(|rule| tally.dropped(rule, DropReason::Closed, 1));
                continue;
            };
            if let Some(queued) = pass.queued(frame, session.variant, encoder, tally) {
                self.offer(slot, queued);
            }
        }
    }

    fn offer(&mut self, slot: u32, queued: Queued) {
        let bytes_max = self.config.limits.outbox_bytes;
        let Self { slots, tally, .. } = self;
        // Cutting it off may have shown that the peer has gone.
        let open = slots.get_mut(slot).filter(|session| !session.is_cut_off() || matches!(queued.what, What::Close));
        let Some(session) = open else {
            let message = queued.message();
            return message.into_iter().for_each(|message| tally.dropped(message.rule.id, DropReason::Closed, 1));
        };
        let Some(outbox) = session.outbox.as_mut() else { return };
        match outbox.offer(queued, bytes_max, tally) {
            Offered::Queued => {}
            Offered::GaveWay => tally.limit_hit(LimitKey::OutboxBytes),
            Offered::Overflowed => {
                tally.limit_hit(LimitKey::OutboxBytes);
                self.cut_off(
                    slot,
                    CloseCode::SlowConsumer,
                    "this session does not read fast enough; resume with `since`",
                    CloseReason::Slow,
                );
            }
        }
    }

    /// Writes what waits for a session; once that is nothing, it may go on with its replay.
    pub fn write_outbox(&mut self, slot: u32) {
        if !self.drain_outbox(slot) {
            return;
        }
        if self.is_replaying(slot) {
            self.await_history(slot);
        }
        self.after_emptying(slot);
    }

    /// Writes what waits for a session; `true`: nothing waits any more.
    pub fn drain_outbox(&mut self, slot: u32) -> bool {
        loop {
            let (now, aged) = (self.now, self.config.rules.iter().any(|rule| rule.max_age.is_some()));
            let Self { slots, tally, encoder, backlogged, .. } = self;
            let Some(session) = slots.get_mut(slot) else { return false };
            let waker = session.waker();
            let Some(outbox) = session.outbox.as_mut() else { return true };
            if aged {
                outbox.give_up_aged(now, tally);
            }
            for gap in outbox.take_gaps_before_next().into_iter().rev() {
                let told = event_frame(&Event::Gap { topic: &gap.topic, from: gap.from, to: gap.to }, session.variant, encoder, tally);
                told.into_iter().for_each(|frame| outbox.push_first(frame, tally));
            }
            if outbox.is_empty() {
                outbox.book_slow(now, tally);
                if outbox.is_done() {
                    session.outbox = None;
                    backlogged.remove(&slot);
                }
                return true;
            }
            match outbox.write(&mut session.socket, &mut Context::from_waker(&waker), now, tally) {
                Poll::Ready(Ok(written)) => {
                    tally.delivered_bytes(written as u64);
                    if !session.unread.is_empty() {
                        session.heard_at = now; // it is not read while its replies wait, so taking them is its sign of life
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.lose(slot, &error);
                    return false;
                }
                Poll::Pending => {
                    outbox.book_slow(now, tally);
                    return false;
                }
            }
        }
    }

    /// All is written: TLS holds nothing back, a closing session ends its side, a paused one reads on.
    fn after_emptying(&mut self, slot: u32) {
        // What was queued meanwhile, such as a Close, goes first; the flush comes back here.
        let Some(session) = self.slot(slot).filter(|session| session.chain.is_empty()) else { return };
        let waker = session.waker();
        let mut context = Context::from_waker(&waker);
        if session.socket.poll_flush(&mut context).is_pending() {
            return;
        }
        match &mut session.stage {
            Stage::Closing { ended, .. } if !*ended => {
                *ended = true;
                session.socket.end_writing(&mut context);
                self.again.push(slot);
            }
            Stage::Open if !session.unread.is_empty() => self.again.push(slot),
            _ => {}
        }
    }

    /// The socket is broken.
    fn lose(&mut self, slot: u32, error: &io::Error) {
        tracing::debug!(slot, %error, "a session's socket is broken");
        self.end(slot, CloseReason::Gone);
    }
}
