//! Publications that the stream has stored and this gateway has not read back yet. The publisher is answered after the
//! gateway has read the message, so that a publisher with an answer finds its message in the history of this gateway.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::hub::AnswerSender;
use crate::position::Position;

/// The longest time that an answer waits. A gateway that lags behind its streams must not hold up publishers.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// The publications of all streams that wait to be read back.
#[derive(Debug, Default)]
pub struct ReadBack {
    /// The last number that was read of each stream, by the stream's index.
    cursors: Vec<u64>,
    /// By the index of the stream and the number in the stream.
    waiting: BTreeMap<(usize, u64), Stored>,
    /// The keys of these publications, in the order in which their acknowledgements came. Some were taken out of
    /// `waiting` since.
    by_time: VecDeque<(Instant, (usize, u64))>,
    /// How many entries of `by_time` were examined.
    #[cfg(test)]
    examined: usize,
}

/// A publication that the stream has acknowledged.
#[derive(Debug)]
pub struct Stored {
    pub answer: AnswerSender,
    pub position: Position,
    /// When the acknowledgement came.
    pub since: Instant,
}

impl Stored {
    /// Answers the publisher with the position.
    pub fn answer(self) {
        self.answer.send(Ok(self.position));
    }
}

impl ReadBack {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps `stored` until its message is read; returns `stored` if the message was read before.
    pub fn hold(&mut self, stream: usize, stored: Stored) -> Option<Stored> {
        if self.cursors.get(stream).is_some_and(|cursor| *cursor >= stored.position.offset.0) {
            return Some(stored);
        }
        let key = (stream, stored.position.offset.0);
        self.by_time.push_back((stored.since, key));
        self.waiting.insert(key, stored)
    }

    /// Removes and returns the publications up to `cursor`, up to which the stream was read. It may be lower than
    /// before, because the numbers may begin again with a new epoch.
    pub fn read_to(&mut self, stream: usize, cursor: u64) -> Vec<Stored> {
        if self.cursors.len() <= stream {
            self.cursors.resize(stream + 1, 0);
        }
        if let Some(known) = self.cursors.get_mut(stream) {
            *known = cursor;
        }
        self.take(stream, cursor)
    }

    /// Removes and returns all publications of a stream that is not read for now.
    pub fn give_up(&mut self, stream: usize) -> Vec<Stored> {
        self.take(stream, u64::MAX)
    }

    /// Takes the publications that have waited too long. Examines only those, and those that were taken before.
    pub fn overdue(&mut self, now: Instant) -> Vec<Stored> {
        let mut overdue = Vec::new();
        while let Some(&(since, key)) = self.by_time.front() {
            #[cfg(test)]
            (self.examined += 1);
            let waits = self.waiting.get(&key).is_some_and(|stored| stored.since == since);
            if waits && now.saturating_duration_since(since) < WAIT_MAX {
                break;
            }
            self.by_time.pop_front();
            overdue.extend(if waits { self.waiting.remove(&key) } else { None });
        }
        overdue
    }

    fn take(&mut self, stream: usize, last: u64) -> Vec<Stored> {
        let mut taken = Vec::new();
        while let Some((&key, _)) = self.waiting.range((stream, 0)..=(stream, last)).next() {
            taken.extend(self.waiting.remove(&key));
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
        let (sender, receipt) = Receipt::pair();
        (Stored { answer: sender, position: Position { epoch: Epoch::random(), offset: Offset(number) }, since }, receipt)
    }

    /// A publication is answered after the stream was read up to its message, or at once if it was before.
    #[test]
    fn an_answer_waits_until_its_message_is_read() {
        let (mut back, now) = (ReadBack::default(), Instant::now());
        let (first, receipt) = stored(7, now);
        assert!(back.hold(1, first).is_none());
        assert!(back.read_to(0, 9).is_empty(), "another stream was read");
        assert!(back.read_to(1, 6).is_empty(), "the message was not read");
        assert!(receipt.poll(Waker::noop()).is_pending());
        back.read_to(1, 7).into_iter().for_each(Stored::answer);
        assert!(receipt.poll(Waker::noop()).is_ready());
        assert!(back.hold(1, stored(7, now).0).is_some(), "the message was read before its acknowledgement");
        assert_eq!(back.len(), 0);
    }

    /// Neither a gateway that lags behind nor a lost stream delays an answer longer.
    #[test]
    fn an_answer_waits_for_a_bounded_time() {
        let (mut back, now) = (ReadBack::default(), Instant::now());
        assert!(back.hold(0, stored(3, now).0).is_none() && back.hold(0, stored(4, now + WAIT_MAX).0).is_none());
        let overdue: Vec<u64> = back.overdue(now + WAIT_MAX).iter().map(|stored| stored.position.offset.0).collect();
        assert_eq!(overdue, [3]);
        assert_eq!(back.give_up(0).len(), 1);
        back.read_to(0, 100);
        assert!(back.read_to(0, 2).is_empty() && back.hold(0, stored(3, now).0).is_none(), "the numbers of a new epoch begin again");
    }

    /// The bug: each check examined all waiting answers, ten times a second.
    #[test]
    fn a_check_for_overdue_answers_examines_only_those() {
        const WAITING: u64 = 4_096;
        let (mut back, now) = (ReadBack::default(), Instant::now());
        (1..=WAITING).for_each(|number| assert!(back.hold(0, stored(number, now + Duration::from_millis(number)).0).is_none()));
        assert_eq!(back.overdue(now + WAIT_MAX + Duration::from_millis(3)).len(), 3);
        assert_eq!(back.examined, 4);
        assert_eq!(back.read_to(0, WAITING - 1).len() as u64, WAITING - 4);
        assert!(back.overdue(now + WAIT_MAX).is_empty());
        assert_eq!((back.len(), back.by_time.len()), (1, 1), "answered publications are forgotten");
    }
}
