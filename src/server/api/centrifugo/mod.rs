//! Centrifugo's HTTP API for publishers, `/api/…`: for its libraries, which only need another URL and key.

mod commands;
mod emulation;
mod failed;
mod glob;
mod replies;
mod requests;
mod session_commands;

pub use commands::{Call, CentrifugoApi, LONG_METHODS};
pub use emulation::{Directory, forwarded_commands};
