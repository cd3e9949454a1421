//! Dialects: what sessions speak, as a closed set.

mod command;
mod encoded;
mod encoder;
mod event;
mod frame_bytes;
mod json_items;
pub mod json_read;
mod json_scan;
pub mod json_write;
mod variant;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use encoded::Encoded;
pub use encoder::{Encoder, echo_frame, event_frame, replay_frame};
pub use event::{Event, SubscribedTopic};
pub use frame_bytes::FrameBytes;
pub use variant::{Dialect, Variant};
