//! Why a text is no name.

use crate::codes::ErrorCode;

/// Why a text is not a topic name or not a pattern; the message says what would be right. It repeats the text as it was given,
/// so that a client finds it there: whatever shows it to a terminal escapes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum TopicNameError {
    #[error("the topic name is empty; write tokens joined by dots, as in `chat.lobby`")]
    Empty,
    #[error("topic \"{name}…\" has {bytes} bytes, the most is 255")]
    TooLong {
        /// The first 32 characters of what was given.
        name: String,
        bytes: usize,
    },
    #[error("topic \"{name}\" has {tokens} tokens, the most is 16")]
    TooManyTokens { name: String, tokens: usize },
    #[error("token {index} of topic \"{name}\" is empty; write `a.b`, not `a..b`")]
    EmptyToken { name: String, index: usize },
    #[error("topic \"{name}\" holds {character:?}; a token is text without white space, control characters and . * > / \" \\")]
    Character { name: String, character: char },
    #[error("\"{name}\" is a pattern; one topic by its name is meant here")]
    Wildcard { name: String },
    #[error("\"{name}\" has a wildcard within a token; a wildcard is a whole token, or follows the `:` of the first token, as in `chat:*`")]
    WithinToken { name: String },
    #[error("`>` in pattern \"{name}\" is not the last token; it may only be the last")]
    TailNotLast { name: String },
}

impl TopicNameError {
    /// The contract's code for it.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::BadTopic
    }

    /// What was given, or how it begins.
    pub fn name(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::TooLong { name, .. }
            | Self::TooManyTokens { name, .. }
            | Self::EmptyToken { name, .. }
            | Self::Character { name, .. }
            | Self::Wildcard { name }
            | Self::WithinToken { name }
            | Self::TailNotLast { name } => name,
        }
    }
}
