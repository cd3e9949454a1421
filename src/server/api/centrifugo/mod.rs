//! Centrifugo's HTTP API for publishers, `/api/…`: its libraries change a URL and a key.

mod commands;
mod emulation;
mod failed;
mod glob;
mod replies;
mod requests;
mod session_commands;

pub use commands::{Asking, CentrifugoApi, LONG};
pub use emulation::{Directory, ear};
