//! The decisions of following one stream: the input is what the stream's leader and an ordered consumer report, the output is what to do next.
//! This file uses neither the network nor the time.
//!
//! The follower applies no message after a gap. From *epoch messages*, which name the stream's epoch, it knows a stream that has lost its
//! newest messages or that was made anew.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::position::Epoch;

/// The number of earlier epochs that are remembered.
const EARLIER_EPOCHS_MAX: usize = 64;
/// The number of messages of which the time of storing is remembered. By these the follower recognizes a stream whose newest message was
/// pushed out meanwhile.
const RECENT_MAX: usize = 1_024;

/// What a stream's leader says about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    pub first: u64,
    pub last: u64,
    /// The newest epoch message: its number, and the epoch if it can be read.
    pub epoch: Option<(u64, Option<Epoch>)>,
    /// The newest message whose number is among [`Follower::recognizable`]. `None`: the stream has none of these any more, because of their
    /// age or of the stream's bounds.
    pub recognized: Option<StoredMessage>,
}

/// A message of a stream, as far as it can be recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in the stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds. Two messages with the same number differ in this.
    pub stored_at: u64,
}

/// A range of numbers for which it is unknown whether the stream lost its newest messages and used the numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// The stream is known to be unchanged up to this number. 0: no number is known to be.
    pub proven: u64,
    /// The follower knew the stream up to this number. The stream has no message between `proven` and this any more.
    pub known: u64,
}

/// How to start a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Publish a message with a new epoch, on condition that the newest epoch message still has the number `expected` (0: there is none).
    /// Then ask the leader again.
    NameEpoch {
        /// The number of the newest epoch message.
        expected: u64,
    },
    /// Read the whole stream.
    Load { epoch: Epoch, start: u64, unproven: Option<Unproven> },
    /// Continue after the last message that was applied.
    Resume { start: u64 },
}

/// A message that the consumer has delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number in the stream.
    pub sequence: u64,
    /// Its number in the consumer.
    pub consumer_sequence: u64,
    /// When it was stored, in nanoseconds.
    pub stored_at: u64,
    /// The epoch in an epoch message. `Some(None)`: it can't be read. `None`: this is another message.
    pub epoch: Option<Option<Epoch>>,
}

/// What to do after a message was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    ReadOn,
    /// Ask the leader for the stream's newest number, and pass it to [`Follower::set_end`].
    AskEnd,
    /// The stream was read to its end: replace the topics with what was loaded.
    Loaded,
}

/// Why a consumer is of no use any more. The follower starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a message of the consumer was lost on its way")]
    Lost,
    #[error("the stream removed messages before they were read")]
    PushedOut,
    #[error("the stream has another epoch")]
    AnotherEpoch,
}

/// What is known of a stream, as far as it was read.
#[derive(Debug)]
struct Progress {
    epoch: Epoch,
    /// The newest number that was received.
    cursor: u64,
    /// The newest messages that were received, the oldest first.
    recent: VecDeque<StoredMessage>,
    /// The number of the newest epoch message, and when it was stored, if it was received.
    epoch_sequence: u64,
    epoch_stored_at: Option<u64>,
}

impl Progress {
    fn add(&mut self, message: StoredMessage, names_epoch: bool) {
        self.cursor = message.sequence;
        if names_epoch && message.sequence >= self.epoch_sequence {
            (self.epoch_sequence, self.epoch_stored_at) = (message.sequence, Some(message.stored_at));
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(message);
    }

    /// When the message with that number was stored, if that is remembered.
    fn stored_at(&self, sequence: u64) -> Option<u64> {
        if sequence == self.epoch_sequence && self.epoch_stored_at.is_some() {
            return self.epoch_stored_at;
        }
        let index = self.recent.binary_search_by_key(&sequence, |message| message.sequence).ok()?;
        self.recent.get(index).map(|message| message.stored_at)
    }

    /// The range with all numbers of messages that are remembered.
    fn remembered(&self) -> RangeInclusive<u64> {
        let oldest = self.recent.front().map_or(self.cursor, |oldest| oldest.sequence);
        oldest.min(self.epoch_sequence).max(1)..=self.cursor
    }
}

/// A load that is not finished.
#[derive(Debug)]
struct Load {
    progress: Progress,
    /// The number up to which the stream is read before the leader is asked for its end.
    target: u64,
    /// Whether the target is the end that the leader gave. Then no number up to it may be missing.
    end_is_known: bool,
}

/// The follower of one stream.
#[derive(Debug, Default)]
pub struct Follower {
    /// What the topics have.
    applied: Option<Progress>,
    /// A gap follows what was applied. It only serves to recognize the stream.
    must_load: bool,
    load: Option<Load>,
    /// Epochs that the stream had before, the oldest first. If one of them comes back, the stream has lost its newest messages.
    earlier_epochs: VecDeque<Epoch>,
    /// The consumer's newest number.
    consumer_sequence: u64,
}

impl Follower {
    /// How a new consumer starts, given what the leader says.
    pub fn start(&mut self, info: StreamInfo) -> Start {
        self.consumer_sequence = 0;
        self.load = None;
        let (epoch_sequence, epoch) = match info.epoch {
            None => return Start::NameEpoch { expected: 0 },
            Some((sequence, None)) => return Start::NameEpoch { expected: sequence },
            Some((sequence, Some(epoch))) => (sequence, epoch),
        };
        let mut unproven = None;
        if let Some(applied) = self.applied.as_ref().filter(|applied| applied.epoch == epoch) {
            let recognized = info.recognized.and_then(|message| Some((message, applied.stored_at(message.sequence)?)));
            let is_another = recognized.is_some_and(|(message, stored_at)| message.stored_at != stored_at);
            if epoch_sequence < applied.epoch_sequence || info.last < applied.cursor || is_another {
                // The newest messages are lost, and their numbers are used again. In one epoch a number must not name two messages.
                return Start::NameEpoch { expected: epoch_sequence };
            }
            let proven = recognized.map_or(0, |(message, _)| message.sequence);
            if proven == applied.cursor && !self.must_load {
                return Start::Resume { start: applied.cursor + 1 };
            }
            unproven = (proven < applied.cursor).then_some(Unproven { proven, known: applied.cursor });
        }
        if self.earlier_epochs.contains(&epoch) {
            return Start::NameEpoch { expected: epoch_sequence };
        }
        let start = info.first.max(1);
        let progress = Progress { epoch, cursor: start - 1, recent: VecDeque::new(), epoch_sequence, epoch_stored_at: None };
        self.load = Some(Load { progress, target: info.last, end_is_known: false });
        Start::Load { epoch, start, unproven }
    }

