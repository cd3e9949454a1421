//! From an HTTP request to a WebSocket session: the checks (RFC 6455 §4.2), and the 101.

mod handshake;
mod target;
mod upgrade;

pub use handshake::{is_asked, required};
pub use target::target;
pub use upgrade::Upgrades;
