//! The ledger: which deliveries are owed to sessions, and which have arrived.

use std::ops::Range;

use super::findings::Findings;
use crate::engine::publish_results::{PublishResult, PublishResults};
use crate::engine::session::{Phase, Session};
use crate::engine::topics::Topics;
use crate::measure::Latency;
use crate::sequence::{Arrival, Track};
use crate::stamp::{Mismatch, Stamper};
use crate::wire::{Inflater, SubscribedTopic};

/// Counts over all sessions since the run began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    pub published: u64,
    pub deliveries: u64,
    /// The bytes on the wire of WebSocket messages with deliveries, without frame heads.
    pub message_bytes: u64,
    /// The same after inflating.
    pub text_bytes: u64,
    /// Messages that a later one overtook, including those that arrived afterwards.
    pub holes: u64,
    pub findings: Findings,
}

/// The ledger of one engine.
pub struct Ledger {
    pub latency: Latency,
    pub counts: Counts,
    pub topics: Topics,
    pub stamper: Stamper,
    /// Lent out while a message is handled.
    pub inflater: Option<Box<Inflater>>,
    /// The number of owed deliveries that have not arrived.
    pub outstanding: i64,
    /// Subscribers, summed over all topics.
    pub subscriptions: i64,
    /// Whether gateways act as one. The offsets of a topic have holes then, and are not sequence numbers.
    clustered: bool,
}

impl Ledger {
    pub fn new(stamper: Stamper, clustered: bool) -> Self {
        Self {
            latency: Latency::default(),
            counts: Counts::default(),
            topics: Topics::default(),
            stamper,
            inflater: Some(Box::default()),
            outstanding: 0,
            subscriptions: 0,
            clustered,
        }
    }

    /// Notes that the session is subscribed. From now on deliveries are owed to it, including those that it missed.
    pub fn subscribed(&mut self, session: &mut Session, topics: &[SubscribedTopic]) {
        let is_foreign = |topic: &SubscribedTopic| self.topics.index_of(session.subscriptions.topics(), &topic.topic).is_none();
        if !topics.is_empty() && topics.iter().all(is_foreign) {
            // The answer belongs to a subscribe that the session has replaced by another.
            return;
        }
        self.expect_deliveries(session, false);
        topics.iter().for_each(|topic| self.note_position(session, topic));
        session.connection.reach(Phase::Open);
        self.expect_deliveries(session, true);
    }

    /// Notes an acknowledgement of the session or of one subscription. The last one completes the subscribe.
    pub fn acknowledged(&mut self, session: &mut Session) {
        if session.subscriptions.acknowledge() {
            self.subscribed(session, &[]);
        }
    }

    /// Notes the answer to the subscribe with this `id`, unless the session has replaced that subscribe by another.
    pub fn topic_subscribed(&mut self, session: &mut Session, id: u64, position: Option<(String, u64)>, recovered: Option<bool>) {
        let Some(topic) = session.subscriptions.topic_of(id) else { return };
        if let Some((epoch, offset)) = position {
            let topic = self.topics.topic(topic).name.clone();
            let recovered = recovered.filter(|_| session.subscriptions.resumes());
            self.note_position(session, &SubscribedTopic { topic, epoch, offset, recovered });
        }
        self.acknowledged(session);
    }

    fn note_position(&mut self, session: &mut Session, position: &SubscribedTopic) {
        let subscriptions = &mut session.subscriptions;
        let Some(index) = self.topics.index_of(subscriptions.topics(), &position.topic) else { return };
        self.topics.topic_mut(subscriptions.topics()[index]).epoch.clone_from(&position.epoch);
        match position.recovered {
            Some(true) => self.counts.findings.recovered.0 += 1,
            recovered => {
                self.counts.findings.recovered.1 += u64::from(recovered.is_some());
                match subscriptions.begin_topic(index, position.offset, &self.topics) {
                    // With one publisher the offsets of a topic are its sequence numbers, so the next message is known.
                    [track] if !self.clustered => *track = Track::after(position.offset as u32),
                    tracks if recovered.is_some() => tracks.fill(Track::FROM_FIRST_ARRIVAL),
                    _ => {}
                }
            }
        }
    }

    /// Begins or ends to owe deliveries to the session.
    pub fn expect_deliveries(&mut self, session: &mut Session, expects: bool) {
        let subscriptions = &mut session.subscriptions;
        if !subscriptions.owe(expects) {
            return;
        }
        let sign = if expects { 1 } else { -1 };
        self.outstanding += sign * subscriptions.outstanding(&self.topics);
        self.subscriptions += sign * subscriptions.topics().len() as i64;
        subscriptions.topics().iter().for_each(|topic| self.topics.topic_mut(*topic).subscribers += sign);
    }

