//! The results of the publishes of a stream. A publish without an acknowledgement may or may not have been stored.

/// Counts of publishes by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishCounts {
    pub acknowledged: u64,
    pub refused: u64,
    /// Publishes whose connection broke, or that wait for their answer.
    pub unanswered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishResult {
    Unanswered,
    Acknowledged,
    Refused,
}

/// The results of those publishes of a stream that ask for an answer.
#[derive(Debug, Default)]
pub struct PublishResults {
    /// By sequence number, from 1.
    results: Vec<PublishResult>,
}

impl PublishResults {
    /// Notes that the publish `sequence` of `stream` asks for an answer. Returns the command's `id`.
    pub fn ask(&mut self, stream: u32, sequence: u32) -> u64 {
        self.results.resize(sequence as usize, PublishResult::Unanswered);
        u64::from(stream) << 32 | u64::from(sequence)
    }

    /// The stream and the sequence number of the publish with this `id`.
    pub fn publish_of(id: u64) -> (u32, u32) {
        ((id >> 32) as u32, id as u32)
    }

    /// Notes the answer to the publish `sequence`.
    pub fn answer(&mut self, sequence: u32, result: PublishResult) {
        if let Some(known) = self.results.get_mut((sequence as usize).wrapping_sub(1)) {
            *known = result;
        }
    }

    /// Whether the message is owed to subscribers: it was acknowledged, or no publish of the stream asks for an answer.
    pub fn is_owed(&self, sequence: u32) -> bool {
        let result = self.results.get((sequence as usize).wrapping_sub(1));
        self.results.is_empty() || result == Some(&PublishResult::Acknowledged)
    }

    pub fn add_to(&self, counts: &mut PublishCounts) {
        for result in &self.results {
            *match result {
                PublishResult::Unanswered => &mut counts.unanswered,
                PublishResult::Acknowledged => &mut counts.acknowledged,
                PublishResult::Refused => &mut counts.refused,
            } += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_acknowledged_publishes_are_owed() {
        let mut results = PublishResults::default();
        assert!(results.is_owed(3), "no publish asks for an answer");
        let ids: Vec<u64> = (1..=3).map(|sequence| results.ask(9, sequence)).collect();
        assert_eq!(PublishResults::publish_of(ids[2]), (9, 3));
        results.answer(1, PublishResult::Acknowledged);
        results.answer(2, PublishResult::Refused);
        assert_eq!([1, 2, 3, 4].map(|sequence| results.is_owed(sequence)), [true, false, false, false]);
        let mut counts = PublishCounts::default();
        results.add_to(&mut counts);
        assert_eq!(counts, PublishCounts { acknowledged: 1, refused: 1, unanswered: 1 });
    }
}
