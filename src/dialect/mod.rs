//! Dialects and framings: parsers of commands, and encoders of events and messages. Both sets are closed.

pub mod centrifugo;
mod command;
mod control_frames;
mod decimal;
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
mod plain_frame;
mod references;
mod stream_frame;
mod stream_position;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use control_frames::{goodbye, goodbye_with, heartbeat_answer, heartbeat_frame};
pub use encoded::{Encoded, ForWindow};
pub use encoder::{Encoder, echo_frame, event_frame, replay_frame, reply_frame};
pub use encoding::{Dialect, Encoding, Heartbeat};
pub use event::{Event, SubscribedTopic};
pub use frame_bytes::FrameBytes;
pub use framing::Framing;
pub use references::{Referable, ReferenceAccount, References};
pub use stream_frame::stamp;
pub use stream_position::{STREAM_TOPICS_MAX, StreamPosition, read_event_id};
