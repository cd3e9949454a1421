//! The topics of a run, and the streams that are published to them.

use std::ops::Range;

use super::publish_results::{PublishCounts, PublishResults};
use crate::sequence::Track;

#[derive(Default)]
pub struct Topic {
    pub name: String,
    /// Empty while it is unknown.
    pub epoch: String,
    /// The number of sessions to which deliveries are owed.
    pub subscribers: i64,
    /// The numbers of its streams.
    pub streams: Range<u32>,
}

/// A stream: the messages of one publisher to one topic.
pub struct Stream {
    pub topic: u32,
    pub publisher: usize,
    /// The number of messages that were sent, which is the newest sequence number.
    pub sent: u32,
    pub results: PublishResults,
}

/// All topics and streams by number.
#[derive(Default)]
pub struct Topics {
    topics: Vec<Topic>,
    streams: Vec<Stream>,
}

impl Topics {
    pub fn add_topic(&mut self, name: String) -> u32 {
        self.topics.push(Topic { name, ..Topic::default() });
        (self.topics.len() - 1) as u32
    }

    pub fn add_stream(&mut self, topic: u32, publisher: usize) -> u32 {
        let stream = self.streams.len() as u32;
        self.streams.push(Stream { topic, publisher, sent: 0, results: PublishResults::default() });
        let topic = &mut self.topics[topic as usize];
        if topic.streams.is_empty() {
            topic.streams = stream..stream;
        }
        debug_assert_eq!(topic.streams.end, stream, "the streams of a topic are added one after the other");
        topic.streams.end += 1;
        stream
    }

    pub fn count(&self) -> usize {
        self.topics.len()
    }

    pub fn topic(&self, topic: u32) -> &Topic {
        &self.topics[topic as usize]
    }

    pub fn topic_mut(&mut self, topic: u32) -> &mut Topic {
        &mut self.topics[topic as usize]
    }

    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// The stream `stream`, if it exists, and its topic.
    pub fn stream_mut(&mut self, stream: u32) -> Option<(&mut Stream, &Topic)> {
        let stream = self.streams.get_mut(stream as usize)?;
        let topic = &self.topics[stream.topic as usize];
        Some((stream, topic))
    }

    /// The results of publishes that ask for an answer.
    pub fn publish_counts(&self) -> PublishCounts {
        let mut counts = PublishCounts::default();
        self.streams.iter().for_each(|stream| stream.results.add_to(&mut counts));
        counts
    }

    pub fn streams_of(&self, topic: u32) -> &[Stream] {
        let Range { start, end } = self.topic(topic).streams;
        &self.streams[start as usize..end as usize]
    }

    pub fn names(&self, topics: &[u32]) -> Vec<&str> {
        topics.iter().map(|topic| self.topic(*topic).name.as_str()).collect()
    }

    /// The index in `topics` of the topic called `name`.
    pub fn index_of(&self, topics: &[u32], name: &str) -> Option<usize> {
        topics.iter().position(|topic| self.topic(*topic).name == name)
    }

    /// The tracks of a session that subscribes to `topics`: one for each stream of each topic. They begin with the first
    /// message if the stream has none yet, otherwise with the next one to arrive.
    pub fn tracks(&self, topics: &[u32]) -> Vec<Track> {
        let streams = topics.iter().flat_map(|topic| self.streams_of(*topic));
        streams.map(|stream| if stream.sent == 0 { Track::FROM_START } else { Track::FROM_FIRST_ARRIVAL }).collect()
    }

    /// The indices of the tracks of the topic at `index` of `topics`, in the order of [`Self::tracks`].
    pub fn tracks_of(&self, topics: &[u32], index: usize) -> Range<usize> {
        let first = topics[..index].iter().map(|topic| self.topic(*topic).streams.len()).sum();
        first..first + self.topic(topics[index]).streams.len()
    }
}
