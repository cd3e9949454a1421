//! Where deliveries are counted: topics, streams, what is owed, what came.

use std::collections::BTreeMap;

use super::session::{Phase, Session};
use crate::check::{Arrival, Track};
use crate::measure::Latency;
use crate::stamp::{Mismatch, Stamper};
use crate::wire::{Inflater, Standing};

/// What was counted so far, over all sessions.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Tally {
    pub published: u64,
    pub deliveries: u64,
    pub received_bytes: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// Missed so far, whether or not they come late.
    pub holes: u64,
    pub altered: u64,
    pub foreign: u64,
    /// Told by a `gap`.
    pub gaps: u64,
    /// A native message's offset was not the one that its place in the stream says.
    pub wrong_offsets: u64,
    pub recovered: u64,
    pub unrecovered: u64,
    pub draining: u64,
    /// The most that a session had not got of what was sent when the server closed it.
    pub behind_at_close: u64,
    /// Due while their publisher was not connected.
    pub unsent: u64,
    /// By code: how many, and the words of the first.
    pub errors: BTreeMap<String, (u64, String)>,
    /// Upgrades that were refused, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Sessions that the server closed, by code; 1006 without one.
    pub closes: BTreeMap<u16, u64>,
    /// What broke a session otherwise.
    pub faults: BTreeMap<String, u64>,
}

/// The books of one engine.
pub struct Desk {
    /// Delays of what came.
    pub latency: Latency,
    /// Counts of what came.
    pub tally: Tally,
    /// Deliveries that are owed and have not come.
    pub outstanding: i64,
    /// The subscribers of all topics together.
    pub(super) subscriptions: u64,
    pub(super) stamper: Stamper,
    pub(super) inflater: Inflater,
    pub(super) topics: Vec<Topic>,
    pub(super) streams: Vec<Stream>,
}

pub(super) struct Topic {
    pub(super) name: String,
    pub(super) epoch: String,
    /// Sessions whose deliveries are owed.
    pub(super) subscribers: u32,
    pub(super) first_stream: u32,
    pub(super) streams: u32,
}

pub(super) struct Stream {
    pub(super) topic: u32,
    pub(super) publisher: usize,
    pub(super) sent: u32,
}

impl Desk {
    pub(super) fn new(stamper: Stamper) -> Self {
        Self {
            latency: Latency::new(),
            tally: Tally::default(),
            outstanding: 0,
            subscriptions: 0,
            stamper,
            inflater: Inflater::new(),
            topics: Vec::new(),
            streams: Vec::new(),
        }
    }

    pub(super) fn add_topic(&mut self, name: String) -> u32 {
        self.topics.push(Topic { name, epoch: String::new(), subscribers: 0, first_stream: 0, streams: 0 });
        (self.topics.len() - 1) as u32
    }

    pub(super) fn add_stream(&mut self, topic: u32, publisher: usize) -> u32 {
        let stream = self.streams.len() as u32;
        self.streams.push(Stream { topic, publisher, sent: 0 });
        let topic = &mut self.topics[topic as usize];
        if topic.streams == 0 {
            topic.first_stream = stream;
        }
        debug_assert_eq!(topic.first_stream + topic.streams, stream, "a topic's streams are made one after the other");
        topic.streams += 1;
        stream
    }

    pub(super) fn names(&self, topics: &[u32]) -> Vec<&str> {
        topics.iter().map(|topic| self.topics[*topic as usize].name.as_str()).collect()
    }

    /// A session is about to connect: its tracks, unless it goes on with the old ones.
    pub(super) fn prepare(&self, session: &mut Session) {
        if session.resumes {
            return;
        }
        session.tracks = self.tracks(&session.topics);
    }

    /// From the start where nothing was published yet; else from wherever `subscribed` says.
    fn tracks(&self, topics: &[u32]) -> Vec<Track> {
        let streams = topics.iter().flat_map(|topic| self.streams_of(*topic));
        streams.map(|stream| if stream.sent == 0 { Track::FROM_START } else { Track::FROM_ANYWHERE }).collect()
    }

    fn streams_of(&self, topic: u32) -> &[Stream] {
        let topic = &self.topics[topic as usize];
        &self.streams[topic.first_stream as usize..(topic.first_stream + topic.streams) as usize]
    }

    /// The session is subscribed: from now on deliveries are owed to it, what it missed included.
    pub(super) fn admit(&mut self, session: &mut Session, standings: &[Standing]) {
        if !standings.is_empty() && !standings.iter().any(|standing| self.names(&session.topics).contains(&standing.topic.as_str())) {
            // The answer to a subscribe that the session has already taken back.
            return;
        }
        self.excuse(session);
        for standing in standings {
            self.note_standing(session, standing);
        }
        session.phase = Phase::Open;
        session.resumes = true;
        self.owe(session);
    }

    /// One part of what the session asked for stands; with the last it is subscribed.
    pub(super) fn acknowledge(&mut self, session: &mut Session) {
        session.acknowledged += 1;
        // One for the session itself.
        if session.phase == Phase::Subscribing && session.acknowledged > session.topics.len() {
            self.admit(session, &[]);
        }
    }