    /// Notes a message. The caller applies the message before it does what is returned.
    pub fn receive(&mut self, received: Received) -> Result<Next, Broken> {
        let Received { sequence, consumer_sequence, stored_at, epoch } = received;
        if consumer_sequence != self.consumer_sequence + 1 {
            return Err(Broken::Lost);
        }
        self.consumer_sequence = consumer_sequence;
        let Some(load) = &mut self.load else { return self.receive_live(received) };
        let progress = &mut load.progress;
        if load.end_is_known && sequence != progress.cursor + 1 {
            load.end_is_known = false;
            load.target = load.target.max(sequence);
        }
        // Old epoch messages may still name epochs before the newest one.
        if let Some(epoch) = epoch
            && sequence > progress.epoch_sequence
            && epoch != Some(progress.epoch)
        {
            return Err(Broken::AnotherEpoch);
        }
        progress.add(StoredMessage { sequence, stored_at }, epoch.is_some());
        Ok(match sequence >= load.target {
            false => Next::ReadOn,
            true if load.end_is_known => Next::Loaded,
            true => Next::AskEnd,
        })
    }

    fn receive_live(&mut self, Received { sequence, stored_at, epoch, .. }: Received) -> Result<Next, Broken> {
        let Some(applied) = &mut self.applied else { return Err(Broken::Lost) };
        if sequence != applied.cursor + 1 {
            self.must_load = true;
            return Err(Broken::PushedOut);
        }
        if epoch.is_some_and(|epoch| epoch != Some(applied.epoch)) {
            return Err(Broken::AnotherEpoch);
        }
        applied.add(StoredMessage { sequence, stored_at }, epoch.is_some());
        Ok(Next::ReadOn)
    }

    /// Sets `last`, the newest number of the stream, as the end of the load. Messages that the stream removed before they were read were
    /// removed in favour of messages up to `last`. From now on no number may be missing.
    pub fn set_end(&mut self, last: u64) -> Next {
        let Some(load) = &mut self.load else { return Next::ReadOn };
        load.end_is_known = true;
        load.target = last;
        if load.progress.cursor >= last { Next::Loaded } else { Next::ReadOn }
    }

    /// The topics now have what was loaded.
    pub fn finish_load(&mut self) {
        if let Some(load) = self.load.take() {
            let epoch = load.progress.epoch;
            if let Some(before) = self.applied.replace(load.progress).filter(|before| before.epoch != epoch) {
                self.earlier_epochs.push_back(before.epoch);
                if self.earlier_epochs.len() > EARLIER_EPOCHS_MAX {
                    self.earlier_epochs.pop_front();
                }
            }
            self.must_load = false;
        }
    }

    /// A heartbeat says that the consumer has sent so many messages.
    pub fn heartbeat(&self, consumer_sequence: u64) -> Result<(), Broken> {
        if consumer_sequence == self.consumer_sequence { Ok(()) } else { Err(Broken::Lost) }
    }

    /// The numbers of applied messages that the follower would recognize. The newest of them that the stream still has goes into
    /// [`StreamInfo::recognized`].
    pub fn recognizable(&self) -> Option<RangeInclusive<u64>> {
        self.applied.as_ref().map(Progress::remembered)
    }

    /// The newest number that was received, also during a load.
    pub fn cursor(&self) -> u64 {
        self.current().map_or(0, |progress| progress.cursor)
    }

    /// The current epoch, and the number of the newest message that names it.
    pub fn epoch(&self) -> Option<(Epoch, u64)> {
        self.current().map(|progress| (progress.epoch, progress.epoch_sequence))
    }

    fn current(&self) -> Option<&Progress> {
        self.load.as_ref().map(|load| &load.progress).or(self.applied.as_ref())
    }
}

#[cfg(test)]
mod tests;
