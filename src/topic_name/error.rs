//! Why a text is no name.

use crate::codes::ErrorCode;

/// Why a text is not a topic name or not a pattern; the message says what would be right. It repeats the text as it was given,
/// so that a client finds it there: whatever shows it to a terminal escapes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Nothing at all.
    #[error("the topic name is empty; write tokens joined by dots, as in `chat.lobby`")]
    Empty,
    /// More bytes than [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX).
    #[error("topic \"{name}…\" has {bytes} bytes, the most is 255")]
    TooLong {
        /// The first 32 characters of what was given.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// More tokens than [`TOKENS_MAX`](super::TOKENS_MAX).
    #[error("topic \"{name}\" has {tokens} tokens, the most is 16")]
    TooManyTokens {
        /// What was given.
        name: String,
        /// How many tokens it has.
        tokens: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("token {index} of topic \"{name}\" is empty; write `a.b`, not `a..b`")]
    EmptyToken {
        /// What was given.
        name: String,
        /// Which token, counted from 1.
        index: usize,
    },
    /// A character that no token may hold.
    #[error("topic \"{name}\" holds {character:?}; a token is text without white space, control characters and . * > / \" \\")]
    Character {
        /// What was given.
        name: String,
        /// The first such character.
        character: char,
    },
    /// A wildcard where one topic is meant.
    #[error("\"{name}\" is a pattern; one topic by its name is meant here")]
    Wildcard {
        /// What was given.
        name: String,
    },
    /// A wildcard within a token of what a rule or a grant covers.
    #[error("\"{name}\" has a wildcard within a token; it stands alone, or behind the `:` of a first token, as in `chat:*`")]
    WithinToken {
        /// What was given.
        name: String,
    },
    /// `>` before the last token.
    #[error("`>` in pattern \"{name}\" stands before the end; it may only be the last token")]
    TailNotLast {
        /// What was given.
        name: String,
    },
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
