//! What sessions speak and how it is framed: bytes to commands, events and messages to frames. Both sets are closed.

mod command;
mod encoded;
mod encoder;
mod encoding;
mod event;
mod frame_bytes;
mod framing;
mod json_items;
pub mod json_read;
mod json_scan;
pub mod json_write;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use encoded::Encoded;
pub use encoder::{Encoder, echo_frame, event_frame, replay_frame};
pub use encoding::{Dialect, Encoding};
pub use event::{Event, SubscribedTopic};
pub use frame_bytes::FrameBytes;
pub use framing::Framing;
