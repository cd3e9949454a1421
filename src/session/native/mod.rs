//! Sessions of the gateway's own protocol: native commands, raw, echo, and streams.

mod admin;
mod commands;
mod echo;
mod listener;
mod pending;
mod raw;

pub use commands::Native;
pub use echo::Echo;
pub use listener::{Charge, StreamOpening, open_stream};
pub use raw::Raw;
