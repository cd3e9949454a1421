//! Dialects and framings: parsers of commands, and encoders of events and messages. Both sets are closed.

mod bounds;
pub mod centrifugo;
mod encoding;
mod frames;
mod framing;
mod json;
pub mod native;

pub use bounds::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, INTERVAL_MS};
pub use encoding::{Dialect, Encoding, Heartbeat};
pub use frames::{
    Encoded, Encoder, ForWindow, FrameBytes, Referable, ReferenceAccount, References, echo_frame, event_frame, goodbye, goodbye_with,
    heartbeat_answer, heartbeat_frame, replay_frame, reply_frame, stamp,
};
pub use framing::Framing;
pub use json::is_json_text;
pub use native::{Command, Event, Refusal, Request, RequestId, STREAM_TOPICS_MAX, Since, StreamPosition, SubscribedTopic, read_event_id};
