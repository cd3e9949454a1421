//! The subscriptions of a session: its topics, its position in each stream, and its subscribes.

use crate::engine::topics::{Stream, Topics};
use crate::sequence::{Arrival, Missing, Track};
use crate::stamp::Stamp;
use crate::wire::Dialect;

/// The `id` of the first subscribe, after the command that opens the session.
const FIRST_ID: u64 = 2;

#[derive(Default)]
pub struct Subscriptions {
    topics: Box<[u32]>,
    /// The newest received offset of each topic.
    offsets: Box<[u64]>,
    /// The tracks of each stream of each topic, in that order.
    tracks: Vec<Track>,
    missing: Missing,
    /// The `id` of the newest subscribe to the first topic, if each topic has its own.
    first_id: u64,
    /// The number of acknowledgements since then.
    acknowledged: usize,
    /// Whether deliveries are owed. False while the session stalls or is disconnected.
    are_owed: bool,
    /// Whether latencies are not measured.
    are_untimed: bool,
    /// Whether the session was subscribed before and resumes.
    resumes: bool,
}

impl Subscriptions {
    pub fn to(topics: Vec<u32>) -> Self {
        Self { offsets: vec![0; topics.len()].into_boxed_slice(), topics: topics.into_boxed_slice(), ..Self::default() }
    }

    /// Begins a connection, on which nothing was acknowledged.
    pub fn begin(&mut self) {
        (self.first_id, self.acknowledged) = (FIRST_ID, 0);
    }

    /// Prepares for a connection: new tracks, unless the session resumes.
    pub fn prepare(&mut self, all: &Topics) {
        if !self.resumes {
            self.tracks = all.tracks(&self.topics);
        }
    }

    /// Replaces the topics, which need new subscribes. The session itself stays acknowledged, and messages stay missing.
    pub fn replace(&mut self, topics: Vec<u32>, all: &Topics) {
        (self.first_id, self.acknowledged) = (self.first_id + self.topics.len() as u64, 1);
        self.resumes = false;
        self.tracks = all.tracks(&topics);
        self.offsets = vec![0; topics.len()].into_boxed_slice();
        self.topics = topics.into_boxed_slice();
    }

    pub fn topics(&self) -> &[u32] {
        &self.topics
    }

    /// Appends the subscribe to all topics, or one for each.
    pub fn push_subscribe(&self, dialect: Dialect, out: &mut Vec<u8>, all: &Topics) {
        dialect.push_subscribe(out, &all.names(&self.topics), &self.resume_positions(all), self.first_id);
    }

    /// The topic whose subscribe has this `id`; `None` for a subscribe that was replaced.
    pub fn topic_of(&self, id: u64) -> Option<u32> {
        self.topics.get(usize::try_from(id.checked_sub(self.first_id)?).ok()?).copied()
    }

    /// Notes an acknowledgement. Returns whether it is the last one that the session waits for: one for each topic, and
    /// one for the session itself.
    pub fn acknowledge(&mut self) -> bool {
        self.acknowledged += 1;
        self.acknowledged == self.topics.len() + 1
    }

    /// Begins or ends to owe deliveries. Returns whether that is a change.
    pub fn owe(&mut self, owed: bool) -> bool {
        self.resumes |= owed;
        std::mem::replace(&mut self.are_owed, owed) != owed
    }

    pub fn are_owed(&self) -> bool {
        self.are_owed
    }

    /// Excludes the arrivals from the latencies.
    pub fn exclude_from_latency(&mut self) {
        self.are_untimed = true;
    }

    pub fn are_timed(&self) -> bool {
        !self.are_untimed
    }

    pub fn resumes(&self) -> bool {
        self.resumes
    }

    /// The name, epoch and newest offset of each topic if the session resumes; otherwise none.
    pub fn resume_positions<'a>(&self, all: &'a Topics) -> Vec<(&'a str, &'a str, u64)> {
        let topics = self.topics.iter().filter(|_| self.resumes).map(|topic| all.topic(*topic));
        topics.zip(&self.offsets).map(|(topic, offset)| (topic.name.as_str(), topic.epoch.as_str(), *offset)).collect()
    }

    /// Notes the position of the topic at `index`. Returns its tracks, which may begin anew.
    pub fn begin_topic(&mut self, index: usize, offset: u64, all: &Topics) -> &mut [Track] {
        self.offsets[index] = offset;
        &mut self.tracks[all.tracks_of(&self.topics, index)]
    }

    /// Notes that no message of the topic at `index` is owed up to the next arrival.
    pub fn skip(&mut self, index: usize, all: &Topics) {
        self.tracks[all.tracks_of(&self.topics, index)].fill(Track::FROM_FIRST_ARRIVAL);
        self.missing.forget(&all.topic(self.topics[index]).streams);
    }

    /// Notes an arrival in the track at `track`, with its offset in the topic at `index` if the dialect has offsets.
    #[inline]
    pub fn receive(&mut self, (index, track): (usize, usize), offset: Option<u64>, stamp: &Stamp) -> Arrival {
        if let Some(offset) = offset {
            self.offsets[index] = self.offsets[index].max(offset);
        }
        self.tracks[track].receive(stamp.stream, stamp.sequence, &mut self.missing)
    }

    /// The index of the stream's topic and of its track.
    #[inline]
    pub fn locate(&self, stream: u32, topic: u32, all: &Topics) -> Option<(usize, usize)> {
        let mut first = 0;
        for (index, own) in self.topics.iter().enumerate() {
            let streams = &all.topic(*own).streams;
            if *own == topic {
                return Some((index, first + (stream - streams.start) as usize));
            }
            first += streams.len();
        }
        None
    }

    /// The tracks with their streams.
    fn tracks<'a>(&'a self, all: &'a Topics) -> impl Iterator<Item = (&'a Track, &'a Stream)> {
        self.tracks.iter().zip(self.topics.iter().flat_map(|topic| all.streams_of(*topic)))
    }

    /// The number of messages that were sent after the newest that has arrived.
    pub fn behind(&self, all: &Topics) -> u64 {
        self.tracks(all).map(|(track, stream)| track.behind(stream.sent).len() as u64).sum()
    }

    /// The number of messages that have not arrived.
    pub fn outstanding(&self, all: &Topics) -> i64 {
        (self.behind(all) + self.missing.count()) as i64
    }

    /// The number of owed messages that have not arrived, although later ones have. Publishes that ask for an answer are
    /// owed if they were acknowledged.
    pub fn lost(&self, all: &Topics) -> u64 {
        let streams = all.streams();
        self.missing.iter().filter(|(stream, sequence)| streams[*stream as usize].results.is_owed(*sequence)).count() as u64
    }

    /// The same for messages that are newer than all that have arrived.
    pub fn lost_at_end(&self, all: &Topics) -> u64 {
        let lost =
            |(track, stream): (&Track, &Stream)| track.behind(stream.sent).filter(|sequence| stream.results.is_owed(*sequence)).count();
        self.tracks(all).map(lost).sum::<usize>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_subscribes_have_no_topic() {
        let mut all = Topics::default();
        let topics = ["a", "b", "c"].map(|name| all.add_topic(name.to_owned()));
        let mut subscriptions = Subscriptions::to(topics[..2].to_vec());
        subscriptions.begin();
        assert_eq!([0, 1, 2].map(|_| subscriptions.acknowledge()), [false, false, true]);
        subscriptions.replace(vec![topics[2]], &all);
        assert_eq!([3, 4, 5].map(|id| subscriptions.topic_of(id)), [None, Some(topics[2]), None]);
        assert_eq!([0, 1].map(|_| subscriptions.acknowledge()), [true, false]);
    }
}
