//! Dialects: what sessions speak, as a closed set.

mod command;
mod encoded;
mod event;
pub mod json_read;
pub mod json_write;
pub mod raw;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use encoded::{Encoded, Encoder, Variant, echo_frame, event_frame, replay_frame};
pub use event::{Event, SubscribedTopic};

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native one: JSON objects in text frames (PROTOCOL section 3).
    Json,
    /// Payloads alone, of one topic (section 4).
    Raw,
    /// Every message comes back (section 4, `/echo`).
    Echo,
}

impl Dialect {
    /// Its name in `/v1/sessions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Echo => "echo",
        }
    }
}
