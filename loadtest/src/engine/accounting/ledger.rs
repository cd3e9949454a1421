//! The ledger: topics and streams, and which deliveries are owed and have arrived.

use std::ops::Range;

use super::findings::Findings;
use super::publish_results::{Answer, Answers, Asked};
use crate::engine::session::{Phase, Session};
use crate::measure::Latency;
use crate::sequence::{Arrival, Track};
use crate::stamp::{Mismatch, Stamper};
use crate::wire::{Inflater, SubscribedTopic};

/// Counts over all sessions since the run began.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub published: u64,
    pub deliveries: u64,
    pub received_bytes: u64,
    /// The bytes on the wire of WebSocket messages with deliveries, without frame heads.
    pub message_bytes: u64,
    /// The same after inflating.
    pub text_bytes: u64,
    /// Messages that a later one overtook, including those that arrived afterwards.
    pub holes: u64,
    /// What the checks found so far.
    pub findings: Findings,
}

/// The ledger of one engine.
pub struct Ledger {
    /// Latencies of deliveries.
    pub latency: Latency,
    /// Counts of deliveries and failures.
    pub counts: Counts,
    /// The number of owed deliveries that have not arrived.
    pub outstanding: i64,
    /// Subscribers, summed over all topics.
    pub subscriptions: u64,
    /// Whether gateways act as one. The offsets of a topic have holes then, and are not sequence numbers.
    clustered: bool,
    pub stamper: Stamper,
    pub inflater: Option<Box<Inflater>>,
    pub topics: Vec<Topic>,
    pub streams: Vec<Stream>,
}

pub struct Topic {
    pub name: String,
    pub epoch: String,
    /// The number of sessions to which deliveries are owed.
    pub subscribers: u32,
    pub first_stream: u32,
    pub streams: u32,
}

pub struct Stream {
    pub topic: u32,
    pub publisher: usize,
    pub sent: u32,
    pub asked: Asked,
}

impl Ledger {
    pub fn new(stamper: Stamper, clustered: bool) -> Self {
        Self {
            latency: Latency::default(),
            counts: Counts::default(),
            outstanding: 0,
            subscriptions: 0,
            clustered,
            stamper,
            inflater: Some(Box::default()),
            topics: Vec::new(),
            streams: Vec::new(),
        }
    }

    pub fn add_topic(&mut self, name: String) -> u32 {
        self.topics.push(Topic { name, epoch: String::new(), subscribers: 0, first_stream: 0, streams: 0 });
        (self.topics.len() - 1) as u32
    }

    pub fn add_stream(&mut self, topic: u32, publisher: usize) -> u32 {
        let stream = self.streams.len() as u32;
        self.streams.push(Stream { topic, publisher, sent: 0, asked: Asked::default() });
        let topic = &mut self.topics[topic as usize];
        if topic.streams == 0 {
            topic.first_stream = stream;
        }
        debug_assert_eq!(topic.first_stream + topic.streams, stream, "a topic's streams are made one after the other");
        topic.streams += 1;
        stream
    }

    pub fn names(&self, topics: &[u32]) -> Vec<&str> {
        topics.iter().map(|topic| self.topics[*topic as usize].name.as_str()).collect()
    }

    /// The name, epoch and newest offset of each topic of a session that resumes; otherwise none.
    pub fn since(&self, session: &Session) -> Vec<(&str, &str, u64)> {
        let topics = session.topics.iter().filter(|_| session.resumes).map(|topic| &self.topics[*topic as usize]);
        topics.zip(&session.offsets).map(|(topic, offset)| (topic.name.as_str(), topic.epoch.as_str(), *offset)).collect()
    }

    /// Prepares a session for a connection: it gets new tracks, unless it resumes.
    pub fn prepare(&self, session: &mut Session) {
        if session.resumes {
            return;
        }
        session.tracks = self.tracks(&session.topics);
    }

    /// Tracks that begin with the first message if nothing was published yet, otherwise with the next one to arrive.
    fn tracks(&self, topics: &[u32]) -> Vec<Track> {
        let streams = topics.iter().flat_map(|topic| self.streams_of(*topic));
        streams.map(|stream| if stream.sent == 0 { Track::FROM_START } else { Track::FROM_ANYWHERE }).collect()
    }

    fn streams_of(&self, topic: u32) -> &[Stream] {
        let topic = &self.topics[topic as usize];
        &self.streams[topic.first_stream as usize..(topic.first_stream + topic.streams) as usize]
    }

    /// Notes that the session is subscribed. From now on deliveries are owed to it, including those that it missed.
    pub fn subscribed(&mut self, session: &mut Session, topics: &[SubscribedTopic]) {
        if !topics.is_empty() && !topics.iter().any(|told| self.names(&session.topics).contains(&told.topic.as_str())) {
            // The answer belongs to a subscribe that the session has replaced by another.
            return;
        }
        self.stop_expecting(session);
        for told in topics {
            self.note_position(session, told);
        }
        session.phase = Phase::Open;
        session.resumes = true;
        self.start_expecting(session);
    }

