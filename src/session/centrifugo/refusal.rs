//! Refusals of commands: an error reply, or a disconnect.

use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{Disconnect, ErrorReply};
use crate::metrics::CloseReason;
use crate::shard::SessionContext;
use crate::topic_name::TopicName;

/// How a command is refused.
pub enum Refusal {
    /// An error reply, and the code under which the metrics count it.
    Error(ErrorReply, ErrorCode),
    /// A disconnect, which ends the session.
    Disconnect(Disconnect, CloseReason),
}

impl Refusal {
    /// The refusal of a command that can't be parsed.
    pub fn unreadable() -> Self {
        Self::Disconnect(Disconnect::BAD_REQUEST, CloseReason::Protocol)
    }

    /// Answers the command with `id`, or ends the session. A command with the `id` 0 gets no answer.
    pub fn answer(self, id: u32, context: &mut SessionContext<'_>) {
        match self {
            Self::Error(error, code) if id > 0 => context.refuse_with(id, error, code),
            Self::Error(..) => {}
            Self::Disconnect(disconnect, why) => context.disconnect(disconnect, why),
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code.into(), code)
    }
}

/// The topic that `channel` names.
pub fn topic_of(channel: &str) -> Result<TopicName, Refusal> {
    if channel.is_empty() {
        return Err(Refusal::unreadable());
    }
    TopicName::parse(channel).map_err(|error| error.code().into())
}

/// The topic that `channel` names; `None`: it is no valid topic name, so no session is subscribed to it.
pub fn topic_if_valid(channel: &str) -> Result<Option<TopicName>, Refusal> {
    match topic_of(channel) {
        Ok(topic) => Ok(Some(topic)),
        Err(Refusal::Error(..)) => Ok(None),
        Err(unreadable) => Err(unreadable),
    }
}
