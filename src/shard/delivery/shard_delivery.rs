//! The delivery of one shard: frames for one session are queued here, those for many sessions by the fan-out.

use std::sync::Arc;

use foldhash::HashMap;

use super::ended_outboxes::EndedOutboxes;
use super::lapses::Lapses;
use super::outbox::{FrameKind, Offered, Queued};
use super::outgoing::OutgoingTable;
use super::subscribers::Subscribers;
use super::write_batch::{ChainBytes, WriteBatch};
use crate::clock::Moment;
use crate::codes::CloseCode;
use crate::config::Config;
use crate::dialect::centrifugo::Reply;
use crate::dialect::{
    Encoder, Event, ReferenceAccount, StreamPosition, echo_frame, event_frame, goodbye, goodbye_with, heartbeat_answer, heartbeat_frame,
    reply_frame,
};
use crate::frame::OpCode;
use crate::metrics::{DropReason, Tally};
use crate::position::{Offset, Position};
use crate::shard::pacing::Released;
use crate::shard::slot::SlotMap;
use crate::topic_name::{Pattern, TopicName};

/// The most topics whose references one sweep examines: a fraction of a millisecond.
const REFERENCES_SWEPT_MAX: usize = 2_048;

/// The frames that a shard has to write, and their sessions.
pub struct Delivery {
    /// The subscribers by name and pattern.
    pub subscribers: Subscribers,
    /// The sessions' encodings, chains and outboxes.
    pub outgoing: OutgoingTable,
    /// The positions of streams that tell theirs. Streams at the same position share the value.
    pub(super) stream_positions: SlotMap<Arc<StreamPosition>>,
    pub(super) batch: WriteBatch,
    pub(super) encoder: Encoder,
    /// The last chain that was written.
    pub(super) chain_bytes: ChainBytes,
    /// The messages that the session written to last is to read from history: the first position and the last offset of
    /// each topic.
    pub(super) deferred: HashMap<TopicName, (Position, Offset)>,
    /// The bytes of replies queued for the session that is being read.
    reply_bytes: usize,
    /// Subscriptions that end because messages were lost.
    lapses: Lapses,
    /// The outboxes of sessions that have ended or were cut off.
    ended: EndedOutboxes,
}

impl Delivery {
    /// A delivery with nothing to write.
    pub fn new(config: &Config, references: ReferenceAccount) -> Self {
        Self {
            subscribers: Subscribers::default(),
            outgoing: OutgoingTable::default(),
            stream_positions: SlotMap::default(),
            batch: WriteBatch::default(),
            encoder: Encoder::new(&config.deflate, references),
            chain_bytes: ChainBytes::default(),
            deferred: HashMap::default(),
            reply_bytes: 0,
            lapses: Lapses::default(),
            ended: EndedOutboxes::default(),
        }
    }

    /// Adopts the encoder settings of `config`.
    pub fn follow_config(&mut self, config: &Config) {
        self.encoder.follow_config(&config.deflate, config.limits.reference_bytes);
    }

    /// Removes the session in `slot`. The frames that it was owed are given up, those of its outbox later by
    /// [`EndedOutboxes::release`].
    pub fn remove(&mut self, slot: u32, tally: &mut Tally) {
        self.drop_chain(slot, tally);
        self.stream_positions.take(slot);
        self.outgoing.end(slot).into_iter().for_each(|outbox| self.ended.add(outbox));
    }

    /// The outboxes of sessions that have ended or were cut off.
    pub fn ended(&mut self) -> &mut EndedOutboxes {
        &mut self.ended
    }

    /// Queues a frame for one session, behind the frames that it is owed already.
    pub fn queue(&mut self, slot: u32, queued: Queued) {
        let Some(outgoing) = self.outgoing.get_mut(slot) else { return };
        if matches!(queued.kind, FrameKind::Reply | FrameKind::Members | FrameKind::Ping) {
            self.reply_bytes += queued.bytes();
        }
        let frame = self.batch.add_frame(queued);
        self.batch.link(slot, &mut outgoing.chain, frame);
    }

