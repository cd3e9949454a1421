//! The ledger: which deliveries are owed to sessions, and which have arrived.

use std::ops::Range;

use super::findings::Findings;
use super::publish_results::{PublishCounts, PublishResult, PublishResults};
use super::topics::{Stream, Topics};
use crate::engine::session::{Phase, Session};
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

    /// The name, epoch and newest offset of each topic of a session that resumes; otherwise none.
    pub fn resume_positions(&self, session: &Session) -> Vec<(&str, &str, u64)> {
        let topics = session.topics.iter().filter(|_| session.resumes).map(|topic| self.topics.topic(*topic));
        topics.zip(&session.offsets).map(|(topic, offset)| (topic.name.as_str(), topic.epoch.as_str(), *offset)).collect()
    }

    /// Prepares a session for a connection: it gets new tracks, unless it resumes.
    pub fn prepare(&self, session: &mut Session) {
        if !session.resumes {
            session.tracks = self.topics.tracks(&session.topics);
        }
    }

    /// Notes that the session is subscribed. From now on deliveries are owed to it, including those that it missed.
    pub fn subscribed(&mut self, session: &mut Session, topics: &[SubscribedTopic]) {
        let is_foreign = |topic: &SubscribedTopic| self.topics.index_of(&session.topics, &topic.topic).is_none();
        if !topics.is_empty() && topics.iter().all(is_foreign) {
            // The answer belongs to a subscribe that the session has replaced by another.
            return;
        }
        self.expect_deliveries(session, false);
        topics.iter().for_each(|topic| self.note_position(session, topic));
        session.phase = Phase::Open;
        session.resumes = true;
        self.expect_deliveries(session, true);
    }

    /// Notes an acknowledgement of the session or of one subscription. The last one completes the subscribe.
    pub fn acknowledged(&mut self, session: &mut Session) {
        if session.pending_subscribes.acknowledge(session.topics.len()) {
            self.subscribed(session, &[]);
        }
    }

    /// Notes the answer to the subscribe with this `id`, unless the session has replaced that subscribe by another.
    pub fn topic_subscribed(&mut self, session: &mut Session, id: u64, position: Option<(String, u64)>, recovered: Option<bool>) {
        let Some(topic) = session.pending_subscribes.topic_index(id).and_then(|index| session.topics.get(index)) else { return };
        if let Some((epoch, offset)) = position {
            let topic = self.topics.topic(*topic).name.clone();
            let recovered = recovered.filter(|_| session.resumes);
            self.note_position(session, &SubscribedTopic { topic, epoch, offset, recovered });
        }
        self.acknowledged(session);
    }

    fn note_position(&mut self, session: &mut Session, position: &SubscribedTopic) {
        let Some(index) = self.topics.index_of(&session.topics, &position.topic) else { return };
        let topic = session.topics[index];
        self.topics.topic_mut(topic).epoch.clone_from(&position.epoch);
        match position.recovered {
            Some(true) => self.counts.findings.recovered.0 += 1,
            recovered => {
                self.counts.findings.recovered.1 += u64::from(recovered.is_some());
                session.offsets[index] = position.offset;
                let tracks = &mut session.tracks[self.topics.tracks_of(&session.topics, index)];
                match tracks {
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
        if std::mem::replace(&mut session.expects_deliveries, expects) == expects {
            return;
        }
        let sign = if expects { 1 } else { -1 };
        self.outstanding += sign * self.outstanding_of(session);
        self.subscriptions += sign * session.topics.len() as i64;
        session.topics.iter().for_each(|topic| self.topics.topic_mut(*topic).subscribers += sign);
    }

    /// The session's tracks with their streams.
    fn tracks<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = (&'a Track, &'a Stream)> {
        session.tracks.iter().zip(session.topics.iter().flat_map(|topic| self.topics.streams_of(*topic)))
    }

    /// The number of messages to the session's topics that were sent after its newest.
    pub fn behind(&self, session: &Session) -> u64 {
        self.tracks(session).map(|(track, stream)| track.behind(stream.sent).len() as u64).sum()
    }

    fn outstanding_of(&self, session: &Session) -> i64 {
        (self.behind(session) + session.missing.count()) as i64
    }

    /// The number of owed messages that have not arrived, although later ones have. Publishes that ask for an answer are
    /// owed if they were acknowledged.
    pub fn lost(&self, session: &Session) -> u64 {
        let streams = self.topics.streams();
        session.missing.iter().filter(|(stream, sequence)| streams[*stream as usize].results.is_owed(*sequence)).count() as u64
    }

    /// The same for messages that are newer than all that have arrived.
    pub fn lost_at_end(&self, session: &Session) -> u64 {
        let lost =
            |(track, stream): (&Track, &Stream)| track.behind(stream.sent).filter(|sequence| stream.results.is_owed(*sequence)).count();
        self.tracks(session).map(lost).sum::<usize>() as u64
    }

    /// Handles a `gap` of `topic`: its messages are not owed. `begins_anew`: the topic has a new epoch.
    pub fn gap(&mut self, session: &mut Session, topic: &str, begins_anew: bool) {
        let Some(index) = self.topics.index_of(&session.topics, topic) else { return };
        let topic = session.topics[index];
        let before = self.outstanding_of(session);
        session.tracks[self.topics.tracks_of(&session.topics, index)].fill(Track::FROM_FIRST_ARRIVAL);
        session.missing.forget(&self.topics.topic(topic).streams);
        if session.expects_deliveries {
            self.outstanding -= before - self.outstanding_of(session);
        }
        if begins_anew {
            self.topics.topic_mut(topic).epoch.clear();
        }
    }

    /// Notes the answer to a publish.
    pub fn answer(&mut self, id: u64, result: PublishResult) {
        let (stream, sequence) = PublishResults::publish_of(id);
        if let Some((stream, _)) = self.topics.stream_mut(stream) {
            stream.results.answer(sequence, result);
        }
    }

    /// The results of publishes that ask for an answer.
    pub fn publish_counts(&self) -> PublishCounts {
        let mut counts = PublishCounts::default();
        self.topics.streams().iter().for_each(|stream| stream.results.add_to(&mut counts));
        counts
    }

    /// Notes the end of the session; `closed` if the server ended it.
    pub fn session_ended(&mut self, session: &mut Session, closed: bool) {
        if closed && session.expects_deliveries {
            self.counts.findings.behind_at_close = self.counts.findings.behind_at_close.max(self.behind(session));
        }
        self.expect_deliveries(session, false);
        // A Close with a code counts even before the session was subscribed.
        if closed && (session.phase == Phase::Open || session.ending.code().is_some()) {
            *self.counts.findings.closes.entry(session.ending.code().unwrap_or(1006)).or_default() += 1;
        }
    }

    /// Replaces the session's topics, by an unsubscribe and a subscribe.
    pub fn change_topics(&mut self, session: &mut Session, topics: Vec<u32>) {
        self.expect_deliveries(session, false);
        let dialect = session.dialect;
        dialect.push_unsubscribe(&mut session.outgoing, &self.topics.names(&session.topics));
        session.tracks = self.topics.tracks(&topics);
        session.offsets = vec![0; topics.len()].into_boxed_slice();
        session.pending_subscribes.replace(session.topics.len());
        session.resumes = false;
        session.topics = topics.into_boxed_slice();
        dialect.push_subscribe(&mut session.outgoing, &self.topics.names(&session.topics), &[], session.pending_subscribes.first_id());
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
        let Some((index, track)) = self.locate(session, stamp.stream, stream.topic) else {
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
        if let Some(offset) = session.dialect.offset(frame, payload) {
            session.offsets[index] = session.offsets[index].max(offset);
            let is_sequence = !self.clustered && topic.streams.len() == 1;
            if is_sequence && offset != u64::from(stamp.sequence) {
                self.counts.findings.wrong_offsets += 1;
            }
        }
        match session.tracks[track].receive(stamp.stream, stamp.sequence, &mut session.missing) {
            Arrival::InOrder => {}
            Arrival::AfterHole(length) => self.counts.holes += u64::from(length),
            Arrival::Late => self.counts.findings.reordered += 1,
            Arrival::Duplicate => return self.counts.findings.duplicated += 1,
        }
        if session.expects_deliveries {
            self.outstanding -= 1;
            if session.is_timed {
                self.latency.record(stamp.scheduled, now);
            }
        }
    }

    /// The index of the stream's topic and of its track in the session.
    fn locate(&self, session: &Session, stream: u32, topic: u32) -> Option<(usize, usize)> {
        let mut first = 0;
        for (index, own) in session.topics.iter().enumerate() {
            let streams = &self.topics.topic(*own).streams;
            if *own == topic {
                return Some((index, first + (stream - streams.start) as usize));
            }
            first += streams.len();
        }
        None
    }
}
