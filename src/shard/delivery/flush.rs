//! The flush: one write for each session that the write batch has something for; bytes that its socket does not accept stay in its
//! outbox.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use super::outbox::{Offered, Outbox, Queued, Routed, What};
use super::outgoing::Delivery;
use super::write_batch::LinkedFrame;
use crate::dialect::{Event, event_frame, replay_frame};
use crate::hub::ReplayPiece;
use crate::metrics::{DropReason, LimitKey, RuleId};
use crate::session_id::SessionId;
use crate::shard::env::Env;
use crate::shard::slot::Connection;
use crate::topic_name::TopicName;

/// What a write to one session came to.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits any more.
    All,
    /// Bytes that the socket does not accept stay in the outbox.
    Waits,
    /// The outbox overflowed, and no rule frees enough: the session is to be cut off. What did not get into the outbox was given up.
    Overflowed,
    /// The socket is broken: the session has ended.
    Lost,
}

/// What waits for a session overflows its outbox; the frames behind were given up.
struct Overflow;

impl Delivery {
    /// The sessions that are dirty now take everything that was added to the write batch.
    pub fn begin_flush(&mut self) {
        self.batch.mark();
    }

    /// The slot whose session has waited longest for what the write batch has for it.
    pub fn next_dirty(&mut self) -> Option<u32> {
        self.batch.next_dirty()
    }

    /// Gives up the frames that all who take them have been written; `true`: nobody waits for any, and the write batch has ended.
    pub fn end_flush(&mut self, env: &mut Env) -> bool {
        let (took, tally) = (env.moment(), &mut env.tally);
        self.batch.settle(|message| tally.fanout(took.since(message.moment)));
        if !self.batch.is_empty() {
            return false;
        }
        self.joined.clear();
        self.batch.clear();
        true
    }

    /// Writes what the write batch has for the session in `slot`, or puts it into its outbox.
    pub fn write_chain_of(&mut self, slot: u32, connection: &mut Connection, env: &mut Env) -> Written {
        let Some(session) = self.outgoing.get_mut(slot) else { return Written::All };
        let mut chain = std::mem::take(&mut self.chain);
        self.batch.frames_of(session.chain, &mut chain);
        self.batch.unlink(&mut session.chain);
        let chain = std::mem::take(&mut chain);
        let written = if session.outbox.is_none() && !chain.is_empty() {
            self.write_chain(slot, &chain, connection, env)
        } else {
            offered(self.offer_chain(slot, &chain, connection, env))
        };
        self.chain = chain;
        written
    }

    /// Writes a chain straight to the socket; what that does not take begins the outbox.
    fn write_chain(&mut self, slot: u32, chain: &[LinkedFrame], connection: &mut Connection, env: &mut Env) -> Written {
        let Self { outgoing, batch, encoder, joined, .. } = self;
        let Some(session) = outgoing.get_mut(slot) else { return Written::All };
        let variant = session.variant;
        if !joined.is_of(chain, variant) && !joined.join(chain, variant, batch, encoder, &mut env.tally) {
            return self.write_first(slot, chain, connection, env);
        }
        let overflow = match connection.poll_write(&[IoSlice::new(joined.bytes())]) {
            Poll::Ready(Ok(written)) => {
                env.tally.delivered_bytes(written as u64);
                if written == joined.bytes().len() {
                    joined.messages().iter().for_each(|&(rule, messages)| env.tally.delivered(rule, messages));
                    return Written::All;
                }
                self.begin_outbox(slot, chain, written, connection, env)
            }
            Poll::Ready(Err(error)) => {
                for rule in chain.iter().filter_map(|&frame| batch.rule(frame)) {
                    env.tally.dropped(rule, DropReason::Closed, 1);
                }
                return lost(slot, &error);
            }
            Poll::Pending => self.begin_outbox(slot, chain, 0, connection, env),
        };
        offered(overflow)
    }

