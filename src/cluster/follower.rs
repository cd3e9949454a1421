//! Following a stream: what is heard goes in, what is to be done comes out. No time, no network.
//!
//! A follower is told what the stream's leader says, then each message of an ordered consumer with its numbers. It never takes a message
//! whose neighbour it may have missed, and knows a stream that has lost its end or its whole past by the messages that name its life.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::position::Epoch;

/// Lives that are remembered.
const FORMER_MAX: usize = 64;
/// Messages of which it is remembered when each was stored: by these an end is known again whose newest message was pushed out.
const RECENT_MAX: usize = 1_024;

/// What a stream's leader says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The number of the oldest message.
    pub first: u64,
    /// The number of the newest message.
    pub last: u64,
    /// The newest message that names the stream's life: its number, and the epoch if it is one.
    pub life: Option<(u64, Option<Epoch>)>,
    /// The newest message with a number of [`Follower::known_numbers`]; `None`: all are gone by their age or the stream's bounds.
    pub kept: Option<Kept>,
}

/// A message that a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub sequence: u64,
    /// When it was stored, in nanoseconds: by both it is known again.
    pub stored_at: u64,
}

/// Where nobody can tell whether a stream's end was lost, and its numbers used anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Up to there the stream is as it was.
    pub proven: u64,
    /// Up to there it was known. It has no number between the two any more, or `proven` is 0.
    pub known: u64,
}

/// How to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Name a new life, if the newest message that names one still has the number `expected` (0: there is none); then ask again.
    NameLife {
        /// That number.
        expected: u64,
    },
    /// Read everything from `start` on; it is in this life.
    Load {
        /// The life.
        epoch: Epoch,
        /// The first number.
        start: u64,
        /// What may not be as it was.
        doubt: Option<Doubt>,
    },
    /// Go on at `start`.
    Resume {
        /// The first number.
        start: u64,
    },
}

/// A message, as far as following goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its number in the stream.
    pub sequence: u64,
    /// Its number in the consumer.
    pub consumer_sequence: u64,
    /// When it was stored, in nanoseconds: by this and its number it is known again.
    pub stored_at: u64,
    /// The epoch that it names, if it is there for that; `Some(None)`: none can be read.
    pub life: Option<Option<Epoch>>,
}

/// What is to be done after a message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    ReadOn,
    /// Ask for the stream's newest number, and tell [`Follower::note_end`].
    AskEnd,
    /// All is read: what was loaded goes into force.
    Loaded,
}

/// Why a consumer is of no use any more. The follower begins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The consumer's numbers have a hole.
    #[error("a message of the consumer was lost on its way")]
    Lost,
    /// The stream's numbers have a hole.
    #[error("messages were pushed out of the stream before they were read")]
    PushedOut,
    /// A message names another life.
    #[error("the stream has begun another life")]
    AnotherLife,
}

/// What is known of a stream that was loaded.
#[derive(Debug)]
struct Known {
    epoch: Epoch,
    /// The newest number that was taken.
    cursor: u64,
    /// The newest messages that were taken, the oldest first.
    recent: VecDeque<Kept>,
    /// The newest number of a message that names the life, and when that was stored, if it was taken.
    life: u64,
    life_stored_at: Option<u64>,
}

impl Known {
    fn take(&mut self, message: Kept, names_life: bool) {
        self.cursor = message.sequence;
        if names_life && message.sequence >= self.life {
            (self.life, self.life_stored_at) = (message.sequence, Some(message.stored_at));
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(message);
    }

    /// When the message with that number was stored, if that is remembered.
    fn stored_at(&self, sequence: u64) -> Option<u64> {
        if sequence == self.life && self.life_stored_at.is_some() {
            return self.life_stored_at;
        }
        let index = self.recent.binary_search_by_key(&sequence, |kept| kept.sequence).ok()?;
        self.recent.get(index).map(|kept| kept.stored_at)
    }

    /// The numbers among which a message may be that is remembered.
    fn remembered(&self) -> RangeInclusive<u64> {
        let oldest = self.recent.front().map_or(self.cursor, |oldest| oldest.sequence);
        oldest.min(self.life).max(1)..=self.cursor
    }
}

/// A load that is going on.
#[derive(Debug)]
struct Load {
    known: Known,
    /// Read up to there before asking for the end.
    target: u64,
    /// Whether from here on no number may be missing up to the target.
    end_is_known: bool,
}

/// One stream's follower.
#[derive(Debug, Default)]
pub struct Follower {
    known: Option<Known>,
    /// What is known has a hole, and is good only to tell a lost end.
    must_load: bool,
    load: Option<Load>,
    /// Lives that were known before, the oldest first: one that comes back lies before a lost end.
    former: VecDeque<Epoch>,
    /// The consumer's newest number.
    consumer_sequence: u64,
}

impl Follower {
    /// How a new consumer begins, by what the leader says.
    pub fn begin(&mut self, found: Found) -> Begin {
        self.consumer_sequence = 0;
        self.load = None;
        let (life, epoch) = match found.life {
            None => return Begin::NameLife { expected: 0 },
            Some((sequence, None)) => return Begin::NameLife { expected: sequence },
            Some((sequence, Some(epoch))) => (sequence, epoch),
        };
        let mut doubt = None;
        if let Some(known) = self.known.as_ref().filter(|known| known.epoch == epoch) {
            let known_again = found.kept.and_then(|kept| Some((kept, known.stored_at(kept.sequence)?)));
            let is_another = known_again.is_some_and(|(kept, stored_at)| kept.stored_at != stored_at);
            if life < known.life || found.last < known.cursor || is_another {
                // The end is lost, and its numbers are used anew: they must not name two messages in one life.
                return Begin::NameLife { expected: life };
            }
            let proven = known_again.map_or(0, |(kept, _)| kept.sequence);
            if proven == known.cursor && !self.must_load {
                return Begin::Resume { start: known.cursor + 1 };
            }
            doubt = (proven < known.cursor).then_some(Doubt { proven, known: known.cursor });
        }
        if self.former.contains(&epoch) {
            return Begin::NameLife { expected: life };
        }
        let start = found.first.max(1);
        let known = Known { epoch, cursor: start - 1, recent: VecDeque::new(), life, life_stored_at: None };
        self.load = Some(Load { known, target: found.last, end_is_known: false });
        Begin::Load { epoch, start, doubt }
    }