    /// Handles a `gap` of `topic`: its messages are not owed. `begins_anew`: the topic has a new epoch.
    pub fn gap(&mut self, session: &mut Session, topic: &str, begins_anew: bool) {
        let subscriptions = &mut session.subscriptions;
        let Some(index) = self.topics.index_of(subscriptions.topics(), topic) else { return };
        let before = subscriptions.outstanding(&self.topics);
        subscriptions.skip(index, &self.topics);
        if subscriptions.are_owed() {
            self.outstanding -= before - subscriptions.outstanding(&self.topics);
        }
        if begins_anew {
            self.topics.topic_mut(subscriptions.topics()[index]).epoch.clear();
        }
    }

    /// Notes the answer to a publish.
    pub fn answer(&mut self, id: u64, result: PublishResult) {
        let (stream, sequence) = PublishResults::publish_of(id);
        if let Some((stream, _)) = self.topics.stream_mut(stream) {
            stream.results.answer(sequence, result);
        }
    }

    /// Notes the end of the session; `closed` if the server ended it.
    pub fn session_ended(&mut self, session: &mut Session, closed: bool) {
        if closed && session.subscriptions.are_owed() {
            let behind = session.subscriptions.behind(&self.topics);
            self.counts.findings.behind_at_close = self.counts.findings.behind_at_close.max(behind);
        }
        self.expect_deliveries(session, false);
        // A Close with a code counts even before the session was subscribed.
        let code = session.connection.close_code();
        if closed && (session.connection.phase() == Phase::Open || code.is_some()) {
            *self.counts.findings.closes.entry(code.unwrap_or(1006)).or_default() += 1;
        }
    }

    /// Replaces the session's topics, by an unsubscribe and a subscribe.
    pub fn change_topics(&mut self, session: &mut Session, topics: Vec<u32>) {
        self.expect_deliveries(session, false);
        let Session { dialect, connection, subscriptions, .. } = session;
        dialect.push_unsubscribe(connection.outgoing(), &self.topics.names(subscriptions.topics()));
        subscriptions.replace(topics, &self.topics);
        subscriptions.push_subscribe(*dialect, connection.outgoing(), &self.topics);
    }

    /// Checks a message that arrived at `session`, with its payload at `payload` in `frame`.
    pub fn deliver(&mut self, session: &mut Session, frame: &[u8], payload: Range<usize>, now: u64) {
        let stamp = match self.stamper.read(&frame[payload.clone()]) {
            Ok(stamp) => stamp,
            Err(Mismatch::Altered) => return self.counts.findings.altered += 1,
            Err(Mismatch::Foreign) => return self.counts.findings.foreign += 1,
        };
        let Some(stream) = self.topics.streams().get(stamp.stream as usize) else { return self.counts.findings.foreign += 1 };
        if stamp.sequence == 0 || stamp.sequence > stream.sent {
            return self.counts.findings.altered += 1;
        }
        let Some(place) = session.subscriptions.locate(stamp.stream, stream.topic, &self.topics) else {
            // The message was in flight when the session changed its topics, or the server has no topics and sends
            // everything to everybody.
            return;
        };
        let topic = self.topics.topic(stream.topic);
        if !session.dialect.is_intact(frame, payload.clone(), &topic.name, &topic.epoch) {
            return self.counts.findings.altered += 1;
        }
        self.counts.deliveries += 1;
        session.failover.note_message(now);
        let offset = session.dialect.offset(frame, payload);
        let is_sequence = !self.clustered && topic.streams.len() == 1;
        if is_sequence && offset.is_some_and(|offset| offset != u64::from(stamp.sequence)) {
            self.counts.findings.wrong_offsets += 1;
        }
        match session.subscriptions.receive(place, offset, &stamp) {
            Arrival::InOrder => {}
            Arrival::AfterHole(length) => self.counts.holes += u64::from(length),
            Arrival::Late => self.counts.findings.reordered += 1,
            Arrival::Duplicate => return self.counts.findings.duplicated += 1,
        }
        if session.subscriptions.are_owed() {
            self.outstanding -= 1;
            if session.subscriptions.are_timed() {
                self.latency.record(stamp.scheduled, now);
            }
        }
    }
}
