//! The answers to the publishes of a stream. A publish without an acknowledgement may or may not have been stored.

/// Counts of publishes by answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Acknowledged publishes.
    pub acknowledged: u64,
    /// Refused publishes.
    pub refused: u64,
    /// Publishes whose connection broke, or that wait for their answer.
    pub unanswered: u64,
}

/// The answer to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Awaited,
    Acknowledged,
    Refused,
}

/// The publishes of a stream that ask for answers.
#[derive(Debug, Default)]
pub struct Asked {
    /// By sequence number, from 1.
    answers: Vec<Answer>,
}

impl Asked {
    /// Notes that the publish `sequence` of `stream` asks for an answer. Returns the command's `id`.
    pub fn ask(&mut self, stream: u32, sequence: u32) -> u64 {
        self.answers.resize(sequence as usize, Answer::Awaited);
        u64::from(stream) << 32 | u64::from(sequence)
    }

    /// The stream and sequence number of a publish with this `id`.
    pub fn asked_by(id: u64) -> (u32, u32) {
        ((id >> 32) as u32, id as u32)
    }

    pub fn answer(&mut self, sequence: u32, answer: Answer) {
        if let Some(known) = (sequence as usize).checked_sub(1).and_then(|at| self.answers.get_mut(at)) {
            *known = answer;
        }
    }

    /// Whether the message is owed to subscribers: it was acknowledged, or asked for no answer.
    pub fn is_owed(&self, sequence: u32) -> bool {
        let answer = (sequence as usize).checked_sub(1).and_then(|at| self.answers.get(at));
        self.answers.is_empty() || answer == Some(&Answer::Acknowledged)
    }

    pub fn count(&self) -> Answers {
        let of = |answer| self.answers.iter().filter(|other| **other == answer).count() as u64;
        Answers { acknowledged: of(Answer::Acknowledged), refused: of(Answer::Refused), unanswered: of(Answer::Awaited) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_is_owed() {
        let mut asked = Asked::default();
        assert!(asked.is_owed(3), "nobody asks");
        let ids: Vec<u64> = (1..=3).map(|sequence| asked.ask(9, sequence)).collect();
        assert_eq!(Asked::asked_by(ids[2]), (9, 3));
        asked.answer(1, Answer::Acknowledged);
        asked.answer(2, Answer::Refused);
        assert_eq!([1, 2, 3, 4].map(|sequence| asked.is_owed(sequence)), [true, false, false, false]);
        assert_eq!(asked.count(), Answers { acknowledged: 1, refused: 1, unanswered: 1 });
    }
}