    /// Writes a chain that is too long to be joined: its first frame by itself, so that no outbox overflows before a write was
    /// tried; the rest out of the outbox.
    fn write_first(&mut self, slot: u32, chain: &[LinkedFrame], connection: &mut Connection, env: &mut Env) -> Written {
        let (first, rest) = chain.split_at(1);
        match self.write_chain(slot, first, connection, env) {
            Written::Lost => {
                self.give_up(rest, env);
                Written::Lost
            }
            Written::All if !self.is_backlogged(slot) => offered(self.begin_outbox(slot, rest, 0, connection, env)),
            _ => offered(self.offer_chain(slot, rest, connection, env)),
        }
    }

    /// Puts into a new outbox what the socket did not take of a chain.
    fn begin_outbox(
        &mut self,
        slot: u32,
        chain: &[LinkedFrame],
        mut written: usize,
        connection: &Connection,
        env: &mut Env,
    ) -> Result<(), Overflow> {
        let Self { outgoing, batch, encoder, .. } = self;
        let Some(session) = outgoing.get_mut(slot) else { return Ok(()) };
        let mut queue: VecDeque<Queued> =
            chain.iter().filter_map(|&frame| batch.queued(frame, session.variant, encoder, &mut env.tally)).collect();
        while let Some(first) = queue.front().filter(|queued| queued.frame.len() <= written) {
            written -= first.frame.len();
            if let Some(message) = first.message() {
                env.tally.delivered(message.rule.id, 1);
            }
            queue.pop_front();
        }
        let Some(first) = queue.pop_front() else { return Ok(()) };
        let now = env.now;
        if let Some(outbox) = self.outbox(slot, now) {
            outbox.begin(first, written, &mut env.tally);
        }
        self.offer_all(slot, queue, connection, env)
    }

    /// Puts a chain into the outbox.
    fn offer_chain(&mut self, slot: u32, chain: &[LinkedFrame], connection: &Connection, env: &mut Env) -> Result<(), Overflow> {
        let Some(variant) = self.variant(slot) else { return Ok(()) };
        for (index, &frame) in chain.iter().enumerate() {
            let Some(queued) = self.batch.queued(frame, variant, &mut self.encoder, &mut env.tally) else { continue };
            if let Err(overflow) = self.offer(slot, queued, connection, env) {
                self.give_up(&chain[index + 1..], env);
                return Err(overflow);
            }
        }
        Ok(())
    }

    fn offer_all(&mut self, slot: u32, queue: VecDeque<Queued>, connection: &Connection, env: &mut Env) -> Result<(), Overflow> {
        let mut queue = queue.into_iter();
        while let Some(queued) = queue.next() {
            if let Err(overflow) = self.offer(slot, queued, connection, env) {
                queue.for_each(|queued| give_up(queued.message().map(|message| message.rule.id), env));
                return Err(overflow);
            }
        }
        Ok(())
    }

    fn offer(&mut self, slot: u32, queued: Queued, connection: &Connection, env: &mut Env) -> Result<(), Overflow> {
        if connection.is_cut_off() && !matches!(queued.what, What::Close) {
            give_up(queued.message().map(|message| message.rule.id), env);
            return Ok(());
        }
        let bytes_max = env.config.limits.outbox_bytes;
        let Some(outbox) = self.outgoing.get_mut(slot).and_then(|outgoing| outgoing.outbox.as_mut()) else { return Ok(()) };
        let offered = outbox.offer(queued, bytes_max, &mut env.tally);
        if offered != Offered::Queued {
            env.tally.limit_hit(LimitKey::OutboxBytes);
        }
        if offered == Offered::Overflowed && connection.is_open() { Err(Overflow) } else { Ok(()) }
    }

    fn give_up(&mut self, chain: &[LinkedFrame], env: &mut Env) {
        chain.iter().for_each(|&frame| give_up(self.batch.rule(frame), env));
    }

