//! The topics of a command that were not done.

use std::collections::BTreeSet;

use crate::codes::ErrorCode;
use crate::dialect::RequestId;
use crate::shard::SessionContext;

/// Topics whose reason an answer tells in full. The others are only named, so that an answer is hardly longer than its command.
const REASONS_TOLD: usize = 10;

/// The topics of a command that were not done: one answer names them all, with the code of the first.
#[derive(Default)]
pub struct Refused {
    code: Option<ErrorCode>,
    reasons: Vec<String>,
    /// The names of those whose reason is not told.
    others: BTreeSet<String>,
}

impl Refused {
    /// Adds the topic that was given as `name`.
    pub fn add(&mut self, code: ErrorCode, name: &str, reason: String) {
        self.code.get_or_insert(code);
        if self.reasons.contains(&reason) {
            return;
        }
        if self.reasons.len() < REASONS_TOLD {
            self.reasons.push(reason);
        } else {
            self.others.insert(name.to_owned());
        }
    }

    /// Answers one error for all.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if let Some(code) = self.code {
            context.refuse(id, code, &self.told());
        }
    }

    /// Why the first was not done.
    pub fn first(&self) -> Option<&str> {
        self.reasons.first().map(String::as_str)
    }

    fn told(&self) -> String {
        let mut told = self.reasons.join("; ");
        if !self.others.is_empty() {
            told.push_str("; nor ");
            told.push_str(&self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many names are bad, the answer names each, and is not much longer than they are. (63 KB of empty names were answered
    /// by 1.55 MB.)
    #[test]
    fn an_answer_is_hardly_longer_than_its_command() {
        let reason = |name: &str| format!("subscribing to {name} is not allowed for this session");
        let mut refused = Refused::default();
        let names: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
        names.iter().chain(&names).for_each(|name| refused.add(ErrorCode::NotAllowed, name, reason(name)));
        let told = refused.told();
        assert!(names.iter().all(|name| told.contains(name)));
        let given: usize = names.iter().map(|name| name.len() + 2).sum();
        assert!(told.len() < given + REASONS_TOLD * 60, "{} bytes", told.len());
        let mut refused = Refused::default();
        (0..21_000).for_each(|_| refused.add(ErrorCode::BadTopic, "", "the topic name is empty".to_owned()));
        assert_eq!(refused.told(), "the topic name is empty");
    }
}