    /// Notes an acknowledgement of the session or of one subscription. The last one completes the subscribe.
    pub fn acknowledge(&mut self, session: &mut Session) {
        if session.joins.acknowledge(session.topics.len()) {
            self.subscribed(session, &[]);
        }
    }

    /// Notes the answer to the subscribe with this `id`, unless the session has replaced that by another.
    pub fn joined(&mut self, session: &mut Session, id: u64, position: Option<(String, u64)>, recovered: Option<bool>) {
        let Some(topic) = session.joins.place(id).and_then(|at| session.topics.get(at)) else { return };
        if let Some((epoch, offset)) = position {
            let topic = self.topics[*topic as usize].name.clone();
            let recovered = recovered.filter(|_| session.resumes);
            self.note_position(session, &SubscribedTopic { topic, epoch, offset, recovered });
        }
        self.acknowledge(session);
    }

    fn start_expecting(&mut self, session: &mut Session) {
        session.expects_deliveries = true;
        self.outstanding += self.owed(session) + session.missing.count() as i64;
        for topic in &session.topics {
            self.topics[*topic as usize].subscribers += 1;
        }
        self.subscriptions += session.topics.len() as u64;
    }

    fn note_position(&mut self, session: &mut Session, told: &SubscribedTopic) {
        let Some(at) = session.topics.iter().position(|topic| self.topics[*topic as usize].name == told.topic) else { return };
        let topic = session.topics[at];
        self.topics[topic as usize].epoch.clone_from(&told.epoch);
        match told.recovered {
            Some(true) => self.counts.findings.recovered.0 += 1,
            recovered => {
                self.counts.findings.recovered.1 += u64::from(recovered.is_some());
                session.offsets[at] = told.offset;
                // With one publisher the offsets of a topic are its sequence numbers, so the next message is known.
                let first = self.first_track(&session.topics, at);
                match self.streams_of(topic) {
                    [_] if !self.clustered => session.tracks[first] = Track::after(told.offset as u32),
                    streams if recovered.is_some() => session.tracks[first..first + streams.len()].fill(Track::FROM_ANYWHERE),
                    _ => {}
                }
            }
        }
    }

    fn first_track(&self, topics: &[u32], at: usize) -> usize {
        topics[..at].iter().map(|topic| self.topics[*topic as usize].streams as usize).sum()
    }

    /// The number of messages to the session's topics that were sent after its newest.
    pub fn owed(&self, session: &Session) -> i64 {
        let streams = session.topics.iter().flat_map(|topic| self.streams_of(*topic));
        session.tracks.iter().zip(streams).map(|(track, stream)| i64::from(track.tail(stream.sent))).sum()
    }

    /// The number of owed messages that have not arrived. Publishes that ask for an answer are owed if they were
    /// acknowledged.
    pub fn lost(&self, session: &Session) -> u64 {
        let is_owed = |stream: u32, sequence| self.streams[stream as usize].asked.is_owed(sequence);
        session.missing.iter().filter(|(stream, sequence)| is_owed(*stream, *sequence)).count() as u64
    }

    /// The same for messages that are newer than all that have arrived.
    pub fn lost_end(&self, session: &Session) -> u64 {
        let streams = session.topics.iter().flat_map(|topic| self.streams_of(*topic));
        let lost =
            |(track, stream): (&Track, &Stream)| track.behind(stream.sent).filter(|sequence| stream.asked.is_owed(*sequence)).count();
        session.tracks.iter().zip(streams).map(lost).sum::<usize>() as u64
    }

    /// Handles a `gap` of `topic`: its messages are not owed. `begins_anew`: the topic has a new epoch.
    pub fn excuse(&mut self, session: &mut Session, topic: &str, begins_anew: bool) {
        let Some(at) = session.topics.iter().position(|own| self.topics[*own as usize].name == topic) else { return };
        let (first, topic) = (self.first_track(&session.topics, at), session.topics[at] as usize);
        let (streams, expected) =
            (self.topics[topic].first_stream..self.topics[topic].first_stream + self.topics[topic].streams, session.expects_deliveries);
        let owed = |ledger: &Self, session: &Session| ledger.owed(session) + session.missing.count() as i64;
        let before = owed(self, session);
        session.tracks[first..first + streams.len()].fill(Track::FROM_ANYWHERE);
        session.missing.forget(&streams);
        if expected {
            self.outstanding -= before - owed(self, session);
        }
        if begins_anew {
            self.topics[topic].epoch.clear();
        }
    }

