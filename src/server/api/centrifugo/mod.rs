//! Centrifugo's HTTP API for publishers, `/api/…`: its libraries change a URL and a key.

mod asked;
mod commands;
mod emulation;
mod failed;
mod glob;
mod ordering;
mod replies;

pub use commands::{Asking, CentrifugoApi, LONG};
pub use emulation::{Directory, ear};
