//! Whole frames of events and messages: encoded once, compressed, and shared by the sessions that are sent them.

mod control;
mod encoded;
mod encoder;
mod frame_bytes;
mod plain;
mod references;
mod stream;

pub use control::{goodbye, goodbye_with, heartbeat_answer, heartbeat_frame};
pub use encoded::{Encoded, ForWindow};
pub use encoder::{Encoder, echo_frame, event_frame, replay_frame, reply_frame};
pub use frame_bytes::FrameBytes;
pub use references::{Referable, ReferenceAccount, References};
pub use stream::stamp;
