//! Centrifugo's client protocol, in JSON and in protobuf: commands are read, replies and pushes written.
//!
//! `read.rs` and `write.rs` describe each message once, field by field. `codec/` reads and writes these fields in each encoding. Payloads are
//! borrowed when they are read and copied unchanged when they are written.

mod codec;
mod codes;
mod command;
mod frame;
mod options;
mod read;
mod reply;
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
