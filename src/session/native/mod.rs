//! Sessions that speak the gateway's own protocol, or a part of it: commands, a topic's plain messages, echoes, streams.

mod commands;
mod echo;
mod listener;
mod orders;
mod pending;
mod raw;

pub use commands::Native;
pub use echo::Echo;
pub use listener::{Charge, Listening, listen};
pub use raw::Raw;
