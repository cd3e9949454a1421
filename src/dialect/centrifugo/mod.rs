//! Centrifugo's client protocol, in JSON and in protobuf: commands are read, replies and pushes written.
//!
//! A message is described once, field by field (`write.rs`), and each encoding says what a field looks like. Payloads are borrowed
//! on the way in and copied as they are on the way out.

mod codes;
mod command;
mod fields;
mod frame;
mod json_fields;
mod json_read;
mod options;
mod protobuf_fields;
mod protobuf_read;
mod reply;
mod write;

pub use codes::{Disconnect, ErrorReply, Unsubscribed};
pub use command::{Asked, Command, Connect, Emulation, History, Place, Subscribe};
pub use frame::{Unreadable, Wire};
pub use options::Options;
pub use reply::{ConnectResult, Expiry, Push, Reply, SpokenFor, SubscribeResult};
pub use write::BASE64;
pub(super) use write::{disconnect, message, message_bytes_usual, reply};

#[cfg(test)]
mod tests;
