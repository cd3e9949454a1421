//! Sessions of Centrifugo's protocol.

mod admin;
mod authorizations;
mod commands;
mod emulated;
mod label;
mod new_subscription;
mod pending;
mod recovery_mode;
mod refusal;
mod session_address;
mod subscriber;

pub use commands::Centrifugo;
pub use emulated::{EmulatedOpening, open_emulated};
pub use session_address::SessionAddress;
