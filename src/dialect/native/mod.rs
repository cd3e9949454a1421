//! The native dialect (PROTOCOL sections 3 and 11): commands are read, events and messages written.

mod command;
mod event;
mod read;
mod stream_position;
mod write;

pub use command::{Command, Refusal, Request, RequestId, Since};
pub use event::{Event, SubscribedTopic};
pub use read::request;
pub use stream_position::{STREAM_TOPICS_MAX, StreamPosition, read_event_id};
pub(super) use write::{end, event, message, message_bytes};
pub use write::{history_members, presence_members};
