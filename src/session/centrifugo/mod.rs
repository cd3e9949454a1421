//! Sessions of Centrifugo's protocol.

mod authorizations;
mod beginning;
mod commands;
mod emulated;
mod label;
mod orders;
mod pending;
mod recovering;
mod refusal;
mod spoken_for;
mod subscriber;

pub use commands::Centrifugo;
pub use emulated::{Emulated, emulate};
pub use spoken_for::Addressed;
