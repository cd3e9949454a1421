//! Publications that their stream has stored, and that this gateway has not read from it yet. Their publishers are answered once it has, so
//! that whoever was answered finds the message in the history here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::hub::Answerer;
use crate::position::Position;

/// The longest that an answer waits, so that a gateway that is behind its streams does not hold up publishers.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// What waits to be read back, for all streams.
#[derive(Debug, Default)]
pub struct ReadBack {
    /// Up to where each stream was read, by the stream's index.
    cursors: Vec<u64>,
    /// By the stream's index and the number in it.
    waiting: BTreeMap<(usize, u64), Stored>,
}

/// A publication that was acknowledged.
#[derive(Debug)]
pub struct Stored {
    /// Where its answer is left.
    pub answerer: Answerer,
    /// Its place.
    pub position: Position,
    /// When the acknowledgement came.
    pub since: Instant,
}

impl Stored {
    /// Tells its publisher.
    pub fn answer(self) {
        self.answerer.answer(Ok(self.position));
    }
}

impl ReadBack {
    /// How many publications wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps `stored` until its message is read; returns `stored` if the message was read before.
    pub fn hold(&mut self, stream: usize, stored: Stored) -> Option<Stored> {
        if self.cursors.get(stream).is_some_and(|cursor| *cursor >= stored.position.offset.0) {
            return Some(stored);
        }
        self.waiting.insert((stream, stored.position.offset.0), stored)
    }

    /// Takes the publications that need not wait any longer, as the stream was read up to `cursor`. It may be lower than before, because the
    /// numbers begin anew with a new life.
    pub fn read_to(&mut self, stream: usize, cursor: u64) -> Vec<Stored> {
        if self.cursors.len() <= stream {
            self.cursors.resize(stream + 1, 0);
        }
        if let Some(known) = self.cursors.get_mut(stream) {
            *known = cursor;
        }
        self.take(stream, cursor)
    }

    /// Takes all publications of the stream, because it is not read for now.
    pub fn give_up(&mut self, stream: usize) -> Vec<Stored> {
        self.take(stream, u64::MAX)
    }

    /// Takes the publications that have waited too long.
    pub fn overdue(&mut self, now: Instant) -> Vec<Stored> {
        let is_overdue = |stored: &Stored| now.saturating_duration_since(stored.since) >= WAIT_MAX;
        let overdue: Vec<_> = self.waiting.iter().filter(|(_, stored)| is_overdue(stored)).map(|(place, _)| *place).collect();
        overdue.iter().filter_map(|place| self.waiting.remove(place)).collect()
    }

    fn take(&mut self, stream: usize, last: u64) -> Vec<Stored> {
        let mut taken = Vec::new();
        while let Some((&place, _)) = self.waiting.range((stream, 0)..=(stream, last)).next() {
            taken.extend(self.waiting.remove(&place));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::hub::Receipt;
    use crate::position::{Epoch, Offset};

    fn stored(number: u64, since: Instant) -> (Stored, Receipt) {
        let (answerer, receipt) = Receipt::pair();
        (Stored { answerer, position: Position { epoch: Epoch::random(), offset: Offset(number) }, since }, receipt)
    }

    /// A publication is answered once the stream was read up to its message, which may be at once.
    #[test]
    fn an_answer_waits_until_its_message_is_read() {
        let (mut back, now) = (ReadBack::default(), Instant::now());
        let (first, receipt) = stored(7, now);
        assert!(back.hold(1, first).is_none());
        assert!(back.read_to(0, 9).is_empty(), "another stream was read");
        assert!(back.read_to(1, 6).is_empty(), "it was not read so far");
        assert!(receipt.poll(Waker::noop()).is_pending());
        back.read_to(1, 7).into_iter().for_each(Stored::answer);
        assert!(receipt.poll(Waker::noop()).is_ready());
        assert!(back.hold(1, stored(7, now).0).is_some(), "it was read before its acknowledgement");
        assert_eq!(back.len(), 0);
    }

    /// Neither a gateway that is behind, nor a stream that it lost, holds an answer back.
    #[test]
    fn an_answer_does_not_wait_for_ever() {
        let (mut back, now) = (ReadBack::default(), Instant::now());
        assert!(back.hold(0, stored(3, now).0).is_none() && back.hold(0, stored(4, now + WAIT_MAX).0).is_none());
        let overdue: Vec<u64> = back.overdue(now + WAIT_MAX).iter().map(|stored| stored.position.offset.0).collect();
        assert_eq!(overdue, [3]);
        assert_eq!(back.give_up(0).len(), 1);
        back.read_to(0, 100);
        assert!(back.read_to(0, 2).is_empty() && back.hold(0, stored(3, now).0).is_none(), "a new life's numbers begin anew");
    }
}
