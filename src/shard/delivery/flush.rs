//! The flush: one write for each session that has frames in the write batch. Bytes that the socket does not accept stay
//! in the session's outbox.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use super::outbox::{FrameKind, Offered, Outbox, Queued, QueuedMessage, Stamps, book_delivered};
use super::shard_delivery::Delivery;
use super::write_batch::{ClientState, LinkedFrame};
use crate::config::OnSlow;
use crate::dialect::{Event, event_frame, replay_frame};
use crate::hub::ReplayPiece;
use crate::metrics::{Counter, DropReason, LimitKey, NoReference, RuleId};
use crate::position::Position;
use crate::session_id::SessionId;
use crate::shard::env::Env;
use crate::shard::pattern_set::PatternSet;
use crate::shard::slot::Connection;
use crate::topic_name::TopicName;

/// The result of a write to one session.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All bytes were written.
    All,
    /// Bytes that the socket does not accept stay in the outbox.
    Waits,
    /// The outbox overflowed, and no rule frees enough. The session has to be cut off. The frames that did not fit were
    /// given up.
    Overflowed,
    /// The socket is broken, so the session has ended.
    Lost,
}

/// A session's outbox overflowed. The frames behind were given up.
pub struct Overflow;

impl Delivery {
    /// Marks the frames of the write batch: the sessions that are dirty now take all of them.
    pub fn begin_flush(&mut self) {
        self.batch.mark();
    }

    /// The slot of the session that has waited longest for a write of the batch.
    pub fn next_dirty(&mut self) -> Option<u32> {
        self.batch.next_dirty()
    }

    /// Releases the frames that were written to all their sessions. Returns `true` if no session waits for a frame, so
    /// the write batch has ended.
    pub fn end_flush(&mut self, env: &mut Env) -> bool {
        let (took, tally) = (env.moment(), &mut env.tally);
        self.batch.release_written(|message| tally.fanout(took.since(message.moment)));
        if !self.batch.is_empty() {
            return false;
        }
        self.chain_bytes.clear();
        self.batch.clear();
        true
    }

    /// Writes the frames that the write batch has for the session in `slot`, or puts them into its outbox.
    pub fn write_chain_of(&mut self, slot: u32, connection: &mut Connection, env: &mut Env) -> Written {
        let Some(session) = self.outgoing.get_mut(slot) else { return Written::All };
        let chain = self.batch.take_frames(&mut session.chain);
        let written = if session.outbox.is_none() && !chain.is_empty() {
            self.write_chain(slot, &chain, connection, env)
        } else {
            offered(self.offer_chain(slot, &chain, true, connection, env))
        };
        self.batch.return_buffer(chain);
        written
    }

