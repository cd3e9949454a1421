//! Sessions of Centrifugo's protocol.

mod beginning;
mod commands;
mod emulated;
mod held;
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
