//! Centrifugo's client protocol, in JSON and in protobuf: commands are read, replies and pushes written.
//!
//! `read.rs` and `write.rs` describe each message once, field by field, and each encoding reads or writes these fields. Payloads are borrowed
//! when they are read and copied unchanged when they are written.

mod codes;
mod command;
mod fields;
mod frame;
mod json_fields;
mod json_value;
mod options;
mod protobuf_fields;
mod protobuf_value;
mod read;
mod reply;
mod value;
mod write;

pub use codes::{Disconnect, ErrorReply, Unsubscribed};
pub use command::{ClientPosition, Command, Connect, Emulation, History, Operation, Subscribe};
pub use frame::{Unreadable, Wire};
pub use options::Options;
pub use reply::{ConnectResult, EmulationKeys, Expiry, Push, Reply, SubscribeResult};
pub use write::BASE64;
pub(super) use write::{message, message_bytes_usual, reply};

#[cfg(test)]
mod tests;
