//! Dialects: what sessions speak, as a closed set.

mod command;
mod encoded;
mod encoder;
mod event;
mod json_items;
pub mod json_read;
mod json_scan;
pub mod json_write;
pub mod raw;
mod variant;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use encoded::Encoded;
pub use encoder::{Encoder, echo_frame, event_frame, replay_frame};
pub use event::{Event, SubscribedTopic};
pub use variant::{Dialect, Variant};
