//! Tracks the sequence numbers that a subscriber receives of a stream: in order, missing, late, or duplicate.

use std::collections::BTreeSet;

/// The order of a message in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// A later one; this many before it have not arrived.
    AfterHole(u32),
    /// One that was missing, so it was reordered.
    Late,
    /// One that arrived before.
    Duplicate,
}

/// The position of one subscriber in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// The next sequence number; 0 for a subscriber that joined later and begins with the first message to arrive.
    next: u32,
}

/// The missing messages of a subscriber, as `(stream, sequence)`. Empty and unallocated while nothing is missing.
#[derive(Debug, Default)]
pub struct Missing(BTreeSet<(u32, u32)>);

impl Track {
    /// Begins with the first message of the stream.
    pub const FROM_START: Self = Self { next: 1 };
    /// Begins with the first message to arrive.
    pub const FROM_FIRST_ARRIVAL: Self = Self { next: 0 };

    /// Begins with the message after `sequence`.
    pub fn after(sequence: u32) -> Self {
        Self { next: sequence + 1 }
    }

    /// Notes the message `sequence` of `stream`.
    pub fn receive(&mut self, stream: u32, sequence: u32, missing: &mut Missing) -> Arrival {
        if sequence == self.next || self.next == 0 {
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        if sequence > self.next {
            let hole = self.next..sequence;
            self.next = sequence + 1;
            let length = hole.end - hole.start;
            missing.0.extend(hole.map(|lost| (stream, lost)));
            return Arrival::AfterHole(length);
        }
        if missing.0.remove(&(stream, sequence)) { Arrival::Late } else { Arrival::Duplicate }
    }

    /// Those of `sent` messages that come after the newest that arrived.
    pub fn behind(&self, sent: u32) -> std::ops::Range<u32> {
        if self.next == 0 { 0..0 } else { self.next.min(sent + 1)..sent + 1 }
    }
}

impl Missing {
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }

    /// Removes the messages of `streams`.
    pub fn forget(&mut self, streams: &std::ops::Range<u32>) {
        self.0.retain(|(stream, _)| !streams.contains(stream));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(sequences: &[u32]) -> (Vec<Arrival>, u64, Track) {
        let (mut track, mut missing) = (Track::FROM_START, Missing::default());
        let arrivals = sequences.iter().map(|sequence| track.receive(9, *sequence, &mut missing)).collect();
        (arrivals, missing.count(), track)
    }

    #[test]
    fn consecutive_messages_are_in_order() {
        assert_eq!(arrivals(&[1, 2, 3]), (vec![Arrival::InOrder; 3], 0, Track::after(3)));
    }

    #[test]
    fn a_hole_is_missing_until_its_messages_come_late() {
        use Arrival::{AfterHole, Duplicate, InOrder, Late};
        assert_eq!(arrivals(&[1, 4]), (vec![InOrder, AfterHole(2)], 2, Track::after(4)));
        assert_eq!(arrivals(&[1, 4, 2, 2]), (vec![InOrder, AfterHole(2), Late, Duplicate], 1, Track::after(4)));
    }

    #[test]
    fn a_track_is_behind_by_the_messages_after_its_newest() {
        assert_eq!(Track::after(7).behind(10), 8..11);
        assert_eq!(Track::FROM_START.behind(10), 1..11);
        assert!(Track::FROM_FIRST_ARRIVAL.behind(10).is_empty());
    }
}