    fn owe(&mut self, session: &mut Session) {
        session.counts = true;
        self.outstanding += self.owed(session) + session.missing.count() as i64;
        for topic in &session.topics {
            self.topics[*topic as usize].subscribers += 1;
        }
        self.subscriptions += session.topics.len() as u64;
    }

    fn note_standing(&mut self, session: &mut Session, standing: &Standing) {
        let Some(at) = session.topics.iter().position(|topic| self.topics[*topic as usize].name == standing.topic) else { return };
        let topic = session.topics[at];
        self.topics[topic as usize].epoch.clone_from(&standing.epoch);
        match standing.recovered {
            Some(true) => self.tally.recovered += 1,
            recovered => {
                self.tally.unrecovered += u64::from(recovered.is_some());
                session.offsets[at] = standing.offset;
                // With one publisher a topic's offsets are its sequence numbers, and it is known what must come first.
                let first = self.first_track(&session.topics, at);
                match self.streams_of(topic) {
                    [_] => session.tracks[first] = Track::after(standing.offset as u32),
                    streams if recovered.is_some() => session.tracks[first..first + streams.len()].fill(Track::FROM_ANYWHERE),
                    _ => {}
                }
            }
        }
    }

    fn first_track(&self, topics: &[u32], at: usize) -> usize {
        topics[..at].iter().map(|topic| self.topics[*topic as usize].streams as usize).sum()
    }

    /// What was sent to the session's topics and has not come at the end of what came.
    pub(super) fn owed(&self, session: &Session) -> i64 {
        let streams = session.topics.iter().flat_map(|topic| self.streams_of(*topic));
        session.tracks.iter().zip(streams).map(|(track, stream)| i64::from(track.tail(stream.sent))).sum()
    }

    /// Nothing is owed to the session any more.
    pub(super) fn excuse(&mut self, session: &mut Session) {
        if !std::mem::take(&mut session.counts) {
            return;
        }
        self.outstanding -= self.owed(session) + session.missing.count() as i64;
        for topic in &session.topics {
            self.topics[*topic as usize].subscribers -= 1;
        }
        self.subscriptions -= session.topics.len() as u64;
    }

    /// The session is over; by the server if `closed`.
    pub(super) fn dismiss(&mut self, session: &mut Session, closed: bool) {
        if closed && session.counts {
            self.tally.behind_at_close = self.tally.behind_at_close.max(self.owed(session) as u64);
        }
        self.excuse(session);
        if closed && session.phase == Phase::Open {
            *self.tally.closes.entry(session.close_code.unwrap_or(1006)).or_default() += 1;
        }
    }

    /// The session takes `topics` from now on.
    pub(super) fn change_topics(&mut self, session: &mut Session, topics: Vec<u32>) {
        self.excuse(session);
        let dialect = session.dialect;
        dialect.push_unsubscribe(&mut session.outgoing, &self.names(&session.topics));
        session.tracks = self.tracks(&topics);
        session.offsets = vec![0; topics.len()].into_boxed_slice();
        session.topics = topics.into_boxed_slice();
        dialect.push_subscribe(&mut session.outgoing, &self.names(&session.topics), &[]);
    }

    /// One message of `payload` came to `session`.
    pub(super) fn deliver(&mut self, session: &mut Session, payload: &[u8], offset: Option<u64>, now: u64) {
        let stamp = match self.stamper.read(payload) {
            Ok(stamp) => stamp,
            Err(Mismatch::Altered) => return self.tally.altered += 1,
            Err(Mismatch::Foreign) => return self.tally.foreign += 1,
        };
        let Some(stream) = self.streams.get(stamp.stream as usize) else { return self.tally.foreign += 1 };
        if stamp.sequence == 0 || stamp.sequence > stream.sent {
            return self.tally.altered += 1;
        }
        let Some((at, track)) = self.place(session, stamp.stream, stream.topic) else {
            // What was under way as the session changed its topics, or what a server without topics sends to everybody.
            return;
        };
        self.tally.deliveries += 1;
        if let Some(offset) = offset {
            session.offsets[at] = session.offsets[at].max(offset);
            if self.topics[stream.topic as usize].streams == 1 && offset != u64::from(stamp.sequence) {
                self.tally.wrong_offsets += 1;
            }
        }
        match session.tracks[track].take(stamp.stream, stamp.sequence, &mut session.missing) {
            Arrival::InOrder => {}
            Arrival::AfterHole(length) => self.tally.holes += u64::from(length),
            Arrival::Late => self.tally.reordered += 1,
            Arrival::Duplicate => return self.tally.duplicated += 1,
        }
        if session.counts {
            self.outstanding -= 1;
            if session.timed {
                self.latency.record(stamp.scheduled, now);
            }
        }
    }

    /// Which of the session's topics and tracks the stream is.
    fn place(&self, session: &Session, stream: u32, topic: u32) -> Option<(usize, usize)> {
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

impl Tally {
    /// An error of the server.
    pub(super) fn error(&mut self, code: String, message: String) {
        self.errors.entry(code).or_insert((0, message)).0 += 1;
    }

    /// A refused upgrade.
    pub(super) fn refuse(&mut self, reason: String) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// What broke a session.
    pub(super) fn broken(&mut self, fault: &dyn std::fmt::Display) {
        *self.faults.entry(fault.to_string()).or_default() += 1;
    }
}
