//! Sessions of the gateway's own protocol: native commands, raw, echo, and streams.

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
