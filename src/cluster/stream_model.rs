//! A model of a stream for tests: it cuts topics, loses its newest messages and gets new epochs.

use super::follower::{Follower, Received, Start, StoredMessage, StreamInfo};
use crate::position::Epoch;

/// A message of a topic, or an epoch message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub sequence: u64,
    pub topic: Result<usize, Epoch>,
    /// No other message has it, so that a number with two contents is noticed.
    pub content: u64,
}

pub struct StreamModel {
    pub kept: Vec<Stored>,
    /// The same with the messages that were removed, without those that were lost.
    pub ever: Vec<Stored>,
    pub last: u64,
    contents: u64,
    /// The number of messages that are kept of a topic.
    pub retain: usize,
}

impl StreamModel {
    pub fn new(retain: usize) -> Self {
        Self { kept: Vec::new(), ever: Vec::new(), last: 0, contents: 0, retain }
    }

    pub fn append(&mut self, topic: Result<usize, Epoch>) {
        self.last += 1;
        self.contents += 1;
        let stored = Stored { sequence: self.last, topic, content: self.contents };
        self.kept.push(stored);
        self.ever.push(stored);
        let of_subject = |other: &Stored| other.topic.ok() == topic.ok();
        if self.kept.iter().filter(|other| of_subject(other)).count() > self.retain {
            let oldest = self.kept.iter().position(of_subject);
            oldest.into_iter().for_each(|oldest| _ = self.kept.remove(oldest));
        }
    }

    /// The stream loses its messages after `last`.
    pub fn lose_end(&mut self, last: u64) {
        self.kept.retain(|stored| stored.sequence <= last);
        self.ever.retain(|stored| stored.sequence <= last);
        self.last = last;
    }

    pub fn epoch(&self) -> Option<(u64, Epoch)> {
        self.kept.iter().rev().find_map(|stored| Some((stored.sequence, stored.topic.err()?)))
    }

    /// A conditional write, refused if another epoch message came before.
    pub fn name_epoch(&mut self, epoch: Epoch, expected: u64) {
        if self.epoch().map_or(0, |(sequence, _)| sequence) == expected {
            self.append(Err(epoch));
        }
    }

    pub fn first(&self) -> u64 {
        self.kept.first().map_or(self.last + 1, |stored| stored.sequence)
    }

    /// How a new consumer of `follower` starts. The stream gets an epoch if the follower asks for one.
    pub fn start(&mut self, follower: &mut Follower) -> Start {
        loop {
            match follower.start(self.info(follower)) {
                Start::NameEpoch { expected } => self.name_epoch(Epoch::random(), expected),
                start => return start,
            }
        }
    }

    fn info(&self, follower: &Follower) -> StreamInfo {
        let known = follower.recognizable();
        let kept = self.kept.iter().rev().find(|stored| known.as_ref().is_some_and(|known| known.contains(&stored.sequence)));
        let recognized = kept.map(|stored| StoredMessage { sequence: stored.sequence, stored_at: stored.content });
        let epoch = self.epoch().map(|(sequence, epoch)| (sequence, Some(epoch)));
        StreamInfo { first: self.first(), last: self.last, epoch, recognized }
    }
}

/// A consumer, which sends the stream's messages from a number on.
pub struct Consumer {
    pub next: u64,
    pub sent: u64,
}

impl Consumer {
    pub fn send(&mut self, stream: &StreamModel) -> Option<(Received, Stored)> {
        let stored = *stream.kept.iter().find(|stored| stored.sequence >= self.next)?;
        let Stored { sequence, topic, content } = stored;
        self.next = sequence + 1;
        self.sent += 1;
        Some((Received { sequence, consumer_sequence: self.sent, stored_at: content, epoch: topic.err().map(Some) }, stored))
    }
}
