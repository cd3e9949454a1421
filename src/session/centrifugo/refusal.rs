//! What becomes of a command that is not done, for its channel's name or for another reason.

use crate::codes::ErrorCode;
use crate::dialect::centrifugo::{Disconnect, ErrorReply};
use crate::metrics::CloseReason;
use crate::shard::SessionContext;
use crate::topic_name::TopicName;

/// Why a command is not done.
pub enum Refusal {
    /// It is answered so; the code is what it counts as.
    Error(ErrorReply, ErrorCode),
    /// It ends the session.
    Disconnect(Disconnect, CloseReason),
}

impl Refusal {
    /// The command is none.
    pub fn unreadable() -> Self {
        Self::Disconnect(Disconnect::BAD_REQUEST, CloseReason::Protocol)
    }

    /// Answers the command of that `id`, or ends the session. A command without `id` has no answer.
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
pub fn named(channel: &str) -> Result<TopicName, Refusal> {
    if channel.is_empty() {
        return Err(Refusal::unreadable());
    }
    TopicName::parse(channel).map_err(|error| error.code().into())
}

/// The topic that `channel` names, if a topic may be called so: nobody is subscribed to another.
pub fn named_if_any(channel: &str) -> Result<Option<TopicName>, Refusal> {
    match named(channel) {
        Ok(topic) => Ok(Some(topic)),
        Err(Refusal::Error(..)) => Ok(None),
        Err(unreadable) => Err(unreadable),
    }
}