    /// Takes a message; whoever calls applies it before it does what comes next.
    pub fn hear(&mut self, heard: Heard) -> Result<Next, Broken> {
        let Heard { sequence, consumer_sequence, stored_at, life } = heard;
        if consumer_sequence != self.consumer_sequence + 1 {
            return Err(Broken::Lost);
        }
        self.consumer_sequence = consumer_sequence;
        let Some(load) = &mut self.load else { return self.hear_live(heard) };
        let known = &mut load.known;
        if load.end_is_known && sequence != known.cursor + 1 {
            load.end_is_known = false;
            load.target = load.target.max(sequence);
        }
        // Lives before the one that was found may still be named by old messages.
        if let Some(epoch) = life
            && sequence > known.life
            && epoch != Some(known.epoch)
        {
            return Err(Broken::AnotherLife);
        }
        known.take(Kept { sequence, stored_at }, life.is_some());
        Ok(match sequence >= load.target {
            false => Next::ReadOn,
            true if load.end_is_known => Next::Loaded,
            true => Next::AskEnd,
        })
    }

    fn hear_live(&mut self, Heard { sequence, stored_at, life, .. }: Heard) -> Result<Next, Broken> {
        let Some(known) = &mut self.known else { return Err(Broken::Lost) };
        if sequence != known.cursor + 1 {
            self.must_load = true;
            return Err(Broken::PushedOut);
        }
        if life.is_some_and(|epoch| epoch != Some(known.epoch)) {
            return Err(Broken::AnotherLife);
        }
        known.take(Kept { sequence, stored_at }, life.is_some());
        Ok(Next::ReadOn)
    }

    /// Notes `last`, the newest sequence number of the stream, as the end of the load. Messages that the stream removed before they were
    /// read were removed in favour of messages up to `last`. From now on no sequence number may be missing.
    pub fn note_end(&mut self, last: u64) -> Next {
        let Some(load) = &mut self.load else { return Next::ReadOn };
        load.end_is_known = true;
        load.target = last;
        if load.known.cursor >= last { Next::Loaded } else { Next::ReadOn }
    }

    /// What was loaded is in force.
    pub fn loaded(&mut self) {
        if let Some(load) = self.load.take() {
            let epoch = load.known.epoch;
            if let Some(before) = self.known.replace(load.known).filter(|before| before.epoch != epoch) {
                self.former.push_back(before.epoch);
                if self.former.len() > FORMER_MAX {
                    self.former.pop_front();
                }
            }
            self.must_load = false;
        }
    }

    /// A heartbeat says that the consumer has sent so many messages.
    pub fn heartbeat(&self, consumer_sequence: u64) -> Result<(), Broken> {
        if consumer_sequence == self.consumer_sequence { Ok(()) } else { Err(Broken::Lost) }
    }

    /// The numbers in force whose messages would be known again: whoever begins asks for the newest of them that the stream has.
    pub fn known_numbers(&self) -> Option<RangeInclusive<u64>> {
        self.known.as_ref().map(Known::remembered)
    }

    /// The newest number that was taken, while loading too.
    pub fn cursor(&self) -> u64 {
        self.current().map_or(0, |known| known.cursor)
    }

    /// Which life to name again, and the number of the message that names it now: written only if that is still the newest.
    pub fn tick(&self) -> Option<(Epoch, u64)> {
        self.current().map(|known| (known.epoch, known.life))
    }

    fn current(&self) -> Option<&Known> {
        self.load.as_ref().map(|load| &load.known).or(self.known.as_ref())
    }
}

#[cfg(test)]
mod tests;