    /// Queues a message that was held for one session, behind the frames that it is owed already, and the gap before the
    /// message. Sessions that get the message together share its frames.
    pub fn queue_released(&mut self, slot: u32, released: Released, tally: &mut Tally) {
        let Released { dropped, message } = released;
        if let Some(dropped) = dropped {
            let gap = Event::Gap { topic: &dropped.topic.clone(), from: dropped.from, to: dropped.to, epoch: None };
            self.queue_event(slot, &gap, FrameKind::Gap(dropped), tally);
        }
        let Some((message, outgoing)) = message.as_ref().zip(self.outgoing.get_mut(slot)) else { return };
        let frame = self.batch.share_message(message);
        self.batch.link(slot, &mut outgoing.chain, frame);
    }

    /// Queues `event` for one session, in its dialect. Does nothing if the dialect has no such event.
    pub fn queue_event(&mut self, slot: u32, event: &Event<'_>, kind: FrameKind, tally: &mut Tally) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        if let Some(frame) = event_frame(event, encoding, &mut self.encoder, tally) {
            self.queue(slot, Queued { frame, kind });
        }
    }

    /// Sends a message of the session back to it.
    pub fn echo(&mut self, slot: u32, opcode: OpCode, payload: &[u8], tally: &mut Tally) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        let frame = echo_frame(opcode, payload, encoding.framing, &mut self.encoder, tally);
        self.queue(slot, Queued { frame, kind: FrameKind::Reply });
    }

    /// Queues a reply for one session in Centrifugo's protocol. Does nothing if the session has another dialect.
    pub fn reply(&mut self, slot: u32, reply: &Reply<'_>, tally: &mut Tally) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        if let Some(frame) = reply_frame(reply, encoding, &mut self.encoder, tally) {
            let tells_members = matches!(reply, Reply::Presence { .. } | Reply::PresenceStats { .. });
            self.queue(slot, Queued { frame, kind: if tells_members { FrameKind::Members } else { FrameKind::Reply } });
        }
    }

    /// Queues a heartbeat.
    pub fn queue_heartbeat(&mut self, slot: u32) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        self.queue(slot, Queued { frame: heartbeat_frame(encoding), kind: FrameKind::Ping });
    }

    /// Queues the answer to the client's heartbeat.
    pub fn queue_heartbeat_answer(&mut self, slot: u32, payload: &[u8]) {
        let framing = self.outgoing.encoding(slot).map(|encoding| encoding.framing);
        if let Some(frame) = framing.and_then(|framing| heartbeat_answer(framing, payload)) {
            self.queue(slot, Queued { frame, kind: FrameKind::Pong });
        }
    }

    /// Sets the position of the stream of the session in `slot`. From now on each message carries the position behind
    /// it.
    pub fn set_stream_position(&mut self, slot: u32, position: StreamPosition) {
        self.stream_positions.put(slot, Arc::new(position));
    }

    /// Queues a Close.
    pub fn queue_close(&mut self, slot: u32, code: CloseCode, reason: &str) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        self.queue(slot, Queued { frame: goodbye(encoding, code, reason), kind: FrameKind::Close });
    }

    /// Queues a Close with `code` on the wire; `None`: without a code.
    pub fn queue_close_with(&mut self, slot: u32, code: Option<u16>, reason: &str) {
        let Some(encoding) = self.outgoing.encoding(slot) else { return };
        self.queue(slot, Queued { frame: goodbye_with(encoding, code, reason), kind: FrameKind::Close });
    }

    /// Queues the 101 before the frames queued while the socket was on its way. Returns `true` if all of them are in
    /// the outbox.
    pub fn queue_head(&mut self, slot: u32, head: Vec<u8>, now: Moment, tally: &mut Tally) -> bool {
        let Some(outgoing) = self.outgoing.get_mut(slot) else { return false };
        if outgoing.outbox.is_none() && outgoing.chain.is_empty() {
            self.queue(slot, Queued { frame: head.into(), kind: FrameKind::Reply });
            return false;
        }
        if let Some(outbox) = self.outgoing.outbox_or_new(slot, now) {
            outbox.push_first(head.into(), tally);
        }
        true
    }

    /// Gives up the frames that wait for a session that is cut off, except a partly written one.
    /// [`EndedOutboxes::release`] has to follow.
    pub fn discard(&mut self, slot: u32, now: Moment, tally: &mut Tally) {
        self.drop_chain(slot, tally);
        if let Some(outbox) = self.outgoing.outbox_mut(slot) {
            let partly_written = outbox.take_partly_written(now, tally);
            self.ended.add(Box::new(std::mem::replace(outbox, partly_written)));
        }
    }

    /// Begins to read a session: its replies are counted from zero.
    pub fn begin_reading(&mut self) {
        self.reply_bytes = 0;
    }

    /// The bytes of replies that wait for the session in `slot`, which is being read.
    pub fn reply_bytes(&self, slot: u32) -> usize {
        self.outgoing.outbox(slot).map_or(0, |outbox| outbox.account().uncounted_bytes) + self.reply_bytes
    }

    /// Whether the write batch has nothing for the session in `slot`.
    pub fn owes_nothing(&self, slot: u32) -> bool {
        self.outgoing.get(slot).is_none_or(|outgoing| outgoing.chain.is_empty())
    }

    /// Whether the write batch has a frame for the session in `slot` alone, such as a reply. Live messages and changes
    /// of presence do not count.
    pub fn owes_answers(&self, slot: u32) -> bool {
        self.outgoing.get(slot).is_some_and(|outgoing| self.batch.has_answers(outgoing.chain))
    }

    /// Takes the messages that the session written to last is to read from history.
    pub fn take_deferred(&mut self) -> HashMap<TopicName, (Position, Offset)> {
        std::mem::take(&mut self.deferred)
    }

    /// Shrinks the outbox of the session in `slot` to `bytes_max` bytes, as far as the rules of its messages allow.
    pub fn shrink(&mut self, slot: u32, bytes_max: usize, reason: DropReason, now: Moment, tally: &mut Tally) -> Offered {
        let offered = self.outgoing.outbox_mut(slot).map_or(Offered::Queued, |outbox| outbox.shrink(bytes_max, reason, tally));
        self.note_lost(slot, now);
        offered
    }

    /// Notes the subscriptions of the session in `slot` that lost messages in its outbox, if its dialect has no gap
    /// notice. They lapse.
    pub(super) fn note_lost(&mut self, slot: u32, now: Moment) {
        let Self { outgoing, lapses, .. } = self;
        let Some(outgoing) = outgoing.get_mut(slot).filter(|outgoing| !outgoing.encoding.dialect.tells_gaps()) else { return };
        let lost = outgoing.outbox.as_mut().map(|outbox| outbox.take_lost()).unwrap_or_default();
        lost.iter().for_each(|topic| _ = lapses.note(slot, topic, now));
    }

    /// Whether the subscription to `topic` lapses because history no longer has messages that are to be replayed.
    pub(super) fn lapses(&mut self, slot: u32, topic: &TopicName, now: Moment) -> bool {
        let is_without_gaps = self.outgoing.encoding(slot).is_some_and(|encoding| !encoding.dialect.tells_gaps());
        let is_positioned = || self.subscribers.of(slot).is_positioned(&Pattern::from(topic.clone()));
        is_without_gaps && is_positioned() && self.lapses.note(slot, topic, now)
    }

    /// Takes the subscriptions that have lapsed, by slot and topic.
    pub fn take_lapsed(&mut self) -> Vec<(u32, TopicName)> {
        self.lapses.take_ended()
    }

    /// Forgets lapses that no longer prevent the next one.
    pub fn forget_lapses(&mut self, now: Moment) {
        self.lapses.forget_old(now);
    }

    /// Gives up texts that later messages might refer to, if their topics have no session left that keeps its window.
    pub fn sweep_references(&mut self, tally: &mut Tally) {
        let Self { encoder, subscribers, .. } = self;
        encoder.references.sweep(REFERENCES_SWEPT_MAX, |topic| subscribers.keep_windows(topic), tally);
    }

    /// How many messages, and how many bytes, may still join the write batch if `messages` and `bytes` are the most
    /// that may wait.
    pub fn room(&self, messages: usize, bytes: usize) -> (usize, usize) {
        self.batch.room(messages, bytes)
    }

    /// Whether the write batch has to end before anything is added.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Whether the write batch has nothing for any session.
    pub fn is_idle(&self) -> bool {
        self.batch.is_empty()
    }

    /// Gives up the frames that the write batch has for a session.
    fn drop_chain(&mut self, slot: u32, tally: &mut Tally) {
        let mut frames = Vec::new();
        let Some(outgoing) = self.outgoing.get_mut(slot) else { return };
        self.batch.frames_of(outgoing.chain, &mut frames);
        self.batch.unlink(&mut outgoing.chain);
        for rule in frames.iter().filter_map(|&frame| self.batch.routed_rule(frame)) {
            tally.dropped(rule, DropReason::Closed, 1);
        }
    }
}
