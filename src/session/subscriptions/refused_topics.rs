//! The topics of a command that were refused.

use std::collections::BTreeSet;

use crate::codes::ErrorCode;
use crate::dialect::RequestId;
use crate::shard::SessionContext;

/// The number of refusals whose reasons an answer gives. Further topics are only named, so that an answer is not much longer than its
/// command.
const REASONS_TOLD: usize = 10;

/// The topics of a command that were refused. One error answers for all of them, with the code of the first.
#[derive(Default)]
pub struct RefusedTopics {
    code: Option<ErrorCode>,
    reasons: Vec<String>,
    /// The names of topics whose reasons are not given.
    others: BTreeSet<String>,
}

impl RefusedTopics {
    /// Adds the topic that the command calls `name`.
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

    /// Sends one error for all topics, if there are any.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if let Some(code) = self.code {
            context.refuse(id, code, &self.text());
        }
    }

    /// The reason for the first refusal.
    pub fn first(&self) -> Option<&str> {
        self.reasons.first().map(String::as_str)
    }

    fn text(&self) -> String {
        let mut text = self.reasons.join("; ");
        if !self.others.is_empty() {
            text.push_str("; nor ");
            text.push_str(&self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer names each invalid topic, and is not much longer than the command. (63 KB of empty names were answered by 1.55 MB.)
    #[test]
    fn an_answer_is_not_much_longer_than_its_command() {
        let reason = |name: &str| format!("subscribing to {name} is not allowed for this session");
        let mut refused = RefusedTopics::default();
        let names: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
        names.iter().chain(&names).for_each(|name| refused.add(ErrorCode::NotAllowed, name, reason(name)));
        let text = refused.text();
        assert!(names.iter().all(|name| text.contains(name)));
        let given: usize = names.iter().map(|name| name.len() + 2).sum();
        assert!(text.len() < given + REASONS_TOLD * 60, "{} bytes", text.len());
        let mut refused = RefusedTopics::default();
        (0..21_000).for_each(|_| refused.add(ErrorCode::BadTopic, "", "the topic name is empty".to_owned()));
        assert_eq!(refused.text(), "the topic name is empty");
    }
}