    /// Marks the messages of topics that the session in `slot` has left, those in its outbox and those on their way there: they belong
    /// to the subscription that ends. What the write batch has for a slow session goes into its outbox first, so that a gap before it
    /// is still told.
    pub fn mark_left(&mut self, slot: u32, left: impl Fn(&TopicName) -> bool, connection: &Connection, env: &mut Env) -> Written {
        let Some(session) = self.outgoing.get_mut(slot) else { return Written::All };
        if session.outbox.is_none() {
            self.batch.leave(session.chain, left); // its socket may not take it all
            return Written::All;
        }
        let mut chain = Vec::new();
        self.batch.frames_of(session.chain, &mut chain);
        self.batch.unlink(&mut session.chain);
        if self.offer_chain(slot, &chain, connection, env).is_err() {
            return Written::Overflowed;
        }
        if let Some(outbox) = self.outgoing.get_mut(slot).and_then(|outgoing| outgoing.outbox.as_mut()) {
            outbox.leave(left);
        }
        Written::Waits
    }

    /// Puts a piece of history into the outbox of the session in `slot`, which pulled it, so it is not bounded. `true`: it has a message.
    pub fn queue_replayed(&mut self, slot: u32, topic: &TopicName, piece: ReplayPiece, session: SessionId, env: &mut Env) -> bool {
        let (now, tally) = (env.now, &mut env.tally);
        let Self { outgoing, encoder, backlogged, .. } = self;
        let Some(outgoing) = outgoing.get_mut(slot) else { return false };
        let variant = outgoing.variant;
        let outbox = outgoing.outbox.get_or_insert_with(|| {
            backlogged.insert(slot);
            Box::new(Outbox::new(now))
        });
        let ReplayPiece { gap, messages, .. } = piece;
        if let Some(frame) = gap.and_then(|(from, to)| event_frame(&Event::Gap { topic, from, to }, variant, encoder, tally)) {
            let _ = outbox.offer(Queued { frame, what: What::Reply }, usize::MAX, tally); // a notice is not bounded
        }
        let mut replayed = false;
        for message in messages.into_iter().filter(|message| message.except != Some(session)) {
            replayed = true;
            tally.routed(message.rule.id, 1);
            let frame = replay_frame(&message, variant, encoder, tally);
            let _ = outbox.offer(Queued { frame, what: What::Replayed(Arc::new(Routed::from(&message))) }, usize::MAX, tally);
        }
        replayed
    }

    /// Writes the outbox of the session in `slot`.
    pub fn write_outbox(&mut self, slot: u32, connection: &mut Connection, env: &mut Env) -> Written {
        let aged = env.config.rules.iter().any(|rule| rule.max_age.is_some());
        let (now, tally) = (env.now, &mut env.tally);
        let Self { outgoing, encoder, backlogged, .. } = self;
        let Some(session) = outgoing.get_mut(slot) else { return Written::All };
        loop {
            let Some(outbox) = session.outbox.as_mut() else { return Written::All };
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
                return Written::All;
            }
            match outbox.write(connection, now, tally) {
                Poll::Ready(Ok(written)) => {
                    tally.delivered_bytes(written as u64);
                    if connection.input_waits() {
                        connection.liveness().heard(now); // it is not read while its replies wait, so taking them is its sign of life
                    }
                }
                Poll::Ready(Err(error)) => return lost(slot, &error),
                Poll::Pending => {
                    outbox.book_slow(now, tally);
                    return Written::Waits;
                }
            }
        }
    }
}

fn offered(offered: Result<(), Overflow>) -> Written {
    offered.map_or(Written::Overflowed, |()| Written::Waits)
}

/// A message is given up on its way into an outbox.
fn give_up(rule: Option<RuleId>, env: &mut Env) {
    if let Some(rule) = rule {
        env.tally.dropped(rule, DropReason::Closed, 1);
    }
}

fn lost(slot: u32, error: &io::Error) -> Written {
    tracing::debug!(slot, %error, "a session's socket is broken");
    Written::Lost
}
