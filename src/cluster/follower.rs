//! Following a stream: what is heard goes in, what is to be done comes out. No time, no network.
//!
//! A follower is told what the stream's leader says, then each message of an ordered consumer with its numbers. It never takes a message
//! whose neighbour it may have missed, and knows a stream that has lost its end or its whole past by the messages that name its life.

use std::collections::VecDeque;

use crate::position::Epoch;

/// Lives that are remembered.
const FORMER_MAX: usize = 64;

/// What a stream's leader says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The number of the oldest message.
    pub first: u64,
    /// The number of the newest message.
    pub last: u64,
    /// The newest message that names the stream's life: its number, and the epoch if it is one.
    pub life: Option<(u64, Option<Epoch>)>,
    /// When the message was stored that has the number [`Follower::known_to`], in nanoseconds; `None`: it is gone by its age or its bounds.
    pub stored_at: Option<u64>,
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
    /// Ask for the stream's newest number, and tell [`Follower::settle`].
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
#[derive(Debug, Clone, Copy)]
struct Known {
    epoch: Epoch,
    /// The newest number that was taken, and when its message was stored.
    cursor: u64,
    stored_at: u64,
    /// The newest number of a message that names the life.
    life: u64,
}

/// A load that is going on.
#[derive(Debug, Clone, Copy)]
struct Load {
    known: Known,
    /// Read up to there before asking for the end.
    target: u64,
    /// Whether from here on no number may be missing up to the target.
    settles: bool,
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
        if let Some(known) = self.known.filter(|known| known.epoch == epoch) {
            let is_another = found.stored_at.is_some_and(|stored_at| stored_at != known.stored_at);
            if life < known.life || found.last < known.cursor || is_another {
                // The end is lost, and its numbers are used anew: they must not name two messages in one life.
                return Begin::NameLife { expected: life };
            }
            if !self.must_load {
                return Begin::Resume { start: known.cursor + 1 };
            }
        }
        if self.former.contains(&epoch) {
            return Begin::NameLife { expected: life };
        }
        let start = found.first.max(1);
        self.load = Some(Load { known: Known { epoch, cursor: start - 1, stored_at: 0, life }, target: found.last, settles: false });
        Begin::Load { epoch, start }
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
        if load.settles && sequence != known.cursor + 1 {
            load.settles = false;
            load.target = load.target.max(sequence);
        }
        // Lives before the one that was found may still be named by old messages.
        if let Some(epoch) = life
            && sequence > known.life
        {
            if epoch != Some(known.epoch) {
                return Err(Broken::AnotherLife);
            }
            known.life = sequence;
        }
        (known.cursor, known.stored_at) = (sequence, stored_at);
        Ok(match sequence >= load.target {
            false => Next::ReadOn,
            true if load.settles => Next::Loaded,
            true => Next::AskEnd,
        })
    }

    fn hear_live(&mut self, Heard { sequence, stored_at, life, .. }: Heard) -> Result<Next, Broken> {
        let Some(known) = &mut self.known else { return Err(Broken::Lost) };
        if sequence != known.cursor + 1 {
            self.must_load = true;
            return Err(Broken::PushedOut);
        }
        if let Some(epoch) = life {
            if epoch != Some(known.epoch) {
                return Err(Broken::AnotherLife);
            }
            known.life = sequence;
        }
        (known.cursor, known.stored_at) = (sequence, stored_at);
        Ok(Next::ReadOn)
    }

    /// The stream's newest number is `last`. What was pushed out before it was read was pushed out by messages that are in the stream by
    /// now: up to there no number may be missing, and from then on none at all.
    pub fn settle(&mut self, last: u64) -> Next {
        let Some(load) = &mut self.load else { return Next::ReadOn };
        load.settles = true;
        load.target = last;
        if load.known.cursor >= last { Next::Loaded } else { Next::ReadOn }
    }

    /// What was loaded is in force.
    pub fn loaded(&mut self) {
        if let Some(load) = self.load.take() {
            if let Some(before) = self.known.replace(load.known).filter(|before| before.epoch != load.known.epoch) {
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

    /// The newest number that is in force, if there is one: whoever begins asks what has it.
    pub fn known_to(&self) -> Option<u64> {
        self.known.map(|known| known.cursor).filter(|cursor| *cursor > 0)
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
