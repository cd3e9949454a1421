//! The topics of a command that were not done.

use crate::codes::ErrorCode;
use crate::dialect::RequestId;
use crate::shard::SessionContext;

/// The topics of a command that were not done: one answer names them all, with the code of the first.
#[derive(Default)]
pub struct Refused {
    code: Option<ErrorCode>,
    reasons: Vec<String>,
}

impl Refused {
    /// Adds one topic.
    pub fn add(&mut self, code: ErrorCode, reason: String) {
        self.code.get_or_insert(code);
        self.reasons.push(reason);
    }

    /// Answers one error for all.
    pub fn answer(&self, id: Option<RequestId<'_>>, context: &mut SessionContext<'_>) {
        if let Some(code) = self.code {
            context.refuse(id, code, &self.reasons.join("; "));
        }
    }

    /// Why the first was not done.
    pub fn first(&self) -> Option<&str> {
        self.reasons.first().map(String::as_str)
    }
}