    /// Notes the answer to a publish.
    pub fn answer(&mut self, id: u64, answer: Answer) {
        let (stream, sequence) = Asked::asked_by(id);
        if let Some(stream) = self.streams.get_mut(stream as usize) {
            stream.asked.answer(sequence, answer);
        }
    }

    /// The answers of all streams.
    pub fn answers(&self) -> Answers {
        self.streams.iter().map(|stream| stream.asked.count()).fold(Answers::default(), |sum, of_stream| Answers {
            acknowledged: sum.acknowledged + of_stream.acknowledged,
            refused: sum.refused + of_stream.refused,
            unanswered: sum.unanswered + of_stream.unanswered,
        })
    }

    /// Stops owing deliveries to the session.
    pub fn stop_expecting(&mut self, session: &mut Session) {
        if !std::mem::take(&mut session.expects_deliveries) {
            return;
        }
        self.outstanding -= self.owed(session) + session.missing.count() as i64;
        for topic in &session.topics {
            self.topics[*topic as usize].subscribers -= 1;
        }
        self.subscriptions -= session.topics.len() as u64;
    }

    /// Notes the end of the session; `closed` if the server ended it.
    pub fn session_ended(&mut self, session: &mut Session, closed: bool) {
        if closed && session.expects_deliveries {
            self.counts.findings.behind_at_close = self.counts.findings.behind_at_close.max(self.owed(session) as u64);
        }
        self.stop_expecting(session);
        // A Close with a code counts even before the session was subscribed.
        if closed && (session.phase == Phase::Open || session.ending.code().is_some()) {
            *self.counts.findings.closes.entry(session.ending.code().unwrap_or(1006)).or_default() += 1;
        }
    }

    /// Replaces the session's topics, by an unsubscribe and a subscribe.
    pub fn change_topics(&mut self, session: &mut Session, topics: Vec<u32>) {
        self.stop_expecting(session);
        let dialect = session.dialect;
        dialect.push_unsubscribe(&mut session.outgoing, &self.names(&session.topics));
        session.tracks = self.tracks(&topics);
        session.offsets = vec![0; topics.len()].into_boxed_slice();
        session.joins.replace(session.topics.len());
        session.resumes = false;
        session.topics = topics.into_boxed_slice();
        dialect.push_subscribe(&mut session.outgoing, &self.names(&session.topics), &[], session.joins.first_id());
    }

    /// Checks a message that arrived at `session`, with its payload at `payload` in `frame`.
    pub fn deliver(&mut self, session: &mut Session, frame: &[u8], payload: Range<usize>, now: u64) {
        let stamp = match self.stamper.read(&frame[payload.clone()]) {
            Ok(stamp) => stamp,
            Err(Mismatch::Altered) => return self.counts.findings.altered += 1,
            Err(Mismatch::Foreign) => return self.counts.findings.foreign += 1,
        };
        let Some(stream) = self.streams.get(stamp.stream as usize) else { return self.counts.findings.foreign += 1 };
        if stamp.sequence == 0 || stamp.sequence > stream.sent {
            return self.counts.findings.altered += 1;
        }
        let Some((at, track)) = self.locate(session, stamp.stream, stream.topic) else {
            // The message was in flight when the session changed its topics, or the server has no topics and sends
            // everything to everybody.
            return;
        };
        let topic = &self.topics[stream.topic as usize];
        if !session.dialect.is_intact(frame, payload.clone(), &topic.name, &topic.epoch) {
            return self.counts.findings.altered += 1;
        }
        self.counts.deliveries += 1;
        session.roaming.hear(now);
        if let Some(offset) = session.dialect.offset(frame, payload) {
            session.offsets[at] = session.offsets[at].max(offset);
            let is_sequence = !self.clustered && self.topics[stream.topic as usize].streams == 1;
            if is_sequence && offset != u64::from(stamp.sequence) {
                self.counts.findings.wrong_offsets += 1;
            }
        }
        match session.tracks[track].take(stamp.stream, stamp.sequence, &mut session.missing) {
            Arrival::InOrder => {}
            Arrival::AfterHole(length) => self.counts.holes += u64::from(length),
            Arrival::Late => self.counts.findings.reordered += 1,
            Arrival::Duplicate => return self.counts.findings.duplicated += 1,
        }
        if session.expects_deliveries {
            self.outstanding -= 1;
            if session.timed {
                self.latency.record(stamp.scheduled, now);
            }
        }
    }

    /// The index of the stream's topic and of its track in the session.
    fn locate(&self, session: &Session, stream: u32, topic: u32) -> Option<(usize, usize)> {
        let mut first = 0;
        for (at, own) in session.topics.iter().enumerate() {
            let known = &self.topics[*own as usize];
            if *own == topic {
                return Some((at, first + (stream - known.first_stream) as usize));
            }
            first += known.streams as usize;
        }
        None
    }
}