    /// Writes a chain to the socket. Bytes that the socket does not accept begin an outbox.
    fn write_chain(&mut self, slot: u32, chain: &[LinkedFrame], connection: &mut Connection, env: &mut Env) -> Written {
        let Self { outgoing, batch, encoder, chain_bytes, stream_positions, .. } = self;
        let Some(session) = outgoing.get_mut(slot) else { return Written::All };
        let encoding = session.encoding;
        let client = ClientState { position: stream_positions.get(slot), window: &session.window };
        if !chain_bytes.is_of(chain, encoding, client) {
            chain_bytes.join(chain, encoding, client, batch, encoder, &mut env.tally);
        }
        let mut written = 0;
        while written < chain_bytes.len() {
            let (polled, offered_bytes) = chain_bytes.write(written, connection);
            let taken = match polled {
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(error)) => {
                    self.drop_frames(chain, env);
                    return lost(slot, &error);
                }
                Poll::Pending => return offered(self.begin_outbox(slot, chain, written, connection, env)),
            };
            written += taken;
            env.tally.count(Counter::DeliveredBytes, taken as u64);
            if !encoding.is_answered() {
                connection.liveness().note_ping(env.now);
            }
            if taken < offered_bytes {
                return offered(self.begin_outbox(slot, chain, written, connection, env));
            }
        }
        chain_bytes.book_written(&mut session.window, encoder.topics_max(), &mut env.tally);
        if let Some(after) = chain_bytes.position_after() {
            stream_positions.put(slot, Arc::clone(after));
        }
        Written::All
    }

    /// Puts the part of a chain that the socket did not accept into a new outbox. The first unfinished frame is queued
    /// so that the socket reports when it accepts more; a partly written one is queued as it was written. The frames
    /// behind it are made anew without references, because frames in an outbox may be conflated or dropped, and then
    /// the client's window is not known.
    fn begin_outbox(
        &mut self,
        slot: u32,
        chain: &[LinkedFrame],
        mut written: usize,
        connection: &Connection,
        env: &mut Env,
    ) -> Result<(), Overflow> {
        let Some(encoding) = self.outgoing.encoding(slot) else { return Ok(()) };
        let mut begun = None;
        for (index, &frame) in chain.iter().enumerate() {
            let Some(mut queued) = self.batch.queued(frame, encoding, &mut self.encoder, &mut env.tally) else { continue };
            self.book_routed(frame, env);
            if written > 0 {
                queued.frame = self.chain_bytes.own_frame(index).unwrap_or(queued.frame);
            }
            let mut stamps = Stamps::of(encoding.framing, self.stream_positions.get_mut(slot));
            let bytes = stamps.stamped_bytes(&queued);
            if bytes > written {
                begun = Some((index, queued));
                break;
            }
            written -= bytes;
            stamps.written(&queued);
            book_delivered(&queued, &mut env.tally);
            if let Some(session) = self.outgoing.get(slot) {
                self.chain_bytes.book_unreferred(index, &session.window, &mut env.tally);
            }
        }
        if let Some(session) = self.outgoing.get_mut(slot) {
            session.window.clear();
        }
        let Some((index, queued)) = begun else { return Ok(()) };
        if let Some(outbox) = self.outgoing.outbox_or_new(slot, env.now) {
            outbox.begin(queued, written, &mut env.tally);
        }
        self.offer_chain(slot, &chain[index + 1..], true, connection, env)
    }

    /// Puts a chain into the outbox. With `defers`, messages that the session reads from history instead are left out,
    /// with all later messages and gaps of their topics: these are read from history too, so the messages count as
    /// conflated. A message of a topic that the session has unsubscribed from since is always queued, and goes out
    /// before the answer to the unsubscribe.
    fn offer_chain(
        &mut self,
        slot: u32,
        chain: &[LinkedFrame],
        defers: bool,
        connection: &Connection,
        env: &mut Env,
    ) -> Result<(), Overflow> {
        let Some(encoding) = self.outgoing.encoding(slot) else { return Ok(()) };
        for (index, &frame) in chain.iter().enumerate() {
            if let Some(message) =
                self.batch.message_to_defer(frame).filter(|message| defers && self.subscribers.covers(slot, &message.topic))
            {
                let (topic, position) = (message.topic.clone(), message.position);
                self.deferred.entry(topic).or_insert((position, position.offset)).1 = position.offset;
                continue;
            }
            if let Some(deferred) = self.batch.topic(frame).and_then(|topic| self.deferred.get_mut(topic)) {
                self.batch.position(frame).into_iter().for_each(|(_, position)| deferred.1 = position.offset);
                self.batch.routed_rule(frame).into_iter().for_each(|rule| env.tally.conflated(rule, 1));
                continue;
            }
            let Some(queued) = self.batch.queued(frame, encoding, &mut self.encoder, &mut env.tally) else { continue };
            self.book_routed(frame, env);
            if let Err(overflow) = self.offer(slot, queued, connection, env) {
                self.drop_frames(&chain[index + 1..], env);
                return Err(overflow);
            }
        }
        Ok(())
    }

    /// Counts a message as routed to a session, if it was not counted yet.
    fn book_routed(&self, frame: LinkedFrame, env: &mut Env) {
        if let Some(rule) = self.batch.rule(frame).filter(|_| self.batch.is_deferrable(frame)) {
            env.tally.routed(rule, 1);
        }
    }

    fn offer(&mut self, slot: u32, queued: Queued, connection: &Connection, env: &mut Env) -> Result<(), Overflow> {
        if connection.is_cut_off() && !matches!(queued.kind, FrameKind::Close) {
            book_dropped(queued.message().map(|message| message.rule.id), env);
            return Ok(());
        }
        let bytes_max = env.config.limits.outbox_bytes;
        let Some(outbox) = self.outgoing.outbox_mut(slot) else { return Ok(()) };
        if matches!(queued.kind, FrameKind::Ping) {
            outbox.push_next(queued, &mut env.tally); // some clients leave if no ping comes in time, whatever else does
            return Ok(());
        }
        let offered = outbox.offer(queued, bytes_max, &mut env.tally);
        if offered != Offered::Queued {
            env.tally.limit_hit(LimitKey::OutboxBytes);
            self.note_lost(slot, env.now);
        }
        if offered == Offered::Overflowed && connection.is_open() { Err(Overflow) } else { Ok(()) }
    }

    fn drop_frames(&mut self, chain: &[LinkedFrame], env: &mut Env) {
        chain.iter().for_each(|&frame| book_dropped(self.batch.routed_rule(frame), env));
    }

    /// Notes that subscriptions of the session in `slot` have ended. [`Delivery::mark_unsubscribed`] has to examine its
    /// outbox again.
    pub fn begin_marking(&mut self, slot: u32) {
        self.outgoing.outbox_mut(slot).into_iter().for_each(Outbox::begin_marking);
    }

    /// Marks the messages of topics that only the ended subscriptions `gone` matched, in the outbox of the session in
    /// `slot` and in the write batch: they belong to the ended subscriptions. A slow session's frames in the write
    /// batch go into its outbox first, so that a gap before them is still told. At most `most` frames and gaps of the
    /// outbox are examined. Returns how many were; fewer than `most` means that all were.
    pub fn mark_unsubscribed(
        &mut self,
        slot: u32,
        gone: &PatternSet,
        most: usize,
        connection: &Connection,
        env: &mut Env,
    ) -> Result<usize, Overflow> {
        let Some(session) = self.outgoing.get_mut(slot) else { return Ok(0) };
        if session.outbox.is_none() {
            let is_gone = |topic: &TopicName| gone.matches(topic) && !self.subscribers.covers(slot, topic);
            self.batch.mark_unsubscribed(session.chain, is_gone); // the socket may not accept all of the chain
            return Ok(0);
        }
        let mut chain = Vec::new();
        self.batch.frames_of(session.chain, &mut chain);
        self.batch.unlink(&mut session.chain);
        self.offer_chain(slot, &chain, false, connection, env)?;
        let Self { outgoing, subscribers, .. } = self;
        let outbox = outgoing.outbox_mut(slot);
        Ok(outbox.map_or(0, |outbox| outbox.mark_unsubscribed(most, |topic| gone.matches(topic) && !subscribers.covers(slot, topic))))
    }

    /// Puts a piece of history into the outbox of the session in `slot`. The session has asked for it, so the outbox's
    /// bound does not apply. Returns `true` if the piece has a message for the session.
    pub fn queue_replayed(&mut self, slot: u32, topic: &TopicName, piece: ReplayPiece, session: SessionId, env: &mut Env) -> bool {
        let (now, tally) = (env.now, &mut env.tally);
        let is_stream = env.config.rules.of(topic).on_slow != OnSlow::Conflate;
        if piece.gap.is_some() && is_stream && self.lapses(slot, topic, now) {
            return false;
        }
        let Self { outgoing, encoder, .. } = self;
        let Some(encoding) = outgoing.encoding(slot) else { return false };
        let Some(outbox) = outgoing.outbox_or_new(slot, now) else { return false };
        let ReplayPiece { epoch, gap, messages, .. } = piece;
        if let Some(gap) = gap {
            let dropped = outbox.take_gaps_before_replay(topic, Position { epoch, offset: gap.from });
            let dropped = dropped.iter().map(|gap| Event::Gap { topic, from: gap.from, to: gap.to, epoch: None });
            for told in dropped.chain([Event::Gap { topic, from: gap.from, to: gap.to, epoch: gap.epoch }]) {
                let frame = event_frame(&told, encoding, encoder, tally);
                let notice = frame.map(|frame| Queued { frame, kind: FrameKind::Reply });
                notice.into_iter().for_each(|notice| _ = outbox.offer(notice, usize::MAX, tally)); // the bound does not apply to notices
            }
        }
        let mut replayed = false;
        for message in messages.into_iter().filter(|message| message.except != Some(session)) {
            replayed = true;
            tally.routed(message.rule.id, 1);
            let frame = replay_frame(&message, encoding, encoder, tally);
            let _ = outbox.offer(Queued { frame, kind: FrameKind::Replayed(Arc::new(QueuedMessage::from(&message))) }, usize::MAX, tally);
        }
        replayed
    }

    /// Writes the outbox of the session in `slot`, with the gaps that have to be told.
    pub fn write_outbox(&mut self, slot: u32, connection: &mut Connection, env: &mut Env) -> Written {
        let aged = env.config.rules.iter().any(|rule| rule.max_age.is_some());
        let (now, tally) = (env.now, &mut env.tally);
        let Self { outgoing, encoder, stream_positions, .. } = self;
        let Some(session) = outgoing.get_mut(slot) else { return Written::All };
        let mut stamps = Stamps::of(session.encoding.framing, stream_positions.get_mut(slot));
        loop {
            let Some(outbox) = session.outbox.as_mut() else { return Written::All };
            if aged {
                outbox.end_aged(now, tally);
            }
            for gap in outbox.take_gaps_before_next().into_iter().rev() {
                let gap = Event::Gap { topic: &gap.topic, from: gap.from, to: gap.to, epoch: None };
                let told = event_frame(&gap, session.encoding, encoder, tally);
                told.into_iter().for_each(|frame| outbox.push_first(frame, tally));
            }
            if outbox.is_empty() {
                outbox.book_slow(now, tally);
                if outbox.is_done() {
                    session.window.advance(outbox.inflated_bytes());
                    outgoing.end_outbox(slot);
                }
                return Written::All;
            }
            match outbox.write(connection, &mut stamps, now, tally) {
                Poll::Ready(Ok(written)) => {
                    tally.count(Counter::DeliveredBytes, written as u64);
                    let unreferred = outbox.take_unreferred();
                    if unreferred > 0 && session.encoding.kept_window().is_some() {
                        tally.count(NoReference::Cleared, unreferred);
                    }
                    // The socket was full and has room again, so the peer reads.
                    connection.liveness().note_activity(now);
                    if !session.encoding.is_answered() {
                        connection.liveness().note_ping(now);
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

/// Books a message of `rule` that is dropped on its way into an outbox.
fn book_dropped(rule: Option<RuleId>, env: &mut Env) {
    if let Some(rule) = rule {
        env.tally.dropped(rule, DropReason::Closed, 1);
    }
}

fn lost(slot: u32, error: &io::Error) -> Written {
    tracing::debug!(slot, %error, "a session's socket is broken");
    Written::Lost
}
